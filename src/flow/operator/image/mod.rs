//! Images: built from packages, looked for in a store, looked into, compared.

pub mod compress;
pub mod contents;
pub mod layers;
pub mod present;
