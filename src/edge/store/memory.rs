use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::writing::{copy_checked, write_hashed};
use super::{
    Blob, Collected, GcPlan, Memo, Put, RefChange, Store, StoreError, Trust, Writing, Written, gc,
    verify,
};
use crate::pure::name::BlobDigest;
use crate::pure::oci::layout::{Entries, Entry};

/// A store in memory: the double of [`DiskStore`](super::DiskStore) in tests. It does not wait: what is busy is an error at once.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    blobs: BTreeMap<BlobDigest, Arc<[u8]>>,
    entries: Entries,
    memos: BTreeMap<String, serde_json::Value>,
    writers: usize,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("blobs", &self.blobs.len())
            .field("writers", &self.writers)
            .finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// Replaces a blob's bytes behind the store's back, for tests of damage; `None` removes it.
    pub fn tamper(&self, digest: BlobDigest, bytes: Option<&[u8]>) {
        let mut state = self.state();
        match bytes {
            Some(bytes) => state.blobs.insert(digest, bytes.into()),
            None => state.blobs.remove(&digest),
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete before a panic can happen, so a poisoned lock says nothing about the content.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> Result<(), StoreError> {
        match self.state().writers {
            0 => Ok(()),
            _ => Err(StoreError::Busy {
                store: "in memory".to_owned(),
                waited: Duration::ZERO,
            }),
        }
    }
}

impl Store for MemoryStore {
    fn location(&self, digest: BlobDigest) -> String {
        format!("memory:blobs/sha256/{}", digest.hex())
    }

    fn size(&self, digest: BlobDigest) -> Result<Option<u64>, StoreError> {
        let state = self.state();
        Ok(state.blobs.get(&digest).map(|bytes| bytes.len() as u64))
    }

    fn open(&self, digest: BlobDigest) -> Result<Blob, StoreError> {
        let location = self.location(digest);
        match self.state().blobs.get(&digest) {
            Some(bytes) => {
                let size = bytes.len() as u64;
                let inner = Box::new(Cursor::new(Arc::clone(bytes)));
                Ok(Blob::new(digest, size, location, inner))
            }
            None => Err(StoreError::Missing { digest, location }),
        }
    }

    fn blobs(&self) -> Result<BTreeMap<BlobDigest, u64>, StoreError> {
        let state = self.state();
        let sizes = state.blobs.iter();
        Ok(sizes
            .map(|(digest, bytes)| (*digest, bytes.len() as u64))
            .collect())
    }

    fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        Ok(self.state().entries.list()?)
    }

    fn begin(&self, trust: Trust) -> Result<Box<dyn Writing + '_>, StoreError> {
        self.state().writers += 1;
        Ok(Box::new(Writer {
            store: self,
            trust,
            new: BTreeMap::new(),
            written: Written::default(),
        }))
    }

    fn temporaries(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        Ok(BTreeMap::new())
    }

    fn collect(&self, plan: GcPlan) -> Result<Collected, StoreError> {
        self.alone()?;
        let needed = gc::needed(self)?;
        let mut collected = Collected::default();
        let mut state = self.state();
        for digest in plan.blobs.keys().filter(|digest| !needed.contains(digest)) {
            if let Some(bytes) = state.blobs.remove(digest) {
                collected.blobs += 1;
                collected.bytes += bytes.len() as u64;
            }
        }
        Ok(collected)
    }

    fn evict(&self, suspects: &BTreeSet<BlobDigest>) -> Result<BTreeSet<BlobDigest>, StoreError> {
        self.alone()?;
        let mut state = self.state();
        let is_bad = |digest: &&BlobDigest| {
            let bytes = state.blobs.get(digest);
            bytes.is_some_and(|bytes| BlobDigest::of(bytes) != **digest)
        };
        let bad: BTreeSet<_> = suspects.iter().filter(is_bad).copied().collect();
        state.blobs.retain(|digest, _| !bad.contains(digest));
        Ok(bad)
    }
}

impl Memo for MemoryStore {
    fn recall(&self, key: &str) -> Option<serde_json::Value> {
        self.state().memos.get(key).cloned()
    }

    fn remember(&self, key: &str, value: &serde_json::Value) -> Result<(), StoreError> {
        self.state().memos.insert(key.to_owned(), value.clone());
        Ok(())
    }
}

#[derive(Debug)]
struct Writer<'a> {
    store: &'a MemoryStore,
    trust: Trust,
    new: BTreeMap<BlobDigest, Arc<[u8]>>,
    written: Written,
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.store.state().writers -= 1;
    }
}

impl Writing for Writer<'_> {
    fn put(
        &mut self,
        digest: BlobDigest,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<Put, StoreError> {
        let there = self.store.size(digest)?;
        let intact = there == Some(size)
            && (self.trust == Trust::Size || verify::check(self.store, digest).is_ok());
        let put = if intact || self.new.contains_key(&digest) {
            Put::Present
        } else {
            let mut bytes = Vec::new();
            copy_checked(digest, size, content, &mut bytes, |source| {
                StoreError::Source { digest, source }
            })?;
            self.new.insert(digest, bytes.into());
            if there.is_some() {
                Put::Repaired
            } else {
                Put::Added
            }
        };
        self.written.count(put, size);
        Ok(put)
    }

    fn create(
        &mut self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(BlobDigest, u64, Put), StoreError> {
        let mut bytes = Vec::new();
        let (digest, size) = write_hashed(&mut bytes, write, StoreError::Made)?;
        let put = self.put(digest, size, &mut bytes.as_slice())?;
        Ok((digest, size, put))
    }

    fn commit(mut self: Box<Self>, changes: &[RefChange]) -> Result<Written, StoreError> {
        let mut state = self.store.state();
        let mut entries = state.entries.clone();
        for change in changes {
            match change {
                RefChange::Set(name, link) => {
                    let known = self.new.contains_key(&link.digest);
                    if !known && !state.blobs.contains_key(&link.digest) {
                        return Err(StoreError::Dangling {
                            name: name.clone(),
                            digest: link.digest,
                        });
                    }
                    entries.set(name, link)?;
                }
                RefChange::Remove(name) => entries.remove(name),
            }
        }
        self.written.renamed = entries.encode()? != state.entries.encode()?;
        state.entries = entries;
        state.blobs.append(&mut self.new);
        drop(state);
        Ok(self.written)
    }
}
