//! A Debian archive made here by Debian's own programs (`dpkg-deb`, `gpg`), and what forge makes of it when it is whole, stale, forged,
//! or elsewhere.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use forge::edge::apt::Apt;
use forge::edge::clock::{FixedClock, WallClock};
use forge::edge::debian::{Debian, IndexRequest, SourceError, SuiteIndex};
use forge::edge::http::Http;
use forge::edge::store::{MemoryStore, Store, plan_gc};
use forge::flow::operator::image::sources::{self, EnsureError, Supply, Wanted};
use forge::flow::progress::Silent;
use forge::pure::config::sources::{DebianSource, PackageSources};
use forge::pure::name::{Arch, BlobDigest, ManifestDigest};
use forge::pure::pins::{BuildPin, PackagePin, SuitePin};

const SUITE: &str = "bookworm";
const DATE: &str = "Sat, 11 Jul 2026 10:10:10 UTC";
const STAMP: &str = "20260711T101010Z";
const NOW: &str = "2026-07-12T00:00:00Z";

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .expect(program);
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A folder with an archive, a key, and a project that trusts it.
struct World {
    folder: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        let home = self.at("gpg");
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(home)
            .args(["--kill", "all"])
            .output();
    }
}

/// What stands in an `InRelease` beside the digests.
#[derive(Clone, Copy)]
struct Header {
    suite: &'static str,
    more: &'static str,
    /// Added to the stated size of the text.
    lie: i64,
}

const PLAIN: Header = Header {
    suite: SUITE,
    more: "Acquire-By-Hash: yes\n",
    lie: 0,
};

impl World {
    fn new() -> Self {
        let world = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        world.key("gpg", "keys.gpg");
        world.package("hello", "1.0");
        world.publish("debian", PLAIN);
        world
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn path(&self, path: &str) -> String {
        self.at(path).display().to_string()
    }

    fn key(&self, home: &str, keyring: &str) {
        let home = self.path(home);
        std::fs::create_dir_all(&home).unwrap();
        run("chmod", &["700", &home]);
        let user = "Archive <archive@example.com>";
        let common = ["--homedir", &home, "--batch", "--quiet", "--passphrase", ""];
        let make = ["--quick-generate-key", user, "ed25519", "sign", "never"];
        run("gpg", &[&common[..], &make].concat());
        let keyring = self.path(keyring);
        run(
            "gpg",
            &[&common[..], &["--output", &keyring, "--export", user]].concat(),
        );
    }

    /// Puts a package into the pool.
    fn package(&self, name: &str, version: &str) {
        let root = self.at(&format!("build/{name}"));
        std::fs::create_dir_all(root.join("DEBIAN")).unwrap();
        std::fs::create_dir_all(root.join("usr/share")).unwrap();
        std::fs::write(root.join("usr/share").join(name), version).unwrap();
        let control = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: A <a@example.com>\nDescription: test\n"
        );
        std::fs::write(root.join("DEBIAN/control"), control).unwrap();
        let pool = self.at(&format!("debian/pool/main/h/{name}"));
        std::fs::create_dir_all(&pool).unwrap();
        let deb = pool.join(format!("{name}_{version}_amd64.deb"));
        run(
            "dpkg-deb",
            &[
                "--root-owner-group",
                "-b",
                &root.display().to_string(),
                &deb.display().to_string(),
            ],
        );
    }

    /// Writes the indexes of an archive whose packages are in the pool, and signs them.
    fn publish(&self, archive: &str, header: Header) {
        let pool = self.at("debian/pool/main/h/hello");
        let mut packages = String::new();
        let mut names: Vec<_> = std::fs::read_dir(&pool)
            .unwrap()
            .map(|it| it.unwrap().file_name())
            .collect();
        names.sort();
        for name in names {
            let name = name.into_string().unwrap();
            let bytes = std::fs::read(pool.join(&name)).unwrap();
            let version = name.split('_').nth(1).unwrap();
            packages.push_str(&format!(
                "Package: hello\nVersion: {version}\nArchitecture: amd64\nMaintainer: A <a@example.com>\n\
                 Filename: pool/main/h/hello/{name}\nSize: {}\nSHA256: {}\nDescription: test\n\n",
                bytes.len(),
                BlobDigest::of(&bytes).hex()
            ));
        }
        let suite = self.at(&format!("{archive}/dists/{}", header.suite));
        let folder = suite.join("main/binary-amd64");
        std::fs::create_dir_all(folder.join("by-hash/SHA256")).unwrap();
        let mut xz = Vec::new();
        liblzma::read::XzEncoder::new(packages.as_bytes(), 6)
            .read_to_end(&mut xz)
            .unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(packages.as_bytes()).unwrap();
        let gz = gz.finish().unwrap();
        let mut sums = String::new();
        for (name, bytes, lie) in [
            ("Packages", packages.as_bytes(), header.lie),
            ("Packages.xz", &xz, 0),
            ("Packages.gz", &gz, 0),
        ] {
            let hex = BlobDigest::of(bytes).hex();
            let size = bytes.len() as i64 + lie;
            sums.push_str(&format!(" {hex} {size} main/binary-amd64/{name}\n"));
            if name != "Packages" {
                std::fs::write(folder.join(name), bytes).unwrap();
                std::fs::write(folder.join("by-hash/SHA256").join(hex), bytes).unwrap();
            }
        }
        let release = format!(
            "Origin: Test\nLabel: Test\nSuite: stable\nCodename: {}\nDate: {DATE}\n{}Architectures: amd64 arm64\nComponents: main\n\
             SHA256:\n{sums}",
            header.suite, header.more
        );
        std::fs::write(suite.join("Release"), release).unwrap();
        self.sign(&suite, "gpg");
    }

