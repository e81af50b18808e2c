//! Values and functions on them: no I/O, no clock, no environment, no randomness, no hash-map order.

pub mod bundle;
pub mod config;
pub mod delivery;
pub mod files;
pub mod generation;
pub mod images;
pub mod name;
pub mod oci;
pub mod pins;
pub mod protocol;
pub mod secrets;
pub mod system;
pub mod template;
pub mod text;
