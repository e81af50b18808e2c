use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use base64ct::{Base64, Base64Unpadded, Encoding as _};
use sha2::{Digest as _, Sha256};

use super::envelope::{SshTag, Stanza};

/// The public half of the key pair that comes with forge; its private half is public too (`hosts/example-insecure-key`).
const EXAMPLE: &str = include_str!("../../../hosts/example-insecure-key.pub");

/// Why a text is no recipient. Never carries the text: somebody may have given the wrong half of a key pair.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipientError {
    #[error("it is empty")]
    Empty,
    #[error(
        "it holds the private half of a key; give the public half (`.pub`), and make a new key if this one was shared"
    )]
    Private,
    #[error("ECDSA keys cannot decrypt age files")]
    Ecdsa,
    #[error("keys on a security device (`sk-…`) can sign but not decrypt")]
    Device,
    #[error("DSA keys are broken")]
    Dsa,
    #[error("an RSA key of {0} bits is not taken: 2048 to 4096 are")]
    RsaBits(usize),
    #[error("recipients of plugins and post-quantum recipients (`age1NAME1…`) are not supported")]
    Plugin,
    #[error("the key is damaged: {0}")]
    Damaged(&'static str),
    #[error("it is neither an SSH public key (ssh-ed25519, ssh-rsa) nor an age public key (age1…)")]
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecipientKind {
    SshEd25519,
    SshRsa,
    Age,
}

impl RecipientKind {
    pub fn word(self) -> &'static str {
        match self {
            Self::SshEd25519 => "ssh-ed25519",
            Self::SshRsa => "ssh-rsa",
            Self::Age => "age",
        }
    }
}

/// A public key that a value can be encrypted to. Equal if the key is, whatever its comment says.
#[derive(Clone)]
pub struct Recipient {
    kind: RecipientKind,
    /// The SSH wire form (RFC 4253, section 6.6), or the 32 bytes of an age key.
    key: Vec<u8>,
    /// The key as text, without the comment.
    text: String,
    comment: String,
}

impl Recipient {
    pub fn kind(&self) -> RecipientKind {
        self.kind
    }

    /// The key without its comment, in the form that every age program reads.
    pub fn key_text(&self) -> &str {
        &self.text
    }

    /// What follows an SSH key, mostly `user@machine`; may be empty.
    pub fn comment(&self) -> &str {
        &self.comment
    }

    /// How an age file names this recipient.
    pub fn stanza(&self) -> Stanza {
        let digest = Sha256::digest(&self.key);
        let tag = SshTag([digest[0], digest[1], digest[2], digest[3]]);
        match self.kind {
            RecipientKind::SshEd25519 => Stanza::SshEd25519(tag),
            RecipientKind::SshRsa => Stanza::SshRsa(tag),
            RecipientKind::Age => Stanza::X25519,
        }
    }

    /// `SHA256:…` as `ssh-keygen -l` prints it; an age key itself, since it is short.
    pub fn fingerprint(&self) -> String {
        match self.kind {
            RecipientKind::Age => self.text.clone(),
            _ => format!(
                "SHA256:{}",
                Base64Unpadded::encode_string(&Sha256::digest(&self.key))
            ),
        }
    }

    /// True for the key pair that comes with forge, which protects nothing.
    pub fn is_example(&self) -> bool {
        EXAMPLE.trim().split(' ').nth(1) == self.text.split(' ').nth(1)
    }
}

impl FromStr for Recipient {
    type Err = RecipientError;

    fn from_str(text: &str) -> Result<Self, RecipientError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(RecipientError::Empty);
        }
        if text.contains("PRIVATE KEY") || text.to_ascii_uppercase().contains("AGE-SECRET-KEY-") {
            return Err(RecipientError::Private);
        }
        if text.chars().any(char::is_control) {
            return Err(RecipientError::Damaged("it is more than one line"));
        }
        let mut words = text.splitn(3, ' ');
        let (kind, key) = (words.next().unwrap_or_default(), words.next());
        let comment = words.next().unwrap_or_default().trim().to_owned();
        let kind = match kind {
            "ssh-ed25519" => RecipientKind::SshEd25519,
            "ssh-rsa" => RecipientKind::SshRsa,
            "ssh-dss" => return Err(RecipientError::Dsa),
            kind if kind.starts_with("ecdsa-") => return Err(RecipientError::Ecdsa),
            kind if kind.starts_with("sk-") => return Err(RecipientError::Device),
            kind if kind.starts_with("age1") => {
                return Ok(Self {
                    kind: RecipientKind::Age,
                    key: age_key(kind)?,
                    text: kind.to_owned(),
                    comment: key.map_or(String::new(), |rest| format!("{rest} {comment}")),
                });
            }
            _ => return Err(RecipientError::Unknown),
        };
        let encoded = key.ok_or(RecipientError::Damaged("it has no second word"))?;
        let key = Base64::decode_vec(encoded)
            .map_err(|_| RecipientError::Damaged("its second word is not base64"))?;
        check_wire(kind, &key)?;
        Ok(Self {
            kind,
            text: format!("{} {encoded}", kind.word()),
            key,
            comment,
        })
    }
}

