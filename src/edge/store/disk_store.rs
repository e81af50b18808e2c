use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::writing::{copy_checked, write_hashed};
use super::{
    Blob, Collected, GcPlan, Memo, Put, RefChange, Store, StoreError, Trust, Writing, Written, gc,
    memo, verify,
};
use crate::edge::disk::{DiskError, FEW, Folder, Hold, Kind, Lock, Power, Temporary};
use crate::pure::name::BlobDigest;
use crate::pure::oci::layout::{Entries, Entry, INDEX_FILE, LAYOUT, LAYOUT_FILE, is_layout};

/// Held shared by every writer until its names are written, and alone by who removes blobs.
const STORE_LOCK: &str = "lock";
/// Held alone while `index.json` is read, changed and replaced. Always taken after [`STORE_LOCK`].
const INDEX_LOCK: &str = "index.lock";
const TEMPORARIES: &str = "tmp";
const BLOBS: &str = "blobs";
const MEMO: &str = "memo";
const ALGORITHM: &str = "sha256";

/// A store in a folder: an OCI image layout (`docs/format/store.md`).
///
/// Any number of processes may use it at once. A blob appears under its name only when all of it is on the disk; the list of
/// entries is replaced whole. See [`disk`](crate::edge::disk) for what that is built from.
#[derive(Debug)]
pub struct DiskStore {
    root: Folder,
    blobs: Folder,
    patience: Duration,
}

/// How a store is used.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long another process is waited for.
    pub patience: Duration,
    /// Endless, but in tests.
    pub power: Power,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(60),
            power: Power::default(),
        }
    }
}

impl DiskStore {
    /// Opens the store in this folder; makes it if the folder is missing or empty.
    ///
    /// # Errors
    /// [`StoreError::NotAStore`] if the folder holds something else; [`StoreError::Disk`].
    pub fn open(path: &Path, options: Options) -> Result<Self, StoreError> {
        let root = Folder::create(path)?.with_power(options.power);
        let patience = options.patience;
        if let Some(layout) = root.read_whole(LAYOUT_FILE)? {
            return Self::adopt(root, &layout, patience);
        }
        // Another process may be here too, or a crash may have ended one: what a store is made of is no stranger.
        let ours = [
            STORE_LOCK,
            INDEX_LOCK,
            TEMPORARIES,
            BLOBS,
            INDEX_FILE,
            LAYOUT_FILE,
        ];
        let is_ours = |name: &OsStr| ours.iter().any(|known| name == *known);
        if root.names()?.iter().any(|name| !is_ours(name)) {
            return Err(not_a_store(
                path,
                "it holds other files and no `oci-layout`",
            ));
        }
        let algorithms = root.enter_or_create(BLOBS)?;
        let store = Self {
            blobs: algorithms.enter_or_create(ALGORITHM)?,
            root,
            patience,
        };
        algorithms.sync()?;
        let _lock = store.lock(INDEX_LOCK, Hold::Alone)?;
        if store.root.look(INDEX_FILE)?.is_none() {
            store.write_entries(&Entries::default())?;
        }
        // Last, because it says that the rest is there.
        store.root.replace(LAYOUT_FILE, &store.scratch()?, LAYOUT)?;
        Ok(store)
    }

    /// Opens a store, or a layout that another tool has made, that must be there. Nothing is written.
    ///
    /// # Errors
    /// [`StoreError::NotAStore`], [`StoreError::Disk`].
    pub fn open_existing(path: &Path, options: Options) -> Result<Self, StoreError> {
        let root = Folder::open(path)?.with_power(options.power);
        match root.read_whole(LAYOUT_FILE)? {
            Some(layout) => Self::adopt(root, &layout, options.patience),
            None => Err(not_a_store(path, "it has no `oci-layout` file")),
        }
    }