    fn sign(&self, suite: &Path, home: &str) {
        let home = self.path(home);
        let (release, signed) = (suite.join("Release"), suite.join("InRelease"));
        let (release, signed) = (release.display().to_string(), signed.display().to_string());
        let common = [
            "--homedir",
            &home,
            "--batch",
            "--quiet",
            "--yes",
            "--passphrase",
            "",
            "--digest-algo",
            "SHA512",
        ];
        run(
            "gpg",
            &[&common[..], &["--output", &signed, "--clearsign", &release]].concat(),
        );
    }

    fn source(&self, mirrors: &[&str]) -> DebianSource {
        let url = |name: &&str| format!("file://{}", self.path(name));
        DebianSource {
            mirrors: mirrors.iter().map(url).collect(),
            snapshot: None,
            keyring: Some("keys.gpg".to_owned()),
            suites: BTreeMap::new(),
        }
    }

    fn debian(&self, source: DebianSource) -> Debian {
        Debian::new(Vec::new(), source, Apt::default(), self.folder.path())
    }

    fn index(&self, store: &dyn Store, mirrors: &[&str]) -> Result<SuiteIndex, SourceError> {
        self.index_of(store, mirrors, SUITE, NOW, false)
    }

    fn index_of(
        &self,
        store: &dyn Store,
        mirrors: &[&str],
        suite: &str,
        now: &str,
        offline: bool,
    ) -> Result<SuiteIndex, SourceError> {
        let wanted = IndexRequest {
            suite,
            components: &["main".to_owned()],
            arch: Arch::Amd64,
            offline,
        };
        let clock = FixedClock(now.parse().unwrap());
        self.debian(self.source(mirrors))
            .index(store, &Http::new().unwrap(), &clock, wanted)
    }

    fn pin(&self) -> PackagePin {
        let index = self
            .index(&MemoryStore::default(), &["debian"])
            .unwrap()
            .index;
        index.packages("hello").unwrap()[0].pin().unwrap()
    }

    fn ensure(
        &self,
        store: &dyn Store,
        source: DebianSource,
        pin: PackagePin,
    ) -> Result<(), EnsureError> {
        let build = BuildPin {
            digest: ManifestDigest::of(""),
            layers: Vec::new(),
            packages: vec![pin],
            wheels: Vec::new(),
        };
        let suites = BTreeMap::from([(
            SUITE.to_owned(),
            SuitePin {
                date: STAMP.to_owned(),
            },
        )]);
        let sources = PackageSources {
            debian: source,
            ..PackageSources::default()
        };
        let from = Supply {
            sources: &sources,
            root: self.folder.path(),
            http: &Http::new().unwrap(),
            offline: false,
            jobs: 8,
        };
        let wanted = Wanted {
            project: "shop",
            image: &"hello".parse().unwrap(),
            arch: Arch::Amd64,
            build: &build,
            suites: &suites,
            python: None,
        };
        sources::ensure(store, from, wanted, &Silent)
    }
}

