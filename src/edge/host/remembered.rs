//! Small durable records below `/var/lib/forge/managed`: what forge has done to things that are not its files.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::paths::Paths;
use crate::edge::disk::{DiskError, Folder};

/// Reads a record; the empty one if there is none.
///
/// # Errors
/// [`DiskError`], also if it cannot be understood.
pub fn read<T: DeserializeOwned + Default>(paths: &Paths, name: &str) -> Result<T, DiskError> {
    let path = paths.managed().join(name);
    let failed = |source| DiskError {
        operation: "read",
        path: path.clone(),
        source,
    };
    match std::fs::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map_err(|error| failed(io::Error::other(error)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(failed(error)),
    }
}

/// Writes a record: after a crash it is the old one or this one.
///
/// # Errors
/// [`DiskError`].
pub fn write<T: Serialize>(paths: &Paths, name: &str, record: &T) -> Result<(), DiskError> {
    let folder = Folder::create(&paths.managed())?;
    let mut bytes = serde_json::to_vec_pretty(record).map_err(|error| DiskError {
        operation: "write",
        path: paths.managed().join(name),
        source: io::Error::other(error),
    })?;
    bytes.push(b'\n');
    folder.replace(name, &folder, &bytes)
}
