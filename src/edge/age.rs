//! Encryption and decryption with age. The only place that touches the age crate.
//!
//! No double: all that it needs of the world is randomness and key files, so tests use it as it is.
//!
//! The crate's own way to ask for a passphrase is not used: it asks once for every stanza of every file, and without callbacks it says "No
//! matching keys" of a locked key. Here a locked key is only asked for when a file is encrypted to it, and once.

use std::fmt;
use std::io::{BufReader, Read as _, Write as _};
use std::iter;
use std::path::{Path, PathBuf};

use age::ssh::{Identity as SshIdentity, UnsupportedKey};
use zeroize::Zeroizing;

use super::terminal::{Prompt, PromptError};
use crate::pure::secrets::{Plaintext, Recipient, RecipientKind, Sealed, SealedError};

/// Why something could not be encrypted.
#[derive(Debug, thiserror::Error)]
pub enum EncryptError {
    #[error("there is nobody to encrypt to")]
    Nobody,
    #[error("the key {key} cannot be used: {reason}")]
    Key { key: String, reason: String },
    #[error("age could not encrypt: {0}")]
    Age(String),
    #[error("age wrote a file that does not read back: {0}")]
    ReadBack(#[from] SealedError),
}

/// Why an identity file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("cannot read the identity {path}: {source}")]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot use the identity {path}: {reason}")]
    Unusable { path: PathBuf, reason: String },
}

/// Why something could not be decrypted.
#[derive(Debug, thiserror::Error)]
pub enum DecryptError {
    #[error("no private key was found; looked for {}", list(.looked_for))]
    NoIdentity { looked_for: Vec<PathBuf> },
    #[error("it is encrypted to none of the private keys at hand ({})", .tried.join(", "))]
    NotForUs { tried: Vec<String> },
    #[error("the private key {path} needs its passphrase: {source}")]
    Prompt { path: PathBuf, source: PromptError },
    #[error("the passphrase of {path} was wrong {times} times")]
    Passphrase { path: PathBuf, times: usize },
    #[error("the ciphertext was changed or damaged after it was made: {0}")]
    Damaged(&'static str),
    #[error("it is {0} bytes long, more than forge takes")]
    TooLong(u64),
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    shown.join(", ")
}

/// Encrypts to all of these recipients, and to nobody else.
///
/// # Errors
///
/// If there is no recipient, or one is not a key after all (a point that is not on the curve).
pub fn encrypt<'a>(
    plaintext: &Plaintext,
    recipients: impl IntoIterator<Item = &'a Recipient>,
) -> Result<Sealed, EncryptError> {
    let recipients = recipients
        .into_iter()
        .map(age_recipient)
        .collect::<Result<Vec<_>, _>>()?;
    if recipients.is_empty() {
        return Err(EncryptError::Nobody);
    }
    let age = |error: &dyn fmt::Display| EncryptError::Age(error.to_string());
    let encryptor = age::Encryptor::with_recipients(recipients.iter().map(|one| one.as_ref() as _))
        .map_err(|error| age(&error))?;
    let mut bytes = Vec::new();
    let mut writer = encryptor
        .wrap_output(&mut bytes)
        .map_err(|error| age(&error))?;
    writer
        .write_all(plaintext.expose())
        .map_err(|error| age(&error))?;
    writer.finish().map_err(|error| age(&error))?;
    Ok(Sealed::from_bytes(bytes)?)
}

fn age_recipient(recipient: &Recipient) -> Result<Box<dyn age::Recipient>, EncryptError> {
    let refused = |reason: String| EncryptError::Key {
        key: recipient.key_text().to_owned(),
        reason,
    };
    Ok(match recipient.kind() {
        RecipientKind::Age => Box::new(
            recipient
                .key_text()
                .parse::<age::x25519::Recipient>()
                .map_err(|error| refused(error.to_owned()))?,
        ),
        RecipientKind::SshEd25519 | RecipientKind::SshRsa => Box::new(
            recipient
                .key_text()
                .parse::<age::ssh::Recipient>()
                .map_err(|error| refused(format!("{error:?}")))?,
        ),
    })
}

