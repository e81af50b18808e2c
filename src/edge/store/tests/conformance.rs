use std::collections::BTreeSet;
use std::io::Write;

use super::super::{
    Found, Put, RefChange, StoreError, Trust, Written, find_bundle, open_bundle, plan_gc,
    put_bundle, verify,
};
use super::{Fixture, MemoryStore, OnDisk, bundle, name};
use crate::pure::bundle::{Embedded, OpenError};
use crate::pure::name::{BlobDigest, BundleDigest};
use crate::pure::oci::{Link, manifest, media};

/// Runs each of these functions against each store.
macro_rules! conform {
    ($($test:ident)*) => {
        mod on_disk {
            $(#[test] fn $test() { super::$test(&super::OnDisk::new()); })*
        }
        mod in_memory {
            $(#[test] fn $test() { super::$test(&super::MemoryStore::default()); })*
        }
    };
}

conform! {
    what_is_put_is_read_back
    what_is_there_is_not_written_again
    content_that_is_not_what_its_digest_says_is_refused
    a_writer_that_is_dropped_changes_nothing
    what_is_made_while_it_is_stored_gets_its_own_name
    what_fails_while_it_is_made_leaves_nothing
    what_is_remembered_is_recalled
    a_name_points_to_one_thing_and_never_to_nothing
    damage_is_found_by_whoever_reads
    damage_is_repaired_by_who_writes
    only_what_is_damaged_is_evicted
    what_no_name_needs_is_collected
    nothing_is_collected_while_someone_writes
    a_plan_is_a_bound_and_no_order
    what_cannot_be_followed_is_not_guessed
    verify_says_what_and_for_whom
    a_package_keeps_its_images
}

fn put(fixture: &dyn Fixture, text: &str, at: &str) -> Written {
    put_bundle(
        fixture.store(),
        &bundle(text, 9),
        &[],
        &name(at),
        Trust::Size,
    )
    .unwrap()
}

fn what_is_put_is_read_back(fixture: &dyn Fixture) {
    let (store, sealed) = (fixture.store(), bundle("a", 9));
    let written = put(fixture, "a", "shop/web");
    assert_eq!(
        (written.added, written.present, written.renamed),
        (12, 0, true)
    );
    assert_eq!(written.bytes, sealed.closure().blobs.values().sum::<u64>());
    assert_eq!(
        find_bundle(store, &name("shop/web")).unwrap(),
        Some(sealed.digest())
    );
    assert_eq!(find_bundle(store, &name("shop/db")).unwrap(), None);
    let opened = open_bundle(store, sealed.digest()).unwrap();
    assert_eq!(opened.closure(), sealed.closure());
    assert_eq!(opened.part("files/3").unwrap().bytes, b"a 3");
    for (digest, size) in &sealed.closure().blobs {
        assert!(store.has(*digest, *size).unwrap());
        assert!(!store.has(*digest, size + 1).unwrap());
    }
    let missing = BlobDigest::of("missing");
    assert_eq!(store.size(missing).unwrap(), None);
    assert!(
        matches!(store.read(missing), Err(StoreError::Missing { digest, .. }) if digest == missing)
    );
    let error = open_bundle(store, BundleDigest::of("missing")).unwrap_err();
    assert!(
        matches!(&error, OpenError::Read { source, .. } if matches!(**source, StoreError::Missing { .. })),
        "{error}"
    );
}

fn what_is_there_is_not_written_again(fixture: &dyn Fixture) {
    put(fixture, "a", "shop/web");
    let again = put(fixture, "a", "shop/web");
    assert!(again.is_nothing(), "{again:?}");
    assert_eq!(again.present, 12);
    let other_name = put(fixture, "a", "shop/db");
    assert_eq!((other_name.added, other_name.renamed), (0, true));
    // Another text: all but the secret is new.
    assert_eq!(put(fixture, "b", "shop/web").present, 1);
}

fn content_that_is_not_what_its_digest_says_is_refused(fixture: &dyn Fixture) {
    let digest = BlobDigest::of("right");
    for (size, content) in [
        (5, "wrong"),
        (5, "right and more"),
        (5, "rig"),
        (4, "right"),
        (6, "right"),
    ] {
        let mut writer = fixture.store().begin(Trust::Size).unwrap();
        let error = writer
            .put(digest, size, &mut content.as_bytes())
            .unwrap_err();
        assert!(
            matches!(error, StoreError::NotAsNamed { expected, .. } if expected == digest),
            "{error}"
        );
        writer.commit(&[]).unwrap();
        assert_eq!(fixture.store().size(digest).unwrap(), None);
    }
    struct Broken;
    impl std::io::Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the line was cut"))
        }
    }
    let mut writer = fixture.store().begin(Trust::Size).unwrap();
    let error = writer.put(digest, 5, &mut Broken).unwrap_err();
    assert!(matches!(error, StoreError::Source { .. }), "{error}");
}

