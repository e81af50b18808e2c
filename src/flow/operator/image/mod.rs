//! How images come about.

pub mod sources;
