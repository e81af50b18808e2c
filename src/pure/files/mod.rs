//! Rendered files: what stands on the host and in the containers, byte for byte.

pub mod parse_check;
