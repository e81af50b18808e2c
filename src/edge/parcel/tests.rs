use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::edge::store::{DiskStore, MemoryStore, Store, Trust};
use crate::pure::delivery::{Choice, Encoding};

#[test]
#[ignore]
fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let store = DiskStore::open(&folder.path().join("s"), Default::default()).unwrap();
    let put = |path: &str| {
        let bytes = std::fs::read(path).unwrap();
        let digest = BlobDigest::of(&bytes);
        let mut w = store.begin(Trust::Size).unwrap();
        w.put(digest, bytes.len() as u64, &mut bytes.as_slice()).unwrap();
        w.commit(&[]).unwrap();
        (digest, bytes.len() as u64)
    };
    let files: Vec<String> = std::env::var("FILES").unwrap().split(' ').map(str::to_owned).collect();
    let base = put(&files[0]);
    let new = put(&files[1]);
    let wire = Wire::open(&folder.path().join("wire")).unwrap();
    for encoding in [Encoding::Zstd, Encoding::Patch { base: base.0 }] {
        let start = std::time::Instant::now();
        let made = encode(&store, &Choice { blob: new.0, size: new.1, encoding }, &wire).unwrap();
        eprintln!("{encoding:?} {} -> {} in {:?}", new.1, made.parcel.bytes, start.elapsed());
        let memory = MemoryStore::default();
        let mut w = memory.begin(Trust::Size).unwrap();
        let start = std::time::Instant::now();
        decode(&made.parcel, &mut wire.read(&store, &made, 0).unwrap(), Some(store.open(base.0).unwrap()), &mut *w).unwrap();
        eprintln!("decoded in {:?}", start.elapsed());
    }
}
