#![allow(clippy::unwrap_used)]

use super::super::keyring::Standing;
use super::*;

const GOOD: &[u8] = include_bytes!("../tests/good.InRelease");
const KEYS: &[u8] = include_bytes!("../tests/keyring.gpg");
const ARCHIVE: &str = "54989e4be3d99cd259a25f408c0bd6819551759a";

fn verify(bytes: &[u8]) -> Result<Release, ReleaseError> {
    Release::verify(bytes, &Keyring::parse(KEYS).unwrap())
}

fn refusals(bytes: &[u8]) -> Vec<Refusal> {
    match verify(bytes) {
        Err(ReleaseError::Signature(refusals)) => refusals,
        other => panic!("{other:?}"),
    }
}

/// The good release with some of its text replaced.
fn changed(from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(GOOD).unwrap();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

#[test]
fn reads_what_is_signed() {
    let release = verify(GOOD).unwrap();
    assert_eq!(release.origin, "Example");
    assert_eq!((&*release.suite, &*release.codename), ("stable", "tester"));
    assert_eq!(release.date_stamp(), "20260711T101010Z");
    assert_eq!(release.components, ["main", "contrib"]);
    assert_eq!(release.architectures, ["all", "amd64", "arm64"]);
    assert_eq!(release.signers, [ARCHIVE]);
    assert_eq!(release.files.len(), 3);
}

#[test]
fn finds_the_indexes_of_a_component() {
    let mut release = verify(GOOD).unwrap();
    let found = release.package_index("main", "amd64").unwrap();
    let paths: Vec<_> = found.iter().map(|file| &*file.path).collect();
    assert_eq!(
        paths,
        [
            "main/binary-amd64/Packages.xz",
            "main/binary-amd64/Packages.gz",
            "main/binary-amd64/Packages"
        ]
    );
    assert_eq!(
        found[0].by_hash.as_deref(),
        Some(
            "main/binary-amd64/by-hash/SHA256/5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9"
        )
    );
    assert_eq!(
        (found[0].file.size, found[0].unpacked.unwrap().size),
        (1, 0)
    );
    assert!(matches!(
        release.package_index("contrib", "amd64"),
        Err(ReleaseError::NoIndex { .. })
    ));
    assert!(matches!(
        release.package_index("main", "arm64"),
        Err(ReleaseError::NoIndex { .. })
    ));
    assert!(matches!(
        release.package_index("../main", "amd64"),
        Err(ReleaseError::NoComponent { .. })
    ));
    release.components = vec!["updates/main".to_owned()];
    assert_eq!(release.package_index("main", "amd64").unwrap(), found);
    // What is too long for an index is not offered.
    let xz = release
        .files
        .get_mut("main/binary-amd64/Packages.xz")
        .unwrap();
    xz.size = u64::MAX;
    assert_eq!(
        release.package_index("main", "amd64").unwrap()[0].packing,
        Packing::Gzip
    );
    release.acquire_by_hash = false;
    assert_eq!(
        release.package_index("main", "amd64").unwrap()[0].by_hash,
        None
    );
}

#[test]
fn is_one_suite_at_one_time() {
    let release = verify(GOOD).unwrap();
    release.check_suite("stable").unwrap();
    release.check_suite("tester").unwrap();
    for other in ["", "sid", "tester-security", "Tester"] {
        assert!(
            matches!(
                release.check_suite(other),
                Err(ReleaseError::OtherSuite { .. })
            ),
            "{other}"
        );
    }
    let at = |text: &str| release.check_time(text.parse().unwrap());
    at("2026-07-11T10:10:10Z").unwrap();
    at("2026-07-18T10:10:10Z").unwrap();
    assert!(matches!(
        at("2026-07-18T10:10:11Z"),
        Err(ReleaseError::Expired { .. })
    ));
    at("2026-07-11T09:30:00Z").unwrap();
    assert!(matches!(
        at("2026-07-10T10:10:10Z"),
        Err(ReleaseError::Future { .. })
    ));
}

#[test]
fn one_good_signature_is_enough() {
    assert_eq!(
        verify(include_bytes!("../tests/two.InRelease"))
            .unwrap()
            .signers,
        [ARCHIVE]
    );
    assert_eq!(
        verify(include_bytes!("../tests/subkey.InRelease"))
            .unwrap()
            .signers
            .len(),
        1
    );
    // The key has expired since.
    assert_eq!(
        verify(include_bytes!("../tests/in-time.InRelease"))
            .unwrap()
            .signers
            .len(),
        1
    );
}

#[test]
fn refuses_a_text_that_was_changed() {
    for (from, to) in [
        ("tester", "testes"),
        ("Origin: Example\n", ""),
        ("5feceb66", "00000000"),
        ("arm64\n", "arm64 \u{b}\n"),
    ] {
        let refusals = refusals(&changed(from, to));
        assert_eq!(
            refusals,
            [Refusal::Bad {
                key: ARCHIVE.to_owned()
            }]
        );
    }
    // Blanks at the ends of lines are no part of what is signed, nor is how lines end.
    assert_eq!(
        verify(&changed("arm64\n", "arm64 \t\n"))
            .unwrap()
            .architectures
            .len(),
        3
    );
    let lines = std::str::from_utf8(GOOD).unwrap().replace('\n', "\r\n");
    assert_eq!(verify(lines.as_bytes()).unwrap().signers, [ARCHIVE]);
}

#[test]
fn refuses_a_signature_that_was_changed() {
    let text = std::str::from_utf8(GOOD).unwrap();
    let at = text.find("-----BEGIN PGP SIGNATURE-----\n\n").unwrap() + 31;
    for offset in (0..text[at..].find('=').unwrap_or(120)).step_by(7) {
        let mut bytes = GOOD.to_vec();
        bytes[at + offset] = if bytes[at + offset] == b'A' {
            b'B'
        } else {
            b'A'
        };
        // The part that is not hashed may change without harm.
        if let Ok(release) = verify(&bytes) {
            assert_eq!(release.signers, [ARCHIVE]);
        }
    }
    let mut bytes = GOOD.to_vec();
    let end = text
        .find("\n=")
        .or_else(|| text.find("\n-----END"))
        .unwrap();
    bytes[end - 6] ^= 1;
    assert!(verify(&bytes).is_err());
}

#[test]
fn refuses_what_is_around_the_signed_text() {
    let begin = [b"Suite: other\n".as_slice(), GOOD].concat();
    assert_eq!(verify(&begin).unwrap_err(), CleartextError::Begin.into());
    assert_eq!(
        verify(&[b"\n".as_slice(), GOOD].concat()).unwrap_err(),
        CleartextError::Begin.into()
    );
    let end = [GOOD, b"Suite: other\n"].concat();
    assert_eq!(verify(&end).unwrap_err(), CleartextError::Trailing.into());
    assert_eq!(
        verify(&[GOOD, GOOD].concat()).unwrap_err(),
        CleartextError::Trailing.into()
    );
    assert_eq!(verify(&[GOOD, b" \n\n"].concat()).unwrap().signers.len(), 1);
    let header = changed("Hash: SHA256\n", "Hash: SHA256\nNotDashEscaped: yes\n");
    assert!(matches!(
        verify(&header),
        Err(ReleaseError::Cleartext(CleartextError::Header {
            line: 3,
            ..
        }))
    ));
    // A second stanza, in the signed text or before it, is no more than a changed text.
    assert!(verify(&changed("\n\nOrigin", "\n\n\nOrigin")).is_err());
    assert!(verify(&changed("\n\nOrigin", "\nSuite: other\n\nOrigin")).is_err());
    assert!(verify(&changed("\nSuite", "\n-Suite")).is_err());
    assert!(verify(&changed("\nSuite", "\n\r\r\nSuite")).is_err());
    for end in [0, 10, 40, 100, 400, GOOD.len() - 10] {
        assert!(verify(&GOOD[..end]).is_err(), "{end}");
    }
}

#[test]
fn refuses_keys_that_do_not_count() {
    let [Refusal::Unknown { key }] = &refusals(include_bytes!("../tests/unknown.InRelease"))[..]
    else {
        panic!("another refusal");
    };
    assert_eq!(key, "6ad08b7c01417c0da5a61988ea88f4bc955d541e");
    let standing = |bytes: &[u8]| match &refusals(bytes)[..] {
        [Refusal::Key { reason, .. }] => *reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        standing(include_bytes!("../tests/expired.InRelease")),
        Standing::Expired
    );
    assert_eq!(
        standing(include_bytes!("../tests/revoked.InRelease")),
        Standing::Revoked
    );
}

#[test]
fn refuses_digests_that_can_be_forged() {
    let refusals = refusals(include_bytes!("../tests/sha1.InRelease"));
    assert_eq!(
        refusals,
        [Refusal::Weak {
            key: ARCHIVE.to_owned(),
            hash: "SHA1".to_owned()
        }]
    );
}

#[test]
fn refuses_a_release_without_sha256() {
    assert_eq!(
        verify(include_bytes!("../tests/no-sha256.InRelease"))
            .unwrap_err()
            .to_string(),
        "the InRelease, line 1: the field SHA256 is missing"
    );
}

fn mistake(field: &str) -> String {
    let text = format!("Date: Sat, 11 Jul 2026 10:10:10 UTC\n{field}\n");
    let stanza = control::one(&text).unwrap();
    Release::from_stanza(&stanza, Vec::new())
        .unwrap_err()
        .to_string()
}

#[test]
fn refuses_fields_that_are_malformed() {
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for bad in [
        format!("SHA256:\n {EMPTY} 0 ../../etc/passwd"),
        format!("SHA256:\n {EMPTY} 0 /etc/passwd"),
        format!("SHA256:\n {EMPTY} 0 a/../b"),
        format!("SHA256:\n {EMPTY} 0 a?b"),
        format!("SHA256:\n {EMPTY} -1 a"),
        format!("SHA256:\n {EMPTY} 99999999999999999999 a"),
        format!("SHA256:\n {EMPTY} 1"),
        format!("SHA256:\n {EMPTY} 1 a b"),
        "SHA256:\n e3b0 1 a".to_owned(),
        format!("SHA256:\n {EMPTY} 1 a\n {EMPTY} 2 a"),
    ] {
        assert!(mistake(&bad).starts_with("line 2: SHA256 says"), "{bad}");
    }
    let valid = format!("SHA256:\n {EMPTY} 1 a\nValid-Until: tomorrow");
    assert!(mistake(&valid).starts_with("line 4: Valid-Until says `tomorrow`"));
}

#[test]
fn undoes_the_escape_of_dashes() {
    let signed = cleartext::split(include_bytes!("../tests/dashes.asc")).unwrap();
    assert_eq!(
        signed.text,
        "- a list\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\ntrailing\r\nplain\r\n"
    );
    let keyring = Keyring::parse(KEYS).unwrap();
    assert_eq!(
        keyring.check(&signed.signatures[0], signed.text.as_bytes()),
        Ok(ARCHIVE.to_owned())
    );
}

#[test]
fn keyrings_are_binary_or_armored() {
    let archive = include_bytes!("../tests/archive.asc");
    let both = [archive.as_slice(), include_bytes!("../tests/stranger.asc")].concat();
    assert_eq!(Keyring::parse(KEYS).unwrap().len(), 4);
    assert_eq!(Keyring::parse(archive).unwrap().len(), 1);
    let keyring = Keyring::parse(&both).unwrap();
    assert_eq!(keyring.len(), 2);
    Release::verify(GOOD, &keyring).unwrap();
    Release::verify(include_bytes!("../tests/unknown.InRelease"), &keyring).unwrap();
    for bad in [
        &b""[..],
        b"key",
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
        GOOD,
        &KEYS[..20],
    ] {
        assert!(Keyring::parse(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn debians_keys_are_in_the_program() {
    // Automatic and stable keys of bullseye, bookworm and trixie, and those of their security suites.
    assert_eq!(Keyring::debian().unwrap().len(), 9);
}
