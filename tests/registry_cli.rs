//! A project whose image is in a registry, from the lock to the bundle and into a registry again: the commands, against the real
//! `docker-registry`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

mod registry_support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use forge::edge::registry::{FixedCredentials, Registry};
use forge::edge::store::{DiskStore, MemoryStore, Options, RefChange, Store, Trust, find_bundle};
use forge::flow::progress::Silent;
use forge::flow::pull::pull;
use forge::pure::bundle::embedded;
use forge::pure::config::sources::RegistrySource;
use forge::pure::name::{Arch, BlobDigest, ManifestDigest};
use forge::pure::oci::{Link, Repository};
use registry_support::real::{Auth, RealRegistry, push_index, raw, succeed};
use registry_support::{assert_clean, http};
use serde_json::Value as Json;

const MODULE: &str = r#"
[module]
summary = "one service"
[[service]]
name = "one"
image = "app"
user = "1:1"
limits = { memory = "64MiB", cpus = "1" }
healthcheck = { exec = ["true"] }
"#;

const HOST: &str = "[host]\naddress = \"192.0.2.1\"\nsystem = \"debian-12\"\n[modules.m]\n";

const ARCHS: &[&str] = &["amd64", "arm64"];

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A project with a host `h`, whose service runs an image of the registry.
fn project(registry: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(
        &at.join("forge.toml"),
        &format!("[project]\nname = \"t\"\n[sources.registry.\"{registry}\"]\nplain_http = true\n"),
    );
    write(&at.join("modules/m/module.toml"), MODULE);
    write(
        &at.join("images/app/image.toml"),
        &format!(
            "[image]\nsummary = \"an application\"\n[registry]\nrepository = \"{registry}/app\"\ntag = \"1.0\"\n"
        ),
    );
    write(&at.join("hosts/h.toml"), HOST);
    folder
}

fn run(project: &Path, arguments: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_forge"))
        .env_clear()
        .env("HOME", project)
        .env("FORGE_STORE", project.join("store"))
        .current_dir(project)
        .args(arguments)
        .output()
        .unwrap()
}

fn error(project: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(project, arguments);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text)
}

