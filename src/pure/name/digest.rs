use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A text that is no sha256 digest in the form of the OCI image specification, section "Digests".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest: `sha256:` and 64 lower-case hexadecimal digits are wanted")]
pub struct DigestError(String);

impl DigestError {
    /// What is wrong, without the rule.
    pub fn message(&self) -> String {
        format!("`{}` is not a digest", self.0)
    }
}

fn parse(text: &str) -> Result<[u8; 32], DigestError> {
    let refuse = || DigestError(text.to_owned());
    let digits = text.strip_prefix("sha256:").ok_or_else(refuse)?;
    if digits.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(refuse());
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(digits, &mut bytes).map_err(|_| refuse())?;
    Ok(bytes)
}

macro_rules! digests {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 32]);

        impl $name {
            /// The digest of these bytes.
            pub fn of(bytes: impl AsRef<[u8]>) -> Self {
                Self(Sha256::digest(bytes.as_ref()).into())
            }

            /// The digest that a finished hasher holds, for what is hashed as it streams by.
            pub fn from_hasher(hasher: Sha256) -> Self {
                Self(hasher.finalize().into())
            }

            /// The 64 hexadecimal digits, without `sha256:`: the name of the blob's file in an OCI layout.
            pub fn hex(&self) -> String {
                hex::encode(self.0)
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                parse(text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = DigestError;

            fn try_from(text: String) -> Result<Self, DigestError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(digest: $name) -> String {
                digest.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&format!("sha256:{}", self.hex()))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    )*};
}

digests! {
    /// The digest of any blob in a store.
    BlobDigest;
    /// The digest of an image manifest or of an image index: what names an image.
    ManifestDigest;
    /// The digest of a system manifest: what names a bundle.
    BundleDigest;
}

impl ManifestDigest {
    /// A manifest is a blob too.
    pub fn blob(self) -> BlobDigest {
        BlobDigest(self.0)
    }
}

impl BundleDigest {
    /// The system manifest is a blob too.
    pub fn blob(self) -> BlobDigest {
        BlobDigest(self.0)
    }
}

impl BlobDigest {
    /// States that this blob is a system manifest; for the one who has just made or read it as such.
    pub fn as_bundle(self) -> BundleDigest {
        BundleDigest(self.0)
    }

    /// States that this blob is the manifest or the index of an image; as [`Self::as_bundle`].
    pub fn as_manifest(self) -> ManifestDigest {
        ManifestDigest(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let digest = BlobDigest::of("");
        assert_eq!(
            digest.to_string(),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for bad in [
            "",
            "sha256:",
            "sha512:00",
            &digest.to_string().to_uppercase(),
            &digest.hex(),
        ] {
            assert!(bad.parse::<BlobDigest>().is_err(), "{bad:?}");
        }
    }
}
