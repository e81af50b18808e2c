//! Bundles in a store.

use super::{RefChange, Store, StoreError, Trust, Written};
use crate::pure::bundle::{Embedded, OpenError, Opened, Sealed, system_manifest};
use crate::pure::name::BundleDigest;
use crate::pure::oci::RefName;

/// Puts a bundle and lets a name point to it. If both are there already, nothing is written.
///
/// `present` are the images of the bundle that the store has, and that the name shall keep.
///
/// # Errors
/// [`StoreError`]; then the name points to what it did before.
pub fn put_bundle(
    store: &dyn Store,
    sealed: &Sealed,
    present: &[Embedded],
    name: &RefName,
    trust: Trust,
) -> Result<Written, StoreError> {
    let package = sealed.package_index(present)?;
    let mut writer = store.begin(trust)?;
    for (digest, mut bytes) in sealed.blobs() {
        writer.put(digest, bytes.len() as u64, &mut bytes)?;
    }
    if let Some(index) = &package.index {
        writer.put(
            package.root.digest,
            package.root.size,
            &mut index.as_slice(),
        )?;
    }
    writer.commit(&[RefChange::Set(name.clone(), package.root)])
}

/// The bundle that a name points to; nothing if there is no such name, or if it points to something else than a bundle.
///
/// # Errors
/// [`StoreError`].
pub fn find_bundle(store: &dyn Store, name: &RefName) -> Result<Option<BundleDigest>, StoreError> {
    match store.refs()?.get(name) {
        Some(root) => system_manifest(root, |link| store.read(link.digest)),
        None => Ok(None),
    }
}

/// Reads a bundle whole; every byte is checked.
///
/// # Errors
/// [`OpenError`].
pub fn open_bundle(
    store: &dyn Store,
    digest: BundleDigest,
) -> Result<Opened, OpenError<StoreError>> {
    Opened::read(digest, |blob, _| store.read(blob))
}
