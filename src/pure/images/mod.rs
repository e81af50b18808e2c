//! Image plans: what a recipe and its pins say, down to the bytes of each layer.
//!
//! Owns: the formats that packages come in ([`debian`], [`python`]), the rules that stand for maintainer scripts ([`rules`]), the
//! tree that a layer is written from ([`layer`]).
//!
//! Invariant: the bytes of a layer follow from the bytes of what it was made from, the rules and the recipe alone; nothing that an
//! archive says can leave the image's root.

pub mod debian;
pub mod inputs;
pub mod layer;
pub mod python;
pub mod rules;
