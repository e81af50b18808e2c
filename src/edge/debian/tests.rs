#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::pure::config::sources::SuiteSource;
use crate::pure::name::BlobDigest;

fn project(mirrors: &[&str]) -> DebianSource {
    DebianSource {
        mirrors: mirrors.iter().map(|root| (*root).to_owned()).collect(),
        snapshot: Some("https://old.example.com/archive/{archive}/{date}/".to_owned()),
        ..DebianSource::default()
    }
}

fn debian(environment: &[&str], source: DebianSource) -> Debian {
    let environment = environment.iter().map(|root| (*root).to_owned()).collect();
    Debian::new(environment, source, Apt::default(), Path::new("/nowhere"))
}

fn pin(suite: &str, path: &str) -> PackagePin {
    PackagePin {
        name: "x".to_owned(),
        version: "1+b1".to_owned(),
        arch: "amd64".to_owned(),
        suite: suite.to_owned(),
        path: path.to_owned(),
        size: 1,
        digest: BlobDigest::of("x"),
    }
}

const POOL: &str = "pool/main/x/x/x_1+b1~deb12_amd64.deb";

#[test]
fn mirrors_come_in_their_order_and_the_snapshot_last() {
    let debian = debian(
        &[],
        project(&[
            "https://a.example.com/debian/",
            "http://b.example.com/debian",
        ]),
    );
    assert_eq!(
        debian
            .urls(&pin("bookworm", POOL), Some("20260711T101010Z"))
            .unwrap(),
        [
            "https://a.example.com/debian/pool/main/x/x/x_1%2Bb1~deb12_amd64.deb",
            "http://b.example.com/debian/pool/main/x/x/x_1%2Bb1~deb12_amd64.deb",
            "https://old.example.com/archive/debian/20260712T101010Z/pool/main/x/x/x_1%2Bb1~deb12_amd64.deb",
        ]
    );
    assert_eq!(debian.urls(&pin("bookworm", POOL), None).unwrap().len(), 2);
    let error = debian
        .urls(&pin("bookworm", POOL), Some("yesterday"))
        .unwrap_err();
    assert!(matches!(error, SourceError::Date(_)), "{error}");
}

#[test]
fn security_suites_are_beside_the_others() {
    let mut source = project(&[
        "https://a.example.com/debian",
        "https://b.example.com/mirror",
    ]);
    source.suites.insert(
        "own-security".to_owned(),
        SuiteSource {
            mirrors: vec!["https://c.example.com/sec".to_owned()],
            keyring: None,
        },
    );
    let debian = debian(&[], source);
    assert_eq!(
        debian
            .urls(&pin("bookworm-security", POOL), Some("20261231T235959Z"))
            .unwrap(),
        [
            "https://a.example.com/debian-security/pool/main/x/x/x_1%2Bb1~deb12_amd64.deb",
            "https://old.example.com/archive/debian-security/20270101T235959Z/pool/main/x/x/x_1%2Bb1~deb12_amd64.deb",
        ]
    );
    assert_eq!(
        debian.mirrors("own-security", "main").unwrap(),
        ["https://c.example.com/sec"]
    );
    assert_eq!(debian.mirrors("bookworm", "main").unwrap().len(), 2);
}

#[test]
fn the_environment_comes_before_the_project() {
    let mirrors = [
        "https://env.example.com/debian",
        "file:///srv/debian-security",
    ];
    let debian = debian(&mirrors, project(&["https://a.example.com/debian"]));
    assert_eq!(
        debian.mirrors("bookworm", "main").unwrap(),
        ["https://env.example.com/debian"]
    );
    assert_eq!(
        debian.mirrors("bookworm-security", "main").unwrap(),
        [
            "https://env.example.com/debian-security",
            "file:///srv/debian-security"
        ]
    );
}

#[test]
fn no_mirror_says_where_to_write_one() {
    let none = debian(&[], DebianSource::default());
    let said = none
        .urls(&pin("bookworm", POOL), None)
        .unwrap_err()
        .to_string();
    for part in [
        "bookworm/main",
        "forge.toml",
        "[sources.debian] mirrors",
        "apt",
        ENVIRONMENT,
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn roots_are_checked_and_passwords_are_not_shown() {
    for bad in [
        "nonsense",
        "ftp://a.example.com/debian",
        "https://me:secret@a.example.com/debian?x",
    ] {
        let error = debian(&[], project(&[bad]))
            .mirrors("bookworm", "main")
            .unwrap_err();
        assert!(matches!(error, SourceError::Root { .. }), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let source = DebianSource {
        snapshot: Some("https://old.example.com/".to_owned()),
        ..project(&["https://a.example.com/debian"])
    };
    let error = debian(&[], source)
        .urls(&pin("bookworm", POOL), Some("20260711T101010Z"))
        .unwrap_err();
    assert!(matches!(error, SourceError::Snapshot(_)), "{error}");
}

#[test]
fn the_pool_names_the_component() {
    assert_eq!(component_of("pool/main/g/glibc/x.deb"), "main");
    assert_eq!(component_of("pool/updates/main/o/openssl/x.deb"), "main");
    assert_eq!(component_of("pool/non-free/x"), "non-free");
    assert_eq!(component_of("x"), "");
}
