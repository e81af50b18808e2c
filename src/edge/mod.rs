//! The world: one narrow port each, the real adapter beside its double.

pub mod age;
pub mod editor;
pub mod random;
pub mod secrets_file;
pub mod terminal;
