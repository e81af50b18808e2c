//! What the host's store has, found by reading its manifests.

use std::collections::{BTreeMap, BTreeSet};

use crate::edge::store::{Store, StoreError};
use crate::pure::name::{BlobDigest, ManifestDigest};
use crate::pure::oci::{Link, manifest, media, received};

/// Above this, a manifest is not read into memory.
const LARGEST_MANIFEST: u64 = 16 << 20;

/// The images that entries of the store have: the digest that a bundle has for it → its manifest. An index that is damaged is passed over.
///
/// # Errors
/// [`StoreError`] if the entries cannot be read.
pub(super) fn pinned(store: &dyn Store) -> Result<BTreeMap<ManifestDigest, Link>, StoreError> {
    let mut images = BTreeMap::new();
    for entry in store.entries()? {
        if !manifest::is_index(&entry.link.media_type) {
            continue;
        }
        let Some(index) =
            small(store, entry.link.digest).and_then(|bytes| manifest::parse_index(&bytes).ok())
        else {
            continue;
        };
        for descriptor in index.manifests() {
            let pinned = descriptor
                .annotations()
                .as_ref()
                .and_then(|annotations| annotations.get(media::PINNED)?.parse().ok());
            if let (Some(pinned), Ok(link)) = (pinned, Link::try_from(descriptor)) {
                images.insert(pinned, link);
            }
        }
    }
    Ok(images)
}

fn small(store: &dyn Store, digest: BlobDigest) -> Option<Vec<u8>> {
    let blob = store.open(digest).ok()?;
    (blob.size() <= LARGEST_MANIFEST)
        .then(|| blob.read_whole().ok())
        .flatten()
}

/// The link to an image's manifest, if the store has the image whole: the manifest, its config and its layers, by their sizes.
///
/// # Errors
/// [`StoreError`] if the store cannot be asked.
pub(super) fn whole(
    store: &dyn Store,
    manifest: ManifestDigest,
) -> Result<Option<Link>, StoreError> {
    let Some(bytes) = small(store, manifest.blob()) else {
        return Ok(None);
    };
    let (Ok(link), Ok(blobs)) = (received::link(None, &bytes), received::blobs(&bytes)) else {
        return Ok(None);
    };
    for blob in blobs {
        if !store.has(blob.digest, blob.size)? {
            return Ok(None);
        }
    }
    Ok(Some(link))
}

/// Everything that these links lead to, themselves included.
///
/// # Errors
/// [`StoreError`] if a manifest cannot be read: then nobody knows what it leads to.
pub(super) fn reachable(
    store: &dyn Store,
    links: impl IntoIterator<Item = Link>,
) -> Result<BTreeSet<BlobDigest>, StoreError> {
    let mut reached = BTreeSet::new();
    let mut todo: Vec<Link> = links.into_iter().collect();
    while let Some(link) = todo.pop() {
        if reached.insert(link.digest) && link.has_children() {
            let bytes = store.read(link.digest)?;
            let children = manifest::children(&link.media_type, &bytes).map_err(|source| {
                StoreError::Manifest {
                    digest: link.digest,
                    source,
                }
            })?;
            todo.extend(children);
        }
    }
    Ok(reached)
}
