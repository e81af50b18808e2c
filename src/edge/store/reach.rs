//! What the entries of a store need, found by walking from manifest to manifest.

use std::collections::{BTreeMap, BTreeSet};

use super::{Store, StoreError};
use crate::pure::name::BlobDigest;
use crate::pure::oci::layout::Entry;
use crate::pure::oci::{Link, manifest};

/// Above this, a "manifest" is not read: the largest that registries take is 4 MiB.
const LARGEST_MANIFEST: u64 = 64 << 20;

/// A blob that entries need.
#[derive(Debug, Default)]
pub(super) struct Need {
    /// The sizes that descriptors say; more than one only if one of them is wrong.
    pub(super) sizes: BTreeSet<u64>,
    pub(super) by: BTreeSet<String>,
}

/// A manifest that could not be followed.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) entry: String,
    pub(super) digest: BlobDigest,
    pub(super) error: StoreError,
}

/// Everything that these entries need, themselves included, and the manifests that could not be followed.
pub(super) fn walk(
    store: &dyn Store,
    entries: &[Entry],
) -> (BTreeMap<BlobDigest, Need>, Vec<Broken>) {
    let mut needs: BTreeMap<BlobDigest, Need> = BTreeMap::new();
    let mut broken = Vec::new();
    // What a blob refers to depends on its media type too, which two descriptors may say differently.
    let mut known: BTreeMap<(BlobDigest, String), Vec<Link>> = BTreeMap::new();
    for entry in entries {
        let label = entry.label();
        let mut seen = BTreeSet::new();
        let mut todo = vec![entry.link.clone()];
        while let Some(link) = todo.pop() {
            let need = needs.entry(link.digest).or_default();
            need.sizes.insert(link.size);
            need.by.insert(label.clone());
            let key = (link.digest, link.media_type.clone());
            if !link.has_children() || !seen.insert(key.clone()) {
                continue;
            }
            if let Some(children) = known.get(&key) {
                todo.extend_from_slice(children);
                continue;
            }
            match children_of(store, &link) {
                Ok(children) => {
                    todo.extend_from_slice(&children);
                    known.insert(key, children);
                }
                Err(error) => broken.push(Broken {
                    entry: label.clone(),
                    digest: link.digest,
                    error,
                }),
            }
        }
    }
    (needs, broken)
}

/// The blobs that a blob refers to.
pub(super) fn children_of(store: &dyn Store, link: &Link) -> Result<Vec<Link>, StoreError> {
    let blob = store.open(link.digest)?;
    if blob.size() > LARGEST_MANIFEST {
        return Err(StoreError::Read {
            digest: link.digest,
            location: store.location(link.digest),
            source: std::io::Error::other("it is too large for a manifest"),
        });
    }
    manifest::children(&link.media_type, &blob.read_whole()?).map_err(|source| {
        StoreError::Manifest {
            digest: link.digest,
            source,
        }
    })
}
