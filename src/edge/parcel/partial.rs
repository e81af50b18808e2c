use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;

use crate::edge::disk::{Appended, DiskError, Folder, Kind};
use crate::pure::name::BlobDigest;

/// Parcels of which a part has arrived: files that are named by the digest of the whole.
#[derive(Clone, Debug)]
pub struct Partials {
    folder: Folder,
}

impl Partials {
    /// Opens the folder; makes it if it is missing.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let folder = Folder::create(path)?;
        Ok(Self { folder })
    }

    /// What there is, without making anything: nothing if the folder is missing.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn list(path: &Path) -> Result<BTreeMap<BlobDigest, u64>, DiskError> {
        let folder = match Folder::open(path) {
            Ok(folder) => folder,
            Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(BTreeMap::new());
            }
            Err(error) => return Err(error),
        };
        let mut all = BTreeMap::new();
        for name in folder.names()? {
            let Some(name) = name.to_str() else { continue };
            let Ok(digest) = format!("sha256:{name}").parse() else {
                continue;
            };
            if let Some(Kind::File(size)) = folder.look(name)? {
                all.insert(digest, size);
            }
        }
        Ok(all)
    }

    /// How much of a parcel is there.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn size(&self, parcel: BlobDigest) -> Result<u64, DiskError> {
        Ok(match self.folder.look(&parcel.hex())? {
            Some(Kind::File(size)) => size,
            _ => 0,
        })
    }

    /// To write more of it.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn append(&self, parcel: BlobDigest) -> Result<Appended, DiskError> {
        self.folder.append(&parcel.hex())
    }

    /// To read it; nothing if there is none of it.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn read(&self, parcel: BlobDigest) -> Result<Option<File>, DiskError> {
        self.folder.read(&parcel.hex())
    }

    /// Removes all of it: when nothing is being received. Gives the number of files and of bytes.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn clear(path: &Path) -> Result<(usize, u64), DiskError> {
        let all = Self::list(path)?;
        if !all.is_empty() {
            let partials = Self::open(path)?;
            for parcel in all.keys() {
                partials.remove(*parcel)?;
            }
        }
        Ok((all.len(), all.values().sum()))
    }

    /// # Errors
    /// [`DiskError`].
    pub fn remove(&self, parcel: BlobDigest) -> Result<(), DiskError> {
        self.folder.remove(OsStr::new(&parcel.hex())).map(drop)
    }
}
