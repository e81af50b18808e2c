//! Kernel parameters, by the files of `/proc/sys`.

use std::collections::BTreeMap;
use std::io;

use super::paths::Paths;
use crate::edge::disk::{DiskError, Folder};
use crate::pure::generation::things::sysctls::{self, FILE};

/// What the running kernel says of these keys; those that it does not know are missing, also those that cannot be read.
pub fn live<'a>(
    paths: &Paths,
    keys: impl IntoIterator<Item = &'a String>,
) -> BTreeMap<String, String> {
    keys.into_iter()
        .filter_map(|key| {
            let path = paths.at("/proc/sys").join(sysctls::path(key)?);
            let bytes = std::fs::read(path).ok()?;
            let text = String::from_utf8_lossy(&bytes);
            Some((key.clone(), sysctls::normal(&text)))
        })
        .collect()
}

/// Sets a key in the running kernel.
///
/// # Errors
/// [`DiskError`], with what the kernel says to the value.
pub fn set(paths: &Paths, key: &str, value: &str) -> Result<(), DiskError> {
    let path = paths
        .at("/proc/sys")
        .join(sysctls::path(key).unwrap_or_default());
    std::fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(&path)
        .and_then(|mut file| io::Write::write_all(&mut file, format!("{value}\n").as_bytes()))
        .map_err(|source| DiskError {
            operation: "set",
            path,
            source,
        })
}

/// What is set at boot by forge's own file.
///
/// # Errors
/// [`DiskError`].
pub fn boot(paths: &Paths) -> Result<BTreeMap<String, String>, DiskError> {
    let path = paths.at(FILE);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(sysctls::parse(&String::from_utf8_lossy(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(source) => Err(DiskError {
            operation: "read",
            path,
            source,
        }),
    }
}

/// Makes forge's file say this, durably; without a key there is no file.
///
/// # Errors
/// [`DiskError`].
pub fn set_boot(paths: &Paths, want: &BTreeMap<String, String>) -> Result<(), DiskError> {
    let path = paths.at(FILE);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    if want.is_empty() {
        if path.exists() {
            let folder = Folder::open(folder)?;
            folder.remove(name)?;
            folder.sync()?;
        }
        return Ok(());
    }
    let folder = Folder::create(folder)?;
    folder.replace(
        &name.to_string_lossy(),
        &folder,
        sysctls::render(want).as_bytes(),
    )
}