#[test]
fn an_index_is_fetched_verified_and_kept() {
    let world = World::new();
    let store = MemoryStore::default();
    let found = world.index(&store, &["debian"]).unwrap();
    assert_eq!(found.date, STAMP);
    assert_eq!(found.index.names().collect::<Vec<_>>(), ["hello"]);
    assert!(plan_gc(&store).unwrap().is_empty(), "it is collected");
    let names: Vec<String> = (&store as &dyn Store)
        .refs()
        .unwrap()
        .keys()
        .map(ToString::to_string)
        .collect();
    assert_eq!(names, ["debian/indexes/bookworm"]);

    // The lists are gone from the mirror: the store has them, and they are not asked for.
    std::fs::remove_dir_all(world.at("debian/dists/bookworm/main")).unwrap();
    assert_eq!(world.index(&store, &["debian"]).unwrap().index.len(), 1);
    // The mirror is gone.
    std::fs::remove_dir_all(world.at("debian/dists")).unwrap();
    assert!(matches!(
        world.index(&store, &["debian"]),
        Err(SourceError::NoIndex { .. })
    ));
    let offline = world
        .index_of(&store, &["debian"], SUITE, NOW, true)
        .unwrap();
    assert_eq!(offline.index.len(), 1);
    let empty = MemoryStore::default();
    let error = world
        .index_of(&empty, &["debian"], SUITE, NOW, true)
        .unwrap_err();
    assert!(matches!(error, SourceError::Offline { .. }), "{error}");
}

#[test]
fn mirrors_are_asked_in_order_and_one_that_is_bad_is_passed_over() {
    let world = World::new();
    for (name, bad) in [
        ("stale", "Valid-Until: Sun, 12 Jul 2026 00:00:00 UTC\n"),
        ("other", ""),
    ] {
        std::fs::create_dir_all(world.at(name)).unwrap();
        world.publish(name, Header { more: bad, ..PLAIN });
    }
    // One is signed by somebody else.
    world.key("gpg-other", "other.gpg");
    world.sign(&world.at("other/dists/bookworm"), "gpg-other");
    let later = "2026-07-13T00:00:00Z";
    let store = MemoryStore::default();
    let all = ["none", "stale", "other", "debian"];
    assert_eq!(
        world
            .index_of(&store, &all, SUITE, later, false)
            .unwrap()
            .index
            .len(),
        1
    );
    let error = world
        .index_of(&store, &all[..3], SUITE, later, false)
        .unwrap_err()
        .to_string();
    for said in ["none/dists", "valid until", "no signature"] {
        assert!(error.contains(said), "{said}: {error}");
    }
    let other = Command::new("gpgconf")
        .arg("--homedir")
        .arg(world.at("gpg-other"))
        .args(["--kill", "all"])
        .output();
    assert!(other.is_ok());
}

#[test]
fn what_was_tampered_with_is_refused() {
    let world = World::new();
    let store = MemoryStore::default();
    let folder = world.at("debian/dists/bookworm/main/binary-amd64");
    for name in std::fs::read_dir(folder.join("by-hash/SHA256")).unwrap() {
        std::fs::write(name.unwrap().path(), "x").unwrap();
    }
    // By their names they are still right.
    assert_eq!(world.index(&store, &["debian"]).unwrap().index.len(), 1);
    let store = MemoryStore::default();
    for name in ["Packages.xz", "Packages.gz"] {
        std::fs::write(folder.join(name), "x").unwrap();
    }
    let error = world.index(&store, &["debian"]).unwrap_err().to_string();
    assert!(error.contains("its digest differs"), "{error}");
    assert_eq!(store.blobs().unwrap().len(), 0);

    let path = world.at("debian/dists/bookworm/InRelease");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("Label: Test", "Label: Evil")).unwrap();
    let error = world.index(&store, &["debian"]).unwrap_err().to_string();
    assert!(error.contains("no signature"), "{error}");
}

#[test]
fn a_list_is_not_unpacked_further_than_the_release_says() {
    let world = World::new();
    world.publish("debian", Header { lie: -10, ..PLAIN });
    let error = world
        .index(&MemoryStore::default(), &["debian"])
        .unwrap_err()
        .to_string();
    assert!(error.contains("when it is unpacked"), "{error}");
    world.publish("debian", Header { lie: 10, ..PLAIN });
    let error = world
        .index(&MemoryStore::default(), &["debian"])
        .unwrap_err()
        .to_string();
    assert!(error.contains("its text is not what"), "{error}");
}

