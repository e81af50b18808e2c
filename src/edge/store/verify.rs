//! Reading everything again.

use std::collections::BTreeSet;
use std::io;

use super::{Store, StoreError, reach};
use crate::pure::name::BlobDigest;

/// What is wrong with a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Its bytes have this digest.
    Digest(BlobDigest),
    /// It cannot be read, or is no regular file.
    Unreadable(String),
    /// Its bytes are right, but it is not what refers to it says: no manifest, or of another size.
    Misfit(String),
}

/// A blob that is there and is not right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bad {
    pub location: String,
    pub expected: BlobDigest,
    pub found: Found,
    /// The entries that need it; none if it is garbage.
    pub needed_by: BTreeSet<String>,
}

/// A blob that is not there and is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    pub digest: BlobDigest,
    /// The entries that need it: their names, or for those without a name their digests.
    pub needed_by: BTreeSet<String>,
}

/// The state of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// The blobs that were read, and their bytes.
    pub checked: usize,
    pub bytes: u64,
    pub bad: Vec<Bad>,
    pub missing: Vec<Missing>,
}

impl VerifyReport {
    pub fn is_intact(&self) -> bool {
        self.bad.is_empty() && self.missing.is_empty()
    }
}

/// Reads every blob, and looks for every blob that an entry needs. While it runs, nothing is collected.
///
/// # Errors
/// [`StoreError`] if the store cannot be looked at as a whole; what is wrong with single blobs is in the report.
pub fn verify(store: &dyn Store) -> Result<VerifyReport, StoreError> {
    // A writer that writes nothing: it keeps the collector away, so that what is listed is there when it is read.
    let guard = store.begin(super::Trust::Size)?;
    let (needs, broken) = reach::walk(store, &store.entries()?);
    let mut report = VerifyReport::default();
    let all = store.blobs()?;
    for (digest, size) in &all {
        report.checked += 1;
        report.bytes += size;
        let need = needs.get(digest);
        let found = match check(store, *digest) {
            Ok(()) => {
                let sizes = need.map(|need| &need.sizes);
                let wrong = sizes.and_then(|sizes| sizes.iter().find(|other| *other != size));
                let broken = broken.iter().find(|broken| broken.digest == *digest);
                match (wrong, broken) {
                    (Some(other), _) => Found::Misfit(format!(
                        "it has {size} bytes, and what refers to it says {other}"
                    )),
                    (None, Some(broken)) => Found::Misfit(broken.error.to_string()),
                    (None, None) => continue,
                }
            }
            Err(StoreError::Corrupt { found, .. }) => Found::Digest(found),
            Err(StoreError::Read { source, .. }) => Found::Unreadable(source.to_string()),
            Err(StoreError::Disk(error)) => Found::Unreadable(error.source.to_string()),
            Err(error) => return Err(error),
        };
        report.bad.push(Bad {
            location: store.location(*digest),
            expected: *digest,
            found,
            needed_by: need.map(|need| need.by.clone()).unwrap_or_default(),
        });
    }
    report.missing = needs
        .into_iter()
        .filter(|(digest, _)| !all.contains_key(digest))
        .map(|(digest, need)| Missing {
            digest,
            needed_by: need.by,
        })
        .collect();
    drop(guard);
    Ok(report)
}

/// Reads one blob to its end.
pub(super) fn check(store: &dyn Store, digest: BlobDigest) -> Result<(), StoreError> {
    let mut blob = store.open(digest)?;
    match io::copy(&mut blob, &mut io::sink()) {
        Ok(_) => Ok(()),
        Err(error) => Err(blob.error(error)),
    }
}
