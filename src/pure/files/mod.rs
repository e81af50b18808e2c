//! Rendered files: what stands on the host and in the containers, byte for byte.

pub mod compose;
pub mod helpers;
pub mod parse_check;
pub mod yaml;
