//! Bills of materials of images: made with an image, kept beside it, and found again.

use std::collections::BTreeMap;

use super::build::BuildError;
use crate::edge::store::{Store, Writing};
use crate::pure::images::manifest::{EMPTY, referrer};
use crate::pure::images::sbom::{Subject, created, encode};
use crate::pure::name::{Arch, ImageName, ManifestDigest};
use crate::pure::oci::manifest::parse_manifest;
use crate::pure::oci::{Link, RefName, media};
use crate::pure::pins::{PackagePin, Pin, Pins, WheelPin};

/// A document with the artifact that carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sbom {
    pub document: Vec<u8>,
    manifest: Vec<u8>,
}

/// Under which name the store keeps the document of an image.
///
/// # Errors
/// [`BuildError::Name`].
pub fn ref_name(project: &str, image: &ImageName, arch: Arch) -> Result<RefName, BuildError> {
    let name = format!("{project}/sboms/{image}/{arch}");
    name.parse().map_err(|_| BuildError::Name(name))
}

impl Sbom {
    /// The document about an image.
    ///
    /// # Errors
    /// [`BuildError::Manifest`].
    pub fn of(subject: &Subject<'_>, pins: &Pins, image: &Link) -> Result<Self, BuildError> {
        let document = encode(subject, &created(subject.packages, pins))?;
        let link = Link::to(media::SPDX, &document);
        let title = format!("{}-{}.spdx.json", subject.image, subject.arch);
        let manifest = referrer(media::SPDX, &link, &title, image)?;
        Ok(Self { document, manifest })
    }

    /// The link to the artifact.
    pub fn link(&self) -> Link {
        let mut link = Link::to(media::MANIFEST, &self.manifest);
        link.artifact_type = Some(media::SPDX.to_owned());
        link
    }

    /// Puts it into a store.
    ///
    /// # Errors
    /// [`BuildError::Store`].
    pub(super) fn put(&self, writer: &mut dyn Writing) -> Result<(), BuildError> {
        for bytes in [EMPTY, &self.document, &self.manifest] {
            let link = Link::to("", bytes);
            writer.put(link.digest, link.size, &mut &*bytes)?;
        }
        Ok(())
    }
}

/// The document that the store keeps of an image; nothing if it has none.
///
/// # Errors
/// [`BuildError::Store`] if it is damaged.
pub fn find(
    store: &dyn Store,
    project: &str,
    image: &ImageName,
    arch: Arch,
) -> Result<Option<Vec<u8>>, BuildError> {
    let Some(link) = store.refs()?.remove(&ref_name(project, image, arch)?) else {
        return Ok(None);
    };
    let manifest = parse_manifest(&store.read(link.digest)?)?;
    match manifest.layers().first() {
        Some(layer) => Ok(Some(store.read(Link::try_from(layer)?.digest)?)),
        None => Ok(None),
    }
}

/// Packages and wheels of an image with those of the images that it continues, by name.
pub(super) fn parts_of(
    builds: &[(&[PackagePin], &[WheelPin])],
) -> (Vec<PackagePin>, Vec<WheelPin>) {
    let mut packages = BTreeMap::new();
    let mut wheels = BTreeMap::new();
    for (debs, files) in builds {
        packages.extend(debs.iter().map(|pin| (&pin.name, pin)));
        wheels.extend(files.iter().map(|pin| (&pin.name, pin)));
    }
    (
        packages.into_values().cloned().collect(),
        wheels.into_values().cloned().collect(),
    )
}

/// The document about an image that is pinned, from its pin alone: no store is needed. `chain` are the images that it is built of, its
/// base's base first and itself last.
///
/// Of an image of a registry nothing is known but its name and digest, and the document says that.
///
/// # Errors
/// [`BuildError::NotLocked`].
pub fn of_pin(
    pins: &Pins,
    chain: &[&ImageName],
    arch: Arch,
) -> Result<Option<Vec<u8>>, BuildError> {
    let Some(image) = chain.last() else {
        return Ok(None);
    };
    let not_locked = || BuildError::NotLocked {
        image: (*image).clone(),
        arch,
    };
    let digest: ManifestDigest = match pins.all.get(*image) {
        Some(Pin::Registry(pin)) => pin.digest,
        Some(Pin::Recipe(pin)) => pin.builds.get(&arch).ok_or_else(not_locked)?.digest,
        None => return Err(not_locked()),
    };
    let builds: Vec<_> = chain
        .iter()
        .filter_map(|name| match pins.all.get(*name)? {
            Pin::Recipe(pin) => pin.builds.get(&arch),
            Pin::Registry(_) => None,
        })
        .map(|build| (build.packages.as_slice(), build.wheels.as_slice()))
        .collect();
    let (packages, wheels) = parts_of(&builds);
    let subject = Subject {
        image,
        arch,
        digest,
        packages: &packages,
        wheels: &wheels,
    };
    Ok(Some(encode(&subject, &created(&packages, pins))?))
}
