use super::*;
use crate::edge::store::MemoryStore;

/// Bytes that no part of is like another.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
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

fn read(store: &dyn Store, digest: BlobDigest) -> Vec<u8> {
    store.read(digest).unwrap()
}

fn plain(bytes: &[u8]) -> Parcel {
    Parcel {
        blob: BlobDigest::of(bytes),
        size: bytes.len() as u64,
        encoding: Encoding::Identity,
        digest: BlobDigest::of(bytes),
        bytes: bytes.len() as u64,
    }
}

fn asked(bytes: &[u8]) -> BTreeMap<BlobDigest, u64> {
    BTreeMap::from([(BlobDigest::of(bytes), bytes.len() as u64)])
}

#[test]
fn a_parcel_that_was_cut_off_anywhere_goes_on_there() {
    let large = usize::try_from(IN_MEMORY).unwrap() + 5000;
    let bytes = noise(large);
    let parcel = plain(&bytes);
    let offsets = (0..=large).step_by(9973).chain([1, large - 1, large]);
    for cut in offsets {
        let folder = tempfile::tempdir().unwrap();
        let store = MemoryStore::default();
        let mut receiver = Receiver::open(&store, folder.path()).unwrap();
        receiver.begin(parcel, 0).unwrap();
        receiver.write(&bytes[..cut]).unwrap();
        drop(receiver);

        let holding = holding(&store, folder.path(), &asked(&bytes)).unwrap();
        assert_eq!(holding.missing.len(), 1);
        let from = holding.partial[&parcel.digest];
        assert_eq!(from, cut as u64);
        let mut receiver = Receiver::open(&store, folder.path()).unwrap();
        receiver.begin(parcel, from).unwrap();
        assert_eq!(receiver.is_complete(), cut == large);
        receiver.write(&bytes[cut..]).unwrap();
        assert!(receiver.is_complete());
        assert_eq!(receiver.finish().unwrap(), parcel.blob);
        receiver.commit().unwrap();
        assert_eq!(read(&store, parcel.blob), bytes);
        assert!(Partials::list(folder.path()).unwrap().is_empty());
    }
}

#[test]
fn what_was_unpacked_and_not_committed_is_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = MemoryStore::default();
    let bytes = noise(400_000);
    let parcel = plain(&bytes);
    let mut receiver = Receiver::open(&store, folder.path()).unwrap();
    receiver.begin(parcel, 0).unwrap();
    receiver.write(&bytes).unwrap();
    receiver.finish().unwrap();
    drop(receiver);
    assert_eq!(store.size(parcel.blob).unwrap(), None);

    let mut receiver = Receiver::open(&store, folder.path()).unwrap();
    receiver.begin(parcel, parcel.bytes).unwrap();
    assert!(receiver.is_complete());
    receiver.finish().unwrap();
    receiver.commit().unwrap();
    assert_eq!(read(&store, parcel.blob), bytes);
}

