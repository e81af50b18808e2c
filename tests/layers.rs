//! Layers before the tools that know nothing of forge: GNU tar reads them, `dpkg-deb` makes what they are made of.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use forge::edge::store::{DiskStore, Options, Store, Trust};
use forge::flow::operator::image::layers::{PackageLayer, package_layers};
use forge::flow::progress::Silent;
use forge::pure::images::layer::{Content, ImagePath, Meta, Node, Tree};
use forge::pure::images::rules::Prune;
use forge::pure::name::BlobDigest;
use forge::pure::pins::PackagePin;

fn path(text: &str) -> ImagePath {
    text.parse().unwrap()
}

fn meta(mode: u32) -> Meta {
    Meta {
        mode,
        ..Meta::default()
    }
}

fn file(bytes: &[u8]) -> Node {
    Node::File(Content::Bytes(bytes.into()))
}

fn tree<const N: usize>(entries: [(&str, Node, Meta); N]) -> Tree {
    let entries = entries.map(|(at, node, meta)| (path(at), (node, meta)));
    Tree {
        entries: entries.into(),
    }
}

/// What GNU tar says of an archive, line by line.
fn gnu_tar(arguments: &[&str], bytes: &[u8]) -> String {
    let mut tar = Command::new("tar")
        .args(arguments)
        .args(["--numeric-owner", "--xattrs-include=*", "-f", "-"])
        .envs([("LC_ALL", "C.UTF-8"), ("TZ", "UTC")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    tar.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = tar.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.is_empty(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn gnu_tar_reads_what_does_not_fit_in_a_header() {
    let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\n=".to_vec();
    let with_capability = Meta {
        xattrs: BTreeMap::from([("security.capability".to_owned(), capability)]),
        ..meta(0o755)
    };
    let owned = Meta {
        uid: 101,
        gid: 3_000_000,
        ..meta(0o2775)
    };
    let far = "t".repeat(150);
    let tree = tree([
        ("ping", file(b"ping"), with_capability),
        ("also", Node::Hardlink(path("ping")), meta(0)),
        (&long, file(b"long"), meta(0o600)),
        ("\u{fc}", file(b"u"), meta(0o644)),
        ("far", Node::Symlink(far.clone()), meta(0o777)),
        ("var", Node::Directory, owned),
    ]);
    let mut bytes = Vec::new();
    tree.write(&mut Cursor::new(b""), &mut bytes).unwrap();
    let listing = gnu_tar(&["-tv"], &bytes);
    let lines: Vec<String> = listing
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        lines,
        [
            "-rwxr-xr-x* 0/0 4 1970-01-01 00:00 also".to_owned(),
            format!("-rw------- 0/0 4 1970-01-01 00:00 {long}"),
            format!("lrwxrwxrwx 0/0 0 1970-01-01 00:00 far -> {far}"),
            "hrwxr-xr-x 0/0 0 1970-01-01 00:00 ping link to also".to_owned(),
            "drwxrwsr-x 101/3000000 0 1970-01-01 00:00 var/".to_owned(),
            "-rw-r--r-- 0/0 1 1970-01-01 00:00 \u{fc}".to_owned(),
        ]
    );
}

#[test]
fn what_the_linker_needs_is_read_from_a_program() {
    // Essential, so it is everywhere; this very program needs no linker.
    let program = fs::read("/bin/bash").unwrap();
    let size = program.len() as u64;
    let spooled = Node::File(Content::Spooled { at: 7, size });
    let whole = tree([
        ("usr/bin/b", spooled, meta(0o755)),
        ("usr/bin/a", Node::Hardlink(path("usr/bin/b")), meta(0o755)),
        ("usr/bin/c", file(&program), meta(0o755)),
        ("usr/bin/text", file(b"\x7fELF, says a text"), meta(0o755)),
    ]);
    let mut spool = Cursor::new([b"before ".as_slice(), &program].concat());
    let facts = whole.write(&mut spool, &mut std::io::sink()).unwrap();
    let names: Vec<_> = facts.elves.iter().map(|elf| elf.path.as_str()).collect();
    assert_eq!(names, ["usr/bin/a", "usr/bin/b", "usr/bin/c"]);
    for elf in &facts.elves {
        let needs = |wanted: &str| elf.needed.iter().any(|name| name == wanted);
        assert!(needs("libc.so.6"), "{elf:?}");
        assert_eq!(elf.soname, None);
    }
    // Damage is no ELF file, and no error either.
    let facts = |bytes: &[u8]| {
        let one = tree([("a", file(bytes), meta(0o755))]);
        one.write(&mut Cursor::new(b""), &mut std::io::sink())
            .unwrap()
    };
    for cut in [5, 40, 63, 64, 200, 1000, 4096] {
        assert_eq!(facts(&program[..cut]).elves, []);
    }
    let mut damaged = program[..200_000].to_vec();
    for at in 0..1200 {
        let before = std::mem::replace(&mut damaged[at], 0xff);
        drop(facts(&damaged));
        damaged[at] = before;
    }
}

struct Package {
    pin: PackagePin,
    bytes: Vec<u8>,
}

/// A package as Debian's own tool makes it.
fn dpkg_deb(folder: &Path, name: &str, packing: &str, content: &[u8]) -> Package {
    let root = folder.join(format!("{name}-{packing}"));
    let write = |at: &str, content: &[u8]| {
        let at = root.join(at);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, content).unwrap();
    };
    let control = format!(
        "Package: {name}\nVersion: 1.0-1\nArchitecture: all\nInstalled-Size: 500\n\
         Maintainer: A <a@example.com>\nDescription: a test\n"
    );
    write("DEBIAN/control", control.as_bytes());
    write("DEBIAN/postinst", b"#!/bin/sh\nexit 1\n");
    write(&format!("lib/{name}/a"), content);
    let long = format!("usr/share/{}/{}", "x".repeat(150), "y".repeat(150));
    write(&long, b"long");
    let at = |file: &str| -> PathBuf { root.join("lib").join(name).join(file) };
    fs::hard_link(at("a"), at("b")).unwrap();
    std::os::unix::fs::symlink("a", at("c")).unwrap();
    for (mode, what) in [
        ("u=rwX,go=rX", root.clone()),
        ("755", root.join("DEBIAN/postinst")),
    ] {
        let chmod = Command::new("chmod").args(["-R", mode]).arg(what).status();
        assert!(chmod.unwrap().success());
    }
    let to = folder.join(format!("{name}-{packing}.deb"));
    let output = Command::new("dpkg-deb")
        .args(["--root-owner-group", &format!("-Z{packing}"), "--build"])
        .args([&root, &to])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let bytes = fs::read(to).unwrap();
    let pin = PackagePin {
        name: name.to_owned(),
        version: "1.0-1".to_owned(),
        arch: "all".to_owned(),
        suite: "suite".to_owned(),
        path: format!("pool/{name}.deb"),
        size: bytes.len() as u64,
        digest: BlobDigest::of(&bytes),
    };
    Package { pin, bytes }
}

fn layers(store: &DiskStore, packages: &[Package], jobs: usize) -> Vec<PackageLayer> {
    let mut writer = store.begin(Trust::Size).unwrap();
    for Package { pin, bytes } in packages {
        writer
            .put(pin.digest, pin.size, &mut bytes.as_slice())
            .unwrap();
    }
    writer.commit(&[]).unwrap();
    let pins: Vec<_> = packages.iter().map(|package| package.pin.clone()).collect();
    package_layers(store, store, &pins, &Prune::default(), jobs, &Silent).unwrap()
}

#[test]
fn packages_of_dpkg_become_layers_however_packed_and_by_however_many() {
    if Command::new("dpkg-deb").arg("--version").output().is_err() {
        // On a machine that is no Debian; the unit tests make their packages themselves.
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let noise: Vec<u8> = (0..300_000_usize)
        .map(|at| ((at * at * 31) >> 7) as u8)
        .collect();
    let one = |packing: &str| dpkg_deb(folder.path(), "demo", packing, b"content");
    let mut packages: Vec<_> = ["none", "gzip", "xz", "zstd"].map(one).into();
    packages.push(dpkg_deb(folder.path(), "large", "xz", &noise));
    packages.push(dpkg_deb(folder.path(), "empty", "xz", b""));

    let mut found = Vec::new();
    for jobs in [1, 2, 7] {
        let at = folder.path().join(format!("store-{jobs}"));
        let store = DiskStore::open(&at, Options::default()).unwrap();
        let made = layers(&store, &packages, jobs);
        for layer in &made {
            let blob = store.open(layer.layer.digest).unwrap();
            assert_eq!(blob.size(), layer.layer.size);
            gnu_tar(&["-t"], &blob.read_whole().unwrap());
        }
        assert!(store.temporaries().unwrap().is_empty());
        // The same again, from what is remembered.
        assert_eq!(layers(&store, &packages, jobs), made);
        found.push((store, made));
    }
    assert!(found.iter().all(|(_, made)| *made == found[0].1));

    let (store, made) = &found[0];
    let digests: Vec<_> = made.iter().map(|layer| layer.layer.digest).collect();
    assert!(digests[..4].iter().all(|digest| *digest == digests[0]));
    assert_ne!(digests[4], digests[0]);
    assert_eq!(made[0].facts.links[&path("usr/lib/demo/c")], "a");
    let layer = store.open(digests[0]).unwrap().read_whole().unwrap();
    assert_eq!(gnu_tar(&["-xO", "usr/lib/demo/a"], &layer), "content");
    let listing = gnu_tar(&["-tv"], &layer);
    assert!(listing.contains("usr/lib/demo/b link to usr/lib/demo/a"));
    assert!(!listing.contains(" lib/"), "{listing}");
}
