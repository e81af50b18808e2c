//! A project folder on disk, read whole and at once.
//!
//! A host, module or template is a few kilobytes, so reading everything costs less than deciding what to read, and what follows
//! is a pure function of one value.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::pure::config::project::{ProjectText, TextFile};

/// Files larger than this belong into an image or a volume.
const LARGEST: u64 = 16 << 20;
/// Folders below a module or an image; deeper is a mistake (or a loop).
const DEEPEST: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("the name of {0} is not UTF-8")]
    Name(PathBuf),
    #[error("{path} has {size} bytes: {LARGEST} are the most for a file of a project")]
    Large { path: PathBuf, size: u64 },
    #[error("{0} lies too deep: {DEEPEST} folders are the most")]
    Deep(PathBuf),
}

/// Reads `forge.toml`, `forge.lock`, `hosts/*.toml`, `keyrings/`, `modules/` and `images/` of a folder. What is absent is absent from the result.
///
/// What is neither a file nor a folder, symbolic links above all, is not read but named in `refused`: a project holds its files itself,
/// so that it is the same on every machine.
///
/// Names that begin with a dot or end with `~` are passed over, since editors leave such files behind.
pub fn read(root: &Path) -> Result<ProjectText, ReadError> {
    let mut text = ProjectText::default();
    for file in ["forge.toml", "forge.lock"] {
        let path = root.join(file);
        if let Some(meta) = metadata(&path)? {
            add_file(&path, file, &meta, &mut text)?;
        }
    }
    for (folder, depth) in [
        ("hosts", 0),
        ("keyrings", 0),
        ("modules", DEEPEST),
        ("images", DEEPEST),
    ] {
        let path = root.join(folder);
        match metadata(&path)? {
            Some(meta) if meta.is_dir() => read_folder(&path, folder, depth, &mut text)?,
            Some(meta) => add_file(&path, folder, &meta, &mut text)?,
            None => {}
        }
    }
    Ok(text)
}

fn metadata(path: &Path) -> Result<Option<fs::Metadata>, ReadError> {
    match fs::symlink_metadata(path) {
        Ok(meta) => Ok(Some(meta)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReadError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

fn read_folder(
    folder: &Path,
    name: &str,
    depth: usize,
    text: &mut ProjectText,
) -> Result<(), ReadError> {
    let failed = |source| ReadError::Io {
        path: folder.to_owned(),
        source,
    };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(own) = path.file_name().and_then(|own| own.to_str()) else {
            return Err(ReadError::Name(path));
        };
        if own.starts_with('.') || own.ends_with('~') {
            continue;
        }
        let inner = format!("{name}/{own}");
        let Some(meta) = metadata(&path)? else {
            continue;
        };
        if meta.is_dir() {
            match depth {
                // Only files stand in `hosts` and `keyrings`; a folder there is somebody's own.
                0 if matches!(name, "hosts" | "keyrings") => continue,
                0 => return Err(ReadError::Deep(path)),
                _ => read_folder(&path, &inner, depth - 1, text)?,
            }
        } else {
            add_file(&path, &inner, &meta, text)?;
        }
    }
    Ok(())
}

fn add_file(
    path: &Path,
    name: &str,
    meta: &fs::Metadata,
    text: &mut ProjectText,
) -> Result<(), ReadError> {
    if !meta.is_file() {
        let what = if meta.is_symlink() {
            "a symbolic link"
        } else {
            "neither a file nor a folder"
        };
        text.refused.insert(name.to_owned(), what);
        return Ok(());
    }
    if meta.len() > LARGEST {
        return Err(ReadError::Large {
            path: path.to_owned(),
            size: meta.len(),
        });
    }
    let bytes = fs::read(path).map_err(|source| ReadError::Io {
        path: path.to_owned(),
        source,
    })?;
    text.files.insert(
        name.to_owned(),
        TextFile {
            bytes: Cow::Owned(bytes),
            embedded: false,
        },
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_links_and_passes_over_leftovers() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("modules/a")).unwrap();
        fs::write(dir.path().join("modules/a/module.toml"), "x").unwrap();
        fs::write(dir.path().join("modules/a/module.toml~"), "x").unwrap();
        fs::write(dir.path().join("modules/a/.swp"), "x").unwrap();
        let text = read(dir.path()).unwrap();
        assert_eq!(
            text.files.keys().collect::<Vec<_>>(),
            ["modules/a/module.toml"]
        );
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("modules/a/x.hbs")).unwrap();
        let text = read(dir.path()).unwrap();
        assert_eq!(text.files.len(), 1);
        assert_eq!(
            text.refused.into_iter().collect::<Vec<_>>(),
            [("modules/a/x.hbs".to_owned(), "a symbolic link")]
        );
    }
}
