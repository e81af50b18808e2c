//! Store → opened: a bundle whose every byte has been checked against its digest.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::from_draft::{Layer, encode};
use super::wire::Config;
use super::{Closure, Draft, ImagePin, Part, PartKind, Title, TitleError};
use crate::pure::name::{BlobDigest, BundleDigest, HostName};
use crate::pure::oci::manifest::{children, parse_manifest};
use crate::pure::oci::{Link, ManifestError, canonical, media};

/// Why bytes cannot be opened as a bundle. `E` is what goes wrong with reading a blob.
#[derive(Debug, thiserror::Error)]
pub enum OpenError<E: std::error::Error + 'static> {
    #[error("a blob of the bundle {bundle} cannot be read: {source}")]
    Read {
        bundle: BundleDigest,
        source: Box<E>,
    },
    #[error("the blob {expected} is not what its name says: its bytes have the digest {found}")]
    Digest {
        expected: BlobDigest,
        found: BlobDigest,
    },
    #[error("the blob {digest} should have {expected} bytes, and has {found}")]
    Size {
        digest: BlobDigest,
        expected: u64,
        found: u64,
    },
    #[error("{digest} is not a bundle of forge (its artifact type is {})", artifact_type.as_deref().unwrap_or("missing"))]
    NotABundle {
        digest: BundleDigest,
        artifact_type: Option<String>,
    },
    #[error(
        "the bundle {digest} has version {found} of the format, and this forge knows version {known}: use the forge that \
         built the bundle, or a newer one"
    )]
    Version {
        digest: BundleDigest,
        found: u32,
        known: u32,
    },
    #[error("the manifest of the bundle {digest} cannot be read: {source}")]
    Manifest {
        digest: BundleDigest,
        source: ManifestError,
    },
    #[error(
        "the bundle {digest} has a config of the media type `{media_type}`; `{}` is wanted",
        media::SYSTEM_CONFIG
    )]
    ConfigType {
        digest: BundleDigest,
        media_type: String,
    },
    #[error("the config {config} of the bundle {digest} cannot be read: {source}")]
    Config {
        digest: BundleDigest,
        config: BlobDigest,
        source: serde_json::Error,
    },
    #[error(
        "the layer {layer} of the bundle {digest} has the media type `{media_type}`, which this forge does not know"
    )]
    PartType {
        digest: BundleDigest,
        layer: BlobDigest,
        media_type: String,
    },
    #[error("the layer {layer} of the bundle {digest} has no title")]
    NoTitle {
        digest: BundleDigest,
        layer: BlobDigest,
    },
    #[error("the bundle {digest} is refused: {source}")]
    Title {
        digest: BundleDigest,
        source: TitleError,
    },
    /// Parsed, but not what forge would have written: two parts of one title, an unknown field, another order.
    #[error("the bundle {digest} is not written as forge writes bundles: {what}")]
    NotCanonical { digest: BundleDigest, what: String },
}

/// A bundle that was read back.
///
/// Guarantee: all bytes were checked against the digests that lead here from the bundle's, and sealing the same content again
/// gives the same digest. Nothing in it was trusted because of where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    digest: BundleDigest,
    draft: Draft,
    closure: Closure,
}

