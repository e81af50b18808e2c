use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::edge::store::{MemoryStore, Put, Store, Trust};
use crate::pure::delivery::{Choice, Encoding, Parcel};

fn put(store: &MemoryStore, bytes: &[u8]) -> BlobDigest {
    let digest = BlobDigest::of(bytes);
    let mut writer = store.begin(Trust::Size).unwrap();
    let mut content = bytes;
    writer
        .put(digest, bytes.len() as u64, &mut content)
        .unwrap();
    writer.commit(&[]).unwrap();
    digest
}

/// Bytes that no part of is like another.
fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

struct Place {
    folder: tempfile::TempDir,
    store: MemoryStore,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            store: MemoryStore::default(),
        }
    }

    fn wire(&self) -> Wire {
        Wire::open(&self.folder.path().join("wire")).unwrap()
    }

    /// The parcel and its bytes.
    fn pack(&self, blob: &[u8], base: Option<&[u8]>) -> (Parcel, Vec<u8>) {
        let encoding = match base {
            Some(base) => Encoding::Patch {
                base: put(&self.store, base),
            },
            None => Encoding::Zstd,
        };
        let choice = Choice {
            blob: put(&self.store, blob),
            size: blob.len() as u64,
            encoding,
        };
        let wire = self.wire();
        let made = encode(&self.store, &choice, &wire).unwrap();
        let mut bytes = Vec::new();
        let mut content = wire.read(&self.store, &made, 0).unwrap();
        content.read_to_end(&mut bytes).unwrap();
        assert_eq!(made.parcel.digest, BlobDigest::of(&bytes));
        assert_eq!(made.parcel.bytes, bytes.len() as u64);
        (made.parcel, bytes)
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let folder: &Path = &self.folder.path().join("wire");
        std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, std::fs::read(entry.path()).unwrap())
            })
            .filter(|(name, _)| name != "lock")
            .collect()
    }
}

fn unpack(parcel: &Parcel, bytes: &[u8], base: Option<&[u8]>) -> Result<Vec<u8>, StoreError> {
    let bases = MemoryStore::default();
    let base = base.map(|base| bases.open(put(&bases, base)).unwrap());
    let store = MemoryStore::default();
    let mut writer = store.begin(Trust::Size)?;
    let mut content = bytes;
    assert_eq!(
        decode(parcel, &mut content, base, &mut *writer)?,
        Put::Added
    );
    writer.commit(&[])?;
    let store: &dyn Store = &store;
    store.read(parcel.blob)
}

#[test]
fn a_blob_that_does_not_become_smaller_stays_as_it_is() {
    let place = Place::new();
    let blob = noise(100_000, 1);
    let (parcel, bytes) = place.pack(&blob, None);
    assert_eq!(parcel.encoding, Encoding::Identity);
    assert_eq!((parcel.blob, bytes.as_slice()), (parcel.digest, &blob[..]));
    assert_eq!(unpack(&parcel, &bytes, None).unwrap(), blob);
    assert!(place.files().is_empty());
}

#[test]
fn a_patch_of_several_segments_has_what_is_new_alone() {
    let place = Place::new();
    let base = noise(30 << 20, 2);
    let mut blob = noise(1000, 3);
    blob.extend(&base[..12 << 20]);
    blob.extend(noise(50_000, 4));
    blob.extend(&base[13 << 20..]);
    let (parcel, bytes) = place.pack(&blob, Some(&base));
    assert!(bytes.len() < 60_000, "{}", bytes.len());
    assert_eq!(unpack(&parcel, &bytes, Some(&base)).unwrap(), blob);
    // What whole frames say is far below what may be taken.
    const { assert!(MOST_MEMORY < 64 << 20) };

    // Another base: other bytes, which are not taken.
    let mut other = base.clone();
    other[20 << 20] ^= 1;
    let error = unpack(&parcel, &bytes, Some(&other)).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::NotAsNamed { .. } | StoreError::Source { .. }
        ),
        "{error}"
    );
    let error = unpack(&parcel, &bytes, Some(&base[..1 << 20])).unwrap_err();
    assert!(matches!(error, StoreError::Source { .. }), "{error}");
    let error = unpack(&parcel, &bytes, None).unwrap_err();
    assert!(error.to_string().contains("which is not here"), "{error}");
}

#[test]
fn a_parcel_is_made_once_and_a_torn_one_again() {
    let place = Place::new();
    let blob = vec![7; 500_000];
    let first = place.pack(&blob, None);
    let files = place.files();
    assert_eq!(files.len(), 1);
    let name = files.keys().next().unwrap();
    let path = place.folder.path().join("wire").join(name);

    // If it were packed again, the file would be replaced.
    let inode = |path: &Path| {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(path).unwrap().ino()
    };
    let before = inode(&path);
    assert_eq!(place.pack(&blob, None), first);
    assert_eq!(inode(&path), before);

    // As long as it must be, and empty: what a power cut leaves.
    std::fs::write(&path, vec![0; files[name].len()]).unwrap();
    assert_eq!(place.pack(&blob, None), first);
    assert_eq!(place.files(), files);
}

