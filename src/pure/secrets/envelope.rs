//! The header of an age file, read without a key (C2SP age, <https://c2sp.org/age>, format v1).

use std::fmt;

use base64ct::{Base64Unpadded, Encoding as _};

use super::recipient::{Recipient, RecipientKind};

/// Section "Header": the version line.
const INTRO: &[u8] = b"age-encryption.org/v1\n";
/// Section "Recipient stanza": bodies are wrapped at 64 columns, and end with a shorter line.
const COLUMNS: usize = 64;
/// Section "Payload": a nonce, then chunks of 64 KiB with a tag each.
const NONCE: usize = 16;
const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;

/// Why bytes are no age file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    #[error("it does not begin with the line `age-encryption.org/v1`")]
    NotAge,
    #[error("it is cut off in its header")]
    HeaderEnds,
    #[error("stanza {0} of its header is malformed")]
    Stanza(usize),
    #[error("its header names no recipient")]
    NoStanza,
    #[error("the code that authenticates its header is malformed")]
    Mac,
    #[error("its payload is cut off")]
    Payload,
}

/// The first four bytes of the SHA-256 of an SSH public key: how an age file names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SshTag(pub(super) [u8; 4]);

impl fmt::Display for SshTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for SshTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// To whom a file is encrypted, as far as its header tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stanza {
    SshEd25519(SshTag),
    SshRsa(SshTag),
    /// An age key; anonymous by design.
    X25519,
    /// Somebody with a passphrase.
    Passphrase,
    /// No recipient: padding that keeps readers from relying on the kinds that there are.
    Grease,
    /// A plugin, or a kind newer than this program.
    Other(String),
}

impl fmt::Display for Stanza {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SshEd25519(tag) => write!(f, "an ssh-ed25519 key with the tag {tag}"),
            Self::SshRsa(tag) => write!(f, "an ssh-rsa key with the tag {tag}"),
            Self::X25519 => f.write_str("an age key"),
            Self::Passphrase => f.write_str("a passphrase"),
            Self::Grease => f.write_str("nobody"),
            Self::Other(kind) => write!(f, "a recipient of the unknown kind `{kind}`"),
        }
    }
}

/// What can be known of an age file without a private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    stanzas: Vec<Stanza>,
    length: u64,
}

/// The recipients that a file should have, against those that it has.
///
/// Age keys (`age1…`) are anonymous in a file, so of them only the number can be compared: one exchanged for another by hand is
/// not seen without a private key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addressees {
    /// Names of recipients that can read it, as far as can be told.
    pub present: Vec<String>,
    /// Names of recipients that cannot read it. Of age keys, if too few are there, all are named.
    pub missing: Vec<String>,
    /// Whoever can read it and should not.
    pub surplus: Vec<Stanza>,
}

impl Addressees {
    /// True if the file is encrypted to exactly those that it should be.
    pub fn exact(&self) -> bool {
        self.missing.is_empty() && self.surplus.is_empty()
    }
}

impl Envelope {
    /// Reads the header of a binary age file, and from the length of the rest the length of what is encrypted.
    ///
    /// # Errors
    ///
    /// If the bytes are no age file of version 1, or are cut off where that can be seen.
    pub fn read(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let mut rest = bytes.strip_prefix(INTRO).ok_or(EnvelopeError::NotAge)?;
        let mut stanzas = Vec::new();
        loop {
            let line = take_line(&mut rest)?;
            if let Some(mac) = line.strip_prefix("--- ") {
                if stanzas.is_empty() {
                    return Err(EnvelopeError::NoStanza);
                }
                match Base64Unpadded::decode_vec(mac) {
                    Ok(mac) if mac.len() == 32 => break,
                    _ => return Err(EnvelopeError::Mac),
                }
            }
            let number = stanzas.len() + 1;
            let malformed = || EnvelopeError::Stanza(number);
            let arguments = line.strip_prefix("-> ").ok_or_else(malformed)?;
            let mut body = String::new();
            loop {
                let line = take_line(&mut rest)?;
                if line.len() > COLUMNS {
                    return Err(malformed());
                }
                body.push_str(line);
                if line.len() < COLUMNS {
                    break;
                }
            }
            let body = Base64Unpadded::decode_vec(&body).map_err(|_| malformed())?;
            stanzas.push(stanza(arguments, &body).ok_or_else(malformed)?);
        }
        Ok(Self {
            stanzas,
            length: payload_length(rest.len()).ok_or(EnvelopeError::Payload)?,
        })
    }

    /// The exact number of bytes that are encrypted.
    pub fn plaintext_length(&self) -> u64 {
        self.length
    }

    /// To whom, in the order of the header.
    pub fn stanzas(&self) -> &[Stanza] {
        &self.stanzas
    }

    /// Whether this key is one of those that the file is encrypted to; `None` for an age key if that cannot be told.
    pub fn is_for(&self, recipient: &Recipient) -> Option<bool> {
        match recipient.stanza() {
            Stanza::X25519 if self.stanzas.contains(&Stanza::X25519) => None,
            wanted => Some(self.stanzas.contains(&wanted)),
        }
    }