    fn adopt(root: Folder, layout: &[u8], patience: Duration) -> Result<Self, StoreError> {
        let refuse = |why| not_a_store(root.path(), why);
        if !is_layout(layout) {
            return Err(refuse("its `oci-layout` is of an unknown version"));
        }
        // It is not made again: an empty list of entries would turn everything into garbage.
        if root.look(INDEX_FILE)?.is_none() {
            return Err(refuse("its `index.json` is missing"));
        }
        let blobs = match root.enter(BLOBS)? {
            Some(algorithms) => algorithms.enter(ALGORITHM)?,
            None => None,
        };
        Ok(Self {
            blobs: blobs.ok_or_else(|| refuse("its folder `blobs/sha256` is missing"))?,
            root,
            patience,
        })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    fn name(&self) -> String {
        self.path().display().to_string()
    }

    fn scratch(&self) -> Result<Folder, StoreError> {
        Ok(self.root.enter_or_create(TEMPORARIES)?)
    }

    fn lock(&self, name: &str, hold: Hold) -> Result<Lock, StoreError> {
        self.root
            .lock(name, hold, self.patience)
            .map_err(|error| StoreError::from_lock(&self.name(), error))
    }

    fn read_entries(&self) -> Result<Entries, StoreError> {
        let bytes = self.root.read_whole(INDEX_FILE)?;
        let bytes = bytes.ok_or_else(|| not_a_store(self.path(), "its `index.json` is missing"))?;
        Entries::parse(&bytes).map_err(|source| StoreError::Index {
            store: self.name(),
            source,
        })
    }

    /// With [`INDEX_LOCK`] held.
    fn write_entries(&self, entries: &Entries) -> Result<(), StoreError> {
        let bytes = entries.encode()?;
        Ok(self.root.replace(INDEX_FILE, &self.scratch()?, &bytes)?)
    }

    fn is_intact(&self, digest: BlobDigest, size: u64, trust: Trust) -> Result<bool, StoreError> {
        if self.blobs.look(&digest.hex())? != Some(Kind::File(size)) {
            return Ok(false);
        }
        match trust {
            Trust::Size => Ok(true),
            Trust::Content => match verify::check(self, digest) {
                Ok(()) => Ok(true),
                // Unreadable sectors too: the content is at hand, and will be written elsewhere on the disk.
                Err(
                    StoreError::Corrupt { .. }
                    | StoreError::Read { .. }
                    | StoreError::Missing { .. },
                ) => Ok(false),
                Err(error) => Err(error),
            },
        }
    }

    fn change_entries(&self, changes: &[RefChange]) -> Result<bool, StoreError> {
        let apply = |entries: &mut Entries| -> Result<bool, StoreError> {
            let before = entries.encode()?;
            for change in changes {
                match change {
                    RefChange::Set(name, link) => entries.set(name, link)?,
                    RefChange::Remove(name) => entries.remove(name),
                }
            }
            Ok(entries.encode()? != before)
        };
        // Without the lock first: a build that changes nothing writes nothing and waits for nobody.
        let mut entries = self.read_entries()?;
        if changes.is_empty() || !apply(&mut entries)? {
            return Ok(false);
        }
        let _lock = self.lock(INDEX_LOCK, Hold::Alone)?;
        let mut entries = self.read_entries()?;
        let changed = apply(&mut entries)?;
        if changed {
            // A blob may have been found here that another process has renamed and not synced yet: an entry must never be on the
            // disk without what it names.
            self.blobs.sync()?;
            self.write_entries(&entries)?;
        }
        Ok(changed)
    }
}

fn not_a_store(path: &Path, why: &'static str) -> StoreError {
    StoreError::NotAStore {
        path: path.to_owned(),
        why,
    }
}

/// The digest that a file in the folder of blobs is named by; nothing for a file that is no blob.
fn digest_of_name(name: &OsStr) -> Option<BlobDigest> {
    format!("{ALGORITHM}:{}", name.to_str()?).parse().ok()
}

impl Store for DiskStore {
    fn location(&self, digest: BlobDigest) -> String {
        let path: PathBuf = self.blobs.path().join(digest.hex());
        path.display().to_string()
    }

    fn size(&self, digest: BlobDigest) -> Result<Option<u64>, StoreError> {
        Ok(match self.blobs.look(&digest.hex())? {
            Some(Kind::File(size)) => Some(size),
            _ => None,
        })
    }

