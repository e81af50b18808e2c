#![allow(clippy::unwrap_used)]

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::pure::config::from_text::project;
use crate::pure::config::project::{ProjectText, TextFile};
use crate::pure::text::{Diagnostics, SourceId, Sources};

fn file(text: &str) -> TextFile {
    TextFile {
        bytes: Cow::Owned(text.as_bytes().to_vec()),
        embedded: false,
    }
}

/// Reads a lock of a project whose images are those that it names.
fn read_back(lock: &str, images: &[&str]) -> (Pins, Vec<String>) {
    let mut text = ProjectText::default();
    text.files
        .insert("forge.toml".to_owned(), file("[project]\nname = 'a'\n"));
    for image in images {
        text.files.insert(
            format!("images/{image}/image.toml"),
            file("[image]\nsummary = 'A'\n[registry]\nrepository = 'docker.io/a/b'\ntag = '1'\n"),
        );
    }
    text.files.insert(LOCK.to_owned(), file(lock));
    let (mut sources, mut diagnostics) = (Sources::default(), Diagnostics::default());
    let project = project::read(&text, &mut sources, &mut diagnostics);
    let pins = read(&text, &project, &mut sources, &mut diagnostics);
    let said = diagnostics
        .iter()
        .map(|diagnostic| format!("{} {}", diagnostic.code, diagnostic.message))
        .collect();
    (pins, said)
}

fn nowhere() -> Span {
    let id: SourceId = Sources::default().add("a", "");
    Span::new(id, 0..0)
}

fn package(name: &str, version: &str) -> PackagePin {
    PackagePin {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: "amd64".to_owned(),
        suite: "bookworm".to_owned(),
        path: format!("pool/main/{name}_{version}.deb"),
        size: 1000,
        digest: BlobDigest::of(format!("{name} {version}")),
    }
}

fn recipe(packages: Vec<PackagePin>) -> Pin {
    let build = BuildPin {
        digest: ManifestDigest::of(format!("{packages:?}")),
        layers: vec![BlobDigest::of("l")],
        packages,
        wheels: Vec::new(),
    };
    Pin::Recipe(RecipePin {
        at: nowhere(),
        inputs: BlobDigest::of("i"),
        builds: [(Arch::Amd64, build)].into(),
    })
}

fn pins(all: Vec<(&str, Pin)>) -> Pins {
    Pins {
        all: all
            .into_iter()
            .map(|(name, pin)| (name.parse().unwrap(), pin))
            .collect(),
        suites: [(
            "bookworm".to_owned(),
            SuitePin {
                date: "20260711T101010Z".to_owned(),
            },
        )]
        .into(),
        ..Pins::default()
    }
}

#[test]
fn a_lock_is_written_as_people_review_it() {
    let mut all = pins(vec![
        (
            "db",
            recipe(vec![
                package("libc6", "2.36-9"),
                package("dash", "0.5.12-2"),
            ]),
        ),
        (
            "web",
            Pin::Registry(RegistryPin {
                at: nowhere(),
                repository: "docker.io/library/caddy".to_owned(),
                tag: "2.10".to_owned(),
                digest: ManifestDigest::of("a"),
            }),
        ),
    ]);
    all.suites.insert(
        "trixie".to_owned(),
        SuitePin {
            date: "20260711T101010Z".to_owned(),
        },
    );
    all.prune();
    insta::assert_snapshot!(to_text(&all));
}

#[test]
fn what_shares_a_name_is_still_told_apart() {
    let (first, mut second) = (package("a1", "1"), package("a1", "1"));
    second.digest = BlobDigest::of("other");
    let all = pins(vec![
        ("a", recipe(vec![first.clone()])),
        ("b", recipe(vec![second.clone()])),
    ]);
    let text = to_text(&all);
    let (read, said) = read_back(&text, &["a", "b"]);
    assert!(said.is_empty(), "{said:?}");
    assert_eq!(read.all["a"].packages().next(), Some(&first));
    assert_eq!(read.all["b"].packages().next(), Some(&second));
    // The short name alone no longer says which.
    let text = text.replace(&format!(" bookworm {}", second.digest), "");
    let (_, said) = read_back(&text, &["a", "b"]);
    assert_eq!(
        said,
        ["F0408 several entries are package `a1 1 amd64` of image `b`"]
    );
}

#[test]
fn mistakes_spoil_the_images_that_they_concern() {
    let whole = to_text(&pins(vec![
        ("a", recipe(vec![package("a1", "1")])),
        ("b", recipe(vec![package("b1", "1")])),
    ]));
    let digest = BlobDigest::of("a1 1").hex();
    for (from, to, wanted) in [
        ("\"a1 1 amd64\"", "\"a1 2 amd64\"", "F0408"),
        (&digest, "A", "F0004"),
        ("name = \"a1\"", "name = \"\"", "F0004"),
        ("inputs = \"sha256:", "inputs = \"sha512:", "F0404"),
        ("pool/main/a1_1.deb", "pool/../../a", "F0004"),
        ("pool/main/a1_1.deb", "/pool/a", "F0004"),
    ] {
        let text = whole.replacen(from, to, 1);
        assert_ne!(text, whole, "{from}");
        let (pins, said) = read_back(&text, &["a", "b"]);
        assert!(said[0].starts_with(wanted), "{from}: {said:?}");
        assert!(!pins.all.contains_key("a") && pins.may_hold("a"), "{from}");
    }
    let (pins, said) = read_back(
        &whole.replace(
            "[[suite]]\nname = \"bookworm\"",
            "[[suite]]\nname = \"trixie\"",
        ),
        &["a", "b"],
    );
    assert!(pins.all.is_empty());
    assert!(said[0].contains("is of the suite `bookworm`"), "{said:?}");
}

