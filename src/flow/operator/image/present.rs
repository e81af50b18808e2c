//! Whether a store has an image whole.

use super::contents::{ContentsError, describe};
use crate::edge::store::Store;
use crate::pure::bundle::embedded;
use crate::pure::name::{Arch, ManifestDigest};
use crate::pure::oci::manifest::{children, is_index};
use crate::pure::oci::received::{self, ReceivedError};
use crate::pure::oci::{Link, media};

/// The manifest of an image for one architecture, if the store has it with all that it needs; their sizes are looked at, not their
/// contents. `digest` is of the manifest itself, or of an index that has it. The index itself may be gone, if the image is embedded in
/// a bundle of that architecture: the bundle's package says which index it is from.
///
/// # Errors
/// [`ContentsError`] if what is there cannot be understood.
pub fn present(
    store: &dyn Store,
    digest: ManifestDigest,
    arch: Arch,
) -> Result<Option<Link>, ContentsError> {
    if store.size(digest.blob())?.is_none() {
        for manifest in packaged(store, digest)? {
            if is_whole(store, &manifest)? && is_for(store, &manifest, arch)? {
                return Ok(Some(manifest));
            }
        }
        return Ok(None);
    }
    let bytes = store.read(digest.blob())?;
    let mut link = received::link(None, &bytes)?;
    if is_index(&link.media_type) {
        link = match received::choose(&bytes, arch) {
            Ok(chosen) => chosen,
            Err(ReceivedError::Platform { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
    }
    Ok(is_whole(store, &link)?.then_some(link))
}

/// The manifests in the packages of bundles that are from this index.
fn packaged(store: &dyn Store, index: ManifestDigest) -> Result<Vec<Link>, ContentsError> {
    let mut found = Vec::new();
    for root in store.refs()?.into_values() {
        if root.media_type != media::INDEX {
            continue;
        }
        let images = embedded(&store.read(root.digest)?)?.into_iter();
        let from = images.filter(|image| image.pinned == index);
        found.extend(from.map(|image| image.manifest));
    }
    Ok(found)
}

fn is_whole(store: &dyn Store, manifest: &Link) -> Result<bool, ContentsError> {
    if !store.has(manifest.digest, manifest.size)? {
        return Ok(false);
    }
    for child in children(&manifest.media_type, &store.read(manifest.digest)?)? {
        if !store.has(child.digest, child.size)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_for(store: &dyn Store, manifest: &Link, arch: Arch) -> Result<bool, ContentsError> {
    let runs = describe(store, manifest)?.runs;
    Ok(runs.architecture().to_string() == arch.as_str())
}
