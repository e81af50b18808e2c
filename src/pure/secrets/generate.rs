//! How forge makes a secret: in exactly the form that its module declares.

use base64ct::{Base64, Base64Url, Encoding as _};
use zeroize::Zeroizing;

use super::plaintext::Plaintext;

/// The operating system gave no random bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no random bytes from the operating system: {0}")]
pub struct RandomnessError(pub String);

/// The port to a source of random bytes (`edge::random` has the real one and a seeded double).
pub trait Randomness {
    /// Fills all of `bytes`.
    ///
    /// # Errors
    ///
    /// If not all could be filled; then none may be used.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomnessError>;
}

/// A form that forge can make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generate {
    /// Lower case.
    Hex { bytes: usize },
    /// RFC 4648, section 4, with padding.
    Base64 { bytes: usize },
    /// RFC 4648, section 5, with padding.
    Base64Url { bytes: usize },
    /// a-z, A-Z and 0-9.
    Alphanumeric { length: usize },
    /// 0-9.
    Digits { length: usize },
    /// Version 4 (RFC 9562, section 5.4), lower case.
    Uuid,
}

const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const DIGITS: &[u8] = b"0123456789";

impl Generate {
    /// The exact length of what [`Generate::make`] makes, in bytes.
    pub fn length(self) -> usize {
        match self {
            Self::Hex { bytes } => bytes * 2,
            Self::Base64 { bytes } | Self::Base64Url { bytes } => bytes.div_ceil(3) * 4,
            Self::Alphanumeric { length } | Self::Digits { length } => length,
            Self::Uuid => 36,
        }
    }

    /// In words, for tables and messages.
    pub fn describe(self) -> String {
        match self {
            Self::Hex { bytes } => format!("{bytes} bytes as {} hexadecimal digits", self.length()),
            Self::Base64 { bytes } => {
                format!("{bytes} bytes as {} characters of base64", self.length())
            }
            Self::Base64Url { bytes } => {
                format!("{bytes} bytes as {} characters of base64url", self.length())
            }
            Self::Alphanumeric { length } => format!("{length} letters and digits"),
            Self::Digits { length } => format!("{length} digits"),
            Self::Uuid => "a UUID".to_owned(),
        }
    }

    /// Makes a new value.
    ///
    /// # Errors
    ///
    /// If there are no random bytes.
    pub fn make(
        self,
        randomness: &mut (impl Randomness + ?Sized),
    ) -> Result<Plaintext, RandomnessError> {
        let mut out = Zeroizing::new(vec![0; self.length()]);
        match self {
            Self::Hex { bytes } => {
                let raw = random(bytes, randomness)?;
                // Encodes into a buffer of exactly the right length; there is no other way for this to fail.
                hex::encode_to_slice(raw.as_slice(), &mut out).map_err(internal)?;
            }
            Self::Base64 { bytes } => {
                let raw = random(bytes, randomness)?;
                Base64::encode(&raw, &mut out).map_err(internal)?;
            }
            Self::Base64Url { bytes } => {
                let raw = random(bytes, randomness)?;
                Base64Url::encode(&raw, &mut out).map_err(internal)?;
            }
            Self::Alphanumeric { .. } => pick(ALPHANUMERIC, &mut out, randomness)?,
            Self::Digits { .. } => pick(DIGITS, &mut out, randomness)?,
            Self::Uuid => {
                let mut raw = random(16, randomness)?;
                raw[6] = raw[6] & 0x0f | 0x40;
                raw[8] = raw[8] & 0x3f | 0x80;
                let mut at = 0;
                for (index, byte) in raw.iter().enumerate() {
                    if matches!(index, 4 | 6 | 8 | 10) {
                        out[at] = b'-';
                        at += 1;
                    }
                    hex::encode_to_slice([*byte], &mut out[at..at + 2]).map_err(internal)?;
                    at += 2;
                }
            }
        }
        Ok(Plaintext::new(out))
    }

