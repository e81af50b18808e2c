//! Durable placing of files by path, with owner and permissions.
//!
//! A file is written beside its place as `.NAME.forge`, synced, and renamed: after a crash the old or the new is there, whole, and at most one
//! such file, which the next placing of the same path removes. Its name holds dots and ends in no suffix that a program reads folders for.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::edge::disk::{DiskError, Folder, Power};
use crate::pure::generation::managed::Found;
use crate::pure::generation::{Mode, Owner};

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> DiskError {
    let path = path.to_owned();
    move |source| DiskError {
        operation,
        path,
        source,
    }
}

/// What is at a path. The last part of it is not followed if it is a symbolic link.
///
/// # Errors
/// [`DiskError`].
pub fn look(path: &Path) -> Result<Found, DiskError> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Found::Nothing);
        }
        Err(error) => return Err(failed("look at", path)(error)),
    };
    let kind = metadata.file_type();
    if kind.is_symlink() {
        let target = std::fs::read_link(path).map_err(failed("read the link", path))?;
        return Ok(Found::Link {
            target: target.to_string_lossy().into_owned(),
        });
    }
    if kind.is_dir() {
        return Ok(Found::Folder);
    }
    if !kind.is_file() {
        return Ok(Found::Other);
    }
    Ok(Found::File {
        bytes: std::fs::read(path).map_err(failed("read", path))?,
        owner: Owner {
            uid: metadata.uid(),
            gid: metadata.gid(),
        },
        mode: Mode(metadata.permissions().mode() & 0o7777),
    })
}

/// True if anything is at a path, without reading it.
///
/// # Errors
/// [`DiskError`].
pub fn is_there(path: &Path) -> Result<bool, DiskError> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(error) => Err(failed("look at", path)(error)),
    }
}

fn split(path: &Path) -> Result<(&Path, &str), DiskError> {
    let name = path.file_name().and_then(OsStr::to_str);
    match (path.parent(), name) {
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(failed("place", path)(ErrorKind::InvalidInput.into())),
    }
}

fn beside(name: &str) -> String {
    // A name may not be longer than 255 bytes.
    let end = name.floor_char_boundary(240);
    format!(".{}.forge", &name[..end])
}

/// Opens a folder, making it and those above it if they are missing, with these permissions whatever the umask. Each that is made is durable
/// when this returns.
///
/// # Errors
/// [`DiskError`], also if something else than a folder is in the way.
pub fn folder(path: &Path, mode: u32, power: &Power) -> Result<Folder, DiskError> {
    let mut missing: Vec<&str> = Vec::new();
    let mut at = path;
    let mut folder = loop {
        match Folder::open(at) {
            Ok(folder) => break folder.with_power(power.clone()),
            Err(error) if error.source.kind() == ErrorKind::NotFound => {
                let (parent, name) = split(at)?;
                missing.push(name);
                at = parent;
            }
            Err(error) => return Err(error),
        }
    };
    for name in missing.into_iter().rev() {
        let made = folder.enter_or_create(name)?;
        made.set_mode(mode)?;
        folder.sync()?;
        folder = made;
    }
    Ok(folder)
}

/// Where a file goes, what is in it, and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Placed<'a> {
    pub path: &'a Path,
    pub bytes: &'a [u8],
    pub owner: Owner,
    pub mode: Mode,
    /// Of the folders that must be made.
    pub folders: u32,
}

/// Places a file. When this returns it is durable; after a crash the old or the new is there, whole. At no time is it readable for more
/// people than its mode says.
///
/// # Errors
/// [`DiskError`].
pub fn put(file: Placed<'_>, power: &Power) -> Result<(), DiskError> {
    let (parent, name) = split(file.path)?;
    let folder = folder(parent, file.folders, power)?;
    let mut temporary = folder.temporary_as(&beside(name), 0o600)?;
    temporary.write_whole(file.bytes)?;
    temporary.set_owner(file.owner.uid, file.owner.gid, file.mode.0)?;
    temporary.sync()?;
    temporary.rename_into(&folder, name)?;
    folder.sync()
}

