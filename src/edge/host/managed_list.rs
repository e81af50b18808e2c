//! `/var/lib/forge/managed/`: the durable list of the files that forge owns, and the bytes of those that it replaced.
//!
//! `list.json`; `originals/HEX`, what stood there before forge came; `edited/HEX`, what a person had made of a file of forge. Root only,
//! since originals may be secret.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::PathBuf;

use crate::edge::disk::{DiskError, Folder, Power};
use crate::edge::host::place;
use crate::pure::generation::managed::{ManagedList, Original};
use crate::pure::name::BlobDigest;

const LIST: &str = "list.json";
const NEW_LIST: &str = "list.json.new";
const ORIGINALS: &str = "originals";
const EDITED: &str = "edited";

/// The folder.
#[derive(Clone, Debug)]
pub struct ManagedStore {
    path: PathBuf,
    power: Power,
}

impl ManagedStore {
    pub fn at(path: PathBuf) -> Self {
        Self {
            path,
            power: Power::default(),
        }
    }

    /// The same, whose writes go through this meter.
    #[must_use]
    pub fn with_power(mut self, power: Power) -> Self {
        self.power = power;
        self
    }

    pub fn power(&self) -> &Power {
        &self.power
    }

    fn open(&self) -> Result<Folder, DiskError> {
        place::folder(&self.path, 0o700, &self.power)
    }

    fn broken(&self, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DiskError {
        DiskError {
            operation: "read",
            path: self.path.join(LIST),
            source: std::io::Error::other(why),
        }
    }

    /// The list; empty on a host where forge has placed nothing.
    ///
    /// # Errors
    /// [`DiskError`], also if a newer forge wrote it.
    pub fn load(&self) -> Result<ManagedList, DiskError> {
        let folder = match Folder::open(&self.path) {
            Ok(folder) => folder,
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(ManagedList::default());
            }
            Err(error) => return Err(error),
        };
        let Some(bytes) = folder.read_whole(LIST)? else {
            return Ok(ManagedList::default());
        };
        let list: ManagedList =
            serde_json::from_slice(&bytes).map_err(|error| self.broken(error))?;
        if list.version != ManagedList::VERSION {
            return Err(self.broken(format!("its version {} is not known", list.version)));
        }
        Ok(list)
    }

    /// Replaces the list, at once and durably. Nothing is written if it is the same.
    ///
    /// # Errors
    /// [`DiskError`]; then the old or the new list is there.
    pub fn save(&self, list: &ManagedList) -> Result<(), DiskError> {
        let mut bytes = serde_json::to_vec_pretty(list).map_err(|error| self.broken(error))?;
        bytes.push(b'\n');
        let folder = self.open()?;
        if folder.read_whole(LIST)?.as_ref() == Some(&bytes) {
            return Ok(());
        }
        let mut temporary = folder.temporary_as(NEW_LIST, 0o600)?;
        temporary.write_whole(&bytes)?;
        temporary.sync()?;
        temporary.rename_into(&folder, LIST)?;
        folder.sync()
    }

    fn keep(&self, kind: &str, bytes: &[u8]) -> Result<PathBuf, DiskError> {
        let name = BlobDigest::of(bytes).hex();
        let path = self.path.join(kind);
        let folder = place::folder(&path, 0o700, &self.power)?;
        // What a crash has left torn is written again.
        if folder.read_whole(&name)?.as_deref() != Some(bytes) {
            let mut temporary = folder.temporary_as(&format!("{name}.tmp"), 0o600)?;
            temporary.write_whole(bytes)?;
            temporary.sync()?;
            temporary.rename_into(&folder, &name)?;
            folder.sync()?;
        }
        Ok(path.join(name))
    }

    /// Keeps what stood somewhere before forge came: durable when this returns.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn keep_original(&self, bytes: &[u8]) -> Result<(), DiskError> {
        self.keep(ORIGINALS, bytes).map(|_| ())
    }

    /// Keeps what a person had made of a file, and says where: durable when this returns. It is never removed by forge.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn keep_edited(&self, bytes: &[u8]) -> Result<PathBuf, DiskError> {
        self.keep(EDITED, bytes)
    }

    /// The bytes of an original; nothing if they are gone or damaged.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn original(&self, digest: BlobDigest) -> Result<Option<Vec<u8>>, DiskError> {
        let path = self.path.join(ORIGINALS);
        let folder = match Folder::open(&path) {
            Ok(folder) => folder,
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = folder.read_whole(&digest.hex())?;
        Ok(bytes.filter(|bytes| BlobDigest::of(bytes) == digest))
    }

    /// Removes originals that the list does not name, and what a crash has left; the list must be the one that was saved.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn sweep(&self, list: &ManagedList) -> Result<(), DiskError> {
        let named: BTreeSet<String> = list
            .files
            .values()
            .filter_map(|entry| match &entry.original {
                Original::File { digest, .. } => Some(digest.hex()),
                _ => None,
            })
            .collect();
        if place::is_there(&self.path.join(NEW_LIST))? {
            self.open()?.remove(OsStr::new(NEW_LIST))?;
        }
        let path = self.path.join(ORIGINALS);
        let folder = match Folder::open(&path) {
            Ok(folder) => folder.with_power(self.power.clone()),
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for name in folder.names()? {
            if !name.to_str().is_some_and(|name| named.contains(name)) {
                folder.remove(OsStr::new(&name))?;
            }
        }
        Ok(())
    }
}
