//! The first layer of every image with Debian packages: the folders and links that packages count on and that none of them brings.
//!
//! It is the same for all recipes of an architecture, so that hosts have it once.

use std::collections::BTreeMap;

use super::layer::{Content, ImagePath, Meta, Node, PathError, Tree};
use crate::pure::name::Arch;

/// What stands in the root and in `/var` for something below `/usr` and `/run` (Debian Policy, section 9.1.1; the merged `/usr`).
const LINKS: [(&str, &str); 5] = [
    ("bin", "usr/bin"),
    ("lib", "usr/lib"),
    ("sbin", "usr/sbin"),
    ("var/lock", "/run/lock"),
    ("var/run", "/run"),
];

const FOLDERS: [(&str, u32); 30] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("etc/ld.so.conf.d", 0o755),
    ("home", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("srv", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("usr/lib", 0o755),
    ("usr/local", 0o755),
    ("usr/local/bin", 0o755),
    ("usr/local/lib", 0o755),
    ("usr/local/sbin", 0o755),
    ("usr/local/share", 0o755),
    ("usr/sbin", 0o755),
    ("usr/share", 0o755),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/mail", 0o755),
    ("var/opt", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
    ("opt", 0o755),
];

/// Without a line for what no image runs (nscd, NIS, systemd's modules); nsswitch.conf(5).
const NSSWITCH: &str = "\
passwd:         files
group:          files
shadow:         files
gshadow:        files
hosts:          files dns
networks:       files
protocols:      files
services:       files
ethers:         files
rpc:            files
";

/// As libc-bin brings it, so that the package changes nothing.
const LD_SO_CONF: &str = "include /etc/ld.so.conf.d/*.conf\n\n";

/// A folder that belongs to root.
pub(super) fn folder(mode: u32) -> (Node, Meta) {
    let meta = Meta {
        mode,
        ..Meta::default()
    };
    (Node::Directory, meta)
}

/// A file that everybody may read.
pub(super) fn text(bytes: impl AsRef<[u8]>) -> (Node, Meta) {
    let meta = Meta {
        mode: 0o644,
        ..Meta::default()
    };
    (Node::File(Content::Bytes(bytes.as_ref().into())), meta)
}

/// A symbolic link.
pub(super) fn link(target: &str) -> (Node, Meta) {
    let meta = Meta {
        mode: 0o777,
        ..Meta::default()
    };
    (Node::Symlink(target.to_owned()), meta)
}

/// The loader of amd64 is named `/lib64/ld-linux-x86-64.so.2` (System V ABI, AMD64 supplement); that of arm64 lies in `/lib`.
fn lib64(arch: Arch) -> Option<(&'static str, &'static str)> {
    match arch {
        Arch::Amd64 => Some(("lib64", "usr/lib64")),
        Arch::Arm64 => None,
    }
}

/// The links of the skeleton: path and target, both relative to the root.
pub(super) fn links(arch: Arch) -> BTreeMap<&'static str, &'static str> {
    LINKS
        .into_iter()
        .chain(lib64(arch))
        .map(|(path, target)| (path, target.trim_start_matches('/')))
        .collect()
}

/// The mode of a folder of the skeleton.
pub(super) fn mode_of(path: &ImagePath) -> Option<u32> {
    let found = FOLDERS.iter().find(|(known, _)| *known == path.as_str());
    found.map(|(_, mode)| *mode)
}

/// The layer.
///
/// # Errors
/// [`PathError`], which a test excludes.
pub fn tree(arch: Arch) -> Result<Tree, PathError> {
    let mut entries = BTreeMap::new();
    for (path, mode) in FOLDERS {
        entries.insert(path.parse()?, folder(mode));
    }
    if lib64(arch).is_some() {
        entries.insert("usr/lib64".parse()?, folder(0o755));
    }
    for (path, target) in LINKS.into_iter().chain(lib64(arch)) {
        entries.insert(path.parse()?, link(target));
    }
    entries.insert("etc/nsswitch.conf".parse()?, text(NSSWITCH));
    entries.insert("etc/ld.so.conf".parse()?, text(LD_SO_CONF));
    Ok(Tree { entries })
}
