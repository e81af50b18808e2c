//! The world: each part of it behind one narrow port, the real adapter beside its double.

pub mod disk;
pub mod store;
