//! Parcels: blobs packed for the way, and unpacked again (`docs/format/parcel.md`).
//!
//! Owns: the files of parcels, beside the laptop's store until a deploy is over, and on the host while they arrive.
//!
//! Invariants: the same blob, base and program make the same parcel, so that a transfer that was cut off goes on where it stopped; what is
//! unpacked is believed only by the digest of the blob; unpacking takes less than [`MOST_MEMORY`], whatever the parcel says.
//!
//! Why not `zstd --patch-from` of whole layers: unpacking such a patch takes as much memory as the base has bytes, and more.

mod decode;
mod encode;
mod partial;
mod wire;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

use std::io;

pub use decode::decode;
pub use encode::encode;
pub use partial::Partials;
pub use wire::{Made, Wire};

use crate::edge::disk::{DiskError, LockError};
use crate::edge::store::StoreError;
use crate::pure::delivery::{BASE_WINDOW, SEGMENT};
use crate::pure::name::BlobDigest;

/// What unpacking may take: the window of the base, one segment as zstd makes it and one to hand out, and what zstd takes for itself.
pub const MOST_MEMORY: u64 = BASE_WINDOW + 2 * SEGMENT + (2 << 20);

/// Before each frame of a patch: where its window in the base begins (eight bytes), the window's size (four), the frame's size (four).
const HEAD: usize = 16;

/// Why a parcel could not be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum ParcelError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{blob} cannot be packed: {source}")]
    Pack { blob: BlobDigest, source: io::Error },
}
