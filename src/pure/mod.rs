//! Values and functions on them: no I/O, no clock, no environment, no randomness, no hash-map order.

pub mod config;
pub mod name;
pub mod secrets;
pub mod text;