fn a_writer_that_is_dropped_changes_nothing(fixture: &dyn Fixture) {
    let digest = BlobDigest::of("a");
    let mut writer = fixture.store().begin(Trust::Size).unwrap();
    assert_eq!(
        writer.put(digest, 1, &mut "a".as_bytes()).unwrap(),
        Put::Added
    );
    assert_eq!(
        writer.put(digest, 1, &mut "a".as_bytes()).unwrap(),
        Put::Present
    );
    assert_eq!(fixture.store().size(digest).unwrap(), None);
    drop(writer);
    assert_eq!(fixture.store().size(digest).unwrap(), None);
    assert!(fixture.store().temporaries().unwrap().is_empty());
}

fn what_is_made_while_it_is_stored_gets_its_own_name(fixture: &dyn Fixture) {
    let store = fixture.store();
    let (digest, bytes) = (BlobDigest::of("abc"), b"abc");
    let mut abc = |out: &mut dyn Write| {
        out.write_all(b"a")?;
        out.write_all(b"bc")
    };
    let mut writer = store.begin(Trust::Size).unwrap();
    assert_eq!(writer.create(&mut abc).unwrap(), (digest, 3, Put::Added));
    assert_eq!(writer.create(&mut abc).unwrap(), (digest, 3, Put::Present));
    assert_eq!(
        writer.put(digest, 3, &mut bytes.as_slice()).unwrap(),
        Put::Present
    );
    let (empty, size, _) = writer.create(&mut |_| Ok(())).unwrap();
    assert_eq!((empty, size), (BlobDigest::of(""), 0));
    assert_eq!(store.size(digest).unwrap(), None);
    let written = writer.commit(&[]).unwrap();
    assert_eq!((written.added, written.present, written.bytes), (2, 2, 3));
    assert_eq!(store.read(digest).unwrap(), bytes);
    assert_eq!(store.read(empty).unwrap(), b"");

    // What is there and wrong is replaced, as by `put`.
    for (damage, trust) in [(b"ab".as_slice(), Trust::Size), (b"abd", Trust::Content)] {
        fixture.tamper(digest, Some(damage));
        let mut writer = store.begin(trust).unwrap();
        assert_eq!(writer.create(&mut abc).unwrap().2, Put::Repaired);
        writer.commit(&[]).unwrap();
        assert_eq!(store.read(digest).unwrap(), bytes);
    }
    assert!(store.temporaries().unwrap().is_empty());
}

fn what_fails_while_it_is_made_leaves_nothing(fixture: &dyn Fixture) {
    let store = fixture.store();
    let mut writer = store.begin(Trust::Size).unwrap();
    let error = writer
        .create(&mut |out| {
            out.write_all(b"half")?;
            Err(std::io::Error::other("the source is damaged"))
        })
        .unwrap_err();
    assert!(
        matches!(&error, StoreError::Made(source) if source.to_string() == "the source is damaged"),
        "{error}"
    );
    assert!(store.temporaries().unwrap().is_empty());
    assert_eq!(writer.commit(&[]).unwrap(), Written::default());
    assert!(store.blobs().unwrap().is_empty());
}

