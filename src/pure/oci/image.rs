//! An image as its manifest and its config describe it.

use oci_spec::image::ImageConfiguration;

use super::manifest::{ManifestError, parse_manifest};
use super::{Link, media};

/// What an image is made of.
#[derive(Clone, Debug)]
pub struct Image {
    pub config: Link,
    pub layers: Vec<Layer>,
    pub runs: ImageConfiguration,
}

#[derive(Clone, Debug)]
pub struct Layer {
    pub link: Link,
    /// What made it, as the config's history says.
    pub created_by: Option<String>,
}

/// The config's link: what has to be read before [`read`].
///
/// # Errors
/// [`ManifestError`].
pub fn config_of(manifest: &[u8]) -> Result<Link, ManifestError> {
    Link::try_from(parse_manifest(manifest)?.config())
}

/// Reads an image (OCI image specification, "Image Manifest" and "Image Configuration").
///
/// # Errors
/// [`ManifestError::Parse`] if either is not what it should be.
pub fn read(manifest: &[u8], config: &[u8]) -> Result<Image, ManifestError> {
    let manifest = parse_manifest(manifest)?;
    let runs: ImageConfiguration =
        serde_json::from_slice(config).map_err(|source| ManifestError::Parse {
            what: "image config",
            source,
        })?;
    // Entries of the history that made no layer have no layer.
    let mut history = runs
        .history()
        .iter()
        .flatten()
        .filter(|entry| entry.empty_layer() != Some(true))
        .map(|entry| entry.created_by().clone());
    let layers = manifest
        .layers()
        .iter()
        .map(|descriptor| {
            Ok(Layer {
                link: Link::try_from(descriptor)?,
                created_by: history.next().flatten(),
            })
        })
        .collect::<Result<_, ManifestError>>()?;
    Ok(Image {
        config: Link::try_from(manifest.config())?,
        layers,
        runs,
    })
}

/// How a layer is compressed, by its media type; nothing if it is no layer that forge can read.
pub fn compression(media_type: &str) -> Option<Compression> {
    match media_type {
        media::LAYER => Some(Compression::None),
        media::LAYER_GZIP | media::DOCKER_LAYER => Some(Compression::Gzip),
        media::LAYER_ZSTD => Some(Compression::Zstd),
        _ => None,
    }
}

/// How a layer is compressed (OCI image specification, "Layer Media Types").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}
