//! Parcels as they arrive: kept while they are incomplete, judged by their digests, unpacked into the store.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::HostError;
use crate::edge::disk::Appended;
use crate::edge::parcel::{Partials, decode};
use crate::edge::store::{Store, StoreError, Trust, Writing};
use crate::pure::delivery::{Encoding, Holding, Parcel};
use crate::pure::name::BlobDigest;
use crate::pure::oci::manifest::{children, parse_manifest};
use crate::pure::oci::{Link, media};

/// Parcels up to this size are kept in memory: a file for each would cost more than to send them again.
const IN_MEMORY: u64 = 256 << 10;
/// What a power cut takes of a parcel is about so much.
const SYNC_AFTER: u64 = 32 << 20;
/// Blobs are committed together: one sync for all.
const BATCH_BLOBS: usize = 32;
const BATCH_BYTES: u64 = 64 << 20;
/// Manifests below manifests: a bundle's package, its images.
const DEEPEST: usize = 4;
/// The largest manifest that is looked into.
const LARGEST: u64 = 4 << 20;

/// What the host has of these blobs, and what their patches may start from: the layers of everything that the store's entries lead to, but
/// those that were asked for. If nothing is missing, no layers are told.
///
/// # Errors
/// [`HostError`] if store or folder cannot be read; a manifest that cannot be is passed over.
pub fn holding(
    store: &dyn Store,
    partial: &Path,
    asked: &BTreeMap<BlobDigest, u64>,
) -> Result<Holding, HostError> {
    let mut missing = BTreeSet::new();
    for (digest, size) in asked {
        if !store.has(*digest, *size)? {
            missing.insert(*digest);
        }
    }
    if missing.is_empty() {
        return Ok(Holding::default());
    }
    let mut layers = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for entry in store.entries()? {
        collect(store, &entry.link, DEEPEST, &mut seen, &mut |key, layer| {
            if !asked.contains_key(&layer.digest) && store.has(layer.digest, layer.size)? {
                let known: &mut BTreeSet<BlobDigest> = layers.entry(key).or_default();
                known.insert(layer.digest);
            }
            Ok(())
        })?;
    }
    Ok(Holding {
        missing,
        layers,
        partial: Partials::list(partial)?,
    })
}

