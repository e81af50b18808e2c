//! The world: disk, processes, randomness, editors; one narrow port each, the real adapter beside its double.
#![allow(clippy::disallowed_methods)]

pub mod age;
pub mod apt;
pub mod catalogue;
pub mod clock;
pub mod debian;
pub mod disk;
pub mod docker;
pub mod editor;
pub mod git;
pub mod host;
pub mod http;
pub mod lock_file;
pub mod new_project;
pub mod packing;
pub mod parcel;
pub mod patience;
pub mod program;
pub mod project;
pub mod python;
pub mod random;
pub mod reach;
pub mod registry;
pub mod secrets_file;
pub mod ssh;
pub mod store;
pub mod terminal;
pub mod terminal_program;
