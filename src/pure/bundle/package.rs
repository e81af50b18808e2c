//! The OCI index that packages a bundle together with the images that are there.

use std::collections::BTreeMap;

use super::Sealed;
use crate::pure::name::ManifestDigest;
use crate::pure::oci::manifest::{encode_index, parse_index};
use crate::pure::oci::{Link, ManifestError, media};

/// An image that goes with a bundle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Embedded {
    /// The digest that the bundle has for it: of the manifest, or of an index that lists it.
    pub pinned: ManifestDigest,
    /// Its manifest for the host's platform.
    pub manifest: Link,
}

/// What a store's `index.json` points to for a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The entry: the index below, or the system manifest itself.
    pub root: Link,
    /// The bytes of the index, if there is one.
    pub index: Option<Vec<u8>>,
}

impl Sealed {
    /// Packages the bundle with images that a store already has whole. Each is annotated with the digest that the bundle has for it
    /// ([`media::PINNED`]), because that may be the digest of an index, which is not in the package: a store must have all that its
    /// entries lead to, and the other platforms are not there.
    ///
    /// The bundle's digest does not depend on it. Without images there is nothing to package, and the entry is the system manifest
    /// itself: that is what the most tools can read (`docs/format/store.md`).
    ///
    /// # Errors
    /// [`ManifestError::Encode`] if a size is beyond what JSON's readers agree on.
    pub fn package_index(&self, present: &[Embedded]) -> Result<Package, ManifestError> {
        let mut system = Link::to(media::MANIFEST, &self.manifest);
        system.artifact_type = Some(media::SYSTEM.to_owned());
        if present.is_empty() {
            return Ok(Package {
                root: system,
                index: None,
            });
        }
        let mut images: Vec<&Embedded> = present.iter().collect();
        images.sort();
        images.dedup();
        let mut manifests = vec![system.descriptor(&BTreeMap::new())?];
        for Embedded { pinned, manifest } in images {
            let pinned = (media::PINNED.to_owned(), pinned.to_string());
            manifests.push(manifest.descriptor(&BTreeMap::from([pinned]))?);
        }
        let index = encode_index(Some(media::SYSTEM), manifests)?;
        let mut root = Link::to(media::INDEX, &index);
        root.artifact_type = Some(media::SYSTEM.to_owned());
        Ok(Package {
            root,
            index: Some(index),
        })
    }
}

/// The images of a package, as its index lists them; what has no such annotation is none.
///
/// # Errors
/// [`ManifestError`] if these bytes are no index.
pub fn embedded(index: &[u8]) -> Result<Vec<Embedded>, ManifestError> {
    let index = parse_index(index)?;
    let mut images = Vec::new();
    for descriptor in index.manifests() {
        let annotations = descriptor.annotations().as_ref();
        let pinned =
            annotations.and_then(|annotations| annotations.get(media::PINNED)?.parse().ok());
        if let Some(pinned) = pinned {
            let manifest = Link::try_from(descriptor)?;
            images.push(Embedded { pinned, manifest });
        }
    }
    Ok(images)
}
