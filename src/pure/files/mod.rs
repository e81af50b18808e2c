//! Rendered files: what stands on the host and in the containers, byte for byte.

pub mod compose;
pub mod firewall;
pub mod from_system;
pub mod graph;
pub mod parse_check;
pub mod place;
pub mod resolve;
pub mod svg;