impl Opened {
    /// Opens the bundle of this name. `read` gets a blob, given its digest and, but for the manifest, its size; what it gives is
    /// checked here.
    ///
    /// # Errors
    /// [`OpenError`], which names the bundle or the blob.
    pub fn read<E: std::error::Error + 'static>(
        digest: BundleDigest,
        mut read: impl FnMut(BlobDigest, Option<u64>) -> Result<Vec<u8>, E>,
    ) -> Result<Self, OpenError<E>> {
        let mut get = |blob: BlobDigest, size: Option<u64>| {
            let bytes = read(blob, size).map_err(|source| OpenError::Read {
                bundle: digest,
                source: Box::new(source),
            })?;
            let found = bytes.len() as u64;
            if let Some(expected) = size.filter(|size| *size != found) {
                return Err(OpenError::Size {
                    digest: blob,
                    expected,
                    found,
                });
            }
            let found = BlobDigest::of(&bytes);
            if found != blob {
                return Err(OpenError::Digest {
                    expected: blob,
                    found,
                });
            }
            Ok(bytes)
        };
        let unreadable = |source| OpenError::Manifest { digest, source };
        let not_canonical = |what: String| OpenError::NotCanonical { digest, what };

        let manifest_bytes = get(digest.blob(), None)?;
        let manifest = parse_manifest(&manifest_bytes).map_err(unreadable)?;
        let artifact_type = manifest.artifact_type().as_ref().map(ToString::to_string);
        match artifact_type.as_deref().and_then(media::system_version) {
            Some(media::BUNDLE_VERSION) => {}
            Some(found) => {
                return Err(OpenError::Version {
                    digest,
                    found,
                    known: media::BUNDLE_VERSION,
                });
            }
            None => {
                return Err(OpenError::NotABundle {
                    digest,
                    artifact_type,
                });
            }
        }

        let config_link = Link::try_from(manifest.config()).map_err(unreadable)?;
        if config_link.media_type != media::SYSTEM_CONFIG {
            return Err(OpenError::ConfigType {
                digest,
                media_type: config_link.media_type,
            });
        }
        let config_bytes = get(config_link.digest, Some(config_link.size))?;
        let config: Config =
            serde_json::from_slice(&config_bytes).map_err(|source| OpenError::Config {
                digest,
                config: config_link.digest,
                source,
            })?;
        if canonical::to_vec(&config).ok().as_ref() != Some(&config_bytes) {
            return Err(not_canonical("its config is not canonical JSON".to_owned()));
        }

        let mut layers = Vec::with_capacity(manifest.layers().len());
        for descriptor in manifest.layers() {
            let link = Link::try_from(descriptor).map_err(unreadable)?;
            let kind = PartKind::of(&link.media_type).ok_or_else(|| OpenError::PartType {
                digest,
                layer: link.digest,
                media_type: link.media_type.clone(),
            })?;
            let mut annotations: BTreeMap<String, String> = descriptor
                .annotations()
                .iter()
                .flatten()
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            let title: Title = annotations
                .remove(media::TITLE)
                .ok_or(OpenError::NoTitle {
                    digest,
                    layer: link.digest,
                })?
                .parse()
                .map_err(|source| OpenError::Title { digest, source })?;
            layers.push(Layer {
                kind,
                title,
                link,
                annotations,
            });
        }
        // Writing it again finds what no single check would: fields that nobody reads, another order, two equal titles.
        let again =
            encode(&config_link, &mut layers).map_err(|error| not_canonical(error.to_string()))?;
        if again != manifest_bytes {
            return Err(not_canonical(
                "its manifest has other fields, or another order".to_owned(),
            ));
        }

        let mut closure = Closure {
            blobs: BTreeMap::from([
                (digest.blob(), manifest_bytes.len() as u64),
                (config_link.digest, config_link.size),
            ]),
            images: BTreeSet::new(),
        };
        let mut parts = Vec::with_capacity(layers.len());
        for layer in layers {
            let Layer {
                kind,
                title,
                link,
                annotations,
            } = layer;
            let bytes = get(link.digest, Some(link.size))?;
            closure.blobs.insert(link.digest, link.size);
            parts.push(Part {
                kind,
                title,
                bytes,
                annotations,
            });
        }
        let Config {
            host,
            images,
            system,
        } = config;
        let images: Vec<ImagePin> = images.into_iter().map(ImagePin::from).collect();
        closure.images.extend(images.iter().map(|pin| pin.digest));
        Ok(Self {
            digest,
            draft: Draft {
                host,
                system,
                parts,
                images,
            },
            closure,
        })
    }

    pub fn digest(&self) -> BundleDigest {
        self.digest
    }

    pub fn host(&self) -> &HostName {
        &self.draft.host
    }

    /// The evaluated system.
    pub fn system(&self) -> &Value {
        &self.draft.system
    }

    /// The parts, in the order of their titles.
    pub fn parts(&self) -> &[Part] {
        &self.draft.parts
    }

    /// The part of this title.
    pub fn part(&self, title: &str) -> Option<&Part> {
        let parts = &self.draft.parts;
        let at = parts.binary_search_by(|part| part.title.as_str().cmp(title));
        at.ok().and_then(|at| parts.get(at))
    }

    /// The images, in the order of their names.
    pub fn images(&self) -> &[ImagePin] {
        &self.draft.images
    }

    /// The digests that the bundle needs.
    pub fn closure(&self) -> &Closure {
        &self.closure
    }

    /// The content, to be changed and sealed again.
    pub fn into_draft(self) -> Draft {
        self.draft
    }
}

/// Which bundle an entry of a store stands for: the system manifest itself, or the one in a package index.
///
/// `read` gets verified bytes. It is asked only where the descriptor does not say the artifact type, which other tools drop when they copy.
///
/// # Errors
/// What `read` says, through `E`; `Ok(None)` if the entry is something else than a bundle.
pub fn system_manifest<E: From<ManifestError>>(
    root: &Link,
    mut read: impl FnMut(&Link) -> Result<Vec<u8>, E>,
) -> Result<Option<BundleDigest>, E> {
    let candidates = match root.media_type.as_str() {
        media::INDEX => children(&root.media_type, &read(root)?)?,
        _ => vec![root.clone()],
    };
    for link in candidates {
        if link.media_type != media::MANIFEST {
            continue;
        }
        let artifact_type = match &link.artifact_type {
            Some(artifact_type) => Some(artifact_type.clone()),
            None => parse_manifest(&read(&link)?)?
                .artifact_type()
                .as_ref()
                .map(ToString::to_string),
        };
        if artifact_type
            .as_deref()
            .and_then(media::system_version)
            .is_some()
        {
            return Ok(Some(link.digest.as_bundle()));
        }
    }
    Ok(None)
}