#[test]
fn what_nothing_needs_is_told() {
    let mut text = to_text(&pins(vec![("a", recipe(vec![package("a1", "1")]))]));
    text.push_str("\n[[suite]]\nname = \"trixie\"\ndate = \"20260711T101010Z\"\n");
    let mut more = package("c1", "1");
    more.digest = BlobDigest::of("c");
    let other = to_text(&pins(vec![("c", recipe(vec![more]))]));
    text.push_str(&other[other.find("[[package]]").unwrap()..]);
    let (_, said) = read_back(&text, &["a"]);
    assert_eq!(
        said,
        [
            "F0405 the lock holds the package `c1 1 amd64`, which no image of it is made of",
            "F0405 the lock holds the suite `trixie`, which no image of it is made of",
        ]
    );
}

#[test]
fn a_difference_names_versions_and_sizes() {
    let old = pins(vec![
        (
            "db",
            recipe(vec![package("libc6", "2.36-9"), package("perl", "5.36")]),
        ),
        ("gone", recipe(vec![package("dash", "1")])),
    ]);
    let new = pins(vec![
        (
            "db",
            recipe(vec![package("libc6", "2.36-10"), package("dash", "1")]),
        ),
        ("web", recipe(Vec::new())),
    ]);
    let changes = diff(&old, &new);
    let db = &changes.images[0];
    let said: Vec<String> = db
        .packages
        .iter()
        .map(|change| format!("{} {:?} {:?}", change.name, change.old, change.new))
        .collect();
    assert_eq!(
        said,
        [
            "dash None Some(\"1\")",
            "libc6 Some(\"2.36-9\") Some(\"2.36-10\")",
            "perl Some(\"5.36\") None",
        ]
    );
    assert_eq!((db.old_size, db.new_size), (2000, 2000));
    // The other image had dash already.
    assert_eq!(changes.to_fetch, 1000);
    assert!(changes.images[1].removed && changes.images[2].added);
    assert_eq!(diff(&new, &new), Changes::default());
}

fn packages() -> impl Strategy<Value = Vec<PackagePin>> {
    let one = (
        "[a-z][a-z0-9+.-]{1,8}",
        "[0-9][0-9.:~+-]{0,6}",
        "[a-z]{1,3}",
        0u64..1_000_000,
    );
    prop::collection::vec(one, 0..6).prop_map(|all| {
        let unique: BTreeMap<String, PackagePin> = all
            .into_iter()
            .map(|(name, version, suite, size)| {
                let pin = PackagePin {
                    path: format!("pool/{name}_{size}.deb"),
                    digest: BlobDigest::of(format!("{name} {version} {suite} {size}")),
                    arch: "all".to_owned(),
                    name: name.clone(),
                    version,
                    suite,
                    size,
                };
                (name, pin)
            })
            .collect();
        unique.into_values().rev().collect()
    })
}

fn wheels() -> impl Strategy<Value = Vec<WheelPin>> {
    let one = ("[a-z]{1,8}", "[0-9](\\.[0-9]){0,2}", any::<u32>());
    prop::collection::vec(one, 0..3).prop_map(|all| {
        let unique: BTreeMap<String, WheelPin> = all
            .into_iter()
            .map(|(name, version, size)| {
                let file = format!("{name}-{version}-py3-none-any.whl");
                let pin = WheelPin {
                    digest: BlobDigest::of(format!("{file} {size}")),
                    size: size.into(),
                    file,
                    version,
                    name: name.clone(),
                };
                (name, pin)
            })
            .collect();
        unique.into_values().collect()
    })
}

fn any_pin() -> impl Strategy<Value = Pin> {
    let registry = ("[ -~]{0,12}", "[ -~é\"\\\\]{0,8}").prop_map(|(repository, tag)| {
        Pin::Registry(RegistryPin {
            at: nowhere(),
            digest: ManifestDigest::of(&tag),
            repository,
            tag,
        })
    });
    let build = (packages(), wheels(), any::<u8>()).prop_map(|(packages, wheels, seed)| BuildPin {
        digest: ManifestDigest::of([seed]),
        layers: (0..seed % 4).map(|layer| BlobDigest::of([layer])).collect(),
        packages,
        wheels,
    });
    let builds = prop::collection::btree_map(prop::sample::select(Arch::ALL.to_vec()), build, 0..3);
    let recipe = (builds, any::<u8>()).prop_map(|(builds, seed)| {
        Pin::Recipe(RecipePin {
            at: nowhere(),
            inputs: BlobDigest::of([seed]),
            builds,
        })
    });
    prop_oneof![registry, recipe]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(all in prop::collection::btree_map("[a-z]{1,4}", any_pin(), 0..5)) {
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        let mut pins = Pins {
            all: all.iter().map(|(name, pin)| (name.parse().unwrap(), pin.clone())).collect(),
            ..Pins::default()
        };
        for suite in pins.all.values().flat_map(Pin::packages).map(|package| package.suite.clone()).collect::<Vec<_>>() {
            pins.suites.insert(suite, SuitePin { date: "20260711T101010Z".to_owned() });
        }
        let text = to_text(&pins);
        let (read, said) = read_back(&text, &names);
        prop_assert!(said.is_empty(), "{:?}\n{}", said, text);
        prop_assert_eq!(&read.suites, &pins.suites);
        prop_assert_eq!(diff(&pins, &read), Changes::default());
        prop_assert_eq!(diff(&read, &pins), Changes::default());
        prop_assert_eq!(to_text(&read), text);
    }
}
