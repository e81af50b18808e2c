//! Images that forge builds: recipes, layers, what is made of them.

pub mod layers;
pub mod sources;
pub mod wheels;
