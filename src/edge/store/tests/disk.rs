use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::super::{
    DiskStore, Found, Memo, Options, Store, StoreError, Trust, find_bundle, open_bundle, plan_gc,
    put_bundle, verify,
};
use super::{OnDisk, bundle, name, options};
use crate::edge::disk::{Power, Step};
use crate::pure::name::BlobDigest;

#[test]
fn it_is_a_standard_layout() {
    let disk = OnDisk::new();
    let sealed = bundle("a", 2);
    put_bundle(&disk.store, &sealed, &[], &name("shop/web"), Trust::Size).unwrap();
    let read = |name: &str| fs::read_to_string(disk.path().join(name)).unwrap();
    assert_eq!(read("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#);
    let entry = format!(
        r#"{{"manifests":[{{"annotations":{{"org.opencontainers.image.ref.name":"shop/web"}},"artifactType":"application/vnd.forge.system.v1+json","digest":"{}","mediaType":"application/vnd.oci.image.manifest.v1+json","size":{}}}],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}}"#,
        sealed.digest(),
        sealed.manifest().len()
    );
    assert_eq!(read("index.json"), entry);
    assert_eq!(
        fs::read(disk.blob(sealed.digest().blob())).unwrap(),
        sealed.manifest()
    );
    assert_eq!(fs::read_dir(disk.path().join("tmp")).unwrap().count(), 0);
}

#[test]
fn a_folder_with_something_else_in_it_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &std::path::Path| {
        let error = DiskStore::open(path, options()).unwrap_err();
        assert!(matches!(error, StoreError::NotAStore { .. }), "{error}");
    };
    fs::write(folder.path().join("thesis.txt"), "").unwrap();
    refused(folder.path());
    fs::write(
        folder.path().join("oci-layout"),
        r#"{"imageLayoutVersion":"9.0.0"}"#,
    )
    .unwrap();
    refused(folder.path());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    assert!(DiskStore::open_existing(&folder.path().join("missing"), options()).is_err());
    assert!(DiskStore::open(&folder.path().join("thesis.txt"), options()).is_err());

    // A lost list of entries is not made anew: everything would be garbage.
    let disk = OnDisk::new();
    put_bundle(&disk.store, &bundle("a", 1), &[], &name("a"), Trust::Size).unwrap();
    fs::remove_file(disk.path().join("index.json")).unwrap();
    refused(&disk.path());
    assert!(plan_gc(&disk.store).is_err());
    fs::write(disk.path().join("index.json"), "{").unwrap();
    assert!(matches!(
        plan_gc(&disk.store),
        Err(StoreError::Index { .. })
    ));
}

#[test]
fn a_warm_build_writes_nothing() {
    let disk = OnDisk::new();
    put_bundle(&disk.store, &bundle("a", 9), &[], &name("a"), Trust::Size).unwrap();
    // No power at all: every write would fail.
    let still = Options {
        power: Power::for_steps(0),
        ..options()
    };
    let store = DiskStore::open(&disk.path(), still).unwrap();
    let inode = |file: &str| fs::metadata(disk.path().join(file)).unwrap().ino();
    let before = inode("index.json");
    for trust in [Trust::Size, Trust::Content] {
        let written = put_bundle(&store, &bundle("a", 9), &[], &name("a"), trust).unwrap();
        assert!(written.is_nothing());
    }
    assert_eq!(inode("index.json"), before);
}

#[test]
fn links_in_the_store_are_not_followed() {
    let disk = OnDisk::new();
    let sealed = bundle("a", 3);
    put_bundle(&disk.store, &sealed, &[], &name("a"), Trust::Size).unwrap();
    let outside = disk.folder.path().join("outside");
    let (digest, bytes) = sealed.blobs().next().unwrap();
    // With the right content, so that only the link itself is wrong.
    fs::write(&outside, bytes).unwrap();
    let plant = || {
        let _ = fs::remove_file(disk.blob(digest));
        symlink(&outside, disk.blob(digest)).unwrap();
    };
    plant();
    assert!(disk.store.open(digest).is_err());
    assert_eq!(disk.store.size(digest).unwrap(), None);
    let report = verify(&disk.store).unwrap();
    assert!(
        matches!(&report.bad[..], [bad] if matches!(bad.found, Found::Unreadable(_))),
        "{report:?}"
    );

    let written = put_bundle(&disk.store, &sealed, &[], &name("a"), Trust::Size).unwrap();
    assert_eq!(written.repaired, 1);
    assert!(fs::symlink_metadata(disk.blob(digest)).unwrap().is_file());
    plant();
    assert_eq!(disk.store.evict(&[digest].into()).unwrap().len(), 1);
    assert_eq!(fs::read(&outside).unwrap(), bytes);

    // A link to a folder neither: not for the blobs, not for the files that are being written.
    let elsewhere = disk.folder.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::remove_dir(disk.path().join("tmp")).unwrap();
    symlink(&elsewhere, disk.path().join("tmp")).unwrap();
    assert!(put_bundle(&disk.store, &sealed, &[], &name("a"), Trust::Size).is_err());
    fs::rename(disk.path().join("blobs"), disk.folder.path().join("blobs")).unwrap();
    symlink(disk.folder.path().join("blobs"), disk.path().join("blobs")).unwrap();
    assert!(DiskStore::open(&disk.path(), options()).is_err());
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn what_a_killed_writer_leaves_is_collected() {
    let disk = OnDisk::new();
    put_bundle(&disk.store, &bundle("a", 3), &[], &name("a"), Trust::Size).unwrap();
    fs::write(disk.path().join("tmp/1-0.tmp"), "half a bl").unwrap();
    fs::write(disk.path().join("blobs/sha256/README"), "not a blob").unwrap();
    let plan = plan_gc(&disk.store).unwrap();
    assert_eq!(
        (plan.temporaries.len(), plan.blobs.len(), plan.bytes()),
        (1, 0, 9)
    );
    let collected = disk.store.collect(plan).unwrap();
    assert_eq!((collected.temporaries, collected.bytes), (1, 9));
    assert!(disk.path().join("blobs/sha256/README").exists());
}

/// Cuts the power after every single step of a change, and looks at what is there after the restart.
fn for_every_cut(
    change: impl Fn(&DiskStore) -> Result<(), StoreError>,
    check: impl Fn(&DiskStore),
) {
    for steps in 0.. {
        let disk = OnDisk::new();
        put_bundle(
            &disk.store,
            &bundle("old", 6),
            &[],
            &name("web"),
            Trust::Size,
        )
        .unwrap();
        let power = Power::for_steps(steps);
        let cut = DiskStore::open(
            &disk.path(),
            Options {
                power: power.clone(),
                ..options()
            },
        )
        .unwrap();
        let done = change(&cut).is_ok();
        drop(cut);

        let store = DiskStore::open(&disk.path(), options()).unwrap();
        check(&store);
        let report = verify(&store).unwrap();
        assert!(report.is_intact(), "after {steps} steps: {report:?}");
        let plan = plan_gc(&store).unwrap();
        store.collect(plan).unwrap();
        check(&store);
        // What was interrupted can be done again, over whatever is left.
        change(&store).unwrap();
        assert_eq!(fs::read_dir(disk.path().join("tmp")).unwrap().count(), 0);
        check(&store);
        if done {
            assert!(power.steps().len() <= steps);
            assert!(steps > 3, "the change did nothing");
            return;
        }
    }
}

#[test]
fn a_power_cut_leaves_the_old_bundle_or_the_new() {
    let (old, new) = (bundle("old", 6), bundle("new", 6));
    for_every_cut(
        |store| put_bundle(store, &new, &[], &name("web"), Trust::Size).map(drop),
        |store| {
            let found = find_bundle(store, &name("web")).unwrap().unwrap();
            assert!(found == old.digest() || found == new.digest());
            open_bundle(store, found).unwrap();
        },
    );
}

#[test]
fn a_power_cut_while_a_blob_is_made_leaves_all_of_it_or_nothing() {
    let old = bundle("old", 6);
    let content = vec![b'x'; 300_000];
    let digest = BlobDigest::of(&content);
    for_every_cut(
        |store| {
            let mut writer = store.begin(Trust::Size)?;
            for text in [&b"small"[..], &content, &content[1..]] {
                writer.create(&mut |out| {
                    text.chunks(100_000)
                        .try_for_each(|part| out.write_all(part))
                })?;
            }
            writer.commit(&[])?;
            let size = content.len() as u64;
            store.remember("key", &serde_json::json!({ "size": size }))
        },
        |store| {
            drop(open_bundle(store, old.digest()).unwrap());
            if store.size(digest).unwrap().is_some() {
                assert_eq!(store.open(digest).unwrap().read_whole().unwrap(), content);
            }
            let remembered = store.recall("key");
            assert!(remembered.is_none_or(|value| value["size"] == content.len() as u64));
        },
    );
}

#[test]
fn a_full_disk_is_told_as_such_and_not_as_the_fault_of_what_was_made() {
    let disk = OnDisk::new();
    // Enough to make the file and to begin with it.
    let options = Options {
        power: Power::for_steps(3),
        ..options()
    };
    let store = DiskStore::open(&disk.path(), options).unwrap();
    let mut writer = store.begin(Trust::Size).unwrap();
    let error = writer
        // Whoever writes may say nothing of it.
        .create(&mut |out| {
            let _unsaid = (0..9).try_for_each(|_| out.write_all(b"more"));
            Ok(())
        })
        .unwrap_err();
    assert!(matches!(error, StoreError::Disk(_)), "{error}");
}

#[test]
fn a_damaged_memory_is_no_memory() {
    let disk = OnDisk::new();
    disk.store.remember("key", &serde_json::json!(7)).unwrap();
    let file = fs::read_dir(disk.path().join("memo")).unwrap().next();
    let file = file.unwrap().unwrap().path();
    for damage in [
        b"".as_slice(),
        b"{}",
        b"{\"key\":\"key\",\"value\":8}",
        &[0; 90],
    ] {
        fs::write(&file, damage).unwrap();
        assert_eq!(disk.store.recall("key"), None);
    }
    disk.store.remember("key", &serde_json::json!(7)).unwrap();
    assert_eq!(disk.store.recall("key"), Some(serde_json::json!(7)));
    // A folder where the file should be, a link where the folder should be.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(disk.store.recall("key"), None);
    fs::rename(disk.path().join("memo"), disk.folder.path().join("memo")).unwrap();
    symlink(disk.folder.path().join("memo"), disk.path().join("memo")).unwrap();
    assert_eq!(disk.store.recall("key"), None);
    assert!(disk.store.remember("key", &serde_json::json!(7)).is_err());
}

#[test]
fn a_power_cut_while_collecting_removes_garbage_only() {
    let old = bundle("old", 6);
    for_every_cut(
        |store| {
            put_bundle(store, &bundle("other", 6), &[], &name("other"), Trust::Size)?;
            put_bundle(store, &bundle("newer", 6), &[], &name("other"), Trust::Size)?;
            store.collect(plan_gc(store)?).map(drop)
        },
        |store| drop(open_bundle(store, old.digest()).unwrap()),
    );
}

#[test]
fn a_power_cut_while_the_store_is_made_does_not_lock_anyone_out() {
    for steps in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let power = Power::for_steps(steps);
        let made = DiskStore::open(folder.path(), Options { power, ..options() }).is_ok();
        let store = DiskStore::open(folder.path(), options()).unwrap();
        put_bundle(&store, &bundle("a", 1), &[], &name("a"), Trust::Size).unwrap();
        if made {
            return;
        }
    }
}

#[test]
fn everything_is_synced_before_it_is_named() {
    for files in [1, 30] {
        let disk = OnDisk::new();
        let power = Power::for_steps(usize::MAX);
        let store = DiskStore::open(
            &disk.path(),
            Options {
                power: power.clone(),
                ..options()
            },
        )
        .unwrap();
        put_bundle(&store, &bundle("a", files), &[], &name("a"), Trust::Size).unwrap();
        let steps = power.steps();
        let first = |wanted: Step| steps.iter().position(|(step, _)| *step == wanted).unwrap();
        let at = |wanted: Step, end: &str| {
            steps
                .iter()
                .rposition(|(step, path)| *step == wanted && path.ends_with(end))
                .unwrap()
        };
        let last_blob_renamed = steps
            .iter()
            .rposition(|(step, path)| {
                *step == Step::Rename && path.parent().unwrap().ends_with("sha256")
            })
            .unwrap();
        let entry = at(Step::Rename, "index.json");
        // Content, names of the blobs, entry, its name.
        assert!(first(Step::SyncFile) < first(Step::Rename));
        assert!(last_blob_renamed < at(Step::SyncFolder, "sha256"));
        assert!(at(Step::SyncFolder, "sha256") < entry);
        let between = &steps[last_blob_renamed..entry];
        assert!(between.iter().any(|(step, _)| *step == Step::SyncFile));
        assert_eq!(steps.last().unwrap().0, Step::SyncFolder);
        // One sync for the many, at most one each for the few; and one for the list of entries.
        let syncs = steps
            .iter()
            .filter(|(step, _)| *step == Step::SyncFile)
            .count();
        assert!(syncs <= if files == 1 { 5 } else { 2 }, "{syncs}");
    }
}

#[test]
fn a_thousand_blobs_need_few_open_files() {
    let disk = OnDisk::new();
    let open_files = || fs::read_dir("/proc/self/fd").unwrap().count();
    let before = open_files();
    let mut writer = disk.store.begin(Trust::Size).unwrap();
    for number in 0..1000 {
        let text = number.to_string();
        writer
            .put(
                BlobDigest::of(&text),
                text.len() as u64,
                &mut text.as_bytes(),
            )
            .unwrap();
    }
    // Other tests run in this process too.
    assert!(open_files() < before + 500);
    assert_eq!(writer.commit(&[]).unwrap().added, 1000);
}

#[test]
fn writers_and_collectors_at_once_lose_nothing() {
    let disk = OnDisk::new();
    let path = disk.path();
    let patient = || Options {
        patience: Duration::from_secs(60),
        ..options()
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            let store = DiskStore::open(&path, patient()).unwrap();
            let mut collected = 0;
            while !done.load(Ordering::Relaxed) {
                collected += store.collect(plan_gc(&store).unwrap()).unwrap().blobs;
            }
            collected
        });
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let (path, patient) = (&path, &patient);
                scope.spawn(move || {
                    let store = DiskStore::open(path, patient()).unwrap();
                    let name = name(&format!("host-{writer}"));
                    for round in 0..25 {
                        // The same few bundles over and over: each is garbage, and needed again, all the time.
                        let sealed = bundle(&format!("{}", round % 3), 6);
                        put_bundle(&store, &sealed, &[], &name, Trust::Size).unwrap();
                        assert_eq!(find_bundle(&store, &name).unwrap(), Some(sealed.digest()));
                        open_bundle(&store, sealed.digest()).unwrap();
                        // The collector waits until nobody writes, which without a pause is never.
                        std::thread::sleep(Duration::from_millis(20));
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
        assert!(collector.join().unwrap() > 0, "nothing was ever garbage");
    });
    assert_eq!(disk.store.entries().unwrap().len(), 2);
    assert!(verify(&disk.store).unwrap().is_intact());
}
