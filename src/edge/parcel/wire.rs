use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::ParcelError;
use crate::edge::disk::{DiskError, Folder, Hold, Kind, Lock, LockError, Temporary};
use crate::edge::store::{DiskStore, Store};
use crate::pure::delivery::{Choice, Encoding, Parcel};
use crate::pure::name::BlobDigest;

/// Part of the name of every parcel: another way of packing makes others.
const PACKING: &str = "forge parcel 1, zstd";
const LOCK: &str = "lock";
const PATIENCE: Duration = Duration::from_secs(10);
const SUFFIX: &str = ".parcel";

/// A parcel, and where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub parcel: Parcel,
    /// In the folder of parcels; none if the parcel is the blob itself.
    file: Option<String>,
}

impl Made {
    pub(super) fn as_it_is(choice: &Choice) -> Self {
        Self {
            parcel: Parcel {
                blob: choice.blob,
                size: choice.size,
                encoding: Encoding::Identity,
                digest: choice.blob,
                bytes: choice.size,
            },
            file: None,
        }
    }
}

/// The folder of parcels, beside a store: `KEY-DIGEST.parcel`, where the key says of what and how it was made, and the digest what it must be.
/// So a parcel that a power cut has torn is not believed, and nothing has to be synced.
#[derive(Debug)]
pub struct Wire {
    folder: Folder,
    known: BTreeMap<String, String>,
    /// Held shared while the parcels are used, so that another deploy that ends does not take them.
    lock: Lock,
}

impl Wire {
    /// Opens the folder; makes it if it is missing.
    ///
    /// # Errors
    /// [`ParcelError::Disk`], [`ParcelError::Lock`].
    pub fn open(path: &Path) -> Result<Self, ParcelError> {
        let folder = Folder::create(path)?;
        let lock = folder.lock(LOCK, Hold::Shared, PATIENCE)?;
        let mut known = BTreeMap::new();
        for name in folder.names()? {
            let Some(name) = name.to_str() else { continue };
            if let Some((key, _)) = name.split_once('-')
                && name.ends_with(SUFFIX)
            {
                known.insert(key.to_owned(), name.to_owned());
            }
        }
        Ok(Self {
            folder,
            known,
            lock,
        })
    }

    /// The folder beside this store, if there is one.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn existing(store: &DiskStore) -> Result<Option<Self>, ParcelError> {
        let path = Self::beside(store);
        match Folder::open(&path) {
            Ok(_) => Self::open(&path).map(Some),
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Where the folder of a store is.
    pub fn beside(store: &DiskStore) -> PathBuf {
        store.path().join("wire")
    }

    /// What there is, with its size: parcels, and what a killed process has left of them.
    ///
    /// # Errors
    /// [`ParcelError::Disk`].
    pub fn files(&self) -> Result<BTreeMap<String, u64>, ParcelError> {
        files(&self.folder)
    }

    /// Removes all parcels, when a deploy is over; unless somebody else is using them, who will. Gives the number of files and of bytes.
    ///
    /// # Errors
    /// [`ParcelError::Disk`].
    pub fn clear(self) -> Result<(usize, u64), ParcelError> {
        let Self { folder, lock, .. } = self;
        drop(lock);
        let _lock = match folder.lock(LOCK, Hold::Alone, Duration::ZERO) {
            Ok(lock) => lock,
            Err(LockError::Busy { .. }) => return Ok((0, 0)),
            Err(error) => return Err(error.into()),
        };
        let (mut removed, mut bytes) = (0, 0);
        for (name, size) in files(&folder)? {
            if folder.remove(OsStr::new(&name))? {
                removed += 1;
                bytes += size;
            }
        }
        Ok((removed, bytes))
    }

    /// The bytes of a parcel, from here on.
    ///
    /// # Errors
    /// [`ParcelError`].
    pub fn read(
        &self,
        store: &dyn Store,
        made: &Made,
        from: u64,
    ) -> Result<Box<dyn Read + Send>, ParcelError> {
        let blob = made.parcel.blob;
        let pack = |source| ParcelError::Pack { blob, source };
        match &made.file {
            Some(name) => {
                let mut file = self.made(name)?;
                file.seek(SeekFrom::Start(from)).map_err(pack)?;
                Ok(Box::new(file))
            }
            None => {
                let mut content = store.open(blob)?;
                io::copy(&mut content.by_ref().take(from), &mut io::sink()).map_err(pack)?;
                Ok(Box::new(content))
            }
        }
    }

    fn made(&self, name: &str) -> Result<std::fs::File, ParcelError> {
        let missing = || DiskError {
            operation: "read",
            path: self.folder.path().join(name),
            source: io::ErrorKind::NotFound.into(),
        };
        Ok(self.folder.read(name)?.ok_or_else(missing)?)
    }

    /// What an earlier call has made, if it is still what it was.
    pub(super) fn find(&self, choice: &Choice) -> Result<Option<Made>, ParcelError> {
        let Some(name) = self.known.get(&key(choice)) else {
            return Ok(None);
        };
        let Some(file) = self.folder.read(name)? else {
            return Ok(None);
        };
        let mut hasher = Hasher {
            hasher: Sha256::new(),
        };
        let copied = io::copy(
            &mut io::BufReader::with_capacity(1 << 17, file),
            &mut hasher,
        );
        if let Ok(bytes) = copied {
            let digest = BlobDigest::from_hasher(hasher.hasher);
            if *name == file_name(choice, digest) {
                let parcel = Parcel {
                    blob: choice.blob,
                    size: choice.size,
                    encoding: choice.encoding,
                    digest,
                    bytes,
                };
                let file = Some(name.clone());
                return Ok(Some(Made { parcel, file }));
            }
        }
        self.folder.remove(OsStr::new(name))?;
        Ok(None)
    }

    pub(super) fn temporary(&self) -> Result<Temporary, ParcelError> {
        Ok(self.folder.temporary()?)
    }

    pub(super) fn keep(
        &self,
        file: Temporary,
        choice: &Choice,
        parcel: Parcel,
    ) -> Result<Made, ParcelError> {
        let name = file_name(choice, parcel.digest);
        file.rename_into(&self.folder, &name)?;
        Ok(Made {
            parcel,
            file: Some(name),
        })
    }
}

fn files(folder: &Folder) -> Result<BTreeMap<String, u64>, ParcelError> {
    let mut all = BTreeMap::new();
    for name in folder.names()? {
        let Some(name) = name.to_str() else { continue };
        if let Some(Kind::File(size)) = folder.look(name)?
            && name != LOCK
        {
            all.insert(name.to_owned(), size);
        }
    }
    Ok(all)
}

fn key(choice: &Choice) -> String {
    let how = match choice.encoding {
        Encoding::Identity => "identity".to_owned(),
        Encoding::Zstd => "zstd".to_owned(),
        Encoding::Patch { base } => base.to_string(),
    };
    let version = zstd::zstd_safe::version_string();
    BlobDigest::of(format!("{PACKING} {version}\n{}\n{how}", choice.blob)).hex()[..32].to_owned()
}

fn file_name(choice: &Choice, digest: BlobDigest) -> String {
    format!("{}-{}{SUFFIX}", key(choice), digest.hex())
}

struct Hasher {
    hasher: Sha256,
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
