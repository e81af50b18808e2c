//! The OCI index that packages a bundle together with the images that are there.

use std::collections::BTreeMap;

use super::Sealed;
use crate::pure::oci::manifest::encode_index;
use crate::pure::oci::{Link, ManifestError, media};

/// What a store's `index.json` points to for a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The entry: the index below, or the system manifest itself.
    pub root: Link,
    /// The bytes of the index, if there is one.
    pub index: Option<Vec<u8>>,
}

impl Sealed {
    /// Packages the bundle with images that a store already has (whole, by their manifest or index).
    ///
    /// The bundle's digest does not depend on it. Without images there is nothing to package, and the entry is the system manifest
    /// itself: that is what the most tools can read (`docs/format/store.md`).
    ///
    /// # Errors
    /// [`ManifestError::Encode`] if a size is beyond what JSON's readers agree on.
    pub fn package_index(&self, present: &[Link]) -> Result<Package, ManifestError> {
        let mut system = Link::to(media::MANIFEST, &self.manifest);
        system.artifact_type = Some(media::SYSTEM.to_owned());
        if present.is_empty() {
            return Ok(Package {
                root: system,
                index: None,
            });
        }
        let mut images: Vec<&Link> = present.iter().collect();
        images.sort_by_key(|image| image.digest);
        images.dedup_by_key(|image| image.digest);
        let manifests = std::iter::once(&system)
            .chain(images)
            .map(|link| link.descriptor(&BTreeMap::new()))
            .collect::<Result<_, _>>()?;
        let index = encode_index(Some(media::SYSTEM), manifests)?;
        let mut root = Link::to(media::INDEX, &index);
        root.artifact_type = Some(media::SYSTEM.to_owned());
        Ok(Package {
            root,
            index: Some(index),
        })
    }
}
