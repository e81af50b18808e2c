//! Where rendered files stand on the host.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::json;

use crate::pure::name::{BlobDigest, SecretName};

/// Rendered files that containers mount, by content.
pub const FILES: &str = "/var/lib/forge/files";
/// Secrets and files that embed them: tmpfs, root only.
pub const SECRETS: &str = "/run/forge/secrets";
/// One file of a system, byte for byte.
#[derive(Clone, Debug)]
pub struct RenderedFile {
    /// `MODULE/NAME`; unique in a system.
    pub name: String,
    pub place: Place,
    /// `uid:gid`.
    pub owner: String,
    /// Octal.
    pub mode: String,
    pub bytes: Vec<u8>,
    pub digest: BlobDigest,
    /// The secrets whose placeholders stand in it; the host puts their values there, on tmpfs alone.
    pub secrets: BTreeSet<SecretName>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Place {
    /// At a path that contains its digest: what containers mount.
    Content { path: String },
    /// On tmpfs, at a path that contains the digest of all that it is made of.
    Sealed { path: String },
    /// At a path of its own on the host.
    Managed { path: String },
    /// A marked block in a file that the distribution owns.
    Block { path: String },
}

impl Place {
    pub fn path(&self) -> &str {
        match self {
            Self::Content { path }
            | Self::Sealed { path }
            | Self::Managed { path }
            | Self::Block { path } => path,
        }
    }
}

const DEFAULT_OWNER: &str = "0:0";
const DEFAULT_MODE: &str = "0644";

/// The content-addressed path of a file. Owner and mode are in it too where they are not the usual ones: two files with the same
/// bytes and other owners are two files.
pub fn content_path(digest: BlobDigest, owner: &str, mode: &str, base: &str) -> String {
    if owner == DEFAULT_OWNER && mode == DEFAULT_MODE {
        format!("{FILES}/{}/{base}", digest.hex())
    } else {
        format!(
            "{FILES}/{}/{}-{mode}/{base}",
            digest.hex(),
            owner.replace(':', "-")
        )
    }
}

/// The path on tmpfs of something made of a template and ciphertexts: it changes when any of them does, so that its readers restart.
pub fn sealed_path(
    template: Option<BlobDigest>,
    ciphertexts: &[(&SecretName, BlobDigest)],
    owner: &str,
    mode: &str,
    base: &str,
) -> String {
    // serde_json sorts the keys of an object, so these bytes are canonical.
    let of = json!({
        "template": template,
        "secrets": ciphertexts.iter().map(|(name, digest)| (name.to_string(), json!(digest))).collect::<serde_json::Map<_, _>>(),
        "owner": owner,
        "mode": mode,
    });
    format!("{SECRETS}/{}/{base}", BlobDigest::of(of.to_string()).hex())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_change_with_what_they_stand_for() {
        let (a, b) = (BlobDigest::of("a"), BlobDigest::of("b"));
        let name: SecretName = "x".parse().unwrap();
        let path =
            |template, secret| sealed_path(Some(template), &[(&name, secret)], "0:0", "0400", "f");
        assert_eq!(path(a, b), path(a, b));
        assert_ne!(path(a, b), path(b, b));
        assert_ne!(path(a, b), path(a, a));
        assert_ne!(
            content_path(a, "0:0", "0644", "f"),
            content_path(a, "70:70", "0644", "f")
        );
    }
}
