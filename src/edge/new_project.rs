//! A new project on disk, and the user's own SSH public keys.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// What a project consists of, as far as forge reads it. Whatever else stands in the folder does not matter.
const PARTS: [&str; 6] = [
    "forge.toml",
    "forge.lock",
    "hosts",
    "keyrings",
    "modules",
    "images",
];

/// Where OpenSSH keeps public keys, the best kind first.
const KEYS: [&str; 3] = ["id_ed25519.pub", "id_ecdsa.pub", "id_rsa.pub"];

#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error("{0} is no folder")]
    NoFolder(PathBuf),
    #[error("{} already holds {}", root.display(), found.join(", "))]
    Taken { root: PathBuf, found: Vec<String> },
    #[error("cannot {what} {path}: {source}")]
    Io {
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CreateError {
    move |source| CreateError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

/// Writes `files` (by their paths in the project) into `root`, which is made if it does not exist. All of them or none: they are written
/// and synced in a folder beside, then moved, and what was moved is moved back if a later one fails. Nothing is ever replaced.
///
/// # Errors
///
/// [`CreateError`]; then `root` is as it was.
pub fn create(root: &Path, files: &BTreeMap<String, String>) -> Result<(), CreateError> {
    match fs::metadata(root) {
        Ok(meta) if meta.is_dir() => create_in(root, files),
        Ok(_) => Err(CreateError::NoFolder(root.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create_new(root, files),
        Err(error) => Err(failed("look at", root)(error)),
    }
}

fn create_new(root: &Path, files: &BTreeMap<String, String>) -> Result<(), CreateError> {
    let parent = match root.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).map_err(failed("make", parent))?;
    let (_beside, made) = write_beside(parent, files)?;
    move_to(&made, root)?;
    sync_folder(parent)
}

fn create_in(root: &Path, files: &BTreeMap<String, String>) -> Result<(), CreateError> {
    let found: Vec<String> = PARTS
        .iter()
        .filter(|part| fs::symlink_metadata(root.join(part)).is_ok())
        .map(|part| (*part).to_owned())
        .collect();
    if !found.is_empty() {
        return Err(CreateError::Taken {
            root: root.to_owned(),
            found,
        });
    }
    let (_beside, made) = write_beside(root, files)?;
    let mut parts: Vec<&str> = files
        .keys()
        .filter_map(|path| path.split('/').next())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    // The file that makes the folder a project comes last.
    parts.sort_by_key(|part| *part == "forge.toml");
    for (position, part) in parts.iter().enumerate() {
        if let Err(error) = move_to(&made.join(part), &root.join(part)) {
            for done in &parts[..position] {
                // Back to where it is cleared away; there is nothing better to do if that fails, too.
                let _ = fs::rename(root.join(done), made.join(done));
            }
            return Err(error);
        }
    }
    sync_folder(root)
}

/// A folder inside `place` with all the files, and the guard that clears away what is left of it.
fn write_beside(
    place: &Path,
    files: &BTreeMap<String, String>,
) -> Result<(tempfile::TempDir, PathBuf), CreateError> {
    let beside = tempfile::Builder::new()
        .prefix(".forge-init-")
        .tempdir_in(place)
        .map_err(failed("make a folder in", place))?;
    // One level deeper, since the outer folder is for its owner alone, and a project obeys the umask.
    let made = beside.path().join("project");
    fs::create_dir(&made).map_err(failed("make", &made))?;
    for (path, text) in files {
        let path = made.join(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed("make", folder))?;
        }
        let write = || {
            let mut file = fs::File::create_new(&path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write().map_err(failed("write", &path))?;
    }
    Ok((beside, made))
}

/// Renames, and fails if something has the new name.
fn move_to(from: &Path, to: &Path) -> Result<(), CreateError> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can; then a glance must do.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match fs::symlink_metadata(to) {
            Ok(_) => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
            Err(_) => fs::rename(from, to),
        },
        other => other.map_err(io::Error::from),
    }
    .map_err(failed("write", to))
}

fn sync_folder(path: &Path) -> Result<(), CreateError> {
    fs::File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(failed("sync", path))
}

/// The name of a folder, also where the path does not say it (`.`).
pub fn folder_name(root: &Path) -> String {
    let whole = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let whole = fs::canonicalize(&whole).unwrap_or(whole);
    whole
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The text of a key file that the user named.
///
/// # Errors
///
/// [`CreateError::Io`] if it cannot be read.
pub fn read_key(path: &Path) -> Result<String, CreateError> {
    fs::read_to_string(path).map_err(failed("read", path))
}

/// The user's own public key files that can be read, the best first.
pub fn own_keys() -> Vec<(PathBuf, String)> {
    let Ok(home) = etcetera::home_dir() else {
        return Vec::new();
    };
    KEYS.iter()
        .filter_map(|name| {
            let path = home.join(".ssh").join(name);
            let text = fs::read_to_string(&path).ok()?;
            Some((path, text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> BTreeMap<String, String> {
        [
            ("forge.toml", "a"),
            ("forge.lock", "b"),
            ("hosts/web.toml", "c"),
        ]
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
        .into()
    }

    fn list(root: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn fills_an_empty_folder_and_makes_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".git")).unwrap();
        create(dir.path(), &files()).unwrap();
        assert_eq!(
            list(dir.path()),
            [".git", "forge.lock", "forge.toml", "hosts"]
        );
        let new = dir.path().join("a/b");
        create(&new, &files()).unwrap();
        assert_eq!(list(&new), ["forge.lock", "forge.toml", "hosts"]);
        assert_eq!(list(&dir.path().join("a")), ["b"]);
    }

    #[test]
    fn leaves_everything_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("forge.lock"), "mine").unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("images")).unwrap();
        let error = create(dir.path(), &files()).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("already holds forge.lock, images"),
            "{error}"
        );
        assert_eq!(list(dir.path()), ["forge.lock", "images"]);
        assert_eq!(
            fs::read_to_string(dir.path().join("forge.lock")).unwrap(),
            "mine"
        );
    }

    #[test]
    fn takes_back_what_it_moved() {
        let dir = tempfile::tempdir().unwrap();
        // A part that the look beforehand does not know: somebody made it in between.
        fs::write(dir.path().join("zzz"), "mine").unwrap();
        let mut files = files();
        files.insert("zzz".to_owned(), "d".to_owned());
        assert!(create(dir.path(), &files).is_err());
        assert_eq!(list(dir.path()), ["zzz"]);
        assert_eq!(fs::read_to_string(dir.path().join("zzz")).unwrap(), "mine");
    }
}