#[test]
fn a_parcel_that_lies_leaves_nothing_and_stops_no_other() {
    for size in [1000, 400_000] {
        let folder = tempfile::tempdir().unwrap();
        let store = MemoryStore::default();
        let mut receiver = Receiver::open(&store, folder.path()).unwrap();
        let good = noise(size);
        let mut bad = good.clone();
        bad[size / 2] ^= 1;

        // Damaged on its way.
        let parcel = plain(&good);
        receiver.begin(parcel, 0).unwrap();
        receiver.write(&bad).unwrap();
        let error = receiver.finish().unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
        assert!(Partials::list(folder.path()).unwrap().is_empty());

        // Whole, and not the blob that it is said to be.
        let lie = Parcel {
            blob: parcel.blob,
            ..plain(&bad)
        };
        receiver.begin(lie, 0).unwrap();
        receiver.write(&bad).unwrap();
        let error = receiver.finish().unwrap_err();
        assert!(
            matches!(error, HostError::Store(StoreError::NotAsNamed { .. })),
            "{error}"
        );
        assert!(Partials::list(folder.path()).unwrap().is_empty());

        receiver.begin(parcel, 0).unwrap();
        receiver.write(&good).unwrap();
        receiver.finish().unwrap();
        receiver.commit().unwrap();
        assert_eq!(store.blobs().unwrap(), asked(&good));
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = MemoryStore::default();
    let mut receiver = Receiver::open(&store, folder.path()).unwrap();
    let bytes = noise(400_000);
    let parcel = plain(&bytes);
    let refused = |result: Result<(), HostError>| match result {
        Err(HostError::Refused { why, .. }) => why,
        other => panic!("{other:?}"),
    };
    assert!(refused(receiver.begin(parcel, 7)).contains("cannot go on at 7: 0 of"));
    assert!(refused(receiver.write(b"x")).contains("no parcel"));
    assert!(refused(receiver.finish().map(drop)).contains("no parcel"));
    receiver.begin(parcel, 0).unwrap();
    assert!(refused(receiver.begin(parcel, 0)).contains("not at its end"));
    receiver.write(&bytes[..10]).unwrap();
    assert!(refused(receiver.write(&bytes)).contains("longer than the 400000 bytes"));
    assert!(refused(receiver.finish().map(drop)).contains("10 of the 400000 bytes"));
    // More is there than there can be: anew.
    drop(receiver);
    let partials = Partials::open(folder.path()).unwrap();
    let mut file = partials.append(parcel.digest).unwrap();
    file.write_whole(&bytes).unwrap();
    let mut receiver = Receiver::open(&store, folder.path()).unwrap();
    assert!(refused(receiver.begin(parcel, parcel.bytes + 10)).contains("cannot go on"));
    receiver.begin(parcel, 0).unwrap();
    receiver.write(&bytes).unwrap();
    receiver.finish().unwrap();
    receiver.commit().unwrap();
    assert_eq!(read(&store, parcel.blob), bytes);
}

#[test]
fn the_host_tells_the_layers_that_patches_may_start_from() {
    let folder = tempfile::tempdir().unwrap();
    let store = MemoryStore::default();
    let mut writer = store.begin(Trust::Size).unwrap();
    let mut add = |bytes: &[u8]| {
        let digest = BlobDigest::of(bytes);
        let mut content = bytes;
        writer
            .put(digest, bytes.len() as u64, &mut content)
            .unwrap();
        digest
    };
    let (old, kept, config) = (add(b"old"), add(b"kept"), add(b"{}"));
    let descriptor = |digest: BlobDigest, size: usize, key: &str| {
        format!(
            r#"{{"mediaType":"{}","digest":"{digest}","size":{size},"annotations":{{"{}":"{key}"}}}}"#,
            media::LAYER,
            media::LAYER_KEY
        )
    };
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{{"mediaType":"{}","digest":"{config}","size":2}},"layers":[{},{},{}]}}"#,
        media::MANIFEST,
        media::IMAGE_CONFIG,
        descriptor(old, 3, "deb/a"),
        descriptor(kept, 4, "deb/b"),
        descriptor(BlobDigest::of("gone"), 4, "deb/c"),
    );
    add(manifest.as_bytes());
    let link = Link::to(media::MANIFEST, manifest.as_bytes());
    let change = crate::edge::store::RefChange::Set("image".parse().unwrap(), link);
    writer.commit(&[change]).unwrap();

    let new = BlobDigest::of("new");
    let holding_of = |asked: &[(BlobDigest, u64)]| {
        holding(&store, folder.path(), &asked.iter().copied().collect()).unwrap()
    };
    let told = holding_of(&[(new, 3), (kept, 4)]);
    assert_eq!(told.missing, BTreeSet::from([new]));
    assert_eq!(
        told.layers,
        BTreeMap::from([("deb/a".to_owned(), BTreeSet::from([old]))])
    );
    assert_eq!(holding_of(&[(kept, 4)]), Holding::default());
}

#[test]
fn what_is_of_no_use_can_be_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = MemoryStore::default();
    let mut receiver = Receiver::open(&store, folder.path()).unwrap();
    let bytes = noise(400_000);
    receiver.begin(plain(&bytes), 0).unwrap();
    receiver.write(&bytes[..1234]).unwrap();
    drop(receiver);
    assert_eq!(Partials::clear(folder.path()).unwrap(), (1, 1234));
    assert!(Partials::list(folder.path()).unwrap().is_empty());
    let missing = folder.path().join("missing");
    assert_eq!(Partials::clear(&missing).unwrap(), (0, 0));
}
