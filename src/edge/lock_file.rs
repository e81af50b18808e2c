//! `forge.lock` on disk.

use std::path::Path;

use crate::edge::disk::{DiskError, Folder};
use crate::pure::pins::LOCK;

#[derive(Debug, thiserror::Error)]
pub enum LockFileError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Somebody else has written it since it was read.
    #[error("{LOCK} was changed by somebody else in the meantime; nothing was written")]
    Changed,
}

/// Replaces the lock of a project, if it still is what it `was` (nothing if there was none).
///
/// Guarantee: whatever happens, the file holds the old text or the new one, whole.
///
/// # Errors
/// [`LockFileError`]; then the file is as it was, unless the disk failed after the new one took its place.
pub fn replace(project: &Path, was: Option<&[u8]>, text: &str) -> Result<(), LockFileError> {
    let folder = Folder::open(project)?;
    if folder.read_whole(LOCK)?.as_deref() != was {
        return Err(LockFileError::Changed);
    }
    folder.replace(LOCK, &folder, text.as_bytes())?;
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn replaces_what_was_read_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        replace(dir.path(), None, "a").unwrap();
        replace(dir.path(), Some(b"a"), "b").unwrap();
        for was in [None, Some(&b"a"[..])] {
            let error = replace(dir.path(), was, "c").unwrap_err();
            assert!(matches!(error, LockFileError::Changed), "{error}");
        }
        let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(names.len(), 1);
        assert_eq!(std::fs::read(dir.path().join(LOCK)).unwrap(), b"b");
    }
}
