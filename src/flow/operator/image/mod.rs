//! Images: built from packages, looked for in a store, looked into, compared.

pub mod assemble;
pub mod build;
pub mod compress;
pub mod contents;
pub mod layers;
pub mod present;
pub mod sbom;
pub mod sources;
pub mod wheels;
pub mod workshop;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
