//! What a bundle guarantees, checked on both directions at once.

use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::pure::name::BundleDigest;
use crate::pure::oci::{Link, ManifestError, media};

pub(super) fn part(kind: PartKind, title: &str, bytes: &str) -> Part {
    Part::new(kind, title.parse().unwrap(), bytes.into())
}

fn pin(name: &str) -> ImagePin {
    ImagePin {
        name: name.parse().unwrap(),
        repository: format!("docker.io/library/{name}"),
        tag: "1".to_owned(),
        digest: ManifestDigest::of(name),
    }
}

fn draft() -> Draft {
    Draft {
        host: "web".parse().unwrap(),
        system: json!({"services": {"caddy": {"cpus": 2}}}),
        parts: vec![
            part(PartKind::Secret, "secrets/token", "ciphertext"),
            part(PartKind::File, "files/caddy/Caddyfile", ":80"),
            part(PartKind::File, "files/caddy/copy", ":80"),
        ],
        images: vec![pin("redis"), pin("caddy")],
    }
}

type Blobs = BTreeMap<BlobDigest, Vec<u8>>;

fn blobs(sealed: &Sealed) -> Blobs {
    sealed
        .blobs()
        .map(|(digest, bytes)| (digest, bytes.to_vec()))
        .collect()
}

fn open(digest: BundleDigest, blobs: &Blobs) -> Result<Opened, OpenError<Infallible>> {
    Opened::read(digest, |blob, _| {
        Ok(blobs.get(&blob).cloned().unwrap_or_default())
    })
}

/// The bundle that has this manifest, with the other blobs as they are.
fn forged(sealed: &Sealed, change: impl FnOnce(&mut Value)) -> OpenError<Infallible> {
    let mut manifest: Value = serde_json::from_slice(sealed.manifest()).unwrap();
    change(&mut manifest);
    let bytes = crate::pure::oci::canonical::to_vec(&manifest).unwrap();
    let digest = BundleDigest::of(&bytes);
    let mut all = blobs(sealed);
    all.insert(digest.blob(), bytes);
    open(digest, &all).unwrap_err()
}

#[test]
fn the_manifest_is_the_documented_one() {
    let sealed = draft().seal().unwrap();
    // A change of these bytes is a change of the format: every bundle gets another digest, and every host is told to switch.
    // Then `docs/format/bundle.md` and perhaps the version in the media types change too.
    let manifest = [
        r#"{"artifactType":"application/vnd.forge.system.v1+json","#,
        r#""config":{"digest":"sha256:f6c31b676123ac1de1302658033810437e321fe5ceca71e345cf2bb8e5637b42","#,
        r#""mediaType":"application/vnd.forge.system.config.v1+json","size":352},"#,
        r#""layers":[{"annotations":{"org.opencontainers.image.title":"files/caddy/Caddyfile"},"#,
        r#""digest":"sha256:2923282c55e365dbaa357f78e4bcf1da43f589f9319841df271c58a5a765b0e9","#,
        r#""mediaType":"application/vnd.forge.file.v1","size":3},"#,
        r#"{"annotations":{"org.opencontainers.image.title":"files/caddy/copy"},"#,
        r#""digest":"sha256:2923282c55e365dbaa357f78e4bcf1da43f589f9319841df271c58a5a765b0e9","#,
        r#""mediaType":"application/vnd.forge.file.v1","size":3},"#,
        r#"{"annotations":{"org.opencontainers.image.title":"secrets/token"},"#,
        r#""digest":"sha256:305531dcc50ebca31cf1d5b31e9fc76ed51f66b3b6dd5a030c6539ae6532f979","#,
        r#""mediaType":"application/vnd.forge.secret.v1.age","size":10}],"#,
        r#""mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}"#,
    ];
    assert_eq!(
        std::str::from_utf8(sealed.manifest()).unwrap(),
        manifest.concat()
    );
    let config = sealed
        .blobs()
        .find(|(_, bytes)| bytes.starts_with(b"{\"host\""))
        .unwrap()
        .1;
    let config: Value = serde_json::from_slice(config).unwrap();
    let image = |name: &str| json!({"digest": ManifestDigest::of(name), "repository": format!("docker.io/library/{name}"), "tag": "1"});
    let wanted = json!({"host": "web", "images": {"caddy": image("caddy"), "redis": image("redis")}, "system": draft().system});
    assert_eq!(config, wanted);
}

#[test]
fn order_does_not_matter_and_equal_blobs_are_kept_once() {
    let sealed = draft().seal().unwrap();
    let mut other = draft();
    other.parts.reverse();
    other.images.reverse();
    assert_eq!(other.seal().unwrap(), sealed);
    // Config, ciphertext, one `:80`, manifest.
    assert_eq!(sealed.blobs().count(), 4);
    assert_eq!(sealed.closure().blobs.len(), 4);
    assert_eq!(sealed.closure().images.len(), 2);
    for (digest, bytes) in sealed.blobs() {
        assert_eq!(BlobDigest::of(bytes), digest);
        assert_eq!(sealed.closure().blobs[&digest], bytes.len() as u64);
    }
}