fn what_is_remembered_is_recalled(fixture: &dyn Fixture) {
    let memo = fixture.memo();
    assert_eq!(memo.recall("a"), None);
    let value = serde_json::json!({ "layer": "x", "links": { "b": 1, "a": [2] } });
    memo.remember("a", &value).unwrap();
    memo.remember("b/../c", &serde_json::json!(null)).unwrap();
    assert_eq!(memo.recall("a"), Some(value));
    assert_eq!(memo.recall("b/../c"), Some(serde_json::json!(null)));
    memo.remember("a", &serde_json::json!(2)).unwrap();
    assert_eq!(memo.recall("a"), Some(serde_json::json!(2)));
    // It is no blob and keeps none.
    let store = fixture.store();
    assert!(verify(store).unwrap().is_intact());
    assert!(plan_gc(store).unwrap().is_empty());
}

fn a_name_points_to_one_thing_and_never_to_nothing(fixture: &dyn Fixture) {
    let store = fixture.store();
    put(fixture, "a", "shop/web");
    let (web, there) = (
        name("shop/web"),
        store.refs().unwrap()[&name("shop/web")].clone(),
    );
    let nowhere = Link::to(media::MANIFEST, b"nowhere");
    let writer = store.begin(Trust::Size).unwrap();
    let error = writer
        .commit(&[
            RefChange::Remove(web.clone()),
            RefChange::Set(name("x"), nowhere),
        ])
        .unwrap_err();
    assert!(matches!(error, StoreError::Dangling { .. }), "{error}");
    assert_eq!(store.refs().unwrap().len(), 1);

    let change = [
        RefChange::Remove(web.clone()),
        RefChange::Set(name("x"), there.clone()),
    ];
    assert!(
        store
            .begin(Trust::Size)
            .unwrap()
            .commit(&change)
            .unwrap()
            .renamed
    );
    assert_eq!(
        store.refs().unwrap().into_iter().collect::<Vec<_>>(),
        [(name("x"), there)]
    );
    assert!(
        !store
            .begin(Trust::Size)
            .unwrap()
            .commit(&change)
            .unwrap()
            .renamed
    );
}

/// A flipped bit, a lost end, something appended, nothing at all.
fn damages(bytes: &[u8]) -> [Vec<u8>; 4] {
    let mut flipped = bytes.to_vec();
    flipped[0] ^= 1;
    [
        flipped,
        bytes[..bytes.len() - 1].to_vec(),
        [bytes, b"!"].concat(),
        Vec::new(),
    ]
}

fn damage_is_found_by_whoever_reads(fixture: &dyn Fixture) {
    put(fixture, "a", "shop/web");
    let sealed = bundle("a", 9);
    for (digest, bytes) in sealed.blobs() {
        for damage in damages(bytes) {
            fixture.tamper(digest, Some(&damage));
            let error = fixture.store().read(digest).unwrap_err();
            let found = BlobDigest::of(&damage);
            assert!(
                matches!(&error, StoreError::Corrupt { expected, found: seen, .. } if *expected == digest && *seen == found),
                "{error}"
            );
            assert!(open_bundle(fixture.store(), sealed.digest()).is_err());
        }
        fixture.tamper(digest, Some(bytes));
    }
    open_bundle(fixture.store(), sealed.digest()).unwrap();
    // A reader that stops at the announced size gets the end of a blob only if all of it is right.
    let (digest, bytes) = sealed.blobs().next().unwrap();
    fixture.tamper(digest, Some(&damages(bytes)[0]));
    let mut blob = fixture.store().open(digest).unwrap();
    assert!(std::io::Read::read_exact(&mut blob, &mut vec![0; bytes.len()]).is_err());
}

