//! What runs on the laptop.

pub mod build;
pub mod connect;
pub mod deliver;
pub mod deploy;
pub mod evaluate;
pub mod explain;
pub mod fleet;
pub mod image;
pub mod init;
pub mod lock;
pub mod push;
pub mod remote;
pub mod secret;
pub mod secrets_of;
