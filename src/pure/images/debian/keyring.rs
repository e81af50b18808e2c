//! OpenPGP keys, and which of them may sign at a given time (RFC 9580).

use pgp::composed::{Deserializable as _, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{
    KeyFlags, RevocationCode, Signature, SignatureType, SignatureVersion, Subpacket, SubpacketData,
};
use pgp::types::{Fingerprint, KeyDetails, Tag};

/// The keys that sign Debian's suites: `/usr/share/keyrings/debian-archive-keyring.gpg` of Debian's package
/// `debian-archive-keyring`, version 2023.3+deb12u2: bullseye, bookworm and trixie.
const DEBIAN: &[u8] = include_bytes!("debian-archive-keyring.gpg");

/// How long a keyring may be, in bytes.
const MOST_BYTES: usize = 16 << 20;

/// Keys that may sign a release.
#[derive(Clone, Debug)]
pub struct Keyring {
    keys: Vec<SignedPublicKey>,
}

/// Why a file is no keyring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    #[error("the keyring holds no OpenPGP public key: {reason}")]
    Malformed { reason: String },
    #[error("the keyring is longer than {MOST_BYTES} bytes")]
    TooLong,
    #[error("the keyring holds no OpenPGP public key")]
    Empty,
}

/// Why one signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{key} is not in the keyring")]
    Unknown { key: String },
    #[error("the signature by {key} does not fit the text")]
    Bad { key: String },
    #[error("the signature by {key} uses {hash}, which can be forged")]
    Weak { key: String, hash: String },
    #[error("it is no signature of a text that this program understands")]
    Form,
    #[error("the key {key} {reason}")]
    Key { key: String, reason: Standing },
}

/// Why a key did not count when it signed. Its own bindings may use any digest: the keyring is trusted as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Standing {
    #[error("is revoked")]
    Revoked,
    #[error("had expired when it signed")]
    Expired,
    #[error("was made after its signature")]
    NotYet,
    #[error("is not bound to its primary key")]
    Unbound,
    #[error("is not for signing")]
    NotForSigning,
}

impl Keyring {
    /// Reads transferable public keys (RFC 9580, section 10.1), armored or binary, as `gpg --export` writes them.
    ///
    /// # Errors
    /// [`KeyringError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyringError> {
        if bytes.len() > MOST_BYTES {
            return Err(KeyringError::TooLong);
        }
        let malformed = |error: pgp::errors::Error| KeyringError::Malformed {
            reason: error.to_string(),
        };
        let armored = bytes.trim_ascii_start().starts_with(b"-----BEGIN");
        let mut keys = Vec::new();
        if armored {
            // Several blocks may follow each other.
            let text = String::from_utf8_lossy(bytes);
            for block in blocks(&text) {
                let (found, _) =
                    SignedPublicKey::from_armor_many_buf(block.as_bytes()).map_err(malformed)?;
                for key in found {
                    keys.push(key.map_err(malformed)?);
                }
            }
        } else {
            for key in SignedPublicKey::from_bytes_many(bytes).map_err(malformed)? {
                keys.push(key.map_err(malformed)?);
            }
        }
        if keys.is_empty() {
            return Err(KeyringError::Empty);
        }
        Ok(Self { keys })
    }

    /// The keys that sign Debian's suites.
    ///
    /// # Errors
    /// None, as the tests see to it that the keyring in the program can be read.
    pub fn debian() -> Result<Self, KeyringError> {
        Self::parse(DEBIAN)
    }

    /// How many keys there are, subkeys not counted.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Checks a signature of a text (RFC 9580, section 5.2.1.2), and gives the fingerprint of the key that made it, in
    /// hexadecimal digits.
    pub(super) fn check(&self, signature: &Signature, text: &[u8]) -> Result<String, Refusal> {
        let time = acceptable(signature)?;
        let mut refusal = None;
        for key in &self.keys {
            let made = |made_by: &Fingerprint| made_by.to_string();
            if is_issuer(signature, &key.primary_key) {
                let name = made(&key.primary_key.fingerprint());
                if signature.verify(&key.primary_key, text).is_err() {
                    refusal.get_or_insert(Refusal::Bad { key: name });
                } else {
                    match standing(key, time).and_then(|flags| may_sign(flags.as_ref(), true)) {
                        Ok(()) => return Ok(name),
                        Err(reason) => refusal = Some(Refusal::Key { key: name, reason }),
                    }
                }
            }
            for subkey in &key.public_subkeys {
                if !is_issuer(signature, &subkey.key) {
                    continue;
                }
                let name = made(&subkey.key.fingerprint());
                if signature.verify(&subkey.key, text).is_err() {
                    refusal.get_or_insert(Refusal::Bad { key: name });
                } else {
                    match standing(key, time).and_then(|_| subkey_standing(key, subkey, time)) {
                        Ok(()) => return Ok(name),
                        Err(reason) => refusal = Some(Refusal::Key { key: name, reason }),
                    }
                }
            }
        }
        Err(refusal.unwrap_or_else(|| Refusal::Unknown {
            key: issuer(signature),
        }))
    }
}

