//! The files that a person writes, typed; nothing merged yet.
//!
//! [`node`] is TOML with places, [`field`] the declared types, [`decode`] checks the one against the other; [`from_text`] reads each
//! kind of file. Invariant: every [`value::Value`] satisfies the type that it was decoded against.

mod declaration;
pub mod decode;
pub mod field;
pub mod from_text;
pub mod host;
pub mod image;
pub mod module;
pub mod node;
pub mod project;
pub mod reference;
pub mod schema;
pub mod sheet;
pub mod sources;
pub mod units;
pub mod value;
