//! Manifests, indexes and the descriptors in them.
//!
//! The fields are those of `oci-spec`; the bytes come from [`canonical`](super::canonical).

use std::collections::BTreeMap;

use oci_spec::OciSpecError;
use oci_spec::image::{
    Descriptor, Digest, ImageIndex, ImageIndexBuilder, ImageManifest, ImageManifestBuilder,
    MediaType,
};
use serde::de::DeserializeOwned;

use super::canonical::{self, CanonicalError};
use super::media;
use crate::pure::name::BlobDigest;

/// Why bytes are no manifest or index, or why one cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The bytes are no JSON, or lack a field, or have one of another type.
    #[error("this is no {what}: {}", harmless(&source.to_string()))]
    Parse {
        what: &'static str,
        source: serde_json::Error,
    },
    /// The specification wants 2 (OCI image specification, "Image Manifest Property Descriptions").
    #[error("this {what} has schemaVersion {found}; 2 is wanted")]
    Schema { what: &'static str, found: u32 },
    /// forge names blobs by sha256 alone.
    #[error("the descriptor's digest `{0}` is not sha256")]
    Algorithm(String),
    #[error("the manifest cannot be put together: {0}")]
    Build(#[from] OciSpecError),
    #[error(transparent)]
    Encode(#[from] CanonicalError),
}

/// A text from outside as it may be shown: control characters, and those that turn the direction of writing, are written out.
pub fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '"' | '\'' | '\\' => shown.push(char),
            char => shown.extend(char.escape_debug()),
        }
    }
    shown
}

/// What a descriptor says of a blob: what it is, its name and its size.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link {
    pub media_type: String,
    pub digest: BlobDigest,
    pub size: u64,
    pub artifact_type: Option<String>,
}

impl Link {
    /// The link to these bytes.
    pub fn to(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: BlobDigest::of(bytes),
            size: bytes.len() as u64,
            artifact_type: None,
        }
    }

    /// True if the blob is known to refer to other blobs, so that [`children`] has something to say of it.
    pub fn has_children(&self) -> bool {
        is_index(&self.media_type) || is_manifest(&self.media_type)
    }

    /// This link as a descriptor of the image specification, with these annotations.
    ///
    /// # Errors
    /// [`ManifestError::Build`] if `oci-spec` refuses the digest, which it does not for a [`BlobDigest`].
    pub fn descriptor(
        &self,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Descriptor, ManifestError> {
        let digest: Digest = self.digest.to_string().parse()?;
        let mut descriptor =
            Descriptor::new(MediaType::from(self.media_type.as_str()), self.size, digest);
        descriptor.set_artifact_type(self.artifact_type.as_deref().map(MediaType::from));
        if !annotations.is_empty() {
            descriptor.set_annotations(Some(annotations.clone().into_iter().collect()));
        }
        Ok(descriptor)
    }
}

impl TryFrom<&Descriptor> for Link {
    type Error = ManifestError;

    fn try_from(descriptor: &Descriptor) -> Result<Self, ManifestError> {
        let digest = descriptor.digest().to_string();
        Ok(Self {
            media_type: descriptor.media_type().to_string(),
            digest: digest
                .parse()
                .map_err(|_| ManifestError::Algorithm(digest))?,
            size: descriptor.size(),
            artifact_type: descriptor.artifact_type().as_ref().map(ToString::to_string),
        })
    }
}

/// True for the media types of an index.
pub fn is_index(media_type: &str) -> bool {
    matches!(media_type, media::INDEX | media::DOCKER_INDEX)
}

fn is_manifest(media_type: &str) -> bool {
    matches!(media_type, media::MANIFEST | media::DOCKER_MANIFEST)
}

fn parse<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, ManifestError> {
    serde_json::from_slice(bytes).map_err(|source| ManifestError::Parse { what, source })
}

/// Reads an image manifest.
///
/// # Errors
/// [`ManifestError::Parse`] and [`ManifestError::Schema`]. Fields that the specification does not know are not seen.
pub fn parse_manifest(bytes: &[u8]) -> Result<ImageManifest, ManifestError> {
    const WHAT: &str = "image manifest";
    let manifest: ImageManifest = parse(WHAT, bytes)?;
    match manifest.schema_version() {
        2 => Ok(manifest),
        found => Err(ManifestError::Schema { what: WHAT, found }),
    }
}

