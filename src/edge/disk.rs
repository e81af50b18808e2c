//! Durable writes: the only words with which forge changes a disk that must survive a power cut.
//!
//! Every verb says in its documentation what is on the disk after a crash before, in and after it. They are built to be used in one
//! order: write a [`Temporary`], sync it (or many at once, by [`Folder::sync_contents`]), [`Temporary::rename_into`] its place, then
//! [`Folder::sync`]. What has been renamed without the sync before it may be empty or torn after a power cut; what has
//! been renamed without the sync after it may be gone.
//!
//! A [`Folder`] is held open, and its children are reached through it, never through a path: a symbolic link that someone puts into
//! the folder is not followed, and a folder that is moved while it is in use stays the same folder.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

pub use appended::Appended;
pub use lock::{Hold, Lock, LockError};
pub use power::{Power, Step};
pub use temporary::Temporary;

mod appended;
mod link;
mod lock;
mod power;
mod temporary;

/// What the system refused, and of which path.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {}: {source}", path.display())]
pub struct DiskError {
    pub operation: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

/// What is at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of this many bytes.
    File(u64),
    Folder,
    /// A symbolic link, a device, a socket: nothing that forge has put there.
    Other,
}

/// As many files as are synced one by one; more are synced with their file system.
pub const FEW: usize = 4;

/// A folder that is held open.
#[derive(Clone, Debug)]
pub struct Folder {
    fd: Arc<OwnedFd>,
    path: PathBuf,
    power: Power,
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

impl Folder {
    /// Opens a folder. Symbolic links on the way to it are followed: they are the user's.
    ///
    /// # Errors
    /// [`DiskError`], also if it is no folder.
    pub fn open(path: &Path) -> Result<Self, DiskError> {
        let fd = rustix::fs::open(path, FOLDER, Mode::empty())
            .map_err(failed("open the folder", path))?;
        Ok(Self {
            fd: Arc::new(fd),
            path: path.to_owned(),
            power: Power::default(),
        })
    }