/// Places many files that nobody reads yet, with one sync for all if they are many. When this returns they are durable; after a crash any of
/// them may be missing, and none is torn.
///
/// # Errors
/// [`DiskError`].
pub fn put_many(files: &[Placed<'_>], power: &Power) -> Result<(), DiskError> {
    let mut written = Vec::new();
    for file in files {
        let (parent, name) = split(file.path)?;
        let folder = folder(parent, file.folders, power)?;
        let mut temporary = folder.temporary_as(&beside(name), 0o600)?;
        temporary.write_whole(file.bytes)?;
        temporary.set_owner(file.owner.uid, file.owner.gid, file.mode.0)?;
        written.push((folder, temporary, name));
    }
    let many = written.len() > crate::edge::disk::FEW;
    match written.first() {
        Some((folder, _, _)) if many => folder.sync_filesystem()?,
        _ => {
            for (_, temporary, _) in &written {
                temporary.sync()?;
            }
        }
    }
    let mut folders = Vec::new();
    for (folder, temporary, name) in written {
        temporary.rename_into(&folder, name)?;
        folders.push(folder);
    }
    match folders.first() {
        Some(folder) if many => folder.sync_filesystem(),
        _ => folders.iter().try_for_each(Folder::sync),
    }
}

/// Places a symbolic link. When this returns it is durable; after a crash the old or the new is there.
///
/// # Errors
/// [`DiskError`].
pub fn put_link(path: &Path, target: &str, power: &Power) -> Result<(), DiskError> {
    let (parent, name) = split(path)?;
    let folder = folder(parent, 0o755, power)?;
    folder.link(name, &beside(name), Path::new(target))?;
    folder.sync()
}

/// Removes what a crash has left beside a file.
///
/// # Errors
/// [`DiskError`].
pub fn clean(path: &Path, power: &Power) -> Result<(), DiskError> {
    let (parent, name) = split(path)?;
    let left = beside(name);
    if is_there(&parent.join(&left))? {
        let folder = Folder::open(parent)?.with_power(power.clone());
        folder.remove(OsStr::new(&left))?;
    }
    Ok(())
}

/// Removes a file or a link, durably; it may be gone already.
///
/// # Errors
/// [`DiskError`].
pub fn remove(path: &Path, power: &Power) -> Result<(), DiskError> {
    let (parent, name) = split(path)?;
    match Folder::open(parent) {
        Ok(folder) => {
            let folder = folder.with_power(power.clone());
            let left = beside(name);
            if folder.look(&left)?.is_some() {
                folder.remove(OsStr::new(&left))?;
            }
            folder.remove(OsStr::new(name))?;
            folder.sync()
        }
        Err(error) if error.source.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// How a file differs from what it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differs {
    Missing,
    /// In its bytes, its owner, its mode or its kind.
    Otherwise,
    Nothing,
}

/// Compares a file that may hold a secret: what is read of it is wiped.
///
/// # Errors
/// [`DiskError`].
pub fn compare(file: Placed<'_>) -> Result<Differs, DiskError> {
    let metadata = match std::fs::symlink_metadata(file.path) {
        Ok(metadata) => metadata,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Differs::Missing);
        }
        Err(error) => return Err(failed("look at", file.path)(error)),
    };
    let same = metadata.is_file()
        && usize::try_from(metadata.len()).ok() == Some(file.bytes.len())
        && (metadata.uid(), metadata.gid()) == (file.owner.uid, file.owner.gid)
        && metadata.permissions().mode() & 0o7777 == file.mode.0;
    if !same {
        return Ok(Differs::Otherwise);
    }
    let mut bytes = Zeroizing::new(vec![0; file.bytes.len()]);
    let read = std::fs::File::open(file.path).and_then(|mut opened| opened.read_exact(&mut bytes));
    read.map_err(failed("read", file.path))?;
    Ok(if bytes.as_slice() == file.bytes {
        Differs::Nothing
    } else {
        Differs::Otherwise
    })
}

/// Every file below a folder, ascending; nothing if there is no such folder. Links are not followed.
///
/// # Errors
/// [`DiskError`].
pub fn files_below(root: &Path) -> Result<Vec<PathBuf>, DiskError> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(failed("list", &folder)(error)),
        };
        for entry in entries {
            let entry = entry.map_err(failed("list", &folder))?;
            let kind = entry.file_type().map_err(failed("list", &folder))?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Removes a file and the folders above it that are empty then, up to `root`, which stays. Not durable yet: what a crash
/// brings back goes the next time.
///
/// # Errors
/// [`DiskError`].
pub fn prune(path: &Path, root: &Path) -> Result<(), DiskError> {
    match std::fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed("remove", path)(error)),
    }
    let mut at = path.parent();
    while let Some(folder) = at.filter(|folder| *folder != root && folder.starts_with(root)) {
        // A folder that is not empty stays.
        if std::fs::remove_dir(folder).is_err() {
            break;
        }
        at = folder.parent();
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mine() -> Owner {
        let metadata = std::fs::metadata(tempfile::tempdir().unwrap().path()).unwrap();
        Owner {
            uid: metadata.uid(),
            gid: metadata.gid(),
        }
    }

    fn placed<'a>(path: &'a Path, bytes: &'a [u8]) -> Placed<'a> {
        Placed {
            path,
            bytes,
            owner: mine(),
            mode: Mode(0o640),
            folders: 0o750,
        }
    }

    #[test]
    fn after_a_cut_at_any_step_the_old_or_the_new_is_there() {
        for steps in 0.. {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("a/b/file");
            put(placed(&path, b"old"), &Power::default()).unwrap();
            let power = Power::for_steps(steps);
            let done = put(placed(&path, b"new"), &power).is_ok();
            let Found::File { bytes, mode, .. } = look(&path).unwrap() else {
                unreachable!("a file")
            };
            assert_eq!(mode, Mode(0o640));
            assert!(bytes == b"new" || (!done && bytes == b"old"));
            put(placed(&path, b"next"), &Power::default()).unwrap();
            assert_eq!(
                files_below(root.path()).unwrap(),
                std::slice::from_ref(&path)
            );
            if done {
                let folder = std::fs::metadata(path.parent().unwrap()).unwrap();
                assert_eq!(folder.permissions().mode() & 0o7777, 0o750);
                return;
            }
        }
    }

    #[test]
    fn places_many_links_and_prunes() {
        let root = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..6)
            .map(|n| root.path().join(format!("{n}/x/f")))
            .collect();
        let files: Vec<_> = paths.iter().map(|path| placed(path, b"x")).collect();
        put_many(&files, &Power::default()).unwrap();
        assert_eq!(files_below(root.path()).unwrap(), paths);
        prune(&paths[0], root.path()).unwrap();
        assert!(!root.path().join("0").exists());
        put_link(&paths[1], "../target", &Power::default()).unwrap();
        assert_eq!(
            look(&paths[1]).unwrap(),
            Found::Link {
                target: "../target".to_owned()
            }
        );
        remove(&paths[1], &Power::default()).unwrap();
        remove(&paths[1], &Power::default()).unwrap();
        assert_eq!(look(&paths[1]).unwrap(), Found::Nothing);
        assert_eq!(look(root.path()).unwrap(), Found::Folder);
    }
}
