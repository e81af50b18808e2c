//! An image or a bundle from a registry into a store.
//!
//! Of an image with several platforms, one is pulled: its manifest, config and layers. The index itself becomes no part of what a
//! store's entries lead to, because a store must have everything that they lead to, and the other platforms' manifests are not there. Its bytes are
//! put as well, so that a later pull asks nobody; who collects garbage may take them.
//! Of a bundle, everything is pulled: all that is in it is for one host.

use std::collections::BTreeMap;

use crate::edge::http::{Download, fill};
use crate::edge::registry::{Received, Registry, RegistryError};
use crate::edge::store::{Store, StoreError, Trust};
use crate::flow::progress::Progress;
use crate::pure::name::{Arch, BlobDigest, ManifestDigest};
use crate::pure::oci::manifest::{children, is_index};
use crate::pure::oci::received::{self, ReceivedError};
use crate::pure::oci::{Link, Repository, media};

/// Indexes within indexes: more are nobody's intention.
const DEEPEST: usize = 4;
/// Manifests of one bundle.
const MOST: usize = 1000;
/// The largest manifest that is looked for in the store.
const LARGEST: u64 = 4 << 20;

/// Pulls what has this digest: an image's manifest, the manifest for `arch` out of an index, or a bundle. Gives the link to it: of an
/// image always to the manifest. What the store has is not fetched; if it has everything, nobody is asked.
///
/// Nothing points to it yet: whoever wants to keep it names it.
///
/// # Errors
/// [`RegistryError`]; what was complete before stays in the store, so that the next pull goes on from there.
pub fn pull(
    registry: &Registry,
    store: &dyn Store,
    repository: &Repository,
    digest: ManifestDigest,
    arch: Arch,
    jobs: usize,
    progress: &dyn Progress,
) -> Result<Link, RegistryError> {
    // Before the first question what is there, until all is committed: nothing of it is collected in between.
    let mut writer = store.begin(Trust::Size)?;
    let pull = Pull {
        registry,
        store,
        repository,
    };
    let mut manifests = Vec::new();
    let mut root = pull.manifest(digest.blob())?;
    if is_index(&root.link.media_type) && !is_bundle(&root.link) {
        let chosen =
            received::choose(&root.bytes, arch).map_err(|e| pull.broken(digest.blob(), e))?;
        manifests.push(std::mem::replace(&mut root, pull.child(&chosen)?));
    }
    let link = root.link.clone();
    let mut blobs = BTreeMap::new();
    pull.follow(root, DEEPEST, &mut manifests, &mut blobs)?;

    let downloads: Vec<Download> = blobs
        .into_iter()
        .map(|(digest, size)| Download {
            what: digest.to_string(),
            digest,
            size,
            urls: Vec::new(),
        })
        .collect();
    let bytes = downloads.iter().map(|download| download.size).sum();
    progress.begin(&format!("pull {repository}"), downloads.len(), bytes);
    let there = |download: &Download| {
        progress.advance(download.size);
        progress.done(&download.what);
    };
    fill(store, &downloads, jobs, &there, &|download, to| {
        let advance = |bytes| progress.advance(bytes);
        registry.blob(repository, download.digest, download.size, to, &advance)?;
        progress.done(&download.what);
        Ok::<(), RegistryError>(())
    })?;
    // What refers to others comes after them.
    for manifest in manifests {
        let Received { link, bytes } = manifest;
        writer.put(link.digest, link.size, &mut bytes.as_slice())?;
    }
    writer.commit(&[])?;
    Ok(link)
}

fn is_bundle(link: &Link) -> bool {
    let kind = link.artifact_type.as_deref();
    kind.and_then(media::system_version).is_some()
}

struct Pull<'a> {
    registry: &'a Registry,
    store: &'a dyn Store,
    repository: &'a Repository,
}

impl Pull<'_> {
    fn broken(&self, digest: BlobDigest, source: ReceivedError) -> RegistryError {
        RegistryError::Received {
            what: format!("{}@{digest}", self.repository),
            source,
        }
    }

    /// From the store if it is there, and whole.
    fn manifest(&self, digest: BlobDigest) -> Result<Received, RegistryError> {
        if self.store.size(digest)?.is_some_and(|size| size <= LARGEST) {
            match self.store.read(digest) {
                Ok(bytes) => {
                    if let Ok(link) = received::link(None, &bytes) {
                        return Ok(Received { link, bytes });
                    }
                }
                // Another one is fetched, and put in its place.
                Err(StoreError::Corrupt { .. } | StoreError::Read { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.registry
            .manifest(self.repository, digest.as_manifest())
    }

    /// A manifest that an index lists: it must be what the index says.
    fn child(&self, listed: &Link) -> Result<Received, RegistryError> {
        let mut found = self.manifest(listed.digest)?;
        if found.link.media_type != listed.media_type || found.link.size != listed.size {
            return Err(RegistryError::Malformed {
                what: format!("{}@{}", self.repository, listed.digest),
                reason: format!(
                    "it is {} bytes of `{}`, and the index that lists it says {} bytes of `{}`",
                    found.link.size,
                    found.link.media_type,
                    listed.size,
                    listed.media_type.escape_debug()
                ),
            });
        }
        if found.link.artifact_type.is_none() {
            found.link.artifact_type.clone_from(&listed.artifact_type);
        }
        Ok(found)
    }

    /// Everything that a manifest refers to: manifests in the order in which they are found, blobs by digest.
    fn follow(
        &self,
        found: Received,
        depth: usize,
        manifests: &mut Vec<Received>,
        blobs: &mut BTreeMap<BlobDigest, u64>,
    ) -> Result<(), RegistryError> {
        let digest = found.link.digest;
        if depth == 0 || manifests.len() >= MOST {
            return Err(RegistryError::Malformed {
                what: format!("{}@{digest}", self.repository),
                reason: "it has more manifests within manifests than forge takes".to_owned(),
            });
        }
        if is_index(&found.link.media_type) {
            for link in children(&found.link.media_type, &found.bytes)? {
                if link.has_children() {
                    let child = self.child(&link)?;
                    self.follow(child, depth - 1, manifests, blobs)?;
                } else {
                    self.add(link, blobs)?;
                }
            }
        } else {
            let all = received::blobs(&found.bytes).map_err(|error| self.broken(digest, error))?;
            for link in all {
                self.add(link, blobs)?;
            }
        }
        manifests.push(found);
        Ok(())
    }

    fn add(&self, link: Link, blobs: &mut BTreeMap<BlobDigest, u64>) -> Result<(), RegistryError> {
        match blobs.insert(link.digest, link.size) {
            Some(other) if other != link.size => Err(RegistryError::Malformed {
                what: format!("{}, blob {}", self.repository, link.digest),
                reason: format!("it is to have {other} bytes and {} bytes", link.size),
            }),
            _ => Ok(()),
        }
    }
}
