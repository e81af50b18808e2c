//! Bills of materials of images: made with an image, kept beside it, and found again.

use std::collections::BTreeMap;

use super::build::{BuildError, locked};
use crate::edge::store::{Store, Writing};
use crate::pure::config::project::Project;
use crate::pure::images::inputs;
use crate::pure::images::manifest::referrer;
use crate::pure::images::sbom::{Subject, created, encode, encode_all};
use crate::pure::name::{Arch, ImageName};
use crate::pure::oci::manifest::parse_manifest;
use crate::pure::oci::{Link, RefName, media};
use crate::pure::pins::{PackagePin, Pins, WheelPin};
use crate::pure::system::System;

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
        for bytes in [media::EMPTY_BYTES, &self.document, &self.manifest] {
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

/// The document about all images of a host, from their pins alone. Of an image of a registry nothing is known but its name and digest,
/// and the document says that.
///
/// # Errors
/// [`BuildError::NotLocked`], [`BuildError::Inputs`].
pub fn of_host(
    project: &Project,
    pins: &Pins,
    system: &System,
    arch: Arch,
) -> Result<Vec<u8>, BuildError> {
    let mut described = Vec::new();
    for (name, image) in &system.images {
        let is_recipe = project
            .images
            .get(name)
            .is_some_and(|image| image.recipe().is_some());
        let mut builds = Vec::new();
        if is_recipe {
            for (part, _) in inputs::chain(project, name)? {
                let build = locked(pins, &part.name, arch)?;
                builds.push((build.packages.as_slice(), build.wheels.as_slice()));
            }
        }
        described.push((name, image.digest, parts_of(&builds)));
    }
    let subjects: Vec<Subject<'_>> = described
        .iter()
        .map(|(image, digest, (packages, wheels))| Subject {
            image,
            arch,
            digest: *digest,
            packages,
            wheels,
        })
        .collect();
    let all: Vec<PackagePin> = described
        .iter()
        .flat_map(|(_, _, (packages, _))| packages.clone())
        .collect();
    let created = created(&all, pins);
    Ok(encode_all(system.host.name.as_str(), &subjects, &created)?)
}
