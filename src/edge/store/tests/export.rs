use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::super::export::{
    ExportError, Exported, Form, Target, export, stream_image, stream_image_without,
};
use super::super::{
    DiskStore, MemoryStore, Store, StoreError, Trust, open_bundle, put_bundle, verify,
};
use super::{OnDisk, bundle, name, options};
use crate::pure::bundle::Sealed;

fn run(store: &dyn Store, sealed: &Sealed, target: &Target) -> Result<Exported, ExportError> {
    let root = sealed.package_index(&[]).unwrap().root;
    export(store, &root, &sealed.host().into(), target)
}

fn memory(sealed: &Sealed) -> MemoryStore {
    let store = MemoryStore::default();
    put_bundle(&store, sealed, &[], &name("shop/web"), Trust::Size).unwrap();
    put_bundle(
        &store,
        &bundle("other", 4),
        &[],
        &name("shop/other"),
        Trust::Size,
    )
    .unwrap();
    store
}

fn listing(path: &Path) -> Vec<(String, Vec<u8>)> {
    let files = walkdir::WalkDir::new(path)
        .sort_by_file_name()
        .into_iter()
        .map(Result::unwrap);
    files
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let name = entry
                .path()
                .strip_prefix(path)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn a_folder_and_an_archive_hold_the_same_and_only_the_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = bundle("a", 9);
    let store = memory(&sealed);
    let (out, tar) = (folder.path().join("out"), folder.path().join("out.tar"));
    let exported = run(&store, &sealed, &Target::of(&out)).unwrap();
    assert_eq!(exported.blobs, 12);
    assert_eq!(run(&store, &sealed, &Target::of(&tar)).unwrap(), exported);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);

    let unpacked = folder.path().join("unpacked");
    tar::Archive::new(fs::File::open(&tar).unwrap())
        .unpack(&unpacked)
        .unwrap();
    assert_eq!(listing(&unpacked), listing(&out));
    assert_eq!(listing(&out).len(), 14);
    for path in [out, unpacked] {
        let there = DiskStore::open_existing(&path, options()).unwrap();
        let there: &dyn Store = &there;
        assert_eq!(
            there
                .refs()
                .unwrap()
                .keys()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            ["web"]
        );
        open_bundle(there, sealed.digest()).unwrap();
        // Looking left nothing behind.
        assert_eq!(fs::read_dir(&path).unwrap().count(), 3);
    }
}

#[test]
fn the_same_bundle_gives_the_same_archive_from_any_store() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = bundle("a", 9);
    let disk = OnDisk::new();
    put_bundle(&disk.store, &sealed, &[], &name("project/web"), Trust::Size).unwrap();
    let tar = |number: u8, store: &dyn Store| {
        let path = folder.path().join(format!("{number}.tar"));
        run(store, &sealed, &Target::of(&path)).unwrap();
        fs::read(path).unwrap()
    };
    assert_eq!(tar(1, &memory(&sealed)), tar(2, &disk.store));
    let digest = crate::pure::name::BlobDigest::of(tar(3, &disk.store)).to_string();
    assert_eq!(
        digest, "sha256:e29e8f1124a28917ccf32f404a832fa1576424a0948fba485a27114a262697f5",
        "the bytes of exported archives have changed: whoever compares them will see a difference where there is none"
    );
}

