//! Content-addressed blobs and the names that keep them: a port, the folder on disk, and a double in memory.
//!
//! Owns: the store on the laptop and the one on the host, both a standard OCI image layout (`docs/format/store.md`).
//!
//! Invariants: what is read was checked against its digest; a name never points to something that is not there; a blob that a
//! name needs, or that a writer is about to name, is never collected.
//!
//! Why not the layout of an existing crate: they check nothing when they read, sync once per blob or never, and none lets two
//! processes write and collect at once.

mod blob;
mod bundle;
mod disk_store;
mod error;
pub mod export;
mod gc;
pub mod memo;
mod memory;
mod reach;
mod spool;
mod verify;
mod writing;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io::{self, Read, Write};

pub use blob::Blob;
pub use bundle::{find_bundle, open_bundle, put_bundle};
pub use disk_store::{DiskStore, Options};
pub use error::StoreError;
pub use gc::{Collected, GcPlan, plan_gc};
pub use memo::Memo;
pub use memory::MemoryStore;
pub use spool::spool;
pub use verify::{Bad, Found, Missing, VerifyReport, verify};

use crate::pure::name::BlobDigest;
use crate::pure::oci::layout::Entry;
use crate::pure::oci::{Link, RefName};

/// A store. Small and total: each method is meant by every implementation, and all pass the same tests.
pub trait Store: Debug + Send + Sync {
    /// Where a blob is or would be; for messages.
    fn location(&self, digest: BlobDigest) -> String;

    /// The size of a blob, if it is there. Its content is not looked at.
    ///
    /// # Errors
    /// [`StoreError::Disk`].
    fn size(&self, digest: BlobDigest) -> Result<Option<u64>, StoreError>;

    /// Opens a blob for reading; what is read from it is checked.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Disk`].
    fn open(&self, digest: BlobDigest) -> Result<Blob, StoreError>;

    /// Every blob that is there, with its size. Includes what is no regular file, with size 0, so that it can be collected.
    ///
    /// # Errors
    /// [`StoreError::Disk`].
    fn blobs(&self) -> Result<BTreeMap<BlobDigest, u64>, StoreError>;

    /// The entries: the roots of garbage collection, those without a name too.
    ///
    /// # Errors
    /// [`StoreError::Index`].
    fn entries(&self) -> Result<Vec<Entry>, StoreError>;

    /// Begins to write. Until the writer is committed or dropped, nothing is collected.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if garbage is being collected and that does not end in time.
    fn begin(&self, trust: Trust) -> Result<Box<dyn Writing + '_>, StoreError>;

    /// Files that writers left over when they were killed, or are writing now, by name and size.
    ///
    /// # Errors
    /// [`StoreError::Disk`].
    fn temporaries(&self) -> Result<BTreeMap<String, u64>, StoreError>;

    /// Removes what the plan names and what is still garbage now.
    ///
    /// Safe beside any writer in any process. It holds the store alone, and every writer holds it shared from [`Self::begin`], which
    /// is before its first question "is this blob there?", until its names are written. So while this runs, no writer relies on a blob
    /// that is not yet named, and every temporary file belongs to nobody, however young it is. What is reachable is computed under
    /// the lock, again: the plan only bounds what may go, so that nothing goes that was not shown.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if writers do not end in time; [`StoreError::Unreachable`] if a manifest that something is named by
    /// cannot be read, because then nobody knows what it needs. What was removed before an error stays removed, and was garbage.
    fn collect(&self, plan: GcPlan) -> Result<Collected, StoreError>;

    /// Removes those of these blobs that are not what their names say, so that the next writer writes them again; an intact blob
    /// stays. Gives back what was removed.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::Disk`].
    fn evict(&self, suspects: &BTreeSet<BlobDigest>) -> Result<BTreeSet<BlobDigest>, StoreError>;
}

impl dyn Store + '_ {
    /// True if a blob of this size is there. Its content is not looked at.
    ///
    /// # Errors
    /// As [`Store::size`].
    pub fn has(&self, digest: BlobDigest, size: u64) -> Result<bool, StoreError> {
        Ok(self.size(digest)? == Some(size))
    }

    /// The whole blob, checked.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::Corrupt`], [`StoreError::Disk`].
    pub fn read(&self, digest: BlobDigest) -> Result<Vec<u8>, StoreError> {
        self.open(digest)?.read_whole()
    }

    /// The names and what they point to. Entries of other tools whose names are no [`RefName`] are left out.
    ///
    /// # Errors
    /// As [`Store::entries`].
    pub fn refs(&self) -> Result<BTreeMap<RefName, Link>, StoreError> {
        let entries = self.entries()?.into_iter();
        let named = |entry: Entry| Some((entry.name?.parse().ok()?, entry.link));
        Ok(entries.filter_map(named).collect())
    }
}

/// What makes a writer believe that a blob is already there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// A regular file of the right size: one look at its metadata. A blob that was changed without changing its size is found by
    /// whoever reads it, and by [`verify`].
    Size,
    /// Its digest: it is read.
    Content,
}

/// What became of a blob that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It was there; the given content was not read.
    Present,
    Added,
    /// Something else was there under its name, and has been replaced.
    Repaired,
}

/// A change of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefChange {
    Set(RefName, Link),
    Remove(RefName),
}

/// A writer of a store. Dropped without [`Self::commit`], it changes nothing.
pub trait Writing: Debug + Send {
    /// Puts a blob, unless it is there. Nobody sees it before [`Self::commit`].
    ///
    /// # Errors
    /// [`StoreError::NotAsNamed`] if the content is not what the digest and the size say; [`StoreError::Source`] if it cannot be read.
    fn put(
        &mut self,
        digest: BlobDigest,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<Put, StoreError>;

    /// Puts a blob whose digest is known only once it has been written: it is hashed on its way, and written once. Nobody sees it
    /// before [`Self::commit`]. Gives its digest and its size.
    ///
    /// # Errors
    /// [`StoreError::Made`] with what `write` said, unless it failed because the store did: [`StoreError::Disk`]. Then nothing of
    /// it is left.
    fn create(
        &mut self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(BlobDigest, u64, Put), StoreError>;

    /// Makes all of it durable and visible: first the blobs, then the names.
    ///
    /// A crash before the names are written leaves the blobs as garbage; no crash leaves a name without its blobs, or a blob with
    /// other bytes than its name says. If nothing is new, nothing is written.
    ///
    /// # Errors
    /// [`StoreError::Dangling`] if a name is to point to what is not there, and then nothing has changed; [`StoreError::Disk`], and
    /// then the names are the old ones or the new ones.
    fn commit(self: Box<Self>, changes: &[RefChange]) -> Result<Written, StoreError>;
}

/// What a writer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub present: usize,
    pub added: usize,
    pub repaired: usize,
    /// Of the blobs that were added and repaired.
    pub bytes: u64,
    /// A name points elsewhere now.
    pub renamed: bool,
}

impl Written {
    fn count(&mut self, put: Put, size: u64) {
        match put {
            Put::Present => self.present += 1,
            Put::Added => self.added += 1,
            Put::Repaired => self.repaired += 1,
        }
        if put != Put::Present {
            self.bytes += size;
        }
    }

    /// True if the store was as it had to be.
    pub fn is_nothing(&self) -> bool {
        self.added == 0 && self.repaired == 0 && !self.renamed
    }
}
