//! What runs on the laptop.

pub mod build;
pub mod evaluate;
pub mod secret;
pub mod secrets_of;
