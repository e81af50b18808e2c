//! The path that the README promises.