/// Where to look for a private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentitySource {
    pub path: PathBuf,
    /// True if a person named it, so that it is a mistake if it cannot be used.
    pub named: bool,
}

/// The private keys of a person.
pub struct Keyring {
    open: Vec<Open>,
    locked: Vec<Locked>,
    looked_for: Vec<PathBuf>,
    tried: Vec<String>,
}

struct Open {
    identity: Box<dyn age::Identity>,
}

struct Locked {
    path: PathBuf,
    public: Recipient,
    key: age::ssh::EncryptedKey,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring({:?})", self.tried)
    }
}

/// How often a passphrase is asked for before giving up.
const ATTEMPTS: usize = 3;
/// No identity file is larger.
const LARGEST: u64 = 1 << 20;

impl Keyring {
    /// Reads identity files: OpenSSH private keys (ssh-ed25519, ssh-rsa; also with a passphrase), and files of age's own keys.
    ///
    /// # Errors
    ///
    /// If a named file cannot be read or used. Others are left out, and named again when nothing can be decrypted.
    pub fn load(sources: &[IdentitySource]) -> Result<Self, IdentityError> {
        let mut ring = Self {
            open: Vec::new(),
            locked: Vec::new(),
            looked_for: sources.iter().map(|source| source.path.clone()).collect(),
            tried: Vec::new(),
        };
        for source in sources {
            match ring.add(&source.path) {
                Ok(()) => {}
                Err(error) if source.named => return Err(error),
                Err(IdentityError::Read { source: io, .. })
                    if io.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => ring.tried.push(error.to_string()),
            }
        }
        Ok(ring)
    }

    /// Whether there is any key at all; none is an error only once something must be decrypted.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty() && self.locked.is_empty()
    }

    fn add(&mut self, path: &Path) -> Result<(), IdentityError> {
        let unusable = |reason: &str| IdentityError::Unusable {
            path: path.to_owned(),
            reason: reason.to_owned(),
        };
        let text = read_key(path).map_err(|source| IdentityError::Read {
            path: path.to_owned(),
            source,
        })?;
        if text.starts_with(b"-----BEGIN AGE ENCRYPTED FILE-----")
            || text.starts_with(b"age-encryption.org/")
        {
            return Err(unusable(
                "age identity files with a passphrase are not supported; decrypt it with `age -d`, or use an SSH key",
            ));
        }
        if text.starts_with(b"ssh-") || text.starts_with(b"age1") {
            return Err(unusable("it is a public key; the private half is wanted"));
        }
        if !text.starts_with(b"-----BEGIN") {
            let identities = age::IdentityFile::from_buffer(text.as_slice())
                .and_then(|file| file.into_identities().map_err(std::io::Error::other))
                // The crate's message names a line number; the line itself may be half a key.
                .map_err(|_| {
                    unusable("it is neither an OpenSSH private key nor a file of age keys")
                })?;
            if identities.is_empty() {
                return Err(unusable("there is no key in it"));
            }
            self.open
                .extend(identities.into_iter().map(|identity| Open { identity }));
            self.tried.push(path.display().to_string());
            return Ok(());
        }
        let identity = SshIdentity::from_buffer(BufReader::new(text.as_slice()), None)
            .map_err(|_| unusable("it is damaged, or no OpenSSH private key"))?;
        match &identity {
            SshIdentity::Unencrypted(_) => self.open.push(Open {
                identity: Box::new(identity),
            }),
            SshIdentity::Encrypted(key) => {
                // The public half stands in clear beside the locked private half, so it is known whether asking is of any use.
                let public = age::ssh::Recipient::try_from(identity.clone())
                    .ok()
                    .and_then(|public| public.to_string().parse().ok())
                    .ok_or_else(|| unusable("its type cannot decrypt age files"))?;
                self.locked.push(Locked {
                    path: path.to_owned(),
                    public,
                    key: key.clone(),
                });
            }
            SshIdentity::Unsupported(kind) => {
                let reason = match kind {
                    UnsupportedKey::EncryptedPem => {
                        "it is in the old PEM format with a passphrase; `ssh-keygen -p -f FILE` converts it".to_owned()
                    }
                    UnsupportedKey::EncryptedSsh(cipher) => {
                        format!("it is locked with {cipher}, which age does not know")
                    }
                    UnsupportedKey::Hardware(kind) => {
                        format!("{kind} keys live on a security device, which can sign but not decrypt")
                    }
                    UnsupportedKey::Type(kind) => {
                        format!("{kind} keys cannot decrypt age files; ssh-ed25519 and ssh-rsa can")
                    }
                };
                return Err(IdentityError::Unusable {
                    path: path.to_owned(),
                    reason,
                });
            }
        }
        self.tried.push(path.display().to_string());
        Ok(())
    }

    /// Decrypts with whichever key fits. Asks for the passphrase of a locked key only if the file is encrypted to it and no
    /// other key fits, and keeps the key open afterwards.
    ///
    /// # Errors
    ///
    /// If no key fits, a passphrase is not given, or the ciphertext is not authentic.
    pub fn decrypt(
        &mut self,
        sealed: &Sealed,
        prompt: &mut dyn Prompt,
    ) -> Result<Plaintext, DecryptError> {
        if self.is_empty() && self.tried.is_empty() {
            return Err(DecryptError::NoIdentity {
                looked_for: self.looked_for.clone(),
            });
        }
        for open in &self.open {
            if let Some(plaintext) = try_identity(sealed, open.identity.as_ref())? {
                return Ok(plaintext);
            }
        }
        while let Some(position) = self
            .locked
            .iter()
            .position(|locked| sealed.envelope().is_for(&locked.public) == Some(true))
        {
            let identity = unlock(&self.locked[position], prompt)?;
            self.locked.remove(position);
            let plaintext = try_identity(sealed, &identity)?;
            self.open.push(Open {
                identity: Box::new(identity),
            });
            if let Some(plaintext) = plaintext {
                return Ok(plaintext);
            }
        }
        Err(DecryptError::NotForUs {
            tried: self.tried.clone(),
        })
    }
}

