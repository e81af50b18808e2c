//! Debian's own indexes, and apt as the judge: the same closures, and signatures that verify.
//!
//! Runs where apt has lists of a Debian suite, and says so where it has none.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods, clippy::print_stderr)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use forge::pure::images::debian::{Index, Keyring, Release, Request, resolve};
use forge::pure::name::{Arch, BlobDigest};

const LISTS: &str = "/var/lib/apt/lists";

/// One `Packages` list of this machine, and the `InRelease` that it belongs to.
struct List {
    suite: String,
    release: PathBuf,
    packages: PathBuf,
    arch: Arch,
}

/// The lists of Debian's suites; none where there is no apt or it has never been updated.
fn lists() -> Vec<List> {
    let keyring = Keyring::debian().unwrap();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(LISTS).into_iter().flatten() {
        let packages = entry.unwrap().path();
        let name = packages.file_name().unwrap().to_str().unwrap().to_owned();
        let Some((root, rest)) = name.split_once("_main_binary-") else {
            continue;
        };
        let release = Path::new(LISTS).join(format!("{root}_InRelease"));
        let arch = rest.split('_').next().and_then(|arch| arch.parse().ok());
        let (Some(arch), Ok(bytes)) = (arch, std::fs::read(&release)) else {
            continue;
        };
        // Other archives than Debian's have their own keys.
        let Ok(read) = Release::verify(&bytes, &keyring) else {
            continue;
        };
        found.push(List {
            suite: read.codename,
            release,
            packages,
            arch,
        });
    }
    found.sort_by(|a, b| a.suite.cmp(&b.suite));
    if found.is_empty() {
        eprintln!(
            "SKIPPED: {LISTS} holds no list of a Debian suite: run `apt-get update` on Debian to have this tested"
        );
    }
    found
}

fn output(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
    output.stdout
}

fn unpacked(list: &List) -> Vec<u8> {
    output(
        "/usr/lib/apt/apt-helper",
        &["cat-file", list.packages.to_str().unwrap()],
    )
}

#[test]
fn releases_and_their_indexes_are_read() {
    for list in lists() {
        let bytes = std::fs::read(&list.release).unwrap();
        let started = Instant::now();
        let release = Release::verify(&bytes, &Keyring::debian().unwrap()).unwrap();
        eprintln!(
            "{}: verified in {:?}, by {:?}",
            list.suite,
            started.elapsed(),
            release.signers
        );
        release.check_suite(&list.suite).unwrap();
        release.check_suite("sid").unwrap_err();
        assert!(
            release.date_stamp().ends_with('Z'),
            "{}",
            release.date_stamp()
        );
        let files = release.package_index("main", list.arch.as_str()).unwrap();
        let text = unpacked(&list);
        assert_eq!(files[0].unpacked.unwrap().digest, BlobDigest::of(&text));
        assert_eq!(files[0].unpacked.unwrap().size, text.len() as u64);
        // A byte of what is signed is another.
        let mut tampered = bytes.clone();
        let at = bytes
            .windows(7)
            .position(|window| window == b"SHA256:")
            .unwrap()
            + 10;
        tampered[at] ^= 1;
        Release::verify(&tampered, &Keyring::debian().unwrap()).unwrap_err();
    }
}

#[test]
fn stanzas_are_read() {
    for list in lists() {
        let text = unpacked(&list);
        let started = Instant::now();
        let index = Index::parse(&list.suite, text).unwrap();
        eprintln!(
            "{}: {} stanzas in {:?}",
            list.suite,
            index.len(),
            started.elapsed()
        );
        let names: BTreeSet<&str> = index.names().collect();
        // One in ten, as a build for tests is slow.
        for name in names.into_iter().step_by(10) {
            for package in index.packages(name).unwrap() {
                package.pin().unwrap();
                for field in ["Depends", "Pre-Depends", "Provides", "Conflicts", "Breaks"] {
                    package.relations(field).unwrap();
                }
            }
        }
    }
}

/// Packages and versions that apt would install on a machine that has none.
fn by_apt(packages: &[&str]) -> BTreeMap<String, String> {
    let mut arguments = vec![
        "install",
        "--simulate",
        "--no-install-recommends",
        "--option=Dir::State::status=/dev/null",
    ];
    arguments.extend(packages);
    let text = String::from_utf8(output("apt-get", &arguments)).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("Inst "))
        .map(|line| {
            let (name, rest) = line.split_once(" (").unwrap();
            (name.to_owned(), rest.split(' ').next().unwrap().to_owned())
        })
        .collect()
}

#[test]
fn closures_are_those_of_apt() {
    let lists = lists();
    if lists.is_empty() {
        return;
    }
    let arch = lists[0].arch;
    let parts = lists
        .iter()
        .map(|list| Index::parse(&list.suite, unpacked(list)).unwrap());
    let index = Index::merge(parts);
    for packages in [
        &["postgresql-15"][..],
        &["redis-server"],
        &["caddy"],
        &["prometheus"],
        &["prometheus-node-exporter"],
        &["prometheus-alertmanager"],
        &["restic"],
        &["python3", "python3-fastapi"],
        &[
            "python3-asyncpg",
            "python3-uvicorn",
            "python3-prometheus-client",
        ],
        &["busybox", "curl", "postgresql-client-15", "redis-tools"],
        &["git", "openssh-server", "nginx"],
        &["libreoffice"],
    ] {
        let request = Request {
            arch,
            packages: packages.iter().map(|name| (*name).to_owned()).collect(),
            exclude: BTreeSet::new(),
            dropped: &|_| false,
        };
        let started = Instant::now();
        let closure =
            resolve(&index, &request).unwrap_or_else(|error| panic!("{packages:?}: {error}"));
        let took = started.elapsed();
        let ours: BTreeMap<String, String> = closure
            .packages
            .iter()
            .map(|pin| (pin.name.clone(), pin.version.clone()))
            .collect();
        let theirs = by_apt(packages);
        eprintln!("{packages:?}: {} packages in {took:?}", ours.len());
        let more: Vec<String> = ours
            .keys()
            .filter(|name| !theirs.contains_key(*name))
            .map(|name| closure.chain(name).unwrap().to_string())
            .collect();
        let fewer: Vec<&String> = theirs
            .keys()
            .filter(|name| !ours.contains_key(*name))
            .collect();
        assert!(
            more.is_empty() && fewer.is_empty(),
            "{packages:?}: apt would not install {more:#?}, and would install {fewer:?}"
        );
        assert_eq!(ours, theirs);
    }
}