#[test]
fn an_earlier_export_is_replaced_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let sealed = bundle("a", 3);
    let store = memory(&sealed);
    for file in ["out", "out.tar"] {
        let target = Target::of(&at(file));
        run(&store, &bundle("other", 4), &target).unwrap();
        run(&store, &sealed, &target).unwrap();
    }
    assert_eq!(listing(&at("out")).len(), 8);
    fs::create_dir(at("empty")).unwrap();
    run(&store, &sealed, &Target::of(&at("empty"))).unwrap();
    fs::write(at("empty.tar"), "").unwrap();
    run(&store, &sealed, &Target::of(&at("empty.tar"))).unwrap();
    // In a folder that is not there yet.
    run(&store, &sealed, &Target::of(&at("deep/er/out"))).unwrap();

    fs::create_dir(at("home")).unwrap();
    fs::write(at("home/thesis.txt"), "years of work").unwrap();
    fs::create_dir_all(at("folder.tar")).unwrap();
    fs::write(at("file"), "text").unwrap();
    fs::write(at("other.tar"), "years of work").unwrap();
    symlink(at("home"), at("link")).unwrap();
    symlink(at("file"), at("link.tar")).unwrap();
    let with_more = at("more");
    run(&store, &sealed, &Target::of(&with_more)).unwrap();
    fs::write(with_more.join("notes.txt"), "mine").unwrap();
    // A store, and someone's images under another name.
    let disk = OnDisk::new();
    put_bundle(&disk.store, &sealed, &[], &name("web"), Trust::Size).unwrap();
    let images = at("images");
    run(&store, &sealed, &Target::of(&images)).unwrap();
    let index = fs::read_to_string(images.join("index.json")).unwrap();
    let image = index.replace(
        "vnd.oci.image.manifest.v1+json",
        "vnd.oci.image.layer.v1.tar",
    );
    let image = image.replace("ref.name\":\"", "ref.name\":\"not-");
    fs::write(images.join("index.json"), image).unwrap();

    for path in [
        "home",
        "folder.tar",
        "file",
        "other.tar",
        "link",
        "link.tar",
        "more",
        "images",
    ]
    .map(at)
    .into_iter()
    .chain([disk.path()])
    {
        let before = path.is_dir().then(|| listing(&path));
        let error = run(&store, &sealed, &Target::of(&path)).unwrap_err();
        assert!(
            matches!(error, ExportError::Refused { .. }),
            "{}: {error}",
            path.display()
        );
        assert_eq!(path.is_dir().then(|| listing(&path)), before);
    }
    let left_over = fs::read_dir(folder.path()).unwrap().filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_str()
            .unwrap()
            .starts_with('.')
    });
    assert_eq!(left_over.count(), 0);
}

#[test]
fn damage_is_not_exported() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = bundle("a", 3);
    let store = memory(&sealed);
    let targets = ["out", "out.tar"].map(|name| Target::of(&folder.path().join(name)));
    for target in &targets {
        run(&store, &bundle("other", 4), target).unwrap();
    }
    let before = listing(folder.path());
    for (digest, bytes) in sealed.blobs() {
        let mut wrong = bytes.to_vec();
        wrong[0] ^= 1;
        store.tamper(digest, Some(&wrong));
        for target in &targets {
            let error = run(&store, &sealed, target).unwrap_err();
            assert!(error.to_string().contains("is damaged"), "{error}");
        }
        store.tamper(digest, None);
        for target in &targets {
            let error = run(&store, &sealed, target).unwrap_err();
            assert!(
                matches!(error, ExportError::Store(StoreError::Missing { .. })),
                "{error}"
            );
        }
        store.tamper(digest, Some(bytes));
        assert_eq!(listing(folder.path()), before);
    }
    assert!(verify(&store).unwrap().is_intact());
}

#[test]
fn a_stream_can_leave_out_layers_and_nothing_that_refers_to_them() {
    // A bundle's manifest has a config and layers, as an image's has.
    let sealed = bundle("a", 3);
    let store = memory(&sealed);
    let image = sealed.package_index(&[]).unwrap().root;
    let entries = |bytes: &[u8]| -> Vec<(String, Vec<u8>)> {
        let mut archive = tar::Archive::new(bytes);
        let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        };
        archive.entries().unwrap().map(read).collect()
    };
    let tag = "forge.invalid/a:1";
    let mut whole = Vec::new();
    let all = stream_image(&store, &image, tag, Form::Docker, &mut whole).unwrap();
    let omitted = crate::pure::name::BlobDigest::of("a 1");
    let set = BTreeSet::from([omitted]);
    let mut part = Vec::new();
    let some = stream_image_without(&store, &image, tag, Form::Docker, &set, &mut part).unwrap();
    assert_eq!(some.blobs, all.blobs - 1);
    assert_eq!(some.bytes, all.bytes - "a 1".len() as u64);
    let mut expected = entries(&whole);
    let before = expected.len();
    expected.retain(|(name, _)| *name != format!("blobs/sha256/{}", omitted.hex()));
    assert_eq!(expected.len(), before - 1);
    assert_eq!(entries(&part), expected);
}
