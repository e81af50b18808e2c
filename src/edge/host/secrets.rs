//! Decryption with the key of the host, in memory alone.

use std::path::Path;

use secrecy::SecretString;
use zeroize::Zeroizing;

use crate::edge::age::{DecryptError, IdentityError, IdentitySource, Keyring};
use crate::edge::terminal::{Prompt, PromptError};
use crate::pure::secrets::Sealed;

/// Why a secret cannot be decrypted. Never quotes it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("the key of the host cannot be used: {0}")]
    Key(#[from] IdentityError),
    #[error("it is encrypted for another host key")]
    NotForThisHost,
    #[error("the ciphertext is damaged: {0}")]
    Damaged(String),
}

/// There is nobody at a host.
struct Nobody;

impl Prompt for Nobody {
    fn hidden(&mut self, _: &str) -> Result<SecretString, PromptError> {
        Err(PromptError::NoAnswer)
    }
}

/// The opened key of a host.
#[derive(Debug)]
pub struct HostKey(Keyring);

impl HostKey {
    /// Reads the private key; it must have no passphrase, as host keys do.
    ///
    /// # Errors
    /// [`SecretError::Key`].
    pub fn open(path: &Path) -> Result<Self, SecretError> {
        let source = IdentitySource {
            path: path.to_owned(),
            named: true,
        };
        Ok(Self(Keyring::load(&[source])?))
    }

    /// The value of one armored age file.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn decrypt(&mut self, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let damaged = |error: &dyn std::fmt::Display| SecretError::Damaged(error.to_string());
        let text = std::str::from_utf8(ciphertext).map_err(|error| damaged(&error))?;
        let sealed = Sealed::parse(text).map_err(|error| damaged(&error))?;
        match self.0.decrypt(&sealed, &mut Nobody) {
            Ok(plaintext) => Ok(Zeroizing::new(plaintext.expose().to_vec())),
            Err(DecryptError::NotForUs { .. } | DecryptError::NoIdentity { .. }) => {
                Err(SecretError::NotForThisHost)
            }
            Err(error) => Err(damaged(&error)),
        }
    }
}

/// [`HostKey::decrypt`] of one secret alone.
///
/// # Errors
/// [`SecretError`].
pub fn decrypt(ciphertext: &[u8], key: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    HostKey::open(key)?.decrypt(ciphertext)
}
