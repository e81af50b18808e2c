//! Manifests of images, and of documents about them.

use std::collections::BTreeMap;

use oci_spec::image::{Descriptor, ImageManifestBuilder, MediaType};

use super::plan::Step;
use crate::pure::name::ManifestDigest;
use crate::pure::oci::{Link, ManifestError, canonical, media};

/// A layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Of [`media::LAYER`].
    pub link: Link,
    /// For people.
    pub title: String,
    /// [`media::LAYER_KEY`].
    pub key: String,
    /// [`media::LAYER_VERSION`].
    pub version: Option<String>,
}

impl Layer {
    /// What a step of a plan came to.
    pub fn of(step: &Step, link: Link) -> Self {
        Self {
            link,
            title: step.title(),
            key: step.key(),
            version: match step {
                Step::One(item) => Some(item.version().to_owned()),
                Step::Skeleton | Step::Shared(_) | Step::Own => None,
            },
        }
    }

    fn descriptor(&self) -> Result<Descriptor, ManifestError> {
        let mut annotations = BTreeMap::from([(media::LAYER_KEY.to_owned(), self.key.clone())]);
        if let Some(version) = &self.version {
            annotations.insert(media::LAYER_VERSION.to_owned(), version.clone());
        }
        self.link.descriptor(&annotations)
    }
}

fn encode(
    artifact_type: Option<&str>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    subject: Option<Descriptor>,
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<u8>, ManifestError> {
    let mut manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(media::MANIFEST)
        .config(config)
        .layers(layers)
        .build()?;
    manifest.set_artifact_type(artifact_type.map(MediaType::from));
    manifest.set_subject(subject);
    if !annotations.is_empty() {
        manifest.set_annotations(Some(annotations.clone().into_iter().collect()));
    }
    Ok(canonical::to_vec(&manifest)?)
}

/// The manifest of an image (OCI image specification 1.1, "Image Manifest"), canonical.
///
/// # Errors
/// [`ManifestError`] if a size is beyond what readers of JSON agree on.
pub fn image(
    config: &Link,
    layers: &[Layer],
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<u8>, ManifestError> {
    let layers = layers
        .iter()
        .map(Layer::descriptor)
        .collect::<Result<_, _>>()?;
    let config = config.descriptor(&BTreeMap::new())?;
    encode(None, config, layers, None, annotations)
}

/// A document about an image: an artifact with the image as its subject (OCI image specification 1.1, "Guidelines for Artifact Usage").
///
/// # Errors
/// As [`image`].
pub fn referrer(
    artifact_type: &str,
    document: &Link,
    title: &str,
    subject: &Link,
) -> Result<Vec<u8>, ManifestError> {
    let none = BTreeMap::new();
    let title = BTreeMap::from([(media::TITLE.to_owned(), title.to_owned())]);
    encode(
        Some(artifact_type),
        Link::to(media::EMPTY, media::EMPTY_BYTES).descriptor(&none)?,
        vec![document.descriptor(&title)?],
        Some(subject.descriptor(&none)?),
        &none,
    )
}

/// The link to an image's manifest.
pub fn link(digest: ManifestDigest, size: u64) -> Link {
    Link {
        media_type: media::MANIFEST.to_owned(),
        digest: digest.blob(),
        size,
        artifact_type: None,
    }
}
