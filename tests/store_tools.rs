//! What forge writes is read by the tools that everyone has: the real `skopeo` and `umoci`.
//!
//! What they take of an artifact (an image manifest whose config is no image's), found out with skopeo 1.9.3 and umoci 0.4.7, is in
//! `docs/format/store.md`; a change of it shows here.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use forge::edge::store::export::{Target, export};
use forge::edge::store::{
    DiskStore, MemoryStore, Options, Store, Trust, find_bundle, open_bundle, put_bundle,
};
use forge::pure::bundle::{Draft, ImagePin, Part, PartKind, Sealed};
use forge::pure::name::{BlobDigest, ManifestDigest};

/// Runs a tool with nothing of the user's settings; says what to install if it is not there.
fn run(folder: &Path, program: &str, arguments: &[&str]) -> Output {
    let result = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .env("XDG_RUNTIME_DIR", folder)
        .output();
    match result {
        Ok(output) => output,
        Err(error) => panic!(
            "this test runs the real `{program}`, which does not start ({error}): install it, on Debian and Ubuntu with \
             `apt-get install {program}`"
        ),
    }
}

fn success(folder: &Path, program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = run(folder, program, arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {}: {stderr}",
        arguments.join(" ")
    );
    output.stdout
}

fn refusal(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = run(folder, program, arguments);
    assert!(
        !output.status.success(),
        "{program} {} is taken now: tell docs/format/store.md",
        arguments.join(" ")
    );
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn bundle() -> Sealed {
    let part = |kind, title: &str, text: &str| Part::new(kind, title.parse().unwrap(), text.into());
    Draft {
        host: "mainframe".parse().unwrap(),
        system: serde_json::json!({"services": {"caddy": {"image": "caddy"}}}),
        parts: vec![
            part(PartKind::File, "files/caddy/Caddyfile", ":80\n"),
            part(PartKind::File, "files/caddy/empty", ""),
            part(PartKind::Secret, "secrets/token", "age-encryption.org/v1\n"),
        ],
        images: vec![ImagePin {
            name: "caddy".parse().unwrap(),
            repository: "docker.io/library/caddy".to_owned(),
            tag: "2".to_owned(),
            digest: ManifestDigest::of("absent"),
        }],
    }
    .seal()
    .unwrap()
}

/// A folder with the bundle as `out` and as `out.tar`.
fn exported() -> (tempfile::TempDir, Sealed) {
    let folder = tempfile::tempdir().unwrap();
    let sealed = bundle();
    let store = MemoryStore::default();
    let name = "project/mainframe".parse().unwrap();
    put_bundle(&store, &sealed, &[], &name, Trust::Size).unwrap();
    let store: &dyn Store = &store;
    let root = &store.refs().unwrap()[&name];
    for name in ["out", "out.tar"] {
        let target = Target::of(&folder.path().join(name));
        export(store, root, &sealed.host().into(), &target).unwrap();
    }
    (folder, sealed)
}

fn blobs(layout: &Path) -> BTreeSet<PathBuf> {
    let files = std::fs::read_dir(layout.join("blobs/sha256")).unwrap();
    files.map(|file| file.unwrap().file_name().into()).collect()
}

/// The bundle in a layout that a tool has written, by its tag.
fn reopened(layout: &Path) -> Vec<Part> {
    let store = DiskStore::open_existing(layout, Options::default()).unwrap();
    let digest = find_bundle(&store, &"copy".parse().unwrap())
        .unwrap()
        .unwrap();
    assert_eq!(digest, bundle().digest());
    open_bundle(&store, digest).unwrap().into_draft().parts
}

#[test]
fn skopeo_reads_the_manifest_and_the_config() {
    let (folder, sealed) = exported();
    let skopeo = |arguments: &[&str]| success(folder.path(), "skopeo", arguments);
    for image in [
        "oci:out:mainframe",
        "oci:out",
        "oci-archive:out.tar:mainframe",
        "oci-archive:out.tar",
    ] {
        let manifest = skopeo(&["inspect", "--raw", image]);
        assert_eq!(BlobDigest::of(&manifest), sealed.digest().blob(), "{image}");
        let config = skopeo(&["inspect", "--config", "--raw", image]);
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["host"], "mainframe");
        assert_eq!(config["system"]["services"]["caddy"]["image"], "caddy");
    }
    let manifest = folder.path().join("manifest.json");
    std::fs::write(&manifest, sealed.manifest()).unwrap();
    let digest = skopeo(&["manifest-digest", "manifest.json"]);
    assert_eq!(
        String::from_utf8(digest).unwrap().trim(),
        sealed.digest().to_string()
    );
}

#[test]
fn skopeo_copies_it_and_the_copy_is_the_bundle() {
    let (folder, _) = exported();
    for source in ["oci:out:mainframe", "oci-archive:out.tar:mainframe"] {
        success(
            folder.path(),
            "skopeo",
            &[
                "copy",
                "--quiet",
                "--insecure-policy",
                source,
                "oci:copied:copy",
            ],
        );
        assert_eq!(reopened(&folder.path().join("copied")).len(), 3);
        std::fs::remove_dir_all(folder.path().join("copied")).unwrap();
    }
}

#[test]
fn umoci_lists_tags_and_collects() {
    let (folder, _) = exported();
    let umoci = |arguments: &[&str]| success(folder.path(), "umoci", arguments);
    assert_eq!(umoci(&["ls", "--layout", "out"]), b"mainframe\n");
    // It follows the manifest to all of its blobs, or its garbage collection would remove them.
    let layout = folder.path().join("out");
    let before = blobs(&layout);
    umoci(&["gc", "--layout", "out"]);
    assert_eq!(blobs(&layout), before);
    umoci(&["tag", "--image", "out:mainframe", "copy"]);
    assert_eq!(reopened(&layout).len(), 3);
    std::fs::create_dir(folder.path().join("unpacked")).unwrap();
    success(
        &folder.path().join("unpacked"),
        "tar",
        &["-xf", "../out.tar"],
    );
    assert_eq!(umoci(&["ls", "--layout", "unpacked"]), b"mainframe\n");
}

#[test]
fn what_wants_an_image_says_that_this_is_none() {
    let (folder, _) = exported();
    let error = refusal(folder.path(), "skopeo", &["inspect", "oci:out:mainframe"]);
    assert!(error.contains("vnd.forge.system.config.v1+json"), "{error}");
    let error = refusal(
        folder.path(),
        "umoci",
        &["stat", "--image", "out:mainframe"],
    );
    assert!(error.contains("vnd.forge.system.config.v1+json"), "{error}");
}

#[test]
fn the_store_itself_is_read_too() {
    let folder = tempfile::tempdir().unwrap();
    let store = DiskStore::open(&folder.path().join("store"), Options::default()).unwrap();
    let sealed = bundle();
    put_bundle(
        &store,
        &sealed,
        &[],
        &"project/mainframe".parse().unwrap(),
        Trust::Size,
    )
    .unwrap();
    let manifest = success(
        folder.path(),
        "skopeo",
        &["inspect", "--raw", "oci:store:project/mainframe"],
    );
    assert_eq!(BlobDigest::of(manifest), sealed.digest().blob());
    assert_eq!(
        success(folder.path(), "umoci", &["ls", "--layout", "store"]),
        b"project/mainframe\n"
    );
}
