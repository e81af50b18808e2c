//! forge: a whole server declared in TOML, built into one content-addressed bundle.

pub mod cli;
pub mod edge;
pub mod flow;
pub mod pure;
