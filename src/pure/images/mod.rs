//! Image plans: what a recipe and its pins say, down to the bytes of each layer.
//!
//! Owns: the formats that packages come in ([`debian`], [`python`]), the rules that stand for maintainer scripts ([`rules`]), the
//! tree that a layer is written from ([`layer`]).
//!
//! Invariant: the bytes of a layer follow from the bytes of what it was made from, the rules and the recipe alone; nothing that an
//! archive says can leave the image's root.

pub mod accounts;
pub mod config;
pub mod debian;
pub mod elf;
pub mod inputs;
pub mod layer;
pub mod manifest;
pub mod own_files;
pub mod plan;
pub mod python;
pub mod rules;
pub mod sbom;
pub mod shared;
pub mod skeleton;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