/// RFC 4253, section 6.6 (ssh-rsa), RFC 8709, section 4 (ssh-ed25519).
fn check_wire(kind: RecipientKind, key: &[u8]) -> Result<(), RecipientError> {
    const SHAPE: RecipientError = RecipientError::Damaged("its parts are not those of its kind");
    let mut rest = key;
    let mut part = || -> Option<&[u8]> {
        let (length, after) = rest.split_at_checked(4)?;
        let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
        let (part, after) = after.split_at_checked(length)?;
        rest = after;
        Some(part)
    };
    if part() != Some(kind.word().as_bytes()) {
        return Err(SHAPE);
    }
    if kind == RecipientKind::SshRsa {
        let _exponent = part().ok_or(SHAPE)?;
        let modulus = part().ok_or(SHAPE)?;
        let digits = match modulus {
            [0, digits @ ..] => digits,
            digits => digits,
        };
        let first = digits.first().copied().unwrap_or(0);
        let bits = digits.len() * 8 - (first.leading_zeros() as usize).min(digits.len() * 8);
        if !(2048..=4096).contains(&bits) {
            return Err(RecipientError::RsaBits(bits));
        }
    } else if part().map(<[u8]>::len) != Some(32) {
        return Err(SHAPE);
    }
    if rest.is_empty() { Ok(()) } else { Err(SHAPE) }
}

/// The 32 bytes of `age1…` (C2SP age, section "The X25519 recipient type"; Bech32 of BIP 173, without its limit of length).
fn age_key(text: &str) -> Result<Vec<u8>, RecipientError> {
    const ALPHABET: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    let damaged = RecipientError::Damaged;
    let (prefix, data) = text.rsplit_once('1').ok_or(RecipientError::Unknown)?;
    if prefix != "age" {
        return Err(RecipientError::Plugin);
    }
    let digits = data
        .bytes()
        .map(|byte| ALPHABET.iter().position(|letter| *letter == byte))
        .map(|digit| digit.and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<Vec<u8>>>()
        .ok_or(damaged("it holds a character that age keys do not have"))?;
    let expanded = prefix
        .bytes()
        .map(|byte| byte >> 5)
        .chain([0])
        .chain(prefix.bytes().map(|byte| byte & 31))
        .chain(digits.iter().copied());
    let mut sum: u32 = 1;
    for digit in expanded {
        let top = sum >> 25;
        sum = ((sum & 0x01ff_ffff) << 5) ^ u32::from(digit);
        for (bit, generator) in [
            0x3b6a_57b2,
            0x2650_8e6d,
            0x1ea1_19fa,
            0x3d42_33dd,
            0x2a14_62b3,
        ]
        .into_iter()
        .enumerate()
        {
            if (top >> bit) & 1 == 1 {
                sum ^= generator;
            }
        }
    }
    if sum != 1 {
        return Err(damaged("its checksum is wrong"));
    }
    let (mut key, mut buffer, mut bits) = (Vec::new(), 0u32, 0u32);
    for digit in &digits[..digits.len().saturating_sub(6)] {
        buffer = (buffer << 5 | u32::from(*digit)) & 0xfff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            key.push((buffer >> bits & 0xff) as u8);
        }
    }
    if key.len() != 32 || bits >= 5 || buffer & ((1 << bits) - 1) != 0 {
        return Err(damaged("it has not the length of an age key"));
    }
    Ok(key)
}

impl PartialEq for Recipient {
    fn eq(&self, other: &Self) -> bool {
        (self.kind, &self.key) == (other.kind, &other.key)
    }
}
impl Eq for Recipient {}

impl PartialOrd for Recipient {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Recipient {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.kind, &self.key).cmp(&(other.kind, &other.key))
    }
}

/// As a line of a `.pub` file, with its comment.
impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if !self.comment.is_empty() {
            write!(f, " {}", self.comment)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";

    #[test]
    fn reads_the_three_kinds() {
        let example: Recipient = EXAMPLE.parse().unwrap();
        assert!(example.is_example());
        assert_eq!(example.comment(), "forge-example-key-DO-NOT-USE");
        assert_eq!(format!("{example}\n"), EXAMPLE);
        let age: Recipient = AGE.parse().unwrap();
        assert_eq!(
            (age.kind(), age.stanza()),
            (RecipientKind::Age, Stanza::X25519)
        );
        assert!(!age.is_example());
    }

    #[test]
    fn a_comment_does_not_make_another_key() {
        let bare = EXAMPLE.rsplit_once(' ').unwrap().0;
        assert_eq!(bare.parse::<Recipient>(), EXAMPLE.parse());
        assert!(bare.parse::<Recipient>().unwrap().is_example());
    }

    #[test]
    fn refuses_with_a_reason() {
        let wrong_checksum = AGE.replace("svpy7pa", "svpy7pq");
        for (text, error) in [
            ("", RecipientError::Empty),
            ("ecdsa-sha2-nistp256 AAAA", RecipientError::Ecdsa),
            ("sk-ssh-ed25519@openssh.com AAAA", RecipientError::Device),
            ("ssh-dss AAAA", RecipientError::Dsa),
            ("age1yubikey1qqqq", RecipientError::Plugin),
            (
                &wrong_checksum,
                RecipientError::Damaged("its checksum is wrong"),
            ),
            (
                "-----BEGIN OPENSSH PRIVATE KEY-----",
                RecipientError::Private,
            ),
            ("AGE-SECRET-KEY-1ABC", RecipientError::Private),
            (
                "ssh-ed25519",
                RecipientError::Damaged("it has no second word"),
            ),
            (
                "ssh-ed25519 !",
                RecipientError::Damaged("its second word is not base64"),
            ),
            (
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFYI",
                RecipientError::Damaged("its parts are not those of its kind"),
            ),
            ("hello", RecipientError::Unknown),
        ] {
            assert_eq!(text.parse::<Recipient>(), Err(error), "{text}");
        }
    }
}