fn damage_is_repaired_by_who_writes(fixture: &dyn Fixture) {
    put(fixture, "a", "shop/web");
    let sealed = bundle("a", 9);
    let (digest, bytes) = sealed.blobs().next().unwrap();
    for damage in damages(bytes) {
        fixture.tamper(digest, Some(&damage));
        let same_size = damage.len() == bytes.len();
        let by_size = put(fixture, "a", "shop/web");
        assert_eq!(by_size.repaired, usize::from(!same_size));
        let written = put_bundle(
            fixture.store(),
            &sealed,
            &[],
            &name("shop/web"),
            Trust::Content,
        )
        .unwrap();
        assert_eq!(written.repaired, usize::from(same_size));
        assert_eq!(fixture.store().read(digest).unwrap(), bytes);
    }
    fixture.tamper(digest, None);
    assert_eq!(put(fixture, "a", "shop/web").added, 1);
}

fn only_what_is_damaged_is_evicted(fixture: &dyn Fixture) {
    put(fixture, "a", "shop/web");
    let sealed = bundle("a", 9);
    let all: BTreeSet<_> = sealed
        .blobs()
        .map(|(digest, _)| digest)
        .chain([BlobDigest::of("missing")])
        .collect();
    assert_eq!(fixture.store().evict(&all).unwrap(), BTreeSet::new());
    let (digest, bytes) = sealed.blobs().next().unwrap();
    fixture.tamper(digest, Some(&damages(bytes)[0]));
    assert_eq!(
        fixture.store().evict(&all).unwrap(),
        BTreeSet::from([digest])
    );
    // Then an ordinary build writes it again.
    assert_eq!(put(fixture, "a", "shop/web").added, 1);
    assert!(verify(fixture.store()).unwrap().is_intact());
}

fn what_no_name_needs_is_collected(fixture: &dyn Fixture) {
    let store = fixture.store();
    put(fixture, "a", "shop/web");
    put(fixture, "b", "shop/db");
    assert!(plan_gc(store).unwrap().is_empty());
    put(fixture, "c", "shop/web");
    let plan = plan_gc(store).unwrap();
    // All of `a` but the secret, which the others need too.
    assert_eq!((plan.blobs.len(), plan.kept), (11, 23));
    let bytes = plan.bytes();
    assert!(bytes > 0);
    let collected = store.collect(plan).unwrap();
    assert_eq!((collected.blobs, collected.bytes), (11, bytes));
    assert!(plan_gc(store).unwrap().is_empty());
    for text in ["b", "c"] {
        open_bundle(store, bundle(text, 9).digest()).unwrap();
    }
    assert!(open_bundle(store, bundle("a", 9).digest()).is_err());
}

fn nothing_is_collected_while_someone_writes(fixture: &dyn Fixture) {
    let store = fixture.store();
    put(fixture, "a", "shop/web");
    store
        .begin(Trust::Size)
        .unwrap()
        .commit(&[RefChange::Remove(name("shop/web"))])
        .unwrap();
    let plan = plan_gc(store).unwrap();
    let writer = store.begin(Trust::Size).unwrap();
    assert!(matches!(
        store.collect(plan.clone()),
        Err(StoreError::Busy { .. })
    ));
    assert!(matches!(
        store.evict(&BTreeSet::new()),
        Err(StoreError::Busy { .. })
    ));
    // Many may write at once.
    drop((store.begin(Trust::Size).unwrap(), writer));
    assert_eq!(store.collect(plan).unwrap().blobs, 12);
}

fn a_plan_is_a_bound_and_no_order(fixture: &dyn Fixture) {
    let store = fixture.store();
    put(fixture, "a", "shop/web");
    put(fixture, "b", "shop/web");
    let plan = plan_gc(store).unwrap();
    // Between plan and collection `a` is named again, without a byte being written, and `b` becomes garbage.
    assert_eq!(put(fixture, "a", "shop/web").added, 0);
    assert_eq!(store.collect(plan).unwrap().blobs, 0);
    open_bundle(store, bundle("a", 9).digest()).unwrap();
    open_bundle(store, bundle("b", 9).digest()).unwrap();
}

