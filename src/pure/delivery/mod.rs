//! What must travel, given what the host has.
//!
//! A blob travels as a **parcel**: a file of its own that is made before anything is sent (the blob as it is, compressed with zstd, or as
//! a zstd patch against a blob that both sides have), so that what the plan says is what is sent, to the byte, and a parcel
//! that was cut off goes on where it stopped.
//!
//! Invariant: what arrives is judged by the digest of the blob alone; a parcel that decodes to anything else is thrown away.

mod choose;
mod segment;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use choose::{Choice, Piece, choose, pieces};
pub use segment::{BASE_WINDOW, SEGMENT, Segment, segments};

use crate::pure::name::BlobDigest;

/// How the bytes of a parcel become those of the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Encoding {
    Identity,
    Zstd,
    /// Against the blob `base`, in segments (`docs/format/parcel.md`).
    Patch {
        base: BlobDigest,
    },
}

/// log2 of the largest window that a frame of zstd may ask of the host's memory: that of one segment.
pub const LARGEST_WINDOW: u32 = SEGMENT.ilog2();

/// A blob on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parcel {
    pub blob: BlobDigest,
    /// Of the blob.
    pub size: u64,
    pub encoding: Encoding,
    /// Of the parcel's own bytes: names what a resumed transfer goes on with.
    pub digest: BlobDigest,
    /// The parcel's own bytes: what travels.
    pub bytes: u64,
}

/// What a host says about blobs that it was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holding {
    /// Of those that were asked for: what it does not have.
    pub missing: BTreeSet<BlobDigest>,
    /// Layers that it has, by the key of what they hold (`deb/libc6`; annotation `forge.layer.key`): what patches may start from.
    pub layers: BTreeMap<String, BTreeSet<BlobDigest>>,
    /// Parcels of which a part has arrived: digest of the parcel → bytes.
    pub partial: BTreeMap<BlobDigest, u64>,
}
