//! The top folders of volumes.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

use super::paths::Paths;
use crate::edge::disk::{DiskError, Folder};
use crate::pure::generation::things::volumes::Top;
use crate::pure::generation::{Mode, Owner};

fn failed<'a>(
    operation: &'static str,
    path: &'a Path,
) -> impl Fn(io::Error) -> DiskError + use<'a> {
    move |source| DiskError {
        operation,
        path: path.to_owned(),
        source,
    }
}

/// Owner and mode of the top folder of a volume; nothing if there is none. A link to a folder is one: a person put it there.
///
/// # Errors
/// [`DiskError`], also if it is no folder.
pub fn top(paths: &Paths, name: &str) -> Result<Option<Top>, DiskError> {
    let path = paths.volumes().join(name);
    let metadata = match std::fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("look at", &path)(error)),
    };
    if !metadata.is_dir() {
        return Err(failed("use as a volume", &path)(
            io::ErrorKind::NotADirectory.into(),
        ));
    }
    Ok(Some(Top {
        owner: Owner {
            uid: metadata.uid(),
            gid: metadata.gid(),
        },
        mode: Mode(metadata.mode() & 0o7777),
    }))
}

/// Makes the top folder if it is missing, and gives it this owner and mode. Nobody else gets in before it has them. What is in it is
/// not touched.
///
/// # Errors
/// [`DiskError`].
pub fn make(paths: &Paths, name: &str, top: Top) -> Result<(), DiskError> {
    let volumes = Folder::create(&paths.volumes())?;
    let path = paths.volumes().join(name);
    match std::fs::DirBuilder::new().mode(0o700).create(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed("make the volume", &path)(error)),
    }
    let owner = top.owner;
    std::os::unix::fs::chown(&path, Some(owner.uid), Some(owner.gid))
        .map_err(failed("give away", &path))?;
    // After the owner: a change of owner takes set-id bits away.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(top.mode.0))
        .map_err(failed("set the mode of", &path))?;
    volumes.sync()
}
