//! What the host is missing, packed and sent.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::edge::parcel::{Made, ParcelError, Wire, encode};
use crate::edge::store::{Store, StoreError};
use crate::flow::progress::Progress;
use crate::pure::delivery::{Holding, Parcel, Piece, choose, pieces};
use crate::pure::name::BlobDigest;
use crate::pure::oci::{Link, ManifestError};
use crate::pure::protocol::frame::{self, FrameError, data_frame_size};
use crate::pure::protocol::{Reply, Request};

/// Of a frame of data.
const CHUNK: usize = 256 << 10;
/// Blobs packed at once: each takes some 100 MB.
const THREADS: usize = 2;
/// So many answers may be outstanding: they must fit into the pipes between the host's side and ours (64 KiB), because it cannot take more
/// from us while it waits to answer.
const OUTSTANDING: usize = 256;

/// Why nothing could be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error(transparent)]
    Parcel(#[from] ParcelError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the image {digest} cannot be understood: {source}")]
    Manifest {
        digest: BlobDigest,
        source: ManifestError,
    },
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Why a delivery did not arrive. `E` is what the connection says.
#[derive(Debug, thiserror::Error)]
pub enum SendError<E: std::error::Error + 'static> {
    #[error(transparent)]
    Parcel(#[from] ParcelError),
    /// The connection. What has arrived stays with the host, and the next delivery goes on there.
    #[error(transparent)]
    Conduit(E),
    #[error("the host refuses what it was sent: {why}")]
    Refused { why: String, hint: Option<String> },
    #[error("the host could not take what it was sent, in {step}: {why}")]
    Failed { step: String, why: String },
    #[error("the host answers something else than was asked")]
    Unexpected,
}

/// The connection, as far as a delivery needs it.
pub trait Conduit: Debug {
    type Error: std::error::Error + 'static;

    /// Sends a request, without waiting for the answer.
    ///
    /// # Errors
    /// If the connection is lost.
    fn request(&mut self, request: &Request) -> Result<(), Self::Error>;

    /// Sends one frame of data.
    ///
    /// # Errors
    /// If the connection is lost.
    fn data(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Sees to it that what was sent is on its way.
    ///
    /// # Errors
    /// If the connection is lost.
    fn flush(&mut self) -> Result<(), Self::Error>;

    /// Waits for the next answer.
    ///
    /// # Errors
    /// If the connection is lost, or what comes is no answer.
    fn reply(&mut self) -> Result<Reply, Self::Error>;
}

/// Parcels that are ready to be sent.
#[derive(Debug)]
pub struct Delivery {
    wire: Wire,
    ready: Vec<Ready>,
    /// What sending takes on the connection, to the byte: with the frames around it, without what the host has already.
    pub bytes: u64,
}

#[derive(Clone, Debug)]
struct Ready {
    made: Made,
    /// So much is on the host already.
    from: u64,
}

/// All blobs of these images, with their sizes, in the order in which they would be sent. The manifests must be in the store.
///
/// # Errors
/// [`PrepareError`].
pub fn contents(store: &dyn Store, manifests: &[Link]) -> Result<Vec<Piece>, PrepareError> {
    let mut all = Vec::new();
    for manifest in manifests {
        let bytes = store.read(manifest.digest)?;
        let of_image = pieces(manifest, &bytes).map_err(|source| PrepareError::Manifest {
            digest: manifest.digest,
            source,
        })?;
        all.extend(of_image);
    }
    Ok(all)
}

/// Packs what the host is missing of these images. Nothing is sent, and what will be is known to the byte.
///
/// # Errors
/// [`PrepareError`]; what was packed before is found by the next call.
pub fn prepare(
    store: &dyn Store,
    wire: Wire,
    manifests: &[Link],
    holding: &Holding,
    progress: &dyn Progress,
) -> Result<Delivery, PrepareError> {
    let mut here = BTreeMap::new();
    for base in holding.layers.values().flatten() {
        if let Some(size) = store.size(*base)? {
            here.insert(*base, size);
        }
    }
    let choices = choose(contents(store, manifests)?, holding, &here);
    let bytes = choices.iter().map(|choice| choice.size).sum();
    progress.begin("pack what the host is missing", choices.len(), bytes);

    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let done: Mutex<BTreeMap<usize, Result<Made, ParcelError>>> = Mutex::default();
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(choice) = choices.get(at) else { break };
            let made = encode(store, choice, &wire);
            if made.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            progress.advance(choice.size);
            progress.done(&choice.blob.to_string());
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.insert(at, made);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(choices.len()) {
            scope.spawn(work);
        }
    });
    let mut ready = Vec::with_capacity(choices.len());
    let mut bytes = 0;
    for made in done
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .into_values()
    {
        let made = made?;
        let parcel = made.parcel;
        let partial = holding.partial.get(&parcel.digest).copied();
        // More than there can be is somebody's mistake: from the beginning, then.
        let from = partial.filter(|from| *from <= parcel.bytes).unwrap_or(0);
        bytes += frames(parcel, from)?;
        ready.push(Ready { made, from });
    }
    Ok(Delivery { wire, ready, bytes })
}

