use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};

use super::{DiskError, Folder, Step, failed};

/// A file that grows at its end, over several runs. After a crash it holds a beginning of what was written, but what was not synced
/// may be missing or wrong: whoever goes on with it checks the whole in the end.
#[derive(Debug)]
pub struct Appended {
    folder: Folder,
    file: File,
    path: PathBuf,
}

impl Folder {
    /// Opens a file to write at its end; makes it, mode 0600, if the name is free.
    ///
    /// # Errors
    /// [`DiskError`], also if it is something else than a file (a symbolic link is not followed).
    pub fn append(&self, name: &str) -> Result<Appended, DiskError> {
        let path = self.path.join(name);
        self.spend(Step::Create, &path)?;
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::APPEND
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&*self.fd, name, flags, Mode::from_raw_mode(0o600))
            .map(File::from)
            .map_err(failed("open", &path))?;
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(DiskError {
                operation: "write",
                path,
                source: io::Error::other("it is not a regular file"),
            });
        }
        Ok(Appended {
            folder: self.clone(),
            file,
            path,
        })
    }
}

impl Appended {
    /// Writes all of it. Nothing is durable yet.
    ///
    /// # Errors
    /// [`DiskError`]; a part of it may have been written.
    pub fn write_whole(&mut self, bytes: &[u8]) -> Result<(), DiskError> {
        let written = match self.folder.power.spend(Step::Write, &self.path) {
            Ok(()) => self.file.write_all(bytes),
            Err(error) => {
                // A power cut in the middle of a write leaves a part of it.
                let _ = self.file.write_all(&bytes[..bytes.len() / 2]);
                Err(error)
            }
        };
        written.map_err(|source| DiskError {
            operation: "write",
            path: self.path.clone(),
            source,
        })
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn sync(&self) -> Result<(), DiskError> {
        self.folder.spend(Step::SyncFile, &self.path)?;
        self.file.sync_data().map_err(|source| DiskError {
            operation: "sync",
            path: self.path.clone(),
            source,
        })
    }
}
