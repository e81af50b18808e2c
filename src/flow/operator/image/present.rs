//! Whether a store has an image whole.

use super::contents::ContentsError;
use crate::edge::store::Store;
use crate::pure::name::{Arch, ManifestDigest};
use crate::pure::oci::manifest::{children, media_type, platform};
use crate::pure::oci::{Link, media};

/// The manifest of an image for one architecture, if the store has it with all that it needs; their sizes are looked at, not their
/// contents. `digest` is of the manifest itself, or of an index that has it.
///
/// # Errors
/// [`ContentsError`] if what is there cannot be understood.
pub fn present(
    store: &dyn Store,
    digest: ManifestDigest,
    arch: Arch,
) -> Result<Option<Link>, ContentsError> {
    let Some(size) = store.size(digest.blob())? else {
        return Ok(None);
    };
    let bytes = store.read(digest.blob())?;
    let mut link = Link {
        media_type: media_type(&bytes)?,
        digest: digest.blob(),
        size,
        artifact_type: None,
    };
    let mut bytes = bytes;
    if matches!(link.media_type.as_str(), media::INDEX | media::DOCKER_INDEX) {
        let Some(chosen) = platform(&bytes, arch)? else {
            return Ok(None);
        };
        if !store.has(chosen.digest, chosen.size)? {
            return Ok(None);
        }
        bytes = store.read(chosen.digest)?;
        link = chosen;
    }
    for child in children(&link.media_type, &bytes)? {
        if !store.has(child.digest, child.size)? {
            return Ok(None);
        }
    }
    Ok(Some(link))
}