/// What can be told of a signature without a key: when it was made, in seconds since 1970.
fn acceptable(signature: &Signature) -> Result<u32, Refusal> {
    let config = signature.config().ok_or(Refusal::Form)?;
    if !matches!(
        config.version(),
        SignatureVersion::V4 | SignatureVersion::V6
    ) || config.typ() != SignatureType::Text
    {
        return Err(Refusal::Form);
    }
    match config.hash_alg {
        HashAlgorithm::Sha256
        | HashAlgorithm::Sha384
        | HashAlgorithm::Sha512
        | HashAlgorithm::Sha3_256
        | HashAlgorithm::Sha3_512 => {}
        weak => {
            return Err(Refusal::Weak {
                key: issuer(signature),
                hash: weak.to_string(),
            });
        }
    }
    // "If a subpacket is encountered that is marked critical but is unknown to the evaluating implementation, the evaluator
    // SHOULD consider the signature to be in error" (section 5.2.3.7).
    let unknown = |subpacket: &Subpacket| {
        let known = !matches!(
            subpacket.data,
            SubpacketData::Experimental(..)
                | SubpacketData::Other(..)
                | SubpacketData::Notation(..)
        );
        subpacket.is_critical && !known
    };
    if config.hashed_subpackets().any(unknown) {
        return Err(Refusal::Form);
    }
    Ok(signature.created().ok_or(Refusal::Form)?.as_secs())
}

fn is_issuer(signature: &Signature, key: &impl KeyDetails) -> bool {
    let (ids, fingerprints) = (signature.issuer_key_id(), signature.issuer_fingerprint());
    (ids.is_empty() && fingerprints.is_empty())
        || ids.contains(&&key.legacy_key_id())
        || fingerprints.contains(&&key.fingerprint())
}

/// The key that a signature says it was made with.
fn issuer(signature: &Signature) -> String {
    let fingerprint = signature
        .issuer_fingerprint()
        .first()
        .map(ToString::to_string);
    let id = || signature.issuer_key_id().first().map(ToString::to_string);
    fingerprint
        .or_else(id)
        .unwrap_or_else(|| "a key that is not named".to_owned())
}

/// Whether a primary key counted at a time; if so, what its newest self-signature lets it do.
fn standing(key: &SignedPublicKey, time: u32) -> Result<Option<KeyFlags>, Standing> {
    let primary = &key.primary_key;
    let revoked = |signature: &&Signature| {
        signature.typ() == Some(SignatureType::KeyRevocation)
            && revokes(signature, time)
            && signature.verify_key(primary).is_ok()
    };
    if key
        .details
        .revocation_signatures
        .iter()
        .any(|signature| revoked(&signature))
    {
        return Err(Standing::Revoked);
    }
    let direct = key.details.direct_signatures.iter().filter(|signature| {
        signature.typ() == Some(SignatureType::Key) && signature.verify_key(primary).is_ok()
    });
    let users = key.details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|signature| {
            signature.typ() != Some(SignatureType::CertRevocation)
                && signature
                    .verify_certification(primary, Tag::UserId, &user.id)
                    .is_ok()
        })
    });
    let newest = direct
        .chain(users)
        .max_by_key(|signature| signature.created())
        .ok_or(Standing::Unbound)?;
    in_time(primary, newest, time)?;
    Ok(flags(newest))
}

/// Whether a subkey of a good key could sign at a time.
fn subkey_standing(
    key: &SignedPublicKey,
    subkey: &SignedPublicSubKey,
    time: u32,
) -> Result<(), Standing> {
    let primary = &key.primary_key;
    let of = |typ: SignatureType| {
        subkey.signatures.iter().filter(move |signature| {
            signature.typ() == Some(typ)
                && signature
                    .verify_subkey_binding(primary, &subkey.key)
                    .is_ok()
        })
    };
    if of(SignatureType::SubkeyRevocation).any(|signature| revokes(signature, time)) {
        return Err(Standing::Revoked);
    }
    let newest = of(SignatureType::SubkeyBinding)
        .max_by_key(|signature| signature.created())
        .ok_or(Standing::Unbound)?;
    in_time(&subkey.key, newest, time)?;
    may_sign(flags(newest).as_ref(), false)?;
    // The subkey must say itself that it belongs to the key (section 5.2.1.9).
    let back = newest.embedded_signature().ok_or(Standing::Unbound)?;
    back.verify_primary_key_binding(&subkey.key, primary)
        .map_err(|_| Standing::Unbound)
}

/// A key that was given up for another still counts for what it signed before; one that leaked, or of which nothing is said,
/// does not (section 5.2.3.31).
fn revokes(revocation: &Signature, time: u32) -> bool {
    match revocation.revocation_reason_code() {
        Some(RevocationCode::KeySuperseded | RevocationCode::KeyRetired) => {
            revocation.created().is_none_or(|at| at.as_secs() <= time)
        }
        _ => true,
    }
}

fn in_time(key: &impl KeyDetails, binding: &Signature, time: u32) -> Result<(), Standing> {
    let from = key.created_at().as_secs();
    if time < from {
        return Err(Standing::NotYet);
    }
    let lives = binding
        .key_expiration_time()
        .map_or(0, |lives| lives.as_secs());
    if lives != 0 && u64::from(from) + u64::from(lives) <= u64::from(time) {
        return Err(Standing::Expired);
    }
    Ok(())
}

/// The key flags of a self-signature; nothing if it says nothing of them.
fn flags(signature: &Signature) -> Option<KeyFlags> {
    let said = signature
        .config()?
        .hashed_subpackets()
        .any(|subpacket| matches!(subpacket.data, SubpacketData::KeyFlags(_)));
    said.then(|| signature.key_flags())
}

fn may_sign(flags: Option<&KeyFlags>, otherwise: bool) -> Result<(), Standing> {
    match flags.map_or(otherwise, KeyFlags::sign) {
        true => Ok(()),
        false => Err(Standing::NotForSigning),
    }
}

/// The armored blocks of a text.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
    text.split_inclusive(END)
        .filter(|block| block.trim_end().ends_with(END) || block.contains("-----BEGIN"))
}