#[test]
fn another_suite_and_another_time_are_refused() {
    let world = World::new();
    let dists = world.at("debian/dists");
    let (from, to) = (dists.join("bookworm"), dists.join("trixie"));
    run(
        "cp",
        &["-r", &from.display().to_string(), &to.display().to_string()],
    );
    let store = MemoryStore::default();
    let error = world
        .index_of(&store, &["debian"], "trixie", NOW, false)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the suite `trixie` was asked for"),
        "{error}"
    );
    let error = world
        .index_of(&store, &["debian"], SUITE, "2026-07-01T00:00:00Z", false)
        .unwrap_err();
    assert!(error.to_string().contains("in the future"), "{error}");
    let error = world.index_of(&store, &[], SUITE, NOW, false).unwrap_err();
    assert!(matches!(error, SourceError::NoMirror { .. }), "{error}");
    let error = world
        .index_of(&store, &["debian"], "../bookworm", NOW, false)
        .unwrap_err();
    assert!(error.to_string().contains("no name of a suite"), "{error}");
}

#[test]
fn packages_are_fetched_once_and_kept() {
    let world = World::new();
    let pin = world.pin();
    let store = MemoryStore::default();
    world
        .ensure(&store, world.source(&["none", "debian"]), pin.clone())
        .unwrap();
    assert!((&store as &dyn Store).has(pin.digest, pin.size).unwrap());
    assert!(plan_gc(&store).unwrap().is_empty(), "it is collected");
    let refs = (&store as &dyn Store).refs().unwrap();
    assert_eq!(
        refs.keys().map(ToString::to_string).collect::<Vec<_>>(),
        ["shop/sources/hello/amd64"]
    );
    // Nobody is asked again.
    std::fs::remove_dir_all(world.at("debian")).unwrap();
    world
        .ensure(&store, world.source(&["debian"]), pin)
        .unwrap();
}

#[test]
fn a_package_that_is_gone_comes_from_the_snapshot_archive() {
    let world = World::new();
    let pin = world.pin();
    let store = MemoryStore::default();
    // A day after the suite was locked.
    let old = world.at("old/debian/20260712T101010Z");
    std::fs::create_dir_all(&old).unwrap();
    std::fs::rename(world.at("debian/pool"), old.join("pool")).unwrap();
    let error = world
        .ensure(&store, world.source(&["debian"]), pin.clone())
        .unwrap_err();
    let said = error.to_string();
    assert!(
        matches!(error, EnsureError::Debian(SourceError::Gone { .. })),
        "{said}"
    );
    for part in [
        "hello 1.0",
        "forge lock --update hello",
        "/debian/pool/main/h/hello",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let snapshot = format!("file://{}/{{archive}}/{{date}}", world.path("old"));
    let source = DebianSource {
        snapshot: Some(snapshot),
        ..world.source(&["debian"])
    };
    world.ensure(&store, source, pin.clone()).unwrap();
    assert!((&store as &dyn Store).has(pin.digest, pin.size).unwrap());
}

#[test]
fn a_package_with_other_bytes_is_taken_from_the_next_mirror() {
    let world = World::new();
    let pin = world.pin();
    let lying = world.at("lying");
    run(
        "cp",
        &["-r", &world.path("debian"), &lying.display().to_string()],
    );
    let deb = lying.join(&pin.path);
    let mut bytes = std::fs::read(&deb).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&deb, bytes).unwrap();
    let store = MemoryStore::default();
    let error = world
        .ensure(&store, world.source(&["lying"]), pin.clone())
        .unwrap_err();
    assert!(!error.to_string().contains("gone"), "{error}");
    let blobs: BTreeSet<_> = store.blobs().unwrap().into_keys().collect();
    assert!(!blobs.contains(&pin.digest));
    world
        .ensure(&store, world.source(&["lying", "debian"]), pin)
        .unwrap();
}

/// Only where this machine's apt has Debian 12: then its mirror is asked, and the keys in the program are those that sign it.
#[test]
fn this_machines_mirror_has_a_signed_index() {
    let debian = Debian::of_machine(DebianSource::default(), Path::new("/")).unwrap();
    if debian.mirrors(SUITE, "main").unwrap().is_empty() {
        return;
    }
    let store = MemoryStore::default();
    let http = debian.client().unwrap();
    let mut wanted = IndexRequest {
        suite: SUITE,
        components: &["main".to_owned()],
        arch: Arch::Amd64,
        offline: false,
    };
    let found = debian.index(&store, &http, &WallClock, wanted).unwrap();
    let libc = found.index.packages("libc6").unwrap();
    assert!(found.index.len() > 60_000);
    let pin = libc[0].pin().unwrap();
    let urls = debian.urls(&pin, Some(&found.date)).unwrap();
    assert!(!urls.is_empty());
    wanted.offline = true;
    let started = std::time::Instant::now();
    let again = debian.index(&store, &http, &WallClock, wanted).unwrap();
    eprintln!(
        "{} packages from the store in {:?}",
        again.index.len(),
        started.elapsed()
    );
    assert_eq!(again.date, found.date);
}
