//! Draft → sealed: the one place where a bundle gets its digest.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::wire::Config;
use super::{Closure, ImagePin, Part, PartKind, Title};
use crate::pure::name::{BlobDigest, BundleDigest, HostName, ImageName};
use crate::pure::oci::canonical::{self, CanonicalError};
use crate::pure::oci::manifest::encode_artifact;
use crate::pure::oci::{Link, ManifestError, media};

/// Everything that goes into a bundle, in any order.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub host: HostName,
    /// The evaluated system. Without floating-point numbers.
    pub system: Value,
    pub parts: Vec<Part>,
    pub images: Vec<ImagePin>,
}

/// Why a draft cannot be sealed. Each is a mistake of the program, not of the project's author.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("two parts of the bundle have the title `{0}`")]
    DuplicateTitle(Title),
    #[error(
        "`{file}` and `{below}` cannot both be parts of the bundle: one is a folder of the other"
    )]
    TitleWithin { file: Title, below: Title },
    #[error("the part `{title}` has the annotation `{key}`, which forge sets itself")]
    ReservedAnnotation { title: Title, key: String },
    #[error("the image `{0}` is pinned twice")]
    DuplicateImage(ImageName),
    /// The system holds a value that has no canonical form.
    #[error("the system cannot be written down: {0}")]
    System(#[source] CanonicalError),
    #[error("the system manifest cannot be written down: {0}")]
    Manifest(#[from] ManifestError),
}

/// A bundle with its digest and all of its bytes.
///
/// Guarantee: each blob's bytes match its digest; the manifest refers to these blobs and to no others.
#[must_use = "a sealed bundle exists nowhere until it is put into a store"]
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    pub(super) digest: BundleDigest,
    pub(super) manifest: Vec<u8>,
    /// Config and parts, each content once; not the manifest.
    pub(super) blobs: BTreeMap<BlobDigest, Vec<u8>>,
    pub(super) closure: Closure,
    host: HostName,
}

impl std::fmt::Debug for Sealed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealed")
            .field("host", &self.host)
            .field("digest", &self.digest)
            .field("blobs", &self.blobs.len())
            .finish()
    }
}

/// A layer of the manifest, without the bytes.
pub(super) struct Layer {
    pub(super) kind: PartKind,
    pub(super) title: Title,
    pub(super) link: Link,
    pub(super) annotations: BTreeMap<String, String>,
}

impl Draft {
    /// Gives the bundle its digest.
    ///
    /// Guarantee: equal drafts (in whatever order their parts and images are) give the same digest and the same bytes.
    ///
    /// # Errors
    /// [`SealError`], and then nothing was made.
    pub fn seal(self) -> Result<Sealed, SealError> {
        let Self {
            host,
            system,
            parts,
            images,
        } = self;

        let mut pins = BTreeMap::new();
        let mut needed = BTreeSet::new();
        for pin in images {
            needed.insert(pin.digest);
            let (name, image) = pin.into();
            if pins.contains_key(&name) {
                return Err(SealError::DuplicateImage(name));
            }
            pins.insert(name, image);
        }
        let config = Config {
            host: host.clone(),
            images: pins,
            system,
        };
        let config = canonical::to_vec(&config).map_err(SealError::System)?;
        let config_link = Link::to(media::SYSTEM_CONFIG, &config);

        let mut blobs = BTreeMap::from([(config_link.digest, config)]);
        let mut layers = Vec::with_capacity(parts.len());
        for part in parts {
            let Part {
                kind,
                title,
                bytes,
                annotations,
            } = part;
            let link = Link::to(kind.media_type(), &bytes);
            blobs.insert(link.digest, bytes);
            layers.push(Layer {
                kind,
                title,
                link,
                annotations,
            });
        }

        let manifest = encode(&config_link, &mut layers)?;
        let digest = BundleDigest::of(&manifest);
        let closure = Closure {
            blobs: blobs
                .iter()
                .map(|(digest, bytes)| (*digest, bytes.len() as u64))
                .chain([(digest.blob(), manifest.len() as u64)])
                .collect(),
            images: needed,
        };
        Ok(Sealed {
            digest,
            manifest,
            blobs,
            closure,
            host,
        })
    }
}

/// The bytes of the system manifest; sorts and checks the layers.
pub(super) fn encode(config: &Link, layers: &mut [Layer]) -> Result<Vec<u8>, SealError> {
    layers.sort_by(|a, b| a.title.cmp(&b.title));
    let mut files: BTreeMap<&str, &Title> = BTreeMap::new();
    for layer in &*layers {
        if files.insert(layer.title.as_str(), &layer.title).is_some() {
            return Err(SealError::DuplicateTitle(layer.title.clone()));
        }
        if layer.annotations.contains_key(media::TITLE) {
            return Err(SealError::ReservedAnnotation {
                title: layer.title.clone(),
                key: media::TITLE.to_owned(),
            });
        }
    }
    for layer in &*layers {
        if let Some(file) = layer.title.folders().find_map(|folder| files.get(folder)) {
            return Err(SealError::TitleWithin {
                file: (*file).clone(),
                below: layer.title.clone(),
            });
        }
    }
    let layers = layers
        .iter()
        .map(|layer| {
            let mut annotations = layer.annotations.clone();
            annotations.insert(media::TITLE.to_owned(), layer.title.to_string());
            debug_assert_eq!(layer.link.media_type, layer.kind.media_type());
            layer.link.descriptor(&annotations)
        })
        .collect::<Result<_, _>>()?;
    let config = config.descriptor(&BTreeMap::new())?;
    Ok(encode_artifact(media::SYSTEM, config, layers)?)
}

impl Sealed {
    /// The bundle's name: the digest of [`Self::manifest`].
    pub fn digest(&self) -> BundleDigest {
        self.digest
    }

    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// The system manifest's bytes.
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// Every blob with its bytes: config and parts in the order of their digests, the manifest last.
    pub fn blobs(&self) -> impl Iterator<Item = (BlobDigest, &[u8])> {
        self.blobs
            .iter()
            .map(|(digest, bytes)| (*digest, bytes.as_slice()))
            .chain([(self.digest.blob(), self.manifest.as_slice())])
    }

    /// What a store needs to have of this bundle.
    pub fn closure(&self) -> &Closure {
        &self.closure
    }
}