/// Tells every layer with a key that this manifest leads to.
fn collect(
    store: &dyn Store,
    link: &Link,
    depth: usize,
    seen: &mut BTreeSet<BlobDigest>,
    tell: &mut dyn FnMut(String, Link) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    if depth == 0 || link.size > LARGEST || !link.has_children() || !seen.insert(link.digest) {
        return Ok(());
    }
    let bytes = match store.read(link.digest) {
        Ok(bytes) => bytes,
        // Somebody else finds that, and says so.
        Err(StoreError::Missing { .. } | StoreError::Corrupt { .. } | StoreError::Read { .. }) => {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    if let Ok(manifest) = parse_manifest(&bytes) {
        for descriptor in manifest.layers() {
            let annotations = descriptor.annotations().as_ref();
            let key = annotations.and_then(|all| all.get(media::LAYER_KEY));
            if let (Some(key), Ok(layer)) = (key, Link::try_from(descriptor)) {
                tell(key.clone(), layer)?;
            }
        }
    }
    for child in children(&link.media_type, &bytes).unwrap_or_default() {
        collect(store, &child, depth - 1, seen, tell)?;
    }
    Ok(())
}

/// Takes parcels, one after the other.
///
/// What has arrived of a large parcel stays when this is dropped, so that the next connection goes on there. What has been unpacked is in
/// the store after [`Self::commit`], which whoever receives calls when parcels end, also when the connection does.
#[derive(Debug)]
pub struct Receiver<'a> {
    store: &'a dyn Store,
    partials: Partials,
    current: Option<Incoming>,
    batch: Option<Box<dyn Writing + 'a>>,
    /// Parcels whose blobs are in the batch.
    unpacked: Vec<BlobDigest>,
    blobs: usize,
    bytes: u64,
}

#[derive(Debug)]
struct Incoming {
    parcel: Parcel,
    hasher: Sha256,
    got: u64,
    unsynced: u64,
    to: To,
}

#[derive(Debug)]
enum To {
    Memory(Vec<u8>),
    File(Appended),
}

impl<'a> Receiver<'a> {
    /// `partial` is the folder for what is incomplete; made if it is missing.
    ///
    /// # Errors
    /// [`HostError::Disk`].
    pub fn open(store: &'a dyn Store, partial: &Path) -> Result<Self, HostError> {
        Ok(Self {
            store,
            partials: Partials::open(partial)?,
            current: None,
            batch: None,
            unpacked: Vec::new(),
            blobs: 0,
            bytes: 0,
        })
    }

    /// A parcel begins, of which `from` bytes are here already; 0 begins it anew.
    ///
    /// # Errors
    /// [`HostError::Refused`] if other than `from` bytes are here, or another parcel is not at its end.
    pub fn begin(&mut self, parcel: Parcel, from: u64) -> Result<(), HostError> {
        if let Some(current) = &self.current {
            let blob = current.parcel.blob;
            return Err(HostError::refused(
                format!("a parcel begins while that of {blob} is not at its end"),
                None,
            ));
        }
        let mut hasher = Sha256::new();
        let to = if parcel.bytes <= IN_MEMORY && from == 0 {
            To::Memory(Vec::new())
        } else {
            if from == 0 {
                self.partials.remove(parcel.digest)?;
            }
            let here = self.partials.size(parcel.digest)?;
            if here != from || from > parcel.bytes {
                return Err(HostError::refused(
                    format!(
                        "the parcel of {} cannot go on at {from}: {here} of its {} bytes are here",
                        parcel.blob, parcel.bytes
                    ),
                    Some("deploy again: what is here is asked for anew"),
                ));
            }
            if let Some(mut file) = self.partials.read(parcel.digest)? {
                hash(&mut file, &mut hasher).map_err(|source| StoreError::Source {
                    digest: parcel.blob,
                    source,
                })?;
            }
            To::File(self.partials.append(parcel.digest)?)
        };
        self.current = Some(Incoming {
            parcel,
            hasher,
            got: from,
            unsynced: 0,
            to,
        });
        Ok(())
    }

    /// True if nothing more of the parcel is to come.
    pub fn is_complete(&self) -> bool {
        self.current
            .as_ref()
            .is_none_or(|current| current.got >= current.parcel.bytes)
    }

    /// Takes bytes of the parcel.
    ///
    /// # Errors
    /// [`HostError::Refused`] if there are more than were announced; [`HostError::Disk`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        let Some(current) = &mut self.current else {
            return Err(HostError::refused(
                "bytes came that belong to no parcel",
                None,
            ));
        };
        let count = bytes.len() as u64;
        if count > current.parcel.bytes - current.got {
            return Err(HostError::refused(
                format!(
                    "the parcel of {} is longer than the {} bytes that were announced",
                    current.parcel.blob, current.parcel.bytes
                ),
                None,
            ));
        }
        match &mut current.to {
            To::Memory(all) => all.extend_from_slice(bytes),
            To::File(file) => {
                file.write_whole(bytes)?;
                current.unsynced += count;
                if current.unsynced >= SYNC_AFTER {
                    file.sync()?;
                    current.unsynced = 0;
                }
            }
        }
        current.hasher.update(bytes);
        current.got += count;
        Ok(())
    }

    /// The parcel is here: unpacks it. Gives the blob.
    ///
    /// # Errors
    /// [`HostError::Refused`] if bytes are missing or if they have another digest than the parcel; [`HostError::Store`] if something else
    /// than the blob comes out. Of what has the wrong digest nothing is left.
    pub fn finish(&mut self) -> Result<BlobDigest, HostError> {
        let Some(Incoming {
            parcel,
            hasher,
            got,
            to,
            ..
        }) = self.current.take()
        else {
            return Err(HostError::refused("no parcel has begun", None));
        };
        let blob = parcel.blob;
        if got < parcel.bytes {
            return Err(HostError::refused(
                format!("{got} of the {} bytes of {blob} have come", parcel.bytes),
                None,
            ));
        }
        let found = BlobDigest::from_hasher(hasher);
        if found != parcel.digest {
            self.partials.remove(parcel.digest)?;
            return Err(HostError::refused(
                format!(
                    "what arrived for {blob} is damaged: its digest is {found}, and should be {}; it was thrown away",
                    parcel.digest
                ),
                Some("deploy again: it is sent anew"),
            ));
        }
        let unpacked = match to {
            To::Memory(bytes) => self.unpack(&parcel, &mut bytes.as_slice()),
            To::File(_) => match self.partials.read(parcel.digest)? {
                Some(mut file) => {
                    let unpacked = self.unpack(&parcel, &mut file);
                    self.unpacked.push(parcel.digest);
                    unpacked
                }
                None => Err(HostError::refused(
                    format!("the parcel of {blob} is gone"),
                    Some("deploy again: it is sent anew"),
                )),
            },
        };
        if let Err(error) = unpacked {
            self.unpacked.retain(|digest| *digest != parcel.digest);
            self.partials.remove(parcel.digest)?;
            return Err(error);
        }
        self.blobs += 1;
        self.bytes += parcel.size;
        if self.blobs >= BATCH_BLOBS || self.bytes >= BATCH_BYTES {
            self.commit()?;
        }
        Ok(blob)
    }

    fn unpack(
        &mut self,
        parcel: &Parcel,
        content: &mut (dyn Read + Send),
    ) -> Result<(), HostError> {
        let base = match parcel.encoding {
            Encoding::Patch { base } => Some(self.store.open(base)?),
            Encoding::Identity | Encoding::Zstd => None,
        };
        let writer = match &mut self.batch {
            Some(writer) => writer,
            none => none.insert(self.store.begin(Trust::Size)?),
        };
        decode(parcel, content, base, &mut **writer)?;
        Ok(())
    }

    /// Makes what was unpacked durable and visible.
    ///
    /// # Errors
    /// [`HostError::Store`]; the parcels are kept then, and unpacked again without being sent.
    pub fn commit(&mut self) -> Result<(), HostError> {
        (self.blobs, self.bytes) = (0, 0);
        let unpacked = std::mem::take(&mut self.unpacked);
        if let Some(batch) = self.batch.take() {
            batch.commit(&[])?;
        }
        for parcel in unpacked {
            self.partials.remove(parcel)?;
        }
        Ok(())
    }
}

fn hash(from: &mut dyn Read, hasher: &mut Sha256) -> io::Result<()> {
    let mut buffer = vec![0; 128 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]
mod tests;