#[test]
fn parcels_are_removed_when_nobody_uses_them() {
    let place = Place::new();
    place.pack(&vec![7; 500_000], None);
    let other = place.wire();
    assert_eq!(place.wire().clear().unwrap(), (0, 0));
    assert_eq!(place.files().len(), 1);
    let size = place.files().values().map(|bytes| bytes.len() as u64).sum();
    assert_eq!(other.clear().unwrap(), (1, size));
    assert!(place.files().is_empty());
}

#[test]
fn a_damaged_blob_or_base_is_not_packed() {
    let place = Place::new();
    let base = vec![1; 100_000];
    let blob = vec![2; 100_000];
    let choice = Choice {
        blob: put(&place.store, &blob),
        size: 100_000,
        encoding: Encoding::Patch {
            base: put(&place.store, &base),
        },
    };
    for (damaged, good) in [(&blob, &blob), (&base, &base)] {
        let digest = BlobDigest::of(damaged);
        let mut bytes = good.clone();
        bytes[99_999] ^= 1;
        place.store.tamper(digest, Some(&bytes));
        let error = encode(&place.store, &choice, &place.wire()).unwrap_err();
        assert!(
            matches!(error, ParcelError::Store(StoreError::Corrupt { expected, .. }) if expected == digest),
            "{error}"
        );
        assert!(place.files().is_empty());
        place.store.tamper(digest, Some(good));
    }
    encode(&place.store, &choice, &place.wire()).unwrap();
}

/// A frame that asks for a larger window than any parcel needs.
#[test]
fn a_window_beyond_the_bound_is_refused() {
    let blob = vec![0; 64 << 20];
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(24).unwrap();
    std::io::Write::write_all(&mut encoder, &blob).unwrap();
    let bytes = encoder.finish().unwrap();
    let base = vec![5; 1000];
    let mut patch = vec![0; HEAD];
    patch[8..12].copy_from_slice(&1000_u32.to_be_bytes());
    patch[12..].copy_from_slice(&u32::try_from(bytes.len()).unwrap().to_be_bytes());
    patch.extend(&bytes);
    let patched = Encoding::Patch {
        base: BlobDigest::of(&base),
    };
    for (encoding, bytes) in [(Encoding::Zstd, bytes), (patched, patch)] {
        let parcel = Parcel {
            blob: BlobDigest::of(&blob),
            size: blob.len() as u64,
            encoding,
            digest: BlobDigest::of(&bytes),
            bytes: bytes.len() as u64,
        };
        let error = unpack(&parcel, &bytes, Some(&base)).unwrap_err();
        let StoreError::Source { source, .. } = &error else {
            panic!("{error}");
        };
        assert!(source.to_string().contains("too much memory"), "{source}");
    }
}

#[test]
fn what_heads_of_frames_say_is_checked() {
    let place = Place::new();
    let base = noise(100_000, 5);
    let mut blob = base.clone();
    blob[50_000] ^= 1;
    let (parcel, bytes) = place.pack(&blob, Some(&base));
    assert_eq!(unpack(&parcel, &bytes, Some(&base)).unwrap(), blob);
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let mut longer = bytes.clone();
    longer.push(0);
    for wrong in [
        changed(0, &u64::MAX.to_be_bytes()),
        changed(0, &1_u64.to_be_bytes()),
        changed(8, &u32::MAX.to_be_bytes()),
        changed(12, &u32::MAX.to_be_bytes()),
        changed(12, &1_u32.to_be_bytes()),
        changed(12, &0_u32.to_be_bytes()),
        bytes[..bytes.len() - 1].to_vec(),
        bytes[..HEAD - 1].to_vec(),
        longer,
    ] {
        let error = unpack(&parcel, &wrong, Some(&base)).unwrap_err();
        assert!(matches!(error, StoreError::Source { .. }), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_packed_is_unpacked(
        seed: u64,
        size in 0_usize..300_000,
        repeats in 1_usize..5,
        cuts in proptest::collection::vec((0_usize..300_000, 0_usize..50_000), 0..5),
    ) {
        let base = noise(size + 1, seed).repeat(repeats);
        let mut blob = base.clone();
        for (at, length) in cuts {
            let at = at.min(blob.len());
            let end = (at + length).min(blob.len());
            blob.splice(at..end, noise(length / 3, seed ^ at as u64));
        }
        for base in [None, Some(&base[..])] {
            let (parcel, bytes) = Place::new().pack(&blob, base);
            prop_assert!(parcel.bytes <= blob.len() as u64);
            // The same in every run.
            prop_assert_eq!(&Place::new().pack(&blob, base), &(parcel, bytes.clone()));
            prop_assert_eq!(&unpack(&parcel, &bytes, base).unwrap(), &blob);
        }
    }

    #[test]
    fn whatever_stands_in_a_parcel_nothing_else_than_the_blob_comes_out(
        seed: u64,
        at in 0_usize..100_000,
        change in 1_u8..,
        patched: bool,
    ) {
        let place = Place::new();
        let base = noise(20_000, seed);
        let mut blob = base.clone();
        blob[7000..9000].fill(0);
        let base = patched.then_some(&base[..]);
        let (parcel, mut bytes) = place.pack(&blob, base);
        let at = at % bytes.len();
        bytes[at] ^= change;
        if let Ok(unpacked) = unpack(&parcel, &bytes, base) {
            prop_assert_eq!(unpacked, blob);
        }
    }
}
