//! What runs on the laptop.

pub mod evaluate;
pub mod explain;
pub mod init;