/// What a parcel takes on the connection.
fn frames(parcel: Parcel, from: u64) -> Result<u64, FrameError> {
    let mut message = Vec::new();
    frame::send(&mut message, &Request::Parcel { parcel, from })?;
    let left = parcel.bytes - from;
    let around = (data_frame_size(CHUNK) - CHUNK) as u64;
    Ok(message.len() as u64 + left + left.div_ceil(CHUNK as u64) * around)
}

impl Delivery {
    /// What is sent, in this order.
    pub fn parcels(&self) -> impl Iterator<Item = Parcel> {
        self.ready.iter().map(|ready| ready.made.parcel)
    }

    pub fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// It has arrived, or is given up: the parcels are removed.
    ///
    /// # Errors
    /// [`ParcelError`].
    pub fn clear(self) -> Result<(), ParcelError> {
        self.wire.clear().map(drop)
    }

    /// Sends all of it, and waits until it has arrived. The connection is never idle: answers are read when they must be. Of `progress`, a
    /// phase of [`Self::bytes`] bytes, less what is around the parcels.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send<C: Conduit>(
        &self,
        store: &dyn Store,
        to: &mut C,
        progress: &dyn Progress,
    ) -> Result<(), SendError<C::Error>> {
        let left = self.ready.iter();
        let left = left.map(|ready| ready.made.parcel.bytes - ready.from).sum();
        progress.begin("send", self.ready.len(), left);
        let mut outstanding = VecDeque::new();
        for ready in &self.ready {
            if outstanding.len() >= OUTSTANDING {
                to.flush().map_err(SendError::Conduit)?;
                arrived(to, &mut outstanding, progress)?;
            }
            outstanding.push_back(ready.made.parcel.blob);
            match self.one(store, ready, to, progress) {
                // Why it was closed may stand in an answer that has not been read.
                Err(SendError::Conduit(lost)) => {
                    while !outstanding.is_empty() {
                        match arrived(to, &mut outstanding, progress) {
                            Err(SendError::Conduit(_)) => break,
                            other => other?,
                        }
                    }
                    return Err(SendError::Conduit(lost));
                }
                other => other?,
            }
        }
        to.flush().map_err(SendError::Conduit)?;
        while !outstanding.is_empty() {
            arrived(to, &mut outstanding, progress)?;
        }
        Ok(())
    }

    fn one<C: Conduit>(
        &self,
        store: &dyn Store,
        ready: &Ready,
        to: &mut C,
        progress: &dyn Progress,
    ) -> Result<(), SendError<C::Error>> {
        let Ready { made, from } = ready;
        let parcel = made.parcel;
        let mut content = self.wire.read(store, made, *from)?;
        let request = Request::Parcel {
            parcel,
            from: *from,
        };
        to.request(&request).map_err(SendError::Conduit)?;
        let mut left = parcel.bytes - from;
        let mut chunk = Vec::with_capacity(CHUNK);
        while left > 0 {
            chunk.clear();
            let wanted = left.min(CHUNK as u64);
            let blob = parcel.blob;
            let read = content.by_ref().take(wanted).read_to_end(&mut chunk);
            let read = read.and_then(|count| match count as u64 == wanted {
                true => Ok(()),
                false => Err(io::ErrorKind::UnexpectedEof.into()),
            });
            read.map_err(|source| ParcelError::Pack { blob, source })?;
            to.data(&chunk).map_err(SendError::Conduit)?;
            progress.advance(wanted);
            left -= wanted;
        }
        Ok(())
    }
}

/// Waits until the parcel that was sent first has arrived.
fn arrived<C: Conduit>(
    to: &mut C,
    outstanding: &mut VecDeque<BlobDigest>,
    progress: &dyn Progress,
) -> Result<(), SendError<C::Error>> {
    loop {
        match to.reply().map_err(SendError::Conduit)? {
            Reply::Event { .. } => {}
            Reply::Arrived { blob } if outstanding.front() == Some(&blob) => {
                outstanding.pop_front();
                progress.done(&blob.to_string());
                return Ok(());
            }
            Reply::Refused { why, hint } => return Err(SendError::Refused { why, hint }),
            Reply::Failed { step, why, .. } => return Err(SendError::Failed { step, why }),
            _ => return Err(SendError::Unexpected),
        }
    }
}
