//! The files that a person writes, typed; nothing merged yet.

pub mod decode;
pub mod field;
pub mod node;
pub mod units;
pub mod value;