fn read_key(path: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let file = std::fs::File::open(path)?;
    let length = file.metadata()?.len().min(LARGEST);
    // Allocated once, so that no half-grown copy of the key stays behind in memory.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1));
    file.take(LARGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unlock(locked: &Locked, prompt: &mut dyn Prompt) -> Result<SshIdentity, DecryptError> {
    for _ in 0..ATTEMPTS {
        let question = format!("Passphrase of {}", locked.path.display());
        let passphrase = prompt
            .hidden(&question)
            .map_err(|source| DecryptError::Prompt {
                path: locked.path.clone(),
                source,
            })?;
        if let Ok(key) = locked.key.decrypt(passphrase) {
            return Ok(key.into());
        }
    }
    Err(DecryptError::Passphrase {
        path: locked.path.clone(),
        times: ATTEMPTS,
    })
}

/// `None` if the file is not encrypted to this key.
fn try_identity(
    sealed: &Sealed,
    identity: &dyn age::Identity,
) -> Result<Option<Plaintext>, DecryptError> {
    let length = sealed.envelope().plaintext_length();
    let capacity = usize::try_from(length)
        .ok()
        .filter(|length| *length <= Plaintext::LONGEST)
        .ok_or(DecryptError::TooLong(length))?;
    let decryptor = age::Decryptor::new_buffered(sealed.bytes())
        .map_err(|_| DecryptError::Damaged("its header is not valid"))?;
    let mut reader = match decryptor.decrypt(iter::once(identity)) {
        Ok(reader) => reader,
        Err(age::DecryptError::NoMatchingKeys) => return Ok(None),
        Err(age::DecryptError::InvalidMac) => {
            return Err(DecryptError::Damaged("its header is not authentic"));
        }
        Err(_) => return Err(DecryptError::Damaged("its key is not authentic")),
    };
    // One byte more than is needed, so that reading to the end never has to grow (and copy) the buffer.
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity + 1));
    reader
        .read_to_end(&mut bytes)
        .map_err(|_| DecryptError::Damaged("its payload is not authentic"))?;
    Ok(Some(Plaintext::new(bytes)))
}
