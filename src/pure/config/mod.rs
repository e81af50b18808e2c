//! The files that a person writes, typed; nothing merged yet.
