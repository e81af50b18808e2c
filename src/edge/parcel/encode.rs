use std::io::{self, BufWriter, Read, Write};

use sha2::{Digest as _, Sha256};
use zstd::zstd_safe::CParameter;

use super::decode::Window;
use super::wire::{Made, Wire};
use super::{HEAD, ParcelError};
use crate::edge::store::{Blob, Store, StoreError};
use crate::pure::delivery::{Choice, Encoding, LARGEST_WINDOW, Parcel, segments};
use crate::pure::name::BlobDigest;

/// Of whole blobs: faster than the lines that most servers hang on.
const LEVEL: i32 = 3;
/// log2 of the entries of both tables by which patches find what they share with their base: enough for every four bytes of its window.
/// Measured with two versions of postgresql-15 (54 MB), at level 3: with the level's own tables the patch has 11.2 MB, with these and the
/// search for far matches 3.2, with these alone 3.1. Higher levels took longer and made it larger.
const TABLES: u32 = 22;

/// Packs a blob as was chosen, or finds it packed by an earlier call. What would not become smaller stays as it is.
///
/// # Errors
/// [`ParcelError`]; [`StoreError::Corrupt`] if the blob or its base is damaged, and then nothing is kept.
pub fn encode(store: &dyn Store, choice: &Choice, wire: &Wire) -> Result<Made, ParcelError> {
    let Choice { blob, size, .. } = *choice;
    let base = match choice.encoding {
        Encoding::Identity => return Ok(Made::as_it_is(choice)),
        Encoding::Zstd => None,
        Encoding::Patch { base } => Some(base),
    };
    if let Some(made) = wire.find(choice)? {
        return Ok(made);
    }
    let pack = |source| ParcelError::Pack { blob, source };
    let mut content = store.open(blob)?;
    let mut file = wire.temporary()?;
    let mut to = Hashed {
        to: BufWriter::new(&mut file),
        hasher: Sha256::new(),
        bytes: 0,
    };
    let packed = match base {
        None => whole(&mut content, size, &mut to),
        Some(base) => {
            let base = store.open(base)?;
            let mut window = Window::new(base);
            match patch(&mut window, &mut content, size, &mut to) {
                // Who made it so must not be told that the blob is at fault.
                Err(Failure::Base(error)) => return Err(window.into_blob().error(error).into()),
                Err(Failure::Other(error)) => Err(error),
                Ok(()) => Ok(()),
            }
        }
    };
    packed.map_err(|error| match content.error(error) {
        damaged @ StoreError::Corrupt { .. } => damaged.into(),
        StoreError::Read { source, .. } => pack(source),
        other => other.into(),
    })?;
    to.flush().map_err(pack)?;
    let (bytes, hasher) = (to.bytes, to.hasher.clone());
    drop(to);
    let digest = BlobDigest::from_hasher(hasher);
    if bytes >= size {
        return Ok(Made::as_it_is(choice));
    }
    let parcel = Parcel {
        blob,
        size,
        encoding: choice.encoding,
        digest,
        bytes,
    };
    wire.keep(file, choice, parcel)
}

enum Failure {
    Base(io::Error),
    Other(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Other(error)
    }
}

fn whole(from: &mut Blob, size: u64, to: &mut dyn Write) -> io::Result<()> {
    let mut encoder = zstd::stream::write::Encoder::new(to, LEVEL)?;
    encoder.set_pledged_src_size(Some(size))?;
    encoder.long_distance_matching(true)?;
    encoder.window_log(LARGEST_WINDOW)?;
    io::copy(from, &mut encoder)?;
    encoder.finish()?;
    Ok(())
}

fn patch(base: &mut Window, from: &mut Blob, size: u64, to: &mut dyn Write) -> Result<(), Failure> {
    let mut content = Vec::new();
    for segment in segments(base.size(), size) {
        content.clear();
        from.by_ref().take(segment.size).read_to_end(&mut content)?;
        let prefix = base
            .slide(segment.base_from, segment.base_size)
            .map_err(Failure::Base)?;
        let frame = frame(prefix, &content)?;
        let small = |size: u64| u32::try_from(size).map_err(io::Error::other);
        let mut head = [0; HEAD];
        head[..8].copy_from_slice(&segment.base_from.to_be_bytes());
        head[8..12].copy_from_slice(&small(segment.base_size)?.to_be_bytes());
        head[12..].copy_from_slice(&small(frame.len() as u64)?.to_be_bytes());
        to.write_all(&head)?;
        to.write_all(&frame)?;
    }
    // To their ends, where they are checked: against a damaged base the patch would be right here alone.
    io::copy(from, &mut io::sink())?;
    base.finish().map_err(Failure::Base)?;
    Ok(())
}

/// One frame, with `prefix` as the past that it may refer to.
fn frame(prefix: &[u8], content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::raw::Encoder::with_ref_prefix(LEVEL, prefix)?;
    for parameter in [
        CParameter::WindowLog(LARGEST_WINDOW),
        CParameter::HashLog(TABLES),
        CParameter::ChainLog(TABLES),
    ] {
        encoder.set_parameter(parameter)?;
    }
    encoder.set_pledged_src_size(Some(content.len() as u64))?;
    let mut writer = zstd::stream::write::Encoder::with_encoder(Vec::new(), encoder);
    writer.write_all(content)?;
    writer.finish()
}

struct Hashed<W> {
    to: W,
    hasher: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