    fn open(&self, digest: BlobDigest) -> Result<Blob, StoreError> {
        let location = self.location(digest);
        match self.blobs.read(&digest.hex())? {
            Some(file) => {
                let size = file.metadata().map_err(|source| DiskError {
                    operation: "look at",
                    path: self.blobs.path().join(digest.hex()),
                    source,
                })?;
                Ok(Blob::new(digest, size.len(), location, Box::new(file)))
            }
            None => Err(StoreError::Missing { digest, location }),
        }
    }

    fn blobs(&self) -> Result<BTreeMap<BlobDigest, u64>, StoreError> {
        let mut all = BTreeMap::new();
        for digest in self
            .blobs
            .names()?
            .iter()
            .filter_map(|name| digest_of_name(name))
        {
            match self.blobs.look(&digest.hex())? {
                Some(Kind::File(size)) => drop(all.insert(digest, size)),
                Some(Kind::Other) => drop(all.insert(digest, 0)),
                // A folder is nothing that forge has made or will remove.
                Some(Kind::Folder) | None => {}
            }
        }
        Ok(all)
    }

    fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        Ok(self.read_entries()?.list()?)
    }

    fn begin(&self, trust: Trust) -> Result<Box<dyn Writing + '_>, StoreError> {
        Ok(Box::new(Writer {
            _lock: self.lock(STORE_LOCK, Hold::Shared)?,
            store: self,
            trust,
            scratch: None,
            new: BTreeMap::new(),
            written: Written::default(),
        }))
    }

    fn temporaries(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let mut all = BTreeMap::new();
        let Some(scratch) = self.root.enter(TEMPORARIES)? else {
            return Ok(all);
        };
        for name in scratch.names()? {
            let Some(name) = name.to_str() else { continue };
            match scratch.look(name)? {
                Some(Kind::File(size)) => drop(all.insert(name.to_owned(), size)),
                Some(Kind::Other) => drop(all.insert(name.to_owned(), 0)),
                Some(Kind::Folder) | None => {}
            }
        }
        Ok(all)
    }

    fn collect(&self, plan: GcPlan) -> Result<Collected, StoreError> {
        let _lock = self.lock(STORE_LOCK, Hold::Alone)?;
        // A store that is being made has temporary files too, under this lock alone.
        let _index = self.lock(INDEX_LOCK, Hold::Alone)?;
        let needed = gc::needed(self)?;
        let mut collected = Collected::default();
        for (digest, size) in plan
            .blobs
            .iter()
            .filter(|(digest, _)| !needed.contains(digest))
        {
            if self.blobs.remove(OsStr::new(&digest.hex()))? {
                collected.blobs += 1;
                collected.bytes += size;
            }
        }
        if let Some(scratch) = self.root.enter(TEMPORARIES)? {
            for (name, size) in &plan.temporaries {
                if scratch.remove(OsStr::new(name))? {
                    collected.temporaries += 1;
                    collected.bytes += size;
                }
            }
        }
        if collected != Collected::default() {
            self.blobs.sync()?;
        }
        Ok(collected)
    }

    fn evict(&self, suspects: &BTreeSet<BlobDigest>) -> Result<BTreeSet<BlobDigest>, StoreError> {
        let _lock = self.lock(STORE_LOCK, Hold::Alone)?;
        let mut evicted = BTreeSet::new();
        for digest in suspects {
            let name = digest.hex();
            let bad = match self.blobs.look(&name)? {
                Some(Kind::File(size)) => !self.is_intact(*digest, size, Trust::Content)?,
                Some(Kind::Other) => true,
                Some(Kind::Folder) | None => false,
            };
            if bad && self.blobs.remove(OsStr::new(&name))? {
                evicted.insert(*digest);
            }
        }
        if !evicted.is_empty() {
            self.blobs.sync()?;
        }
        Ok(evicted)
    }
}