/// Reads an image index, which `index.json` is too.
///
/// # Errors
/// As [`parse_manifest`].
pub fn parse_index(bytes: &[u8]) -> Result<ImageIndex, ManifestError> {
    const WHAT: &str = "image index";
    let index: ImageIndex = parse(WHAT, bytes)?;
    match index.schema_version() {
        2 => Ok(index),
        found => Err(ManifestError::Schema { what: WHAT, found }),
    }
}

/// The blobs that a blob of this media type refers to: config and layers of a manifest, manifests of an index, nothing for
/// everything else. A `subject` is no child: a manifest is complete without it.
///
/// # Errors
/// [`ManifestError`] if the bytes are not what the media type says: then nobody can know what they refer to.
pub fn children(media_type: &str, bytes: &[u8]) -> Result<Vec<Link>, ManifestError> {
    if is_index(media_type) {
        parse_index(bytes)?
            .manifests()
            .iter()
            .map(Link::try_from)
            .collect()
    } else if is_manifest(media_type) {
        let manifest = parse_manifest(bytes)?;
        std::iter::once(manifest.config())
            .chain(manifest.layers())
            .map(Link::try_from)
            .collect()
    } else {
        Ok(Vec::new())
    }
}

/// The canonical bytes of an artifact's manifest.
///
/// # Errors
/// [`ManifestError::Encode`] if a size is beyond what JSON's readers agree on.
pub fn encode_artifact(
    artifact_type: &str,
    config: Descriptor,
    layers: Vec<Descriptor>,
) -> Result<Vec<u8>, ManifestError> {
    let manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(media::MANIFEST)
        .artifact_type(artifact_type)
        .config(config)
        .layers(layers)
        .build()?;
    Ok(canonical::to_vec(&manifest)?)
}

/// The canonical bytes of an index.
///
/// # Errors
/// As [`encode_artifact`].
pub fn encode_index(
    artifact_type: Option<&str>,
    manifests: Vec<Descriptor>,
) -> Result<Vec<u8>, ManifestError> {
    let mut index = ImageIndexBuilder::default()
        .schema_version(2u32)
        .media_type(media::INDEX)
        .manifests(manifests)
        .build()?;
    index.set_artifact_type(artifact_type.map(MediaType::from));
    Ok(canonical::to_vec(&index)?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn link(text: &str) -> Link {
        Link::to("text/plain", text.as_bytes())
    }

    #[test]
    fn says_what_a_manifest_and_an_index_refer_to() {
        let none = BTreeMap::new();
        let descriptor = |text| link(text).descriptor(&none).unwrap();
        let manifest =
            encode_artifact("a/b", descriptor("config"), vec![descriptor("layer")]).unwrap();
        assert_eq!(
            children(media::MANIFEST, &manifest).unwrap(),
            [link("config"), link("layer")]
        );
        assert_eq!(
            children(media::DOCKER_MANIFEST, &manifest).unwrap().len(),
            2
        );
        let mut root = Link::to(media::MANIFEST, &manifest);
        root.artifact_type = Some("a/b".to_owned());
        let index = encode_index(None, vec![root.descriptor(&none).unwrap()]).unwrap();
        assert_eq!(children(media::INDEX, &index).unwrap(), [root]);
        assert_eq!(children("text/plain", b"anything").unwrap(), []);
    }

    #[test]
    fn refuses_what_it_cannot_understand() {
        let error = |bytes: &[u8]| children(media::MANIFEST, bytes).unwrap_err();
        assert!(matches!(error(b""), ManifestError::Parse { .. }));
        assert!(matches!(error(b"{}"), ManifestError::Parse { .. }));
        let config = format!(
            r#"{{"mediaType":"a/b","size":1,"digest":"sha512:{}"}}"#,
            "0".repeat(128)
        );
        let manifest = format!(r#"{{"schemaVersion":2,"layers":[],"config":{config}}}"#);
        assert!(matches!(
            error(manifest.as_bytes()),
            ManifestError::Algorithm(_)
        ));
        let manifest = manifest.replace(":2,", ":1,");
        assert!(matches!(
            error(manifest.as_bytes()),
            ManifestError::Schema { found: 1, .. }
        ));
        let outside = manifest.replace("sha512:", "sha256:../");
        assert!(matches!(
            error(outside.as_bytes()),
            ManifestError::Parse { .. }
        ));
    }
}
