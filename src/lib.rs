//! forge: a whole server declared in TOML, built into one content-addressed bundle.

pub mod edge;
pub mod pure;
