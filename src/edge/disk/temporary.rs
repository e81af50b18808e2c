use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use super::{DiskError, Folder, Step, failed};

/// A file that is being written beside the place where it will be.
#[derive(Debug)]
#[must_use = "the file is removed when this is dropped"]
pub struct Temporary {
    pub(super) folder: Folder,
    /// Nothing once it has been closed.
    pub(super) file: Option<File>,
    /// Nothing once it has been renamed.
    pub(super) name: Option<String>,
}

impl Temporary {
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path.join(self.name.as_deref().unwrap_or(""))
    }

    /// Writes all of it. Nothing is durable yet.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn write_whole(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        self.write_all(bytes).map_err(|source| DiskError {
            operation: "write",
            path: self.path(),
            source,
        })
    }

    /// Makes the content durable; not the name.
    ///
    /// # Errors
    /// [`DiskError`]; then the content must be considered lost, even if a second try succeeds.
    pub fn sync(&self) -> Result<(), DiskError> {
        self.folder.sync_contents([self])
    }

    /// Gives it its owner and permissions, whatever the umask is. To be synced with the content.
    ///
    /// # Errors
    /// [`DiskError`]; only root may give a file away.
    pub fn set_owner(&self, uid: u32, gid: u32, mode: u32) -> Result<(), DiskError> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let set = || {
            // In this order: a new owner takes the bits of set-user-ID away.
            rustix::fs::fchown(
                file,
                Some(rustix::fs::Uid::from_raw(uid)),
                Some(rustix::fs::Gid::from_raw(gid)),
            )?;
            rustix::fs::fchmod(file, rustix::fs::Mode::from_raw_mode(mode))
        };
        set().map_err(failed("set the owner and mode of", &self.path()))
    }

    /// Ends the writing, so that thousands of files can wait for their places without being open. Nothing is durable yet.
    pub fn close(&mut self) {
        self.file = None;
    }

    /// Gives the file its place, replacing what is there (a symbolic link itself, not what it points to). The content must have been
    /// synced. Both folders must be on one file system. After a crash the old or the new file is there, until [`Folder::sync`].
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn rename_into(mut self, folder: &Folder, name: &str) -> Result<(), DiskError> {
        let path = folder.path.join(name);
        folder.spend(Step::Rename, &path)?;
        let Some(from) = self.name.take() else {
            return Ok(());
        };
        let renamed = rustix::fs::renameat(&*self.folder.fd, &from, &*folder.fd, name);
        if renamed.is_err() {
            self.name = Some(from);
        }
        renamed.map_err(failed("rename into place", &path))
    }
}

impl Write for Temporary {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let path = self.path();
        let Some(file) = &mut self.file else {
            return Err(io::Error::other("the file has been closed"));
        };
        if let Err(error) = self.folder.power.spend(Step::Write, &path) {
            // A power cut in the middle of a write leaves a part of it.
            let _ = file.write(&bytes[..bytes.len() / 2]);
            return Err(error);
        }
        file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            // What cannot be removed now, garbage collection finds.
            let _ = self.folder.remove(OsStr::new(&name));
        }
    }
}
