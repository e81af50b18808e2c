//! Both stores through the same questions ([`conformance`]), and what only a disk can do wrong ([`disk`]).

mod conformance;
mod disk;
mod export;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::{DiskStore, Memo, MemoryStore, Options, Store};
use crate::edge::disk::Power;
use crate::pure::bundle::{Draft, ImagePin, Part, PartKind, Sealed};
use crate::pure::name::{BlobDigest, ManifestDigest};
use crate::pure::oci::RefName;

/// A store, and the hand of someone who changes it behind its back.
trait Fixture {
    fn store(&self) -> &dyn Store;
    fn memo(&self) -> &dyn Memo;
    fn tamper(&self, digest: BlobDigest, bytes: Option<&[u8]>);
}

impl Fixture for MemoryStore {
    fn store(&self) -> &dyn Store {
        self
    }

    fn memo(&self) -> &dyn Memo {
        self
    }

    fn tamper(&self, digest: BlobDigest, bytes: Option<&[u8]>) {
        MemoryStore::tamper(self, digest, bytes);
    }
}

struct OnDisk {
    store: DiskStore,
    folder: tempfile::TempDir,
}

fn options() -> Options {
    Options {
        patience: Duration::from_millis(20),
        power: Power::default(),
    }
}

impl OnDisk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = DiskStore::open(&folder.path().join("store"), options()).unwrap();
        Self { store, folder }
    }

    fn path(&self) -> PathBuf {
        self.store.path().to_owned()
    }

    fn blob(&self, digest: BlobDigest) -> PathBuf {
        self.path().join("blobs/sha256").join(digest.hex())
    }
}

impl Fixture for OnDisk {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    fn memo(&self) -> &dyn Memo {
        &self.store
    }

    fn tamper(&self, digest: BlobDigest, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => std::fs::write(self.blob(digest), bytes).unwrap(),
            None => std::fs::remove_file(self.blob(digest)).unwrap(),
        }
    }
}

fn name(text: &str) -> RefName {
    text.parse().unwrap()
}

/// A bundle with as many files as asked for, whose content depends on the text.
fn bundle(text: &str, files: usize) -> Sealed {
    let file = |number| {
        let title = format!("files/{number}").parse().unwrap();
        Part::new(PartKind::File, title, format!("{text} {number}").into())
    };
    let secret = Part::new(
        PartKind::Secret,
        "secrets/token".parse().unwrap(),
        b"shared".to_vec(),
    );
    Draft {
        host: "web".parse().unwrap(),
        system: json!({ "text": text }),
        parts: (0..files).map(file).chain([secret]).collect(),
        images: vec![ImagePin {
            name: "caddy".parse().unwrap(),
            repository: "docker.io/library/caddy".to_owned(),
            tag: "2".to_owned(),
            digest: ManifestDigest::of("not in the store"),
        }],
    }
    .seal()
    .unwrap()
}
