//! For tests: a host that is a folder.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tempfile::TempDir;

use super::paths::Paths;
use crate::edge::store::{DiskStore, Options};
use crate::pure::generation::{Mode, Owner};

/// A folder with the paths of a host below it.
#[derive(Debug)]
pub(crate) struct Scratch {
    folder: TempDir,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn paths(&self) -> Paths {
        Paths::below(self.folder.path())
    }

    pub(crate) fn store(&self) -> DiskStore {
        DiskStore::open(&self.paths().store(), Options::default()).unwrap()
    }

    pub(crate) fn put(&self, path: &str, text: &str) {
        let path = self.paths().at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// None if there is no such file.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.paths().at(path)).ok()
    }

    pub(crate) fn mode(&self, path: &str) -> Mode {
        let metadata = std::fs::metadata(self.paths().at(path)).unwrap();
        Mode(metadata.mode() & 0o7777)
    }

    pub(crate) fn set_mode(&self, path: &str, mode: u32) {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.paths().at(path), permissions).unwrap();
    }

    /// Who runs the test.
    pub(crate) fn me(&self) -> Owner {
        let metadata = std::fs::metadata(self.folder.path()).unwrap();
        Owner {
            uid: metadata.uid(),
            gid: metadata.gid(),
        }
    }
}