impl Memo for DiskStore {
    fn recall(&self, key: &str) -> Option<serde_json::Value> {
        // Whatever is wrong with it: what it says can be found out again.
        let folder = self.root.enter(MEMO).ok()??;
        memo::parse(key, &folder.read_whole(&memo::file_name(key)).ok()??)
    }

    fn remember(&self, key: &str, value: &serde_json::Value) -> Result<(), StoreError> {
        // As every writer: the collector takes temporary files.
        let _lock = self.lock(STORE_LOCK, Hold::Shared)?;
        let folder = self.root.enter_or_create(MEMO)?;
        let mut temporary = self.scratch()?.temporary()?;
        temporary.write_whole(&memo::encode(key, value))?;
        // Without a sync: what a power cut leaves of it is not believed, and costs only time.
        Ok(temporary.rename_into(&folder, &memo::file_name(key))?)
    }
}

#[derive(Debug)]
struct Writer<'a> {
    store: &'a DiskStore,
    trust: Trust,
    /// Opened before the first file in it, so that syncing it reports what became of them.
    scratch: Option<Folder>,
    new: BTreeMap<BlobDigest, Temporary>,
    written: Written,
    // After `new`: fields are dropped in order, and the temporary files must be gone before the collector may look.
    _lock: Lock,
}

impl Writer<'_> {
    fn temporary(&mut self) -> Result<Temporary, StoreError> {
        let scratch = match &mut self.scratch {
            Some(scratch) => scratch,
            none => none.insert(self.store.scratch()?),
        };
        Ok(scratch.temporary()?)
    }

    /// Keeps a blob for the commit.
    fn keep(&mut self, digest: BlobDigest, mut temporary: Temporary) -> Result<Put, StoreError> {
        let there = self.store.blobs.look(&digest.hex())?.is_some();
        if self.new.len() >= FEW {
            temporary.close();
        }
        self.new.insert(digest, temporary);
        Ok(if there { Put::Repaired } else { Put::Added })
    }
}

impl Writing for Writer<'_> {
    fn put(
        &mut self,
        digest: BlobDigest,
        size: u64,
        content: &mut dyn Read,
    ) -> Result<Put, StoreError> {
        let store = self.store;
        let put = if self.new.contains_key(&digest) || store.is_intact(digest, size, self.trust)? {
            Put::Present
        } else {
            let mut temporary = self.temporary()?;
            copy_checked(digest, size, content, &mut temporary, |source| {
                StoreError::Disk(DiskError {
                    operation: "write",
                    path: store.blobs.path().join(digest.hex()),
                    source,
                })
            })?;
            self.keep(digest, temporary)?
        };
        self.written.count(put, size);
        Ok(put)
    }

    fn create(
        &mut self,
        write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(BlobDigest, u64, Put), StoreError> {
        let store = self.store;
        let mut temporary = self.temporary()?;
        let (digest, size) = write_hashed(&mut temporary, write, |source| {
            StoreError::Disk(DiskError {
                operation: "write a new blob in",
                path: store.path().to_owned(),
                source,
            })
        })?;
        let there = self.new.contains_key(&digest) || store.is_intact(digest, size, self.trust)?;
        let put = match there {
            true => Put::Present,
            false => self.keep(digest, temporary)?,
        };
        self.written.count(put, size);
        Ok((digest, size, put))
    }

    fn commit(mut self: Box<Self>, changes: &[RefChange]) -> Result<Written, StoreError> {
        for change in changes {
            if let RefChange::Set(name, link) = change {
                let known = self.new.contains_key(&link.digest);
                if !known && self.store.size(link.digest)?.is_none() {
                    return Err(StoreError::Dangling {
                        name: name.clone(),
                        digest: link.digest,
                    });
                }
            }
        }
        if let Some(scratch) = &self.scratch {
            scratch.sync_contents(self.new.values())?;
            for (digest, temporary) in std::mem::take(&mut self.new) {
                temporary.rename_into(&self.store.blobs, &digest.hex())?;
            }
            self.store.blobs.sync()?;
        }
        self.written.renamed = self.store.change_entries(changes)?;
        Ok(self.written)
    }
}
