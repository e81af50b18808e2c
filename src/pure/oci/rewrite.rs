//! Manifests changed: what they refer to is replaced, everything else stays. The bytes are canonical, the digest is another.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::canonical;
use super::manifest::{Link, ManifestError};
use super::media;
use crate::pure::name::BlobDigest;

fn parse(bytes: &[u8]) -> Result<Value, ManifestError> {
    serde_json::from_slice(bytes).map_err(|source| ManifestError::Parse {
        what: "manifest",
        source,
    })
}

fn replace(descriptor: &mut Value, new: &BTreeMap<BlobDigest, Link>) -> bool {
    let Some(descriptor) = descriptor.as_object_mut() else {
        return false;
    };
    let digest = descriptor.get("digest").and_then(Value::as_str);
    let Some(link) = digest
        .and_then(|digest| digest.parse().ok())
        .and_then(|digest: BlobDigest| new.get(&digest))
    else {
        return false;
    };
    descriptor.insert("mediaType".to_owned(), json!(link.media_type));
    descriptor.insert("digest".to_owned(), json!(link.digest.to_string()));
    descriptor.insert("size".to_owned(), json!(link.size));
    true
}

/// A manifest or index with its layers, manifests and subject replaced; nothing if none of them is among `new`.
///
/// # Errors
/// [`ManifestError`] if it is no JSON, or has numbers that have no canonical form.
pub fn with_links(
    bytes: &[u8],
    new: &BTreeMap<BlobDigest, Link>,
) -> Result<Option<Vec<u8>>, ManifestError> {
    let mut document = parse(bytes)?;
    let mut changed = false;
    for list in ["layers", "manifests"] {
        let list = document.get_mut(list).and_then(Value::as_array_mut);
        for descriptor in list.into_iter().flatten() {
            changed |= replace(descriptor, new);
        }
    }
    if let Some(subject) = document.get_mut("subject") {
        changed |= replace(subject, new);
    }
    match changed {
        true => Ok(Some(canonical::to_vec(&document)?)),
        false => Ok(None),
    }
}

/// The digest of what a manifest speaks of (image specification, "Image Manifest Property Descriptions", `subject`).
pub fn subject(bytes: &[u8]) -> Option<BlobDigest> {
    let document = parse(bytes).ok()?;
    document
        .get("subject")?
        .get("digest")?
        .as_str()?
        .parse()
        .ok()
}

/// An index of referrers with one more; nothing if it is in it already. The entry says what the specification wants of it
/// (distribution specification, "Listing Referrers"): artifact type and annotations.
///
/// # Errors
/// As [`with_links`].
pub fn add_referrer(
    index: Option<&[u8]>,
    link: &Link,
    manifest: &[u8],
) -> Result<Option<Vec<u8>>, ManifestError> {
    let mut document = match index {
        Some(bytes) => parse(bytes)?,
        None => json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": []}),
    };
    let manifest = parse(manifest)?;
    let mut entry = Map::new();
    entry.insert("mediaType".to_owned(), json!(link.media_type));
    entry.insert("digest".to_owned(), json!(link.digest.to_string()));
    entry.insert("size".to_owned(), json!(link.size));
    let kind = manifest.get("artifactType");
    let kind = kind.or_else(|| manifest.get("config")?.get("mediaType"));
    if let Some(kind) = kind {
        entry.insert("artifactType".to_owned(), kind.clone());
    }
    if let Some(annotations) = manifest.get("annotations") {
        entry.insert("annotations".to_owned(), annotations.clone());
    }
    let Some(list) = document.get_mut("manifests").and_then(Value::as_array_mut) else {
        return Ok(None);
    };
    let digest = &entry["digest"];
    if list.iter().any(|known| known.get("digest") == Some(digest)) {
        return Ok(None);
    }
    list.push(Value::Object(entry));
    Ok(Some(canonical::to_vec(&document)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn links_are_replaced_and_all_else_stays() {
        let old = Link::to(media::LAYER, b"layer");
        let new = Link::to(media::LAYER_GZIP, b"packed");
        let manifest = json!({
            "schemaVersion": 2,
            "layers": [{"mediaType": old.media_type, "digest": old.digest.to_string(), "size": old.size, "annotations": {"a": "b"}}],
            "x-unknown": {"y": [1, 2]},
        });
        let bytes = serde_json::to_vec(&manifest).unwrap();
        assert_eq!(with_links(&bytes, &BTreeMap::new()).unwrap(), None);
        let changed = with_links(&bytes, &BTreeMap::from([(old.digest, new.clone())]))
            .unwrap()
            .unwrap();
        let changed: Value = serde_json::from_slice(&changed).unwrap();
        assert_eq!(
            changed["layers"][0]["digest"],
            json!(new.digest.to_string())
        );
        assert_eq!(changed["layers"][0]["size"], json!(new.size));
        assert_eq!(changed["layers"][0]["mediaType"], json!(media::LAYER_GZIP));
        assert_eq!(changed["layers"][0]["annotations"], json!({"a": "b"}));
        assert_eq!(changed["x-unknown"], manifest["x-unknown"]);
    }

    #[test]
    fn a_referrer_is_listed_once() {
        let manifest = br#"{"artifactType":"a/sbom","annotations":{"k":"v"},"subject":{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}"#;
        assert_eq!(subject(manifest), Some(BlobDigest::of("")));
        let link = Link::to(media::MANIFEST, manifest);
        let index = add_referrer(None, &link, manifest).unwrap().unwrap();
        let text = String::from_utf8(index.clone()).unwrap();
        assert!(text.contains(r#""artifactType":"a/sbom""#), "{text}");
        assert_eq!(add_referrer(Some(&index), &link, manifest).unwrap(), None);
    }
}