#[test]
fn everything_that_differs_changes_the_digest() {
    let digest = draft().seal().unwrap().digest();
    let changes: [fn(&mut Draft); 7] = [
        |d| d.host = "db".parse().unwrap(),
        |d| d.system = json!({}),
        |d| d.parts[0].bytes.push(b'\n'),
        |d| d.parts[0].title = "secrets/other".parse().unwrap(),
        |d| d.parts[0].kind = PartKind::File,
        |d| {
            drop(
                d.parts[0]
                    .annotations
                    .insert("mode".to_owned(), "0600".to_owned()),
            )
        },
        |d| d.images[0].digest = ManifestDigest::of("newer"),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut draft = draft();
        change(&mut draft);
        assert_ne!(draft.seal().unwrap().digest(), digest, "change {number}");
    }
}

#[test]
fn a_draft_that_contradicts_itself_is_not_sealed() {
    let sealed = |change: fn(&mut Draft)| {
        let mut draft = draft();
        change(&mut draft);
        draft.seal().unwrap_err()
    };
    let error = sealed(|d| d.parts.push(d.parts[0].clone()));
    assert!(matches!(error, SealError::DuplicateTitle(_)), "{error}");
    let error = sealed(|d| d.parts.push(part(PartKind::File, "files/caddy", "")));
    assert!(matches!(error, SealError::TitleWithin { .. }), "{error}");
    let error = sealed(|d| {
        drop(
            d.parts[0]
                .annotations
                .insert(media::TITLE.to_owned(), "x".to_owned()),
        )
    });
    assert!(
        matches!(error, SealError::ReservedAnnotation { .. }),
        "{error}"
    );
    let error = sealed(|d| d.images.push(pin("redis")));
    assert!(matches!(error, SealError::DuplicateImage(_)), "{error}");
    let error = sealed(|d| d.system = json!({"cpus": 0.5}));
    assert_eq!(
        error.to_string(),
        "the system cannot be written down: canonical JSON cannot hold the value at `/system/cpus`: it is a floating-point number; \
         use an integer or a string"
    );
}

#[test]
fn bytes_that_do_not_match_are_refused() {
    let sealed = draft().seal().unwrap();
    for (digest, bytes) in sealed.blobs() {
        let mut all = blobs(&sealed);
        let mut wrong = bytes.to_vec();
        wrong[0] ^= 1;
        all.insert(digest, wrong);
        let error = open(sealed.digest(), &all).unwrap_err();
        assert!(
            matches!(error, OpenError::Digest { expected, .. } if expected == digest),
            "{error}"
        );
        if digest != sealed.digest().blob() {
            all.insert(digest, bytes[1..].to_vec());
            let error = open(sealed.digest(), &all).unwrap_err();
            assert!(
                matches!(error, OpenError::Size { digest: bad, .. } if bad == digest),
                "{error}"
            );
        }
    }
}

