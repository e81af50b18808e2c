use std::fmt;
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use super::StoreError;
use crate::pure::name::BlobDigest;

/// A blob that is being read, and checked while it is.
///
/// Guarantee: who has read it to its end without an error has read bytes of this digest. The last bytes are given out only once the
/// whole is known to be right, so that a reader that stops at the announced size is protected too.
pub struct Blob {
    digest: BlobDigest,
    size: u64,
    location: String,
    inner: Box<dyn Read + Send>,
    hasher: Option<Sha256>,
    seen: u64,
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blob")
            .field("digest", &self.digest)
            .field("size", &self.size)
            .field("location", &self.location)
            .finish_non_exhaustive()
    }
}

/// Carries a [`StoreError`] through [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("{location} is damaged: its bytes have the digest {found}, and should have {expected}")]
struct Damaged {
    expected: BlobDigest,
    found: BlobDigest,
    location: String,
}

impl Blob {
    pub(super) fn new(
        digest: BlobDigest,
        size: u64,
        location: String,
        inner: Box<dyn Read + Send>,
    ) -> Self {
        Self {
            digest,
            size,
            location,
            inner,
            hasher: Some(Sha256::new()),
            seen: 0,
        }
    }

    /// How many bytes there are.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// All of it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Read`].
    pub fn read_whole(mut self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.size).unwrap_or(0));
        match self.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) => Err(self.error(error)),
        }
    }

    /// What an error of reading from this blob means.
    pub fn error(&self, error: io::Error) -> StoreError {
        match error.downcast::<Damaged>() {
            Ok(Damaged {
                expected,
                found,
                location,
            }) => StoreError::Corrupt {
                expected,
                found,
                location,
            },
            Err(source) => StoreError::Read {
                digest: self.digest,
                location: self.location.clone(),
                source,
            },
        }
    }

    /// True if this error of reading from a blob says that the blob is damaged.
    pub(super) fn is_damage(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Damaged>())
    }

    fn check(&mut self) -> io::Result<()> {
        let Some(hasher) = self.hasher.take() else {
            return Ok(());
        };
        let found = BlobDigest::from_hasher(hasher);
        if found == self.digest {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            Damaged {
                expected: self.digest,
                found,
                location: self.location.clone(),
            },
        ))
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        // What someone appends while it is read is not part of it.
        let left = self.size.saturating_sub(self.seen);
        let most = usize::try_from(left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buffer[..count]);
        }
        self.seen += count as u64;
        if self.seen == self.size || count == 0 {
            self.check()?;
        }
        Ok(count)
    }
}