    /// Whether a value that a person set has this form; if not, why. The text never holds any of the value.
    ///
    /// # Errors
    ///
    /// A clause that fits after "the value of `NAME` …".
    pub fn check(self, value: &str) -> Result<(), String> {
        let length = value.len();
        if length != self.length() {
            return Err(format!(
                "is {length} bytes long, and must be {}: {}",
                self.length(),
                self.describe()
            ));
        }
        let only = |alphabet: &[u8]| value.bytes().all(|byte| alphabet.contains(&byte));
        let fits = match self {
            Self::Hex { .. } => only(b"0123456789abcdef"),
            Self::Base64 { bytes } => decodes_to::<Base64>(value, bytes),
            Self::Base64Url { bytes } => decodes_to::<Base64Url>(value, bytes),
            Self::Alphanumeric { .. } => only(ALPHANUMERIC),
            Self::Digits { .. } => only(DIGITS),
            Self::Uuid => value.bytes().enumerate().all(|(index, byte)| match index {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
            }),
        };
        if fits {
            Ok(())
        } else {
            Err(format!(
                "has a character that does not belong there; it must be {}",
                self.describe()
            ))
        }
    }
}

fn decodes_to<E: base64ct::Encoding>(value: &str, bytes: usize) -> bool {
    E::decode_vec(value)
        .map(Zeroizing::new)
        .is_ok_and(|decoded| decoded.len() == bytes)
}

fn internal(error: impl std::fmt::Display) -> RandomnessError {
    RandomnessError(format!("they could not be encoded ({error})"))
}

fn random(
    count: usize,
    randomness: &mut (impl Randomness + ?Sized),
) -> Result<Zeroizing<Vec<u8>>, RandomnessError> {
    let mut bytes = Zeroizing::new(vec![0; count]);
    randomness.fill(&mut bytes)?;
    Ok(bytes)
}

/// Fills `out` with characters of an alphabet, all equally likely: bytes above the largest multiple of its size are thrown away.
fn pick(
    alphabet: &[u8],
    out: &mut [u8],
    randomness: &mut (impl Randomness + ?Sized),
) -> Result<(), RandomnessError> {
    let limit = 256 - 256 % alphabet.len();
    let mut at = 0;
    while at < out.len() {
        for byte in random(64, randomness)?
            .iter()
            .map(|byte| usize::from(*byte))
        {
            if byte < limit && at < out.len() {
                out[at] = alphabet[byte % alphabet.len()];
                at += 1;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts up, so that every byte comes up equally often.
    struct Counting(u8);

    impl Randomness for Counting {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomnessError> {
            for byte in bytes {
                *byte = self.0;
                self.0 = self.0.wrapping_add(1);
            }
            Ok(())
        }
    }

    #[test]
    fn makes_exactly_what_is_declared() {
        let mut source = Counting(0);
        for (form, wanted) in [
            (Generate::Hex { bytes: 4 }, "00010203"),
            (Generate::Base64 { bytes: 4 }, "BAUGBw=="),
            (Generate::Base64Url { bytes: 4 }, "CAkKCw=="),
            (Generate::Uuid, "0c0d0e0f-1011-4213-9415-161718191a1b"),
            (Generate::Digits { length: 4 }, "8901"),
        ] {
            let made = form.make(&mut source).unwrap();
            assert_eq!(made.expose_str(), Some(wanted));
            assert_eq!(made.len(), form.length());
            assert_eq!(form.check(wanted), Ok(()));
        }
    }

    #[test]
    fn no_character_is_likelier_than_another() {
        // Counting gives each byte equally often, so after a multiple of 256 bytes each character came equally often.
        let mut out = vec![0; 248 * 64];
        pick(ALPHANUMERIC, &mut out, &mut Counting(0)).unwrap();
        for letter in ALPHANUMERIC {
            assert_eq!(out.iter().filter(|byte| *byte == letter).count(), 256);
        }
    }

    #[test]
    fn refuses_other_forms_without_quoting_them() {
        for (form, value) in [
            (Generate::Hex { bytes: 4 }, "hunter2!"),
            (Generate::Hex { bytes: 4 }, "0001020A"),
            (Generate::Base64 { bytes: 4 }, "BAUGB_=="),
            (Generate::Base64 { bytes: 4 }, "BAUGBwAA"),
            (Generate::Uuid, "0c0d0e0f+1011-4213-9415-161718191a1b"),
            (Generate::Digits { length: 4 }, "12345"),
            (Generate::Alphanumeric { length: 3 }, "a-b"),
        ] {
            let message = form.check(value).unwrap_err();
            assert!(!message.contains(value), "{message}");
        }
    }
}
