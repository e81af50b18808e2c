//! The archive that `docker load` reads (Docker image specification v1.2, "Combined Image JSON + Filesystem Changeset Format"), laid
//! over an OCI image layout: its `manifest.json` points to the blobs of the layout.
//!
//! Docker's graph driver wants this file, its containerd store prefers the layout and so keeps the manifest's digest.

use serde::Serialize;

use super::canonical;
use super::manifest::{ManifestError, children};

/// The name of the file.
pub const DOCKER_FILE: &str = "manifest.json";

#[derive(Serialize)]
struct Entry {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "Layers")]
    layers: Vec<String>,
    #[serde(rename = "RepoTags")]
    repo_tags: [String; 1],
}

/// The `manifest.json` of one image, given its manifest's bytes; `name` is `REPOSITORY:TAG`.
///
/// # Errors
/// [`ManifestError`] if the bytes are no image manifest.
pub fn docker_archive(
    media_type: &str,
    manifest: &[u8],
    name: &str,
) -> Result<Vec<u8>, ManifestError> {
    let mut paths = children(media_type, manifest)?
        .into_iter()
        .map(|link| format!("blobs/sha256/{}", link.digest.hex()));
    let entry = Entry {
        // A manifest's config is the first of its children.
        config: paths.next().unwrap_or_default(),
        layers: paths.collect(),
        repo_tags: [name.to_owned()],
    };
    Ok(canonical::to_vec(&[entry])?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pure::oci::manifest::encode_artifact;
    use crate::pure::oci::{Link, media};
    use std::collections::BTreeMap;

    #[test]
    fn points_to_the_blobs_of_the_layout() {
        let link = |text: &str| {
            Link::to("a/b", text.as_bytes())
                .descriptor(&BTreeMap::new())
                .unwrap()
        };
        let manifest = encode_artifact("a/b", link("config"), vec![link("1"), link("2")]).unwrap();
        let bytes = docker_archive(media::MANIFEST, &manifest, "example.invalid/web:1").unwrap();
        let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let path = |text: &str| {
            format!(
                "blobs/sha256/{}",
                crate::pure::name::BlobDigest::of(text).hex()
            )
        };
        assert_eq!(
            json,
            serde_json::json!([{ "Config": path("config"), "Layers": [path("1"), path("2")], "RepoTags": ["example.invalid/web:1"] }])
        );
    }
}
