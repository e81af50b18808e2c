//! What both stores do with the content that they are given.

use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};

use super::StoreError;
use crate::pure::name::BlobDigest;

/// Why content was not copied.
pub(super) enum CopyError {
    Read(io::Error),
    Write(io::Error),
}

/// Copies at most `limit` bytes and gives their digest, their number, and whether there were more.
pub(super) fn copy_hashed(
    from: &mut dyn Read,
    to: &mut dyn Write,
    limit: u64,
) -> Result<(BlobDigest, u64, bool), CopyError> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    let mut copied = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(CopyError::Read(error)),
        };
        let wanted = usize::try_from(limit - copied)
            .unwrap_or(usize::MAX)
            .min(count);
        hasher.update(&buffer[..wanted]);
        to.write_all(&buffer[..wanted]).map_err(CopyError::Write)?;
        copied += wanted as u64;
        if count == 0 || wanted < count {
            return Ok((BlobDigest::from_hasher(hasher), copied, wanted < count));
        }
    }
}

/// Copies what must have this digest and this size.
pub(super) fn copy_checked(
    digest: BlobDigest,
    size: u64,
    from: &mut dyn Read,
    to: &mut dyn Write,
    failed: impl FnOnce(io::Error) -> StoreError,
) -> Result<(), StoreError> {
    let (found, found_size, more) = copy_hashed(from, to, size).map_err(|error| match error {
        CopyError::Read(source) => StoreError::Source { digest, source },
        CopyError::Write(source) => failed(source),
    })?;
    if found == digest && found_size == size && !more {
        return Ok(());
    }
    Err(StoreError::NotAsNamed {
        expected: digest,
        expected_size: size,
        found,
        found_size,
        more,
    })
}

/// Hashes what goes through it.
struct Hashed<W> {
    to: W,
    hasher: Sha256,
    size: u64,
    /// What it could not be written for.
    failed: Option<io::Error>,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.to.write(bytes) {
            Ok(count) => {
                self.hasher.update(&bytes[..count]);
                self.size += count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                self.failed = Some(error);
                Err(told)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Lets somebody write, and tells digest and size of what was written. A write that failed is an error, whatever `write` says.
pub(super) fn write_hashed(
    to: &mut dyn Write,
    write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    failed: impl FnOnce(io::Error) -> StoreError,
) -> Result<(BlobDigest, u64), StoreError> {
    let mut hashed = Hashed {
        to,
        hasher: Sha256::new(),
        size: 0,
        failed: None,
    };
    let done = write(&mut hashed);
    match (hashed.failed, done) {
        (Some(error), _) => Err(failed(error)),
        (None, Err(error)) => Err(StoreError::Made(error)),
        (None, Ok(())) => Ok((BlobDigest::from_hasher(hashed.hasher), hashed.size)),
    }
}
