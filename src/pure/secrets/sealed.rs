use std::fmt;

use super::armor::{self, ArmorError};
use super::envelope::{Envelope, EnvelopeError};
use crate::pure::name::BlobDigest;

/// Why a text is no ciphertext. Never carries the text: it may be a value in clear.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealedError {
    #[error("this is no armored age file: {0}")]
    Armor(#[from] ArmorError),
    #[error("the age file is damaged: {0}")]
    Envelope(#[from] EnvelopeError),
}

/// One value, encrypted: an age file whose header has been read and makes sense.
///
/// That the header and the payload are authentic is only known after decryption.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    armored: String,
    bytes: Vec<u8>,
    envelope: Envelope,
}

impl Sealed {
    /// Reads an armored age file.
    ///
    /// # Errors
    ///
    /// If the armor, the header or the length of the payload is not as the specification of age has it.
    pub fn parse(text: &str) -> Result<Self, SealedError> {
        Self::from_bytes(armor::decode(text)?)
    }

    /// Reads a binary age file.
    ///
    /// # Errors
    ///
    /// As for [`Sealed::parse`].
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, SealedError> {
        Ok(Self {
            envelope: Envelope::read(&bytes)?,
            armored: armor::encode(&bytes),
            bytes,
        })
    }

    /// The armored file in its one canonical form (LF, a newline at the end), whatever stood in the project: what travels.
    pub fn armored(&self) -> &str {
        &self.armored
    }

    /// The binary file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The digest of [`Sealed::armored`].
    pub fn digest(&self) -> BlobDigest {
        BlobDigest::of(&self.armored)
    }

    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({})", self.digest())
    }
}
