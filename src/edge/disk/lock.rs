//! Locks that a crash does not leave behind.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};

use super::{DiskError, Folder, failed};

impl Folder {
    /// Takes an advisory lock on the file of this name, which is made if it is missing; waits at most for `patience`.
    /// It is given up when the value is dropped or the process dies: a crash leaves no lock behind.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn lock(&self, name: &str, hold: Hold, patience: Duration) -> Result<Lock, LockError> {
        let path = self.path.join(name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&*self.fd, name, flags, Mode::from_raw_mode(0o644))
            .map(File::from)
            .map_err(failed("open the lock", &path))?;
        let start = Instant::now();
        let mut pause = Duration::from_millis(1);
        loop {
            let taken = match hold {
                Hold::Shared => file.try_lock_shared(),
                Hold::Alone => file.try_lock(),
            };
            match taken {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::WouldBlock) if start.elapsed() < patience => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(LockError::Busy {
                        path,
                        waited: patience,
                    });
                }
                Err(TryLockError::Error(source)) => {
                    return Err(LockError::Disk(DiskError {
                        operation: "lock",
                        path,
                        source,
                    }));
                }
            }
        }
    }
}

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Together with others who hold it so.
    Shared,
    Alone,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(
        "{} has been locked by another process for {} s; wait for it to end, and try again",
        path.display(),
        waited.as_secs()
    )]
    Busy { path: PathBuf, waited: Duration },
}

/// A lock that is held until this is dropped.
#[derive(Debug)]
#[must_use = "the lock is given up when this is dropped"]
pub struct Lock {
    _file: File,
}
