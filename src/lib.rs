//! forge: a whole server declared in TOML, built into one content-addressed bundle.
//!
//! | floor | room | what |
//! | --- | --- | --- |
//! | person | [`cli`] | arguments, reports, exit codes; the only place that prints |
//! | story | [`flow`] | one file per use case, told with pure values and ports |
//! | world | [`edge`] | disk, processes, randomness; one narrow port each |
//! | values | [`pure`] | text → config → system → files → bundle; no I/O |

pub mod cli;
pub mod edge;
pub mod flow;
pub mod pure;

pub use cli::run;