fn what_cannot_be_followed_is_not_guessed(fixture: &dyn Fixture) {
    let store = fixture.store();
    put(fixture, "a", "shop/web");
    put(fixture, "b", "shop/db");
    let manifest = bundle("a", 9).digest().blob();
    for damage in [Some(b"{}".as_slice()), None] {
        fixture.tamper(manifest, damage);
        let error = plan_gc(store).unwrap_err();
        assert!(
            matches!(&error, StoreError::Unreachable { entry, digest, .. } if entry == "shop/web" && *digest == manifest),
            "{error}"
        );
    }
    // Nor under the lock.
    assert!(store.collect(super::super::GcPlan::default()).is_err());
}

fn verify_says_what_and_for_whom(fixture: &dyn Fixture) {
    let store = fixture.store();
    put(fixture, "a", "shop/web");
    put(fixture, "b", "shop/db");
    let report = verify(store).unwrap();
    assert!(report.is_intact());
    assert_eq!(report.checked, 23);

    let (a, shared) = (BlobDigest::of("a 1"), BlobDigest::of("shared"));
    fixture.tamper(a, Some(b"rot"));
    fixture.tamper(shared, None);
    let report = verify(store).unwrap();
    let needed_by = |names: &[&str]| {
        names
            .iter()
            .map(ToString::to_string)
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(report.bad.len(), 1);
    let bad = &report.bad[0];
    assert_eq!(
        (bad.expected, &bad.found),
        (a, &Found::Digest(BlobDigest::of("rot")))
    );
    assert_eq!(bad.needed_by, needed_by(&["shop/web"]));
    assert!(bad.location.ends_with(&a.hex()));
    assert_eq!(report.missing.len(), 1);
    assert_eq!(report.missing[0].digest, shared);
    assert_eq!(
        report.missing[0].needed_by,
        needed_by(&["shop/db", "shop/web"])
    );

    // A blob that is intact but is not what it is named as.
    put(fixture, "b", "shop/db");
    fixture.tamper(a, Some(b"a 1"));
    let lie = Link {
        media_type: media::MANIFEST.to_owned(),
        ..Link::to("text/plain", b"a 1")
    };
    let name = name("lie");
    store
        .begin(Trust::Size)
        .unwrap()
        .commit(&[RefChange::Set(name, lie)])
        .unwrap();
    let report = verify(store).unwrap();
    assert!(
        matches!(&report.bad[..], [bad] if matches!(bad.found, Found::Misfit(_))),
        "{report:?}"
    );
}

fn a_package_keeps_its_images(fixture: &dyn Fixture) {
    let (store, sealed) = (fixture.store(), bundle("a", 9));
    let none = std::collections::BTreeMap::new();
    let (config, layer) = (
        Link::to(media::IMAGE_CONFIG, b"config"),
        Link::to("application/vnd.oci.image.layer.v1.tar", b"layer"),
    );
    let image = manifest::encode_artifact(
        "a/b",
        config.descriptor(&none).unwrap(),
        vec![layer.descriptor(&none).unwrap()],
    )
    .unwrap();
    let image_link = Link::to(media::MANIFEST, &image);
    let mut writer = store.begin(Trust::Size).unwrap();
    for bytes in [b"config".as_slice(), b"layer", &image] {
        writer
            .put(BlobDigest::of(bytes), bytes.len() as u64, &mut &*bytes)
            .unwrap();
    }
    writer.commit(&[]).unwrap();
    assert_eq!(plan_gc(store).unwrap().blobs.len(), 3);
    put_bundle(
        store,
        &sealed,
        &[Embedded {
            pinned: image_link.digest.as_manifest(),
            manifest: image_link,
        }],
        &name("shop/web"),
        Trust::Size,
    )
    .unwrap();
    assert!(plan_gc(store).unwrap().is_empty());
    assert_eq!(
        find_bundle(store, &name("shop/web")).unwrap(),
        Some(sealed.digest())
    );
    // Without the image, it and the index are garbage; the bundle is the same.
    put(fixture, "a", "shop/web");
    assert_eq!(plan_gc(store).unwrap().blobs.len(), 4);
}
