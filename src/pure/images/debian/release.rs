//! `InRelease`: what a suite's indexes must be, signed.

mod cleartext;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::pure::name::BlobDigest;

use super::control::{self, ControlError, Stanza};
use super::index::{MOST_BYTES, is_safe_path, parse_sha256, parse_size};
use super::keyring::{Keyring, Refusal};

pub use cleartext::CleartextError;

/// How long an `InRelease` may be, in bytes.
pub const MOST_RELEASE_BYTES: usize = 32 << 20;
/// How far the clocks of an archive and of this machine may differ, in seconds.
const LEEWAY: i64 = 3600;

/// What a suite says of itself and of its indexes, as somebody of the keyring signed it.
#[derive(Clone, Debug)]
pub struct Release {
    pub origin: String,
    pub label: String,
    /// As in `stable`.
    pub suite: String,
    /// As in `bookworm`.
    pub codename: String,
    pub date: Timestamp,
    pub valid_until: Option<Timestamp>,
    pub acquire_by_hash: bool,
    pub components: Vec<String>,
    pub architectures: Vec<String>,
    /// By path, relative to the folder of the `InRelease`.
    pub files: BTreeMap<String, ReleaseFile>,
    /// Fingerprints of the keys whose signatures are good.
    pub signers: Vec<String>,
}

/// A file that a release names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseFile {
    pub digest: BlobDigest,
    /// In bytes.
    pub size: u64,
}

/// How an index is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    Xz,
    Gzip,
    None,
}

/// A `Packages` file that a release names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexFile {
    pub packing: Packing,
    /// Relative to the folder of the `InRelease`, as in `main/binary-amd64/Packages.xz`.
    pub path: String,
    /// Where the file stays when the next release has another; nothing if the archive does not keep them so.
    pub by_hash: Option<String>,
    /// Of the file as it is fetched.
    pub file: ReleaseFile,
    /// Of the text, if the release says so.
    pub unpacked: Option<ReleaseFile>,
}

/// Why a release cannot be trusted or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    #[error("the InRelease is longer than {MOST_RELEASE_BYTES} bytes")]
    TooLong,
    #[error("the InRelease is no signed text: {0}")]
    Cleartext(#[from] CleartextError),
    #[error("no signature of the InRelease counts:{}", .0.iter().map(|refusal| format!("\n  {refusal}")).collect::<String>())]
    Signature(Vec<Refusal>),
    #[error("the InRelease, {0}")]
    Control(#[from] ControlError),
    #[error(
        "the suite `{asked}` was asked for, and the InRelease is of `{suite}`, codename `{codename}`"
    )]
    OtherSuite {
        asked: String,
        suite: String,
        codename: String,
    },
    #[error(
        "the release of {codename} was valid until {until}: the mirror is out of date, or the clock is wrong"
    )]
    Expired { codename: String, until: Timestamp },
    #[error("the release of {codename} is of {date}, which is in the future: the clock is wrong")]
    Future { codename: String, date: Timestamp },
    #[error("{codename} has no component `{component}`; it has {}", .there.join(", "))]
    NoComponent {
        codename: String,
        component: String,
        there: Vec<String>,
    },
    #[error("{codename} has no package index for {component} on {arch}")]
    NoIndex {
        codename: String,
        component: String,
        arch: String,
    },
}

impl Release {
    /// Reads an `InRelease`: text in the cleartext signature framework (RFC 9580, section 7), with at least one good
    /// signature by a key of the keyring, that was neither revoked nor expired when it signed. Only what is signed is read.
    ///
    /// # Errors
    /// [`ReleaseError::Cleartext`], [`ReleaseError::Signature`], or [`ReleaseError::Control`] if a field is missing or malformed.
    pub fn verify(bytes: &[u8], keyring: &Keyring) -> Result<Self, ReleaseError> {
        if bytes.len() > MOST_RELEASE_BYTES {
            return Err(ReleaseError::TooLong);
        }
        let signed = cleartext::split(bytes)?;
        let mut signers = Vec::new();
        let mut refusals = Vec::new();
        for signature in &signed.signatures {
            match keyring.check(signature, signed.text.as_bytes()) {
                Ok(key) => signers.push(key),
                Err(refusal) => refusals.push(refusal),
            }
        }
        if signers.is_empty() {
            return Err(ReleaseError::Signature(refusals));
        }
        Ok(Self::from_stanza(&control::one(&signed.text)?, signers)?)
    }

