//! Values and functions on them: no I/O, no clock, no environment, no randomness, no hash-map order.

pub mod bundle;
pub mod config;
pub mod files;
pub mod images;
pub mod name;
pub mod oci;
pub mod pins;
pub mod secrets;
pub mod system;
pub mod template;
pub mod text;
