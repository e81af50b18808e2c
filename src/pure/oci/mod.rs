//! The formats of the Open Container Initiative, as forge writes and reads them.
//!
//! Owns: the canonical JSON encoder, manifests and indexes, reference names, references of images in registries, and the deterministic tar writer.
//!
//! Invariant: bytes that get a digest come from [`canonical`] alone. `oci-spec` says what the fields are and checks what is
//! read; its own `to_string` is never used, because it prints maps in hash order, and a digest would differ from run to run.

pub mod canonical;
pub mod docker;
mod encoder;
pub mod image;
pub mod layout;
pub mod manifest;
pub mod media;
pub mod received;
mod ref_name;
pub mod reference;
pub mod rewrite;
pub mod tar;

pub use manifest::{Link, ManifestError};
pub use ref_name::{RefName, RefNameError};
pub use reference::{Reference, ReferenceError, Repository};
