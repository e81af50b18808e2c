//! What runs on the laptop.

pub mod secret;