    fn from_stanza(stanza: &Stanza<'_>, signers: Vec<String>) -> Result<Self, ControlError> {
        let word = |name| stanza.get(name).unwrap_or_default().to_owned();
        let words = |name| {
            let words = stanza
                .get(name)
                .unwrap_or_default()
                .split_ascii_whitespace();
            words.map(str::to_owned).collect()
        };
        let time = |name: &'static str| {
            stanza
                .get(name)
                .map(|value| parse_date(value).ok_or_else(|| stanza.wrong(name, "is no date")))
                .transpose()
        };
        stanza.require("Date")?;
        let date = time("Date")?.ok_or_else(|| stanza.wrong("Date", "is no date"))?;
        stanza.require("SHA256")?;
        let mut files = BTreeMap::new();
        for line in stanza
            .field("SHA256")
            .iter()
            .flat_map(control::Field::lines)
        {
            if line.is_empty() {
                continue;
            }
            let wrong = || stanza.wrong("SHA256", "has a line that is no digest, size and path");
            let mut parts = line.split_ascii_whitespace();
            let (Some(digest), Some(size), Some(path), None) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                return Err(wrong());
            };
            let (Some(digest), Some(size), true) =
                (parse_sha256(digest), parse_size(size), is_safe_path(path))
            else {
                return Err(wrong());
            };
            let file = ReleaseFile { digest, size };
            if files
                .insert(path.to_owned(), file)
                .is_some_and(|other| other != file)
            {
                return Err(stanza.wrong("SHA256", "names one file twice"));
            }
        }
        Ok(Self {
            origin: word("Origin"),
            label: word("Label"),
            suite: word("Suite"),
            codename: word("Codename"),
            date,
            valid_until: time("Valid-Until")?,
            acquire_by_hash: word("Acquire-By-Hash") == "yes",
            components: words("Components"),
            architectures: words("Architectures"),
            files,
            signers,
        })
    }

    /// Its date in UTC, as in `20260711T101010Z`: the form of the lock and of snapshot archives.
    pub fn date_stamp(&self) -> String {
        self.date.strftime("%Y%m%dT%H%M%SZ").to_string()
    }

    /// Whether it is the suite that was asked for, by suite or codename: a mirror cannot give one for another.
    ///
    /// # Errors
    /// [`ReleaseError::OtherSuite`].
    pub fn check_suite(&self, asked: &str) -> Result<(), ReleaseError> {
        if !asked.is_empty() && (self.suite == asked || self.codename == asked) {
            return Ok(());
        }
        Err(ReleaseError::OtherSuite {
            asked: asked.to_owned(),
            suite: self.suite.clone(),
            codename: self.codename.clone(),
        })
    }

    /// Whether it still holds: a mirror cannot keep back what came after. Suites that no longer move have no `Valid-Until`.
    ///
    /// # Errors
    /// [`ReleaseError::Expired`], [`ReleaseError::Future`].
    pub fn check_time(&self, now: Timestamp) -> Result<(), ReleaseError> {
        if let Some(until) = self.valid_until.filter(|until| *until < now) {
            return Err(ReleaseError::Expired {
                codename: self.codename.clone(),
                until,
            });
        }
        if self.date.as_second() > now.as_second().saturating_add(LEEWAY) {
            return Err(ReleaseError::Future {
                codename: self.codename.clone(),
                date: self.date,
            });
        }
        Ok(())
    }

    /// The package index of a component for an architecture, in every form that can be read, the smallest first. It lists
    /// packages for the architecture and those for all.
    ///
    /// # Errors
    /// [`ReleaseError::NoComponent`], [`ReleaseError::NoIndex`].
    pub fn package_index(
        &self,
        component: &str,
        arch: &str,
    ) -> Result<Vec<IndexFile>, ReleaseError> {
        // The security suites call theirs `updates/main`, and keep them in `main`.
        let is_named = |known: &String| {
            known == component || known.strip_prefix("updates/") == Some(component)
        };
        if !self.components.iter().any(is_named) {
            return Err(ReleaseError::NoComponent {
                codename: self.codename.clone(),
                component: component.to_owned(),
                there: self.components.clone(),
            });
        }
        let folder = format!("{component}/binary-{arch}");
        let plain = format!("{folder}/Packages");
        let unpacked = self.files.get(&plain).copied();
        let mut found = Vec::new();
        for (packing, end) in [
            (Packing::Xz, ".xz"),
            (Packing::Gzip, ".gz"),
            (Packing::None, ""),
        ] {
            let path = format!("{plain}{end}");
            let Some(file) = self.files.get(&path).copied() else {
                continue;
            };
            // What no index may be as long as is not even fetched.
            if file.size > MOST_BYTES as u64 {
                continue;
            }
            let hash = file.digest.hex();
            found.push(IndexFile {
                packing,
                path,
                by_hash: self
                    .acquire_by_hash
                    .then(|| format!("{folder}/by-hash/SHA256/{hash}")),
                file,
                unpacked,
            });
        }
        if found.is_empty() {
            return Err(ReleaseError::NoIndex {
                codename: self.codename.clone(),
                component: component.to_owned(),
                arch: arch.to_owned(),
            });
        }
        Ok(found)
    }
}

/// A date as in `Sat, 11 Jul 2026 10:10:10 UTC`, which is that of mails (RFC 5322, section 3.3) but for the zone's name.
fn parse_date(text: &str) -> Option<Timestamp> {
    let text = match text.strip_suffix("UTC") {
        Some(text) => format!("{text}+0000"),
        None => text.to_owned(),
    };
    jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(&text)
        .ok()
}

#[cfg(test)]
mod tests;