#[test]
fn another_version_is_refused_with_what_to_do() {
    let sealed = draft().seal().unwrap();
    let error = forged(&sealed, |m| {
        m["artifactType"] = json!("application/vnd.forge.system.v2+json")
    });
    assert!(
        matches!(
            error,
            OpenError::Version {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .ends_with("use the forge that built the bundle, or a newer one"),
        "{error}"
    );
    let error = forged(&sealed, |m| {
        m["artifactType"] = json!("application/vnd.oci.image.config.v1+json")
    });
    assert!(matches!(error, OpenError::NotABundle { .. }), "{error}");
    let error = forged(&sealed, |m| {
        drop(m.as_object_mut().unwrap().remove("artifactType"))
    });
    assert!(
        matches!(
            error,
            OpenError::NotABundle {
                artifact_type: None,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_manifest_that_forge_would_not_write_is_refused() {
    let sealed = draft().seal().unwrap();
    let error = forged(&sealed, |m| {
        m["config"]["mediaType"] = json!(media::IMAGE_CONFIG)
    });
    assert!(matches!(error, OpenError::ConfigType { .. }), "{error}");
    let error = forged(&sealed, |m| {
        m["layers"][0]["mediaType"] = json!("application/vnd.forge.file.v2")
    });
    assert!(matches!(error, OpenError::PartType { .. }), "{error}");
    let error = forged(&sealed, |m| {
        drop(
            m["layers"][0]
                .as_object_mut()
                .unwrap()
                .remove("annotations"),
        )
    });
    assert!(matches!(error, OpenError::NoTitle { .. }), "{error}");
    let error = forged(&sealed, |m| {
        m["layers"][0]["annotations"][media::TITLE] = json!("../../etc/passwd")
    });
    assert!(matches!(error, OpenError::Title { .. }), "{error}");
    for change in [
        (|m| m["layers"].as_array_mut().unwrap().reverse()) as fn(&mut Value),
        |m| m["layers"][1] = m["layers"][0].clone(),
        |m| m["surprise"] = json!(1),
        |m| m["layers"][0]["urls"] = json!(["https://example.org"]),
    ] {
        let error = forged(&sealed, change);
        assert!(matches!(error, OpenError::NotCanonical { .. }), "{error}");
    }
    // The same JSON with a space in it is another manifest, and not one of forge's.
    let mut spaced = sealed.manifest().to_vec();
    spaced.push(b' ');
    let digest = BundleDigest::of(&spaced);
    let mut all = blobs(&sealed);
    all.insert(digest.blob(), spaced);
    let error = open(digest, &all).unwrap_err();
    assert!(matches!(error, OpenError::NotCanonical { .. }), "{error}");
}

#[test]
fn a_package_leads_to_its_bundle() {
    let sealed = draft().seal().unwrap();
    let alone = sealed.package_index(&[]).unwrap();
    assert_eq!(
        (alone.root.digest, alone.index),
        (sealed.digest().blob(), None)
    );

    let images = ["b", "a", "b"].map(|text| Embedded {
        pinned: BlobDigest::of(format!("index of {text}")).as_manifest(),
        manifest: Link::to(media::MANIFEST, text.as_bytes()),
    });
    let package = sealed.package_index(&images).unwrap();
    let index = package.index.unwrap();
    assert_eq!(package.root.digest, BlobDigest::of(&index));
    assert_eq!(
        sealed.package_index(&images[1..]).unwrap().root,
        package.root
    );
    let mut listed = embedded(&index).unwrap();
    listed.sort();
    let mut known = images[1..].to_vec();
    known.sort();
    assert_eq!(listed, known);

    let read = |link: &Link| {
        Ok::<_, ManifestError>(if link.digest == package.root.digest {
            index.clone()
        } else {
            sealed.manifest().to_vec()
        })
    };
    assert_eq!(
        system_manifest(&package.root, read).unwrap(),
        Some(sealed.digest())
    );
    // Other tools drop the artifact type when they copy an entry.
    let plain = Link {
        artifact_type: None,
        ..alone.root
    };
    assert_eq!(
        system_manifest(&plain, read).unwrap(),
        Some(sealed.digest())
    );
    let other = Link::to("text/plain", b"");
    assert_eq!(system_manifest(&other, read).unwrap(), None);
}

fn drafts() -> impl Strategy<Value = Draft> {
    let kind = prop_oneof![Just(PartKind::File), Just(PartKind::Secret)];
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    let annotations = prop::collection::btree_map("[a-z]{1,8}", any::<String>(), 0..3);
    // `.d` and `.f` keep one title from being a folder of another.
    let part = (
        "([a-z]{1,3}\\.d/){0,2}[a-z\u{e4}]{1,6}\\.f",
        kind,
        bytes,
        annotations,
    );
    let parts = prop::collection::vec(part, 0..12).prop_map(|parts| {
        let by_title: BTreeMap<_, _> = parts
            .into_iter()
            .map(|part| (part.0.clone(), part))
            .collect();
        let part = |(title, kind, bytes, annotations): (String, _, _, _)| Part {
            annotations,
            ..Part::new(kind, title.parse().unwrap(), bytes)
        };
        by_title.into_values().map(part).collect::<Vec<_>>()
    });
    let images = prop::collection::btree_set("[a-z]{1,6}", 0..4);
    let system = prop::collection::btree_map(any::<String>(), any::<i32>(), 0..6);
    ("[a-z]{1,10}", system, parts, images).prop_map(|(host, system, parts, images)| Draft {
        host: host.parse().unwrap(),
        system: json!(system),
        parts,
        images: images.iter().map(|name| pin(name)).collect(),
    })
}

proptest! {
    #[test]
    fn what_is_opened_is_what_was_sealed(draft in drafts()) {
        let sealed = draft.clone().seal().unwrap();
        let opened = open(sealed.digest(), &blobs(&sealed)).unwrap();
        prop_assert_eq!(opened.closure(), sealed.closure());
        prop_assert_eq!(opened.digest(), sealed.digest());
        for part in &draft.parts {
            prop_assert_eq!(opened.part(part.title.as_str()), Some(part));
        }
        let back = opened.into_draft();
        prop_assert_eq!(&back, &draft);
        prop_assert_eq!(back.seal().unwrap(), sealed);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let digest = BundleDigest::of(&bytes);
        prop_assert!(open(digest, &BTreeMap::from([(digest.blob(), bytes)])).is_err());
    }
}
