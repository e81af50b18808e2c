//! How images come about.

pub mod assemble;
pub mod build;
pub mod sbom;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
