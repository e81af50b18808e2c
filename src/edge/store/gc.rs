//! Garbage collection: what would go, and what went.

use std::collections::{BTreeMap, BTreeSet};

use super::{Store, StoreError, reach};
use crate::pure::name::BlobDigest;

/// What nothing in the store needs. Shown to a person, then given to [`Store::collect`], which removes nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a plan removes nothing"]
pub struct GcPlan {
    /// Blobs that no entry needs, with their sizes.
    pub blobs: BTreeMap<BlobDigest, u64>,
    /// Files of writers, by name: left over, or, if a writer is at work now, gone or renamed when the plan is carried out.
    pub temporaries: BTreeMap<String, u64>,
    /// What stays.
    pub kept: usize,
    pub kept_bytes: u64,
}

impl GcPlan {
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty() && self.temporaries.is_empty()
    }

    /// What it would free.
    pub fn bytes(&self) -> u64 {
        self.blobs.values().chain(self.temporaries.values()).sum()
    }
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    pub blobs: usize,
    pub temporaries: usize,
    pub bytes: u64,
}

/// What garbage collection would remove now. Takes no lock and changes nothing: a writer that is at work may make some of it needed
/// again, which [`Store::collect`] then leaves.
///
/// # Errors
/// [`StoreError::Unreachable`] if a manifest that an entry leads to cannot be read, because then nobody knows what it needs.
pub fn plan_gc(store: &dyn Store) -> Result<GcPlan, StoreError> {
    // The blobs before the entries: what is written in between is not in the list, and so not in the plan.
    let temporaries = store.temporaries()?;
    let all = store.blobs()?;
    let needed = needed(store)?;
    let (kept, blobs): (BTreeMap<_, _>, BTreeMap<_, _>) = all
        .into_iter()
        .partition(|(digest, _)| needed.contains(digest));
    Ok(GcPlan {
        blobs,
        temporaries,
        kept: kept.len(),
        kept_bytes: kept.values().sum(),
    })
}

/// Every blob that an entry needs.
pub(super) fn needed(store: &dyn Store) -> Result<BTreeSet<BlobDigest>, StoreError> {
    let (needs, broken) = reach::walk(store, &store.entries()?);
    match broken.into_iter().next() {
        Some(broken) => Err(StoreError::Unreachable {
            entry: broken.entry,
            digest: broken.digest,
            source: Box::new(broken.error),
        }),
        None => Ok(needs.into_keys().collect()),
    }
}