fn forge(project: &Path, arguments: &[&str]) -> String {
    let output = run(project, arguments);
    assert!(
        output.status.success(),
        "forge {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

fn pinned(project: &Path) -> String {
    let lock = fs::read_to_string(project.join("forge.lock")).unwrap();
    let lock: toml::Table = lock.parse().unwrap();
    let digest = lock["image"][0]["digest"].as_str().unwrap();
    digest.to_owned()
}

/// The digest of the manifest for this architecture.
fn manifest(registry: &str, arch: &str) -> BlobDigest {
    BlobDigest::of(raw(registry, &format!("app:{arch}")))
}

/// What the last build of the host keeps: the digests that the bundle has, and the manifests.
fn kept(project: &Path) -> Vec<(ManifestDigest, BlobDigest)> {
    let store = DiskStore::open_existing(&project.join("store"), Options::default()).unwrap();
    let store: &dyn Store = &store;
    let root = store.refs().unwrap()[&"t/h".parse().unwrap()].clone();
    if root.digest
        == find_bundle(store, &"t/h".parse().unwrap())
            .unwrap()
            .unwrap()
            .blob()
    {
        return Vec::new();
    }
    embedded(&store.read(root.digest).unwrap())
        .unwrap()
        .into_iter()
        .map(|image| (image.pinned, image.manifest.digest))
        .collect()
}

#[test]
fn images_are_locked_vendored_and_outlive_their_registry() {
    let real = RealRegistry::start(&Auth::Anonymous);
    let index = push_index(&real, "app", "1.0", ARCHS);
    let folder = project(&real.host);
    let at = folder.path();
    forge(at, &["lock"]);
    assert_eq!(
        pinned(at),
        index.to_string(),
        "the index, for all platforms"
    );

    // Left to the host, then embedded: the bundle is the same.
    let bundle = forge(at, &["build", "h"]);
    assert_eq!(kept(at), []);
    assert_eq!(
        forge(at, &["build", "h", "--vendor", "--out", "out"]),
        bundle
    );
    let amd64 = manifest(&real.host, "amd64");
    assert_eq!(kept(at), [(index, amd64)]);
    let blobs = at.join("out/blobs/sha256");
    let bytes = fs::read(blobs.join(amd64.hex())).unwrap();
    let image: Json = serde_json::from_slice(&bytes).unwrap();
    for part in std::iter::once(&image["config"]).chain(image["layers"].as_array().unwrap()) {
        let digest = part["digest"].as_str().unwrap();
        let file = blobs.join(digest.strip_prefix("sha256:").unwrap());
        assert_eq!(part["size"], file.metadata().unwrap().len());
    }
    assert!(!blobs.join(manifest(&real.host, "arm64").hex()).exists());
    // The host's own file says the same.
    forge(at, &["build", "h"]);
    assert_eq!(kept(at), []);
    let vendored = HOST.replace("[host]\n", "[host]\nvendor = true\n");
    write(&at.join("hosts/h.toml"), &vendored);
    assert_eq!(forge(at, &["build", "h"]), bundle);
    assert_eq!(kept(at), [(index, amd64)]);

    // The registry goes away, and whoever collects garbage takes the index.
    let host = real.host.clone();
    drop(real);
    forge(at, &["gc"]);
    let gone = at.join("store/blobs/sha256").join(index.blob().hex());
    assert!(!gone.exists());
    assert_eq!(forge(at, &["build", "h"]), bundle);
    assert_eq!(kept(at), [(index, amd64)]);
    let list: Json = forge(at, &["image", "list", "--json", "--arch", "amd64"])
        .parse()
        .unwrap();
    let mut list = list.as_array().unwrap().iter();
    let app = list.find(|image| image["name"] == "app").unwrap();
    assert!(app["size"].as_u64().unwrap() > 0, "{app}");

    fs::remove_dir_all(at.join("store")).unwrap();
    let (code, text) = error(at, &["build", "h"]);
    assert_eq!(code, Some(3));
    assert!(text.contains(&host), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    // Without the images there is nothing to fetch.
    write(&at.join("hosts/h.toml"), HOST);
    assert_eq!(forge(at, &["build", "h"]), bundle);
}

#[test]
fn a_tag_that_moved_is_shown_and_taken_when_asked_for() {
    let real = RealRegistry::start(&Auth::Anonymous);
    let old = push_index(&real, "app", "1.0", ARCHS);
    let folder = project(&real.host);
    let at = folder.path();
    forge(at, &["lock"]);
    // The same tag on other images.
    let layout = registry_support::real::make_image(real.folder.path(), "new", "amd64", b"new");
    registry_support::real::copy_to(
        real.folder.path(),
        &layout,
        &format!("{}/app:1.0", real.host),
        &[],
    );
    let new = BlobDigest::of(raw(&real.host, "app:1.0")).as_manifest();
    assert_ne!(old, new);
    forge(at, &["lock"]);
    assert_eq!(pinned(at), old.to_string());
    let shown = forge(at, &["lock", "--update"]);
    assert!(shown.starts_with("~ app\n"), "{shown}");
    for digest in [old, new] {
        assert!(shown.contains(&digest.hex()[..12]), "{shown}");
    }
    assert_eq!(pinned(at), new.to_string());
    let (code, text) = error(at, &["lock", "--check"]);
    assert_eq!(
        (code, text.as_str()),
        (Some(0), "forge.lock is up to date\n")
    );
}

/// From the registry into an empty store, by forge's own flow.
fn take(host: &str, path: &str, tag: &str) -> (MemoryStore, Link) {
    let source = RegistrySource {
        mirrors: Vec::new(),
        plain_http: true,
    };
    let sources = BTreeMap::from([(host.to_owned(), source)]);
    let registry = Registry::new(http().0, sources, Arc::new(FixedCredentials::default()));
    let repository: Repository = format!("{host}/{path}").parse().unwrap();
    let store = MemoryStore::default();
    let digest = registry.resolve(&repository, tag).unwrap();
    let link = pull(
        &registry,
        &store,
        &repository,
        digest,
        Arch::Amd64,
        4,
        &Silent,
    )
    .unwrap();
    (store, link)
}

#[test]
fn bundles_and_images_are_pushed() {
    let real = RealRegistry::start(&Auth::Anonymous);
    let index = push_index(&real, "app", "1.0", ARCHS);
    let folder = project(&real.host);
    let at = folder.path();
    forge(at, &["lock"]);
    let (code, text) = error(at, &["push-registry", "h", &format!("{}/h:1", real.host)]);
    assert_eq!(code, Some(1));
    assert_eq!(
        text,
        "error: `h` was never built into this store\nhelp: `forge build h` builds it\n"
    );

    let bundle = forge(at, &["build", "h"]);
    for (more, tag) in [(&[][..], "alone"), (&["--vendor"][..], "vendored")] {
        forge(at, &[&["build", "h"], more].concat());
        let to = format!("{}/hosts/h:{tag}", real.host);
        let pushed = forge(at, &["push-registry", "h", &to]);
        let there = BlobDigest::of(raw(&real.host, &format!("hosts/h:{tag}")));
        assert_eq!(pushed, there.to_string());
        assert_eq!(pushed == bundle, tag == "alone");
        let (store, link) = take(&real.host, "hosts/h", tag);
        assert_eq!(link.digest, there);
        let name = "t/h".parse().unwrap();
        let writer = store.begin(Trust::Size).unwrap();
        writer
            .commit(&[RefChange::Set("t/h".parse().unwrap(), link)])
            .unwrap();
        assert_clean(&store);
        let found = find_bundle(&store, &name).unwrap().unwrap();
        assert_eq!(found.to_string(), bundle);
    }
    let text = String::from_utf8(raw(&real.host, "hosts/h:vendored")).unwrap();
    assert!(
        text.contains(&format!(r#""forge.image":"{index}""#)),
        "{text}"
    );

    // An image, as it is and packed.
    let to = format!("{}/copy:1", real.host);
    let pushed = forge(at, &["push-registry", "app", &to, "--arch", "amd64"]);
    assert_eq!(pushed, manifest(&real.host, "amd64").to_string());
    for how in ["gzip", "zstd"] {
        let to = format!("{}/copy:{how}", real.host);
        let pushed = forge(
            at,
            &[
                "push-registry",
                "app",
                &to,
                "--arch",
                "amd64",
                "--compress",
                how,
            ],
        );
        let there = raw(&real.host, &format!("copy:{how}"));
        assert_eq!(pushed, BlobDigest::of(&there).to_string());
    }
    let from = format!("docker://{}/copy:zstd", real.host);
    succeed(
        at,
        "skopeo",
        &[
            "copy",
            "--insecure-policy",
            "--src-tls-verify=false",
            &from,
            "oci:copy:x",
        ],
    );

    let (code, text) = error(
        at,
        &["push-registry", "h", &format!("{}/h@{bundle}", real.host)],
    );
    assert_eq!(code, Some(2));
    assert!(text.contains("REGISTRY/REPOSITORY:TAG"), "{text}");
    let (code, text) = error(at, &["push-registry", "ap", &to]);
    assert_eq!(code, Some(2));
    assert!(text.contains("did you mean `app`?"), "{text}");
}
