//! The world: disk, processes, randomness, editors; one narrow port each, the real adapter beside its double.
#![allow(clippy::disallowed_methods)]

pub mod catalogue;
pub mod new_project;
pub mod project;
