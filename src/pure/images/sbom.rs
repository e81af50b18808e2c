//! What an image consists of: SPDX 2.3 in JSON.
//!
//! It follows from the pins alone: the same image has the same document, whoever asks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::pure::name::{Arch, BlobDigest, ImageName, ManifestDigest};
use crate::pure::oci::canonical::{self, CanonicalError};
use crate::pure::pins::{PackagePin, Pins, WheelPin};

/// Of documents about images whose suites have no date.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// What the document is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub image: &'a ImageName,
    pub arch: Arch,
    pub digest: ManifestDigest,
    /// Those of its base too.
    pub packages: &'a [PackagePin],
    pub wheels: &'a [WheelPin],
}

/// Escapes what has a meaning in a package URL (purl specification, "Character encoding").
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

/// The release that a suite belongs to: `bookworm` of `bookworm-security`.
fn codename(suite: &str) -> &str {
    suite.split(['-', '/']).next().unwrap_or(suite)
}

/// SPDX 2.3, section 7.2: letters, digits, `.` and `-`. Names of packages have `+` besides, and no capitals.
fn id(kind: &str, name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| match c {
            '+' => "-P".to_owned(),
            '_' => "-U".to_owned(),
            c if c.is_ascii_alphanumeric() || c == '.' || c == '-' => c.to_string(),
            c => format!("-X{:x}", u32::from(c)),
        })
        .collect();
    format!("SPDXRef-{kind}-{name}")
}

fn package(
    id: &str,
    name: &str,
    version: &str,
    file: Option<&str>,
    digest: &str,
    purl: &str,
) -> Value {
    let mut package = json!({
        "SPDXID": id,
        "name": name,
        "versionInfo": version,
        "supplier": "NOASSERTION",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "checksums": [{"algorithm": "SHA256", "checksumValue": digest}],
        "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl}],
    });
    if let Some(file) = file {
        package["packageFileName"] = json!(file);
    }
    package
}

/// `20260711T101010Z` as SPDX wants it (section 6.9); nothing for another text.
fn timestamp(date: &str) -> Option<String> {
    let part = |range: std::ops::Range<usize>| {
        date.get(range)
            .filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let right = date.len() == 16 && date.get(8..9) == Some("T") && date.get(15..) == Some("Z");
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let (hour, minute, second) = (part(9..11)?, part(11..13)?, part(13..15)?);
    right.then(|| format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z"))
}

/// When the newest of the suites that the packages come from was made: the document says nothing of a later time.
pub fn created(packages: &[PackagePin], pins: &Pins) -> String {
    packages
        .iter()
        .filter_map(|package| pins.suites.get(&package.suite))
        .filter_map(|suite| timestamp(&suite.date))
        .max()
        .unwrap_or_else(|| EPOCH.to_owned())
}

/// The document about an image, canonical.
///
/// # Errors
/// [`CanonicalError`], never in fact: there are texts alone in it.
pub fn encode(subject: &Subject<'_>, created: &str) -> Result<Vec<u8>, CanonicalError> {
    let name = format!("{}-{}", subject.image, subject.arch);
    encode_all(&name, std::slice::from_ref(subject), created)
}

/// The document about several images, canonical: it describes each, and names a package that several have once.
///
/// # Errors
/// As [`encode`].
pub fn encode_all(
    name: &str,
    subjects: &[Subject<'_>],
    created: &str,
) -> Result<Vec<u8>, CanonicalError> {
    let mut images = Vec::new();
    let mut packages = BTreeMap::new();
    let mut relations = Vec::new();
    let mut digests = String::new();
    for subject in subjects {
        let root = id("image", subject.image.as_str());
        digests.push_str(&subject.digest.to_string());
        relations.push(relation("SPDXRef-DOCUMENT", "DESCRIBES", &root));
        for (part, described) in parts(subject) {
            relations.push(relation(&root, "CONTAINS", &part));
            packages.insert(part, described);
        }
        images.push(image(subject, &root));
    }
    images.extend(packages.into_values());
    canonical::to_vec(&json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        // Unique, as section 6.5 wants it, and nowhere to be fetched.
        "documentNamespace": format!("https://forge.invalid/spdx/{name}-{}", BlobDigest::of(&digests).hex()),
        "creationInfo": {"created": created, "creators": ["Tool: forge"]},
        "packages": images,
        "relationships": relations,
    }))
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({
        "spdxElementId": from,
        "relationshipType": kind,
        "relatedSpdxElement": to,
    })
}

fn image(subject: &Subject<'_>, root: &str) -> Value {
    let Subject {
        image,
        arch,
        digest,
        ..
    } = subject;
    let purl = format!("pkg:oci/{image}@sha256%3A{}?arch={arch}", digest.hex());
    let mut described = package(
        root,
        image.as_str(),
        &digest.to_string(),
        None,
        &digest.hex(),
        &purl,
    );
    described["primaryPackagePurpose"] = json!("CONTAINER");
    described
}

/// What an image contains, each under an id that no other version of it has.
fn parts(subject: &Subject<'_>) -> Vec<(String, Value)> {
    let debs = subject.packages.iter().map(|pin| {
        let purl = format!(
            "pkg:deb/debian/{}@{}?arch={}&distro={}",
            escape(&pin.name),
            escape(&pin.version),
            pin.arch,
            codename(&pin.suite)
        );
        let part = id("deb", &format!("{}-{}", pin.name, pin.version));
        let file = pin.path.rsplit('/').next();
        let digest = pin.digest.hex();
        let described = package(&part, &pin.name, &pin.version, file, &digest, &purl);
        (part, described)
    });
    let wheels = subject.wheels.iter().map(|pin| {
        let purl = format!("pkg:pypi/{}@{}", escape(&pin.name), escape(&pin.version));
        let part = id("pypi", &format!("{}-{}", pin.name, pin.version));
        let file = Some(pin.file.as_str());
        let digest = pin.digest.hex();
        let described = package(&part, &pin.name, &pin.version, file, &digest, &purl);
        (part, described)
    });
    debs.chain(wheels).collect()
}
