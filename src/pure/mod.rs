//! Values and functions on them: no I/O, no clock, no environment, no randomness, no hash-map order.

pub mod bundle;
pub mod config;
pub mod name;
pub mod oci;
pub mod text;