    /// Compares with the recipients that the file should have, by their names.
    pub fn addressees<'a>(
        &self,
        wanted: impl IntoIterator<Item = (&'a str, &'a Recipient)>,
    ) -> Addressees {
        let mut found = Addressees::default();
        let mut left: Vec<Stanza> = self
            .stanzas
            .iter()
            .filter(|stanza| **stanza != Stanza::Grease)
            .cloned()
            .collect();
        let mut age_keys = Vec::new();
        for (name, recipient) in wanted {
            if recipient.kind() == RecipientKind::Age {
                age_keys.push(name.to_owned());
                continue;
            }
            let stanza = recipient.stanza();
            match left.iter().position(|other| *other == stanza) {
                Some(position) => {
                    left.remove(position);
                    found.present.push(name.to_owned());
                }
                None => found.missing.push(name.to_owned()),
            }
        }
        let anonymous = left
            .iter()
            .filter(|stanza| **stanza == Stanza::X25519)
            .count();
        let known = anonymous.min(age_keys.len());
        let mut skip = known;
        left.retain(|stanza| {
            let matched = *stanza == Stanza::X25519 && skip > 0;
            skip -= usize::from(matched);
            !matched
        });
        if known < age_keys.len() {
            found.missing.extend(age_keys);
        } else {
            found.present.extend(age_keys);
        }
        found.surplus = left;
        found
    }
}

/// One line of the header, without its newline.
fn take_line<'a>(rest: &mut &'a [u8]) -> Result<&'a str, EnvelopeError> {
    let end = rest
        .iter()
        .position(|byte| *byte == b'\n')
        .ok_or(EnvelopeError::HeaderEnds)?;
    let line = std::str::from_utf8(&rest[..end]).map_err(|_| EnvelopeError::HeaderEnds)?;
    *rest = &rest[end + 1..];
    Ok(line)
}

/// Sections "The X25519 recipient type", "The scrypt recipient type", "The ssh-… recipient type".
fn stanza(arguments: &str, body: &[u8]) -> Option<Stanza> {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let visible =
        |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !arguments.iter().all(visible) {
        return None;
    }
    let (kind, arguments) = arguments.split_first()?;
    let decoded = |text: &str, length: usize| {
        Base64Unpadded::decode_vec(text)
            .ok()
            .filter(|bytes| bytes.len() == length)
    };
    let tag = |text: &str| {
        let bytes = decoded(text, 4)?;
        bytes.try_into().ok().map(SshTag)
    };
    match (*kind, arguments) {
        ("ssh-ed25519", [name, share]) if body.len() == 32 => {
            decoded(share, 32)?;
            tag(name).map(Stanza::SshEd25519)
        }
        // The body has the length of the modulus; 2048 bits is the least that age takes.
        ("ssh-rsa", [name]) if body.len() >= 256 => tag(name).map(Stanza::SshRsa),
        ("X25519", [share]) if body.len() == 32 => decoded(share, 32).map(|_| Stanza::X25519),
        ("scrypt", [salt, _]) if body.len() == 32 => decoded(salt, 16).map(|_| Stanza::Passphrase),
        ("ssh-ed25519" | "ssh-rsa" | "X25519" | "scrypt", _) => None,
        (kind, _) if kind.ends_with("-grease") => Some(Stanza::Grease),
        (kind, _) => Some(Stanza::Other(kind.to_owned())),
    }
}

/// Section "Payload": every chunk but the last is full, and the last is only empty if it is the first.
fn payload_length(bytes: usize) -> Option<u64> {
    let chunks = bytes.checked_sub(NONCE)?;
    let count = chunks.div_ceil(CHUNK + TAG);
    let last = chunks.checked_sub(count.checked_sub(1)? * (CHUNK + TAG))?;
    if last < TAG || (last == TAG && count > 1) {
        return None;
    }
    u64::try_from(chunks - count * TAG).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(stanzas: &str, payload: usize) -> Vec<u8> {
        let mac = Base64Unpadded::encode_string(&[1; 32]);
        let mut bytes = format!("age-encryption.org/v1\n{stanzas}--- {mac}\n").into_bytes();
        bytes.extend(vec![0; payload]);
        bytes
    }

    fn x25519() -> String {
        let share = Base64Unpadded::encode_string(&[2; 32]);
        format!("-> X25519 {share}\n{share}\n")
    }

    #[test]
    fn the_length_of_the_payload_tells_that_of_the_plaintext() {
        for (payload, plaintext) in [
            (32, Some(0)),
            (33, Some(1)),
            (16 + CHUNK + TAG, Some(CHUNK as u64)),
            (16 + CHUNK + TAG + 17, Some(CHUNK as u64 + 1)),
            (16 + CHUNK + TAG + 16, None),
            (16 + CHUNK + TAG + 15, None),
            (31, None),
            (16, None),
            (3, None),
        ] {
            let read = Envelope::read(&file(&x25519(), payload));
            assert_eq!(
                read.ok().map(|e| e.plaintext_length()),
                plaintext,
                "{payload}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_header() {
        for (bytes, error) in [
            (b"hunter2".to_vec(), EnvelopeError::NotAge),
            (b"age-encryption.org/v2\n".to_vec(), EnvelopeError::NotAge),
            (
                b"age-encryption.org/v1\n-> X".to_vec(),
                EnvelopeError::HeaderEnds,
            ),
            (file("", 40), EnvelopeError::NoStanza),
            (file("-> X25519 AAAA\nAAAA\n", 40), EnvelopeError::Stanza(1)),
            (file("X25519\n\n", 40), EnvelopeError::Stanza(1)),
            (
                file(&format!("{}->  a\n\n", x25519()), 40),
                EnvelopeError::Stanza(2),
            ),
        ] {
            assert_eq!(Envelope::read(&bytes), Err(error));
        }
    }

    #[test]
    fn grease_is_nobody_and_the_unknown_is_somebody() {
        let stanzas = format!("{}-> x-grease a b\n\n-> new 1\nAAAA\n", x25519());
        let envelope = Envelope::read(&file(&stanzas, 40)).unwrap();
        let found = envelope.addressees([]);
        assert_eq!(
            found.surplus,
            [Stanza::X25519, Stanza::Other("new".to_owned())]
        );
    }
}
