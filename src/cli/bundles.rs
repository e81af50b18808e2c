//! How a person names a bundle: a host of the project, a digest in the store, an exported layout.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use etcetera::BaseStrategy as _;

use crate::cli::args::Global;
use crate::cli::error::{CliError, Exit};
use crate::cli::session;
use crate::edge::store::{DiskStore, Options, Store, find_bundle, open_bundle};
use crate::flow::operator::evaluate::Opened;
use crate::pure::bundle::Draft;
use crate::pure::name::{BundleDigest, HostName};
use crate::pure::oci::RefName;

/// A bundle, and what it is called.
pub(crate) struct Found {
    pub digest: BundleDigest,
    pub draft: Draft,
}

/// The folder of the store: `--store`, or `forge/store` in the user's cache folder (XDG Base Directory).
pub(crate) fn store_path(global: &Global) -> Result<PathBuf, CliError> {
    match &global.store {
        Some(path) => Ok(path.clone()),
        None => {
            let base = etcetera::choose_base_strategy().map_err(|error| {
                CliError::failed(&error)
                    .hint("name a folder for the store with `--store DIR` or FORGE_STORE")
            })?;
            Ok(base.cache_dir().join("forge").join("store"))
        }
    }
}

/// The folder beside the store where what is sent waits until it has arrived.
pub(crate) fn wire_path(global: &Global) -> Result<PathBuf, CliError> {
    let store = store_path(global)?;
    let mut name = store.file_name().unwrap_or_default().to_owned();
    name.push(".wire");
    Ok(store.with_file_name(name))
}

pub(crate) fn open_store(global: &Global) -> Result<DiskStore, CliError> {
    let path = store_path(global)?;
    DiskStore::open(&path, Options::default()).map_err(|error| CliError::failed(&error))
}

/// The name under which the last build of a host is kept.
pub(crate) fn ref_name(opened: &Opened, host: &HostName) -> Result<RefName, CliError> {
    RefName::from_str(&format!("{}/{host}", opened.project.name))
        .map_err(|error| CliError::failed(&error))
}

/// The bundle that a person means.
pub(crate) fn resolve(text: &str, global: &Global) -> Result<Found, CliError> {
    if let Some(prefix) = digest_prefix(text) {
        return from_store(text, prefix, global);
    }
    let path = Path::new(text);
    if text.contains('/') || text.ends_with(".tar") || path.join("oci-layout").is_file() {
        return from_layout(path);
    }
    let mut opened = session::open(global)?;
    let host = session::host_name(text)?;
    let drafted = session::draft(&mut opened, &host)?;
    let digest = drafted
        .draft
        .clone()
        .seal()
        .map_err(|error| CliError::failed(&error))?
        .digest();
    Ok(Found {
        digest,
        draft: drafted.draft,
    })
}

/// The bundle of the last build of a host.
pub(crate) fn last_build(text: &str, global: &Global) -> Result<Found, CliError> {
    let opened = session::open(global)?;
    let host = session::host_name(text)?;
    let store = open_store(global)?;
    let name = ref_name(&opened, &host)?;
    let digest = find_bundle(&store, &name)
        .map_err(|error| CliError::failed(&error))?
        .ok_or_else(|| {
            CliError::new(
                Exit::No,
                format!("`{host}` was never built into this store"),
            )
            .hint(format!("`forge build {host}` builds it"))
            .hint(format!(
                "`forge diff OTHER {host}` compares it with another host or bundle"
            ))
        })?;
    open(&store, digest)
}

/// The digits of `sha256:1f3c…`, or of the digits alone if there are at least six.
pub(crate) fn digest_prefix(text: &str) -> Option<&str> {
    let digits = text.strip_prefix("sha256:");
    let prefix = digits.unwrap_or(text);
    let hexadecimal = prefix
        .bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (hexadecimal && !prefix.is_empty() && (digits.is_some() || (6..=64).contains(&prefix.len())))
        .then_some(prefix)
}

fn from_store(text: &str, prefix: &str, global: &Global) -> Result<Found, CliError> {
    let store = open_store(global)?;
    let store: &dyn Store = &store;
    let failed = |error: &dyn std::error::Error| CliError::failed(error);
    let mut found = Vec::new();
    if prefix.len() == 64 {
        found.extend(format!("sha256:{prefix}").parse::<BundleDigest>());
    } else {
        let refs = store.refs().map_err(|error| failed(&error))?;
        for name in refs.keys() {
            if let Some(digest) = find_bundle(store, name).map_err(|error| failed(&error))?
                && digest.hex().starts_with(prefix)
                && !found.contains(&digest)
            {
                found.push(digest);
            }
        }
    }
    match found.as_slice() {
        [digest] => open(store, *digest),
        [] => Err(CliError::new(
            Exit::No,
            format!("no bundle in the store begins with `{text}`"),
        )
        .hint("`forge build HOST` prints the digest of what it has built")),
        _ => Err(CliError::new(
            Exit::Usage,
            format!(
                "{} bundles begin with `{text}`: give more digits",
                found.len()
            ),
        )),
    }
}

fn open(store: &dyn Store, digest: BundleDigest) -> Result<Found, CliError> {
    let opened = open_bundle(store, digest).map_err(|error| {
        CliError::failed(&error).hint("`forge verify` looks for damage in the store")
    })?;
    Ok(Found {
        digest,
        draft: opened.into_draft(),
    })
}

/// An exported bundle: the one that its layout has.
fn from_layout(path: &Path) -> Result<Found, CliError> {
    let unpacked;
    let folder = if path.is_file() {
        unpacked = tempfile::tempdir().map_err(|error| CliError::failed(&error))?;
        let file = std::fs::File::open(path).map_err(|error| {
            CliError::new(
                Exit::Failed,
                format!("cannot read {}: {error}", path.display()),
            )
        })?;
        // The library refuses members that would leave the folder.
        tar::Archive::new(file)
            .unpack(unpacked.path())
            .map_err(|error| {
                CliError::new(
                    Exit::No,
                    format!("{} is no exported bundle: {error}", path.display()),
                )
            })?;
        unpacked.path()
    } else {
        path
    };
    let store = DiskStore::open_existing(folder, Options::default())
        .map_err(|error| CliError::failed(&error))?;
    let store: &dyn Store = &store;
    let refs = store.refs().map_err(|error| CliError::failed(&error))?;
    for name in refs.keys() {
        if let Some(digest) = find_bundle(store, name).map_err(|error| CliError::failed(&error))? {
            return open(store, digest);
        }
    }
    Err(CliError::new(
        Exit::No,
        format!("there is no bundle in {}", path.display()),
    ))
}
