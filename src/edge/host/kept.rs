//! What lies in forge's own folders: listed, hashed, and removed when nothing needs it any more.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::paths::Paths;
use crate::edge::disk::DiskError;
use crate::pure::name::BlobDigest;

/// An entry of a folder of forge's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    pub name: String,
    pub path: PathBuf,
    /// Of all files in it.
    pub bytes: u64,
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    move |source| DiskError {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// The entries of a folder, by name; none if there is no such folder.
///
/// # Errors
/// [`DiskError`].
pub fn entries(folder: &Path) -> Result<Vec<Leftover>, DiskError> {
    let list = match fs::read_dir(folder) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("list", folder)(error)),
    };
    let mut found = Vec::new();
    for entry in list {
        let entry = entry.map_err(failed("list", folder))?;
        found.push(Leftover {
            // Forge's own names are text; another's is kept as well as it can be shown.
            name: entry.file_name().to_string_lossy().into_owned(),
            bytes: size(&entry.path())?,
            path: entry.path(),
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn size(path: &Path) -> Result<u64, DiskError> {
    let meta = fs::symlink_metadata(path).map_err(failed("look at", path))?;
    if !meta.is_dir() {
        return Ok(meta.len());
    }
    let mut sum = 0;
    for entry in fs::read_dir(path).map_err(failed("list", path))? {
        sum += size(&entry.map_err(failed("list", path))?.path())?;
    }
    Ok(sum)
}

/// Removes it with all that is in it. Symbolic links are not followed. What is gone already is as good. Killed in between, a part is left,
/// which the next call removes.
///
/// # Errors
/// [`DiskError`].
pub fn remove(leftover: &Leftover) -> Result<(), DiskError> {
    let path = &leftover.path;
    let removed = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The digest of a file; none if there is none, or something else than a regular file.
///
/// # Errors
/// [`DiskError`].
pub fn digest(path: &Path) -> Result<Option<BlobDigest>, DiskError> {
    match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed("look at", path)(error)),
    }
    let mut file = fs::File::open(path).map_err(failed("open", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match io::Read::read(&mut file, &mut buffer) {
            Ok(0) => return Ok(Some(BlobDigest::from_hasher(hasher))),
            Ok(count) => hasher.update(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed("read", path)(error)),
        }
    }
}

/// True if there is a regular file.
pub fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())
}

/// The agents that run now: the names of their folders in `bin`.
///
/// # Errors
/// [`DiskError`] if the processes cannot be listed.
pub fn running(paths: &Paths) -> Result<BTreeSet<String>, DiskError> {
    let proc = Path::new("/proc");
    let bin = paths.agents();
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(proc).map_err(failed("list", proc))? {
        let entry = entry.map_err(failed("list", proc))?;
        // A process that ends meanwhile has none, and neither has one of the kernel.
        let Ok(program) = fs::read_link(entry.path().join("exe")) else {
            continue;
        };
        if let Ok(below) = program.strip_prefix(&bin)
            && let Some(name) = below.iter().next().and_then(OsStr::to_str)
        {
            names.insert(name.to_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lists_with_sizes_and_removes_without_following_links() {
        let at = tempfile::tempdir().unwrap();
        let root = at.path().join("files");
        assert_eq!(entries(&root).unwrap(), []);
        fs::create_dir_all(root.join("b/c")).unwrap();
        fs::write(root.join("b/c/d"), "1234").unwrap();
        fs::write(root.join("a"), "12").unwrap();
        fs::write(at.path().join("data"), "stays").unwrap();
        std::os::unix::fs::symlink(at.path(), root.join("b/link")).unwrap();
        let found = entries(&root).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].name.as_str(), found[0].bytes), ("a", 2));
        assert!(found[1].bytes >= 4);
        for leftover in &found {
            remove(leftover).unwrap();
            remove(leftover).unwrap();
        }
        assert_eq!(entries(&root).unwrap(), []);
        assert_eq!(fs::read_to_string(at.path().join("data")).unwrap(), "stays");
    }

    #[test]
    fn hashes_regular_files_alone() {
        let at = tempfile::tempdir().unwrap();
        let path = at.path().join("a");
        assert_eq!(digest(&path).unwrap(), None);
        fs::write(&path, "bytes").unwrap();
        assert_eq!(digest(&path).unwrap(), Some(BlobDigest::of("bytes")));
        assert_eq!(digest(at.path()).unwrap(), None);
        assert_eq!(digest(&path.join("below")).unwrap(), None);
    }

    #[test]
    fn nothing_runs_from_a_folder_that_nobody_has() {
        let paths = Paths::below("/nowhere-at-all");
        assert_eq!(running(&paths).unwrap(), BTreeSet::new());
    }
}