    /// Opens a folder, and makes it and those above it if they are missing.
    ///
    /// After a crash the folder may be missing again, until something in it has been synced by [`Self::sync`]; each folder that
    /// is made here is synced into the one above.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn create(path: &Path) -> Result<Self, DiskError> {
        let mut missing = Vec::new();
        let mut at = path;
        while !at.exists() {
            missing.push(at);
            match at.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => at = parent,
                _ => break,
            }
        }
        std::fs::create_dir_all(path).map_err(|source| DiskError {
            operation: "make the folder",
            path: path.to_owned(),
            source,
        })?;
        for made in missing {
            let parent = made
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            Self::open(parent.unwrap_or(Path::new(".")))?.sync()?;
        }
        Self::open(path)
    }

    /// The same folder, whose writes go through this meter.
    #[must_use]
    pub fn with_power(mut self, power: Power) -> Self {
        self.power = power;
        self
    }

    /// Where the folder was when it was opened; for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of this name within, which must be a folder and not a symbolic link to one; nothing if the name is free.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn enter(&self, name: &str) -> Result<Option<Self>, DiskError> {
        let path = self.path.join(name);
        let flags = FOLDER.union(OFlags::NOFOLLOW);
        match rustix::fs::openat(&*self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Some(Self {
                fd: Arc::new(fd),
                path,
                power: self.power.clone(),
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(failed("open the folder", &path)(error)),
        }
    }

    /// [`Self::enter`], making the folder if the name is free. After a crash it may be missing until [`Self::sync`].
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn enter_or_create(&self, name: &str) -> Result<Self, DiskError> {
        if let Some(folder) = self.enter(name)? {
            return Ok(folder);
        }
        let path = self.path.join(name);
        self.spend(Step::MakeFolder, &path)?;
        match rustix::fs::mkdirat(&*self.fd, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed("make the folder", &path)(error)),
        }
        self.enter(name)?.ok_or_else(|| DiskError {
            operation: "open the folder",
            path,
            source: io::ErrorKind::NotFound.into(),
        })
    }

    /// What is at this name, without following a symbolic link and without reading it.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn look(&self, name: &str) -> Result<Option<Kind>, DiskError> {
        match rustix::fs::statat(&*self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => Kind::File(u64::try_from(stat.st_size).unwrap_or(0)),
                FileType::Directory => Kind::Folder,
                _ => Kind::Other,
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(failed("look at", &self.path.join(name))(error)),
        }
    }

    /// Opens a regular file for reading; nothing if the name is free.
    ///
    /// # Errors
    /// [`DiskError`], also if it is something else than a file (a symbolic link is not followed, a pipe not waited for).
    pub fn read(&self, name: &str) -> Result<Option<File>, DiskError> {
        // NONBLOCK: opening a pipe would otherwise wait for a writer for ever.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let path = self.path.join(name);
        match rustix::fs::openat(&*self.fd, name, flags, Mode::empty()) {
            Ok(fd) => {
                let file = File::from(fd);
                let is_file = file.metadata().is_ok_and(|metadata| metadata.is_file());
                is_file.then_some(Some(file)).ok_or_else(|| DiskError {
                    operation: "read",
                    path,
                    source: io::Error::other("it is not a regular file"),
                })
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(failed("read", &path)(error)),
        }
    }

    /// The whole content of a file; nothing if the name is free.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn read_whole(&self, name: &str) -> Result<Option<Vec<u8>>, DiskError> {
        let Some(mut file) = self.read(name)? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|source| DiskError {
            operation: "read",
            path: self.path.join(name),
            source,
        })?;
        Ok(Some(bytes))
    }

    /// The names in the folder, ascending.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn names(&self) -> Result<Vec<OsString>, DiskError> {
        let list = || -> rustix::io::Result<Vec<OsString>> {
            let mut names = Vec::new();
            for entry in Dir::read_from(&*self.fd)? {
                let entry = entry?;
                let name: &CStr = entry.file_name();
                if !matches!(name.to_bytes(), b"." | b"..") {
                    names.push(OsStr::from_bytes(name.to_bytes()).to_owned());
                }
            }
            names.sort();
            Ok(names)
        };
        list().map_err(failed("list", &self.path))
    }

    /// A new, empty file that nobody else has, mode 0644 less the umask. It is removed when it is dropped; after a crash it stays.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn temporary(&self) -> Result<Temporary, DiskError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{next}.tmp", std::process::id());
            let path = self.path.join(&name);
            self.spend(Step::Create, &path)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            match rustix::fs::openat(&*self.fd, &name, flags, Mode::from_raw_mode(0o644)) {
                Ok(fd) => {
                    return Ok(Temporary {
                        folder: self.clone(),
                        file: Some(File::from(fd)),
                        name: Some(name),
                    });
                }
                // Left over by a process of the same number.
                Err(Errno::EXIST) => {}
                Err(error) => return Err(failed("create", &path)(error)),
            }
        }
    }

    /// A new, empty file of this name and mode, for whoever must know what a crash leaves behind: one that is there is from such a crash,
    /// and goes. It is removed when it is dropped; after a crash it stays.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn temporary_as(&self, name: &str, mode: u32) -> Result<Temporary, DiskError> {
        let path = self.path.join(name);
        if self.look(name)?.is_some() {
            self.remove(OsStr::new(name))?;
        }
        self.spend(Step::Create, &path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&*self.fd, name, flags, Mode::from_raw_mode(mode))
            .map_err(failed("create", &path))?;
        Ok(Temporary {
            folder: self.clone(),
            file: Some(File::from(fd)),
            name: Some(name.to_owned()),
        })
    }

    /// A symbolic link at this name, replacing a file that is there at once. After a crash the old or the new is there, until [`Self::sync`].
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn link(&self, name: &str, via: &str, target: &Path) -> Result<(), DiskError> {
        let path = self.path.join(via);
        if self.look(via)?.is_some() {
            self.remove(OsStr::new(via))?;
        }
        self.spend(Step::Create, &path)?;
        rustix::fs::symlinkat(target, &*self.fd, via).map_err(failed("make the link", &path))?;
        self.rename(OsStr::new(via), OsStr::new(name))
    }

    /// The permissions of the folder itself, whatever the umask was when it was made.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn set_mode(&self, mode: u32) -> Result<(), DiskError> {
        rustix::fs::fchmod(&*self.fd, Mode::from_raw_mode(mode))
            .map_err(failed("set the mode of", &self.path))
    }

    /// True if what is written here is in memory alone, and gone after a restart.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn is_in_memory(&self) -> Result<bool, DiskError> {
        const TMPFS: i64 = 0x0102_1994;
        const RAMFS: i64 = 0x8584_58f6;
        let stat = rustix::fs::fstatfs(&*self.fd).map_err(failed("look at", &self.path))?;
        #[allow(clippy::unnecessary_cast, reason = "its width is the architecture's")]
        let kind = stat.f_type as i64;
        Ok(matches!(kind, TMPFS | RAMFS))
    }

    /// Makes the names in this folder durable: what was renamed into it or removed from it stays so after a crash.
    ///
    /// # Errors
    /// [`DiskError`]; then nothing is known of the names.
    pub fn sync(&self) -> Result<(), DiskError> {
        self.spend(Step::SyncFolder, &self.path)?;
        rustix::fs::fsync(&*self.fd).map_err(failed("sync", &self.path))
    }

    /// Makes the content of these files durable, which were made in this folder by this very handle; not their names.
    ///
    /// For a few files that is one `fsync` each. For many, or if one was closed, it is one `syncfs`: a sync per file waits for the disk
    /// once per file, which for the hundreds of small files of a bundle is most of a cold build; but it also writes what other programs
    /// have dirtied, which a small change should not wait for.
    ///
    /// # Errors
    /// [`DiskError`]; then all of the content must be considered lost.
    pub fn sync_contents<'a>(
        &self,
        files: impl IntoIterator<Item = &'a Temporary>,
    ) -> Result<(), DiskError> {
        let mut open = Vec::new();
        let mut closed = false;
        for file in files {
            match &file.file {
                Some(handle) if open.len() < FEW => open.push((handle, file.path())),
                _ => closed = true,
            }
        }
        if closed {
            return self.sync_filesystem();
        }
        for (handle, path) in open {
            self.spend(Step::SyncFile, &path)?;
            handle.sync_all().map_err(|source| DiskError {
                operation: "sync",
                path,
                source,
            })?;
        }
        Ok(())
    }

    /// Makes everything durable that has been written to the file system of this folder since the folder was opened.
    ///
    /// # Errors
    /// [`DiskError`]; since Linux 5.8 also if something written before could not be kept.
    pub fn sync_filesystem(&self) -> Result<(), DiskError> {
        self.spend(Step::SyncFile, &self.path)?;
        rustix::fs::syncfs(&*self.fd).map_err(failed("sync the file system of", &self.path))
    }

    /// Removes a file or a symbolic link (not what it points to). True if it was there. After a crash it may be there again, until
    /// [`Self::sync`].
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn remove(&self, name: &OsStr) -> Result<bool, DiskError> {
        let path = self.path.join(name);
        self.spend(Step::Remove, &path)?;
        match rustix::fs::unlinkat(&*self.fd, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(failed("remove", &path)(error)),
        }
    }

    /// Replaces the content of a file: before a crash is over, it holds either the old content or the new, whole; when this
    /// has returned, the new.
    ///
    /// # Errors
    /// [`DiskError`]; then the file holds the old content, or the new.
    pub fn replace(&self, name: &str, via: &Self, bytes: &[u8]) -> Result<(), DiskError> {
        let mut temporary = via.temporary()?;
        temporary.write_whole(bytes)?;
        temporary.sync()?;
        temporary.rename_into(self, name)?;
        self.sync()
    }

    /// Lets two names in this folder change places, at once: whatever happens, each name has one of the two. False if the file
    /// system cannot do that. After a crash it may not have happened, until [`Self::sync`].
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn exchange(&self, a: &OsStr, b: &OsStr) -> Result<bool, DiskError> {
        let path = self.path.join(b);
        self.spend(Step::Rename, &path)?;
        match rustix::fs::renameat_with(&*self.fd, a, &*self.fd, b, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL | Errno::NOSYS) => Ok(false),
            Err(error) => Err(failed("replace", &path)(error)),
        }
    }

    /// Renames within this folder, replacing a file (or an empty folder by a folder). After a crash it may not have happened, until
    /// [`Self::sync`].
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn rename(&self, from: &OsStr, to: &OsStr) -> Result<(), DiskError> {
        let path = self.path.join(to);
        self.spend(Step::Rename, &path)?;
        rustix::fs::renameat(&*self.fd, from, &*self.fd, to).map_err(failed("rename", &path))
    }

    fn spend(&self, step: Step, path: &Path) -> Result<(), DiskError> {
        self.power.spend(step, path).map_err(|source| DiskError {
            operation: step.verb(),
            path: path.to_owned(),
            source,
        })
    }
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(Errno) -> DiskError {
    let path = path.to_owned();
    move |error| DiskError {
        operation,
        path,
        source: error.into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
