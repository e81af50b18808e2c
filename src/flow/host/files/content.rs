//! Files at paths that contain their digest: containers mount them. They are written before anything is changed, and are no changes of a
//! plan, since nothing reads them yet.

use std::collections::BTreeSet;

use crate::edge::disk::Power;
use crate::edge::host::place::{self, Placed};
use crate::flow::host::{Host, HostError};
use crate::pure::generation::managed::Found;
use crate::pure::generation::{Kind, Place, Target, content_root};

/// Places every `content` file of a target: durable when this returns. One that is there and right is not touched, since containers
/// have mounted it; one that is there and wrong is repaired.
///
/// # Errors
/// [`HostError`]; what was written before it is harmless.
pub fn stage_content(host: &Host, target: &Target) -> Result<(), HostError> {
    let mut missing = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, file) in &target.files {
        let Place::Content { path } = &file.place else {
            continue;
        };
        let broken = |why: &str| HostError::thing(Kind::File, path, why);
        if !path.starts_with(&format!("{}/", content_root())) {
            return Err(broken("it is not where files of containers stand"));
        }
        let bytes = target
            .file_bytes(name)
            .ok_or_else(|| broken("the bundle has no bytes of it"))?;
        if !seen.insert(path.clone()) {
            continue;
        }
        let at = host.paths.at(path);
        let right = Found::File {
            bytes: bytes.to_vec(),
            owner: file.owner,
            mode: file.mode,
        };
        if place::look(&at)? != right {
            missing.push((at, bytes, file));
        }
    }
    let files: Vec<Placed<'_>> = missing
        .iter()
        .map(|(path, bytes, file)| Placed {
            path,
            bytes,
            owner: file.owner,
            mode: file.mode,
            folders: 0o755,
        })
        .collect();
    Ok(place::put_many(&files, &Power::default())?)
}

/// Removes the `content` files that none of these targets names.
///
/// # Errors
/// [`HostError`].
pub fn prune_content(host: &Host, keep: &[&Target]) -> Result<(), HostError> {
    let kept: BTreeSet<_> = keep
        .iter()
        .flat_map(|target| target.files.values())
        .filter(|file| matches!(file.place, Place::Content { .. }))
        .map(|file| host.paths.at(file.place.path()))
        .collect();
    let root = host.paths.files();
    for file in place::files_below(&root)? {
        if !kept.contains(&file) {
            place::prune(&file, &root)?;
        }
    }
    Ok(())
}
