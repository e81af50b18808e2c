//! The sealed thing: the evaluated system and everything it refers to, under one digest.
//!
//! Owns: the format of the system manifest and of its config (`docs/format/bundle.md`), in both directions.
//!
//! Invariant: the bundle digest is the digest of the system manifest's bytes, which are canonical, so that equal drafts have equal
//! digests; and a bundle that was opened, sealed again, has the digest it had. Whether images are embedded is not in it.
//!
//! A bundle's way: [`Draft`] → [`Sealed`] → (store, wire) → [`Opened`]. The last two hold bytes that match their digests.

pub mod diff;
mod from_draft;
pub mod from_files;
mod from_store;
mod package;
mod part;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

pub use from_draft::{Draft, SealError, Sealed};
pub use from_store::{OpenError, Opened, system_manifest};
pub use package::{Embedded, Package, embedded};
pub use part::{Part, PartKind, Title, TitleError};

use crate::pure::name::{BlobDigest, ImageName, ManifestDigest};

/// An image as the system uses it: where it comes from, and which one it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePin {
    pub name: ImageName,
    /// As in `docker.io/library/postgres`.
    pub repository: String,
    /// What the digest was found by; for people, and for those who move the pin.
    pub tag: String,
    pub digest: ManifestDigest,
}

/// What a bundle needs to be complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure {
    /// The system manifest, its config and its parts, with their sizes: never absent from a store that has the bundle.
    pub blobs: BTreeMap<BlobDigest, u64>,
    /// The images: each may be absent, and be fetched from its registry by whoever needs it.
    pub images: BTreeSet<ManifestDigest>,
}
