use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::edge::disk::{DiskError, LockError};
use crate::pure::name::BlobDigest;
use crate::pure::oci::{ManifestError, RefName};

/// What can go wrong with a store, and with what in it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{} is not a store: {why}; name another folder, or an empty one", path.display())]
    NotAStore { path: PathBuf, why: &'static str },
    #[error(
        "the store {store} is used by another process, which did not end within {} s; wait for it, and try again",
        waited.as_secs()
    )]
    Busy { store: String, waited: Duration },
    #[error(
        "{store}: the list of entries cannot be read: {source}; remove the folder and build again"
    )]
    Index {
        store: String,
        source: ManifestError,
    },
    #[error("{location} is missing")]
    Missing {
        digest: BlobDigest,
        location: String,
    },
    #[error(
        "{location} is damaged: its bytes have the digest {found}, and should have {expected}; `forge verify --repair` removes all that is \
         damaged, and then this fetches or makes it anew"
    )]
    Corrupt {
        expected: BlobDigest,
        found: BlobDigest,
        location: String,
    },
    #[error("{location} cannot be read: {source}")]
    Read {
        digest: BlobDigest,
        location: String,
        source: io::Error,
    },
    /// The caller's mistake, or a source that sent other bytes than it had announced.
    #[error(
        "what was to be stored as {expected} ({expected_size} bytes) is something else: {found} ({found_size} bytes{})",
        if *more { " and more" } else { "" }
    )]
    NotAsNamed {
        expected: BlobDigest,
        expected_size: u64,
        found: BlobDigest,
        found_size: u64,
        more: bool,
    },
    #[error("the content of {digest} cannot be read from where it comes from: {source}")]
    Source {
        digest: BlobDigest,
        source: io::Error,
    },
    #[error("what was to be stored could not be made: {0}")]
    Made(#[source] io::Error),
    #[error("`{name}` cannot point to {digest}, which is not in the store")]
    Dangling { name: RefName, digest: BlobDigest },
    #[error(
        "what `{entry}` needs cannot be told, because {digest} cannot be read: {source}; nothing was removed. Build that host again, or \
         let go of the entry"
    )]
    Unreachable {
        entry: String,
        digest: BlobDigest,
        source: Box<StoreError>,
    },
    #[error("{digest} cannot be understood: {source}")]
    Manifest {
        digest: BlobDigest,
        source: ManifestError,
    },
    #[error("a manifest cannot be written: {0}")]
    Encode(#[from] ManifestError),
}

impl StoreError {
    pub(super) fn from_lock(store: &str, error: LockError) -> Self {
        match error {
            LockError::Disk(error) => Self::Disk(error),
            LockError::Busy { waited, .. } => Self::Busy {
                store: store.to_owned(),
                waited,
            },
        }
    }
}
