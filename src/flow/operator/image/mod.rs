//! Images: what is in them, and what differs between two.

pub mod compress;
pub mod contents;
pub mod present;
