use std::io::{self, BufRead, BufReader, Read};

use zstd::zstd_safe;

use super::HEAD;
use crate::edge::store::{Blob, Put, StoreError, Writing};
use crate::pure::delivery::{BASE_WINDOW, Encoding, LARGEST_WINDOW, Parcel, SEGMENT};

/// Unpacks a parcel into a store: what comes out must be the blob that the parcel is said to be. `base` is what a patch is against.
///
/// # Errors
/// [`StoreError::NotAsNamed`] if something else comes out; [`StoreError::Source`] if it cannot be unpacked, or if there is no base.
pub fn decode(
    parcel: &Parcel,
    content: &mut (dyn Read + Send),
    base: Option<Blob>,
    to: &mut dyn Writing,
) -> Result<Put, StoreError> {
    let Parcel { blob, size, .. } = *parcel;
    let failed = |source| StoreError::Source {
        digest: blob,
        source,
    };
    match (parcel.encoding, base) {
        (Encoding::Identity, _) => to.put(blob, size, content),
        (Encoding::Zstd, _) => {
            let mut decoder = zstd::stream::read::Decoder::new(content).map_err(failed)?;
            decoder.window_log_max(LARGEST_WINDOW).map_err(failed)?;
            to.put(blob, size, &mut decoder)
        }
        (Encoding::Patch { .. }, Some(base)) => to.put(
            blob,
            size,
            &mut Patched {
                parcel: BufReader::new(content),
                base: Window::new(base),
                left: size,
                segment: Vec::new(),
                given: 0,
            },
        ),
        (Encoding::Patch { base }, None) => Err(failed(io::Error::other(format!(
            "it is a patch against {base}, which is not here"
        )))),
    }
}

/// The blob that a patch makes of its base.
struct Patched<R> {
    parcel: R,
    base: Window,
    /// Bytes of the blob that are in segments to come.
    left: u64,
    segment: Vec<u8>,
    /// Bytes of the segment that were handed out.
    given: usize,
}

impl<R: BufRead> Patched<R> {
    fn next(&mut self) -> io::Result<()> {
        let mut head = [0; HEAD];
        self.parcel.read_exact(&mut head)?;
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = head;
        let from = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let size = u64::from(u32::from_be_bytes([i, j, k, l]));
        let frame = u64::from(u32::from_be_bytes([m, n, o, p]));
        let most = self.left.min(SEGMENT);
        if frame > zstd_safe::compress_bound(SEGMENT as usize) as u64 {
            return Err(malformed("one of its frames is too large"));
        }
        let prefix = self.base.slide(from, size)?;
        let mut content = self.parcel.by_ref().take(frame);
        self.segment.clear();
        self.given = 0;
        // Not more than there is to come: by doubling it would take twice as much.
        self.segment
            .reserve_exact(usize::try_from(most).unwrap_or(0) + 1);
        let mut decoder = zstd::stream::read::Decoder::with_ref_prefix(&mut content, prefix)?;
        decoder.window_log_max(LARGEST_WINDOW)?;
        let mut decoder = decoder.single_frame();
        decoder
            .by_ref()
            .take(most + 1)
            .read_to_end(&mut self.segment)?;
        drop(decoder);
        let made = self.segment.len() as u64;
        if made == 0 || made > most || content.limit() > 0 {
            return Err(malformed(
                "one of its frames is not of the size that it must be",
            ));
        }
        self.left -= made;
        Ok(())
    }
}

impl<R: BufRead> Read for Patched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.segment.len() {
            if self.left == 0 {
                return match self.parcel.fill_buf()?.is_empty() {
                    true => Ok(0),
                    false => Err(malformed("there is more in it than the blob")),
                };
            }
            self.next()?;
        }
        let rest = &self.segment[self.given..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.given += count;
        Ok(count)
    }
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

/// A part of a base, which moves forward.
#[derive(Debug)]
pub(super) struct Window {
    base: Blob,
    /// Where `bytes` begin.
    from: u64,
    bytes: Vec<u8>,
}

impl Window {
    pub(super) fn new(base: Blob) -> Self {
        Self {
            base,
            from: 0,
            bytes: Vec::new(),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.base.size()
    }

    /// This part of the base.
    ///
    /// # Errors
    /// Those of reading; [`io::ErrorKind::InvalidData`] if it begins before the last one, is larger than [`BASE_WINDOW`] or not in the base.
    pub(super) fn slide(&mut self, from: u64, size: u64) -> io::Result<&[u8]> {
        let within = from
            .checked_add(size)
            .is_some_and(|end| end <= self.base.size());
        if from < self.from || size > BASE_WINDOW || !within {
            return Err(malformed("it refers to what it may not refer to"));
        }
        let have = self.bytes.len() as u64;
        let gone = from - self.from;
        if gone <= have {
            self.bytes.drain(..usize::try_from(gone).unwrap_or(0));
        } else {
            self.bytes.clear();
            let skipped = io::copy(&mut self.base.by_ref().take(gone - have), &mut io::sink())?;
            if skipped < gone - have {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.from = from;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if let Some(more) = size.checked_sub(self.bytes.len()) {
            // At once as much as any window takes: by doubling it would take twice as much.
            let most = usize::try_from(self.base.size().min(BASE_WINDOW)).unwrap_or(0);
            self.bytes
                .reserve_exact(most.saturating_sub(self.bytes.len()));
            self.base
                .by_ref()
                .take(more as u64)
                .read_to_end(&mut self.bytes)?;
        }
        self.bytes
            .get(..size)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Reads the base to its end, where it is checked.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        io::copy(&mut self.base, &mut io::sink()).map(drop)
    }

    pub(super) fn into_blob(self) -> Blob {
        self.base
    }
}
