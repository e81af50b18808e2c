//! The files of an image, all layers together, and what differs between two images.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

use crate::edge::store::{Store, StoreError};
use crate::pure::images::layer::ImagePath;
use crate::pure::name::BlobDigest;
use crate::pure::oci::image::{Compression, Image, compression, config_of, read};
use crate::pure::oci::received::ReceivedError;
use crate::pure::oci::{Link, ManifestError};

/// Why an image in a store cannot be looked into.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Received(#[from] ReceivedError),
    #[error("layer {digest} has the media type `{media_type}`, which forge cannot read")]
    MediaType {
        digest: BlobDigest,
        media_type: String,
    },
    #[error("layer {digest} cannot be read: {source}")]
    Layer {
        digest: BlobDigest,
        source: io::Error,
    },
}

/// Reads what describes an image.
///
/// # Errors
/// [`ContentsError`].
pub fn describe(store: &dyn Store, image: &Link) -> Result<Image, ContentsError> {
    let manifest = store.read(image.digest)?;
    let config = store.read(config_of(&manifest)?.digest)?;
    Ok(read(&manifest, &config)?)
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Found {
    pub kind: Kind,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    File { size: u64, digest: BlobDigest },
    Directory,
    Symlink(String),
    Hardlink(String),
    Other(String),
}

/// Everything in an image, by path.
pub type Files = BTreeMap<ImagePath, Found>;

/// Every file of an image as a container sees it: later layers hide earlier ones, whiteouts remove (OCI image specification,
/// "Whiteouts").
///
/// # Errors
/// [`ContentsError`].
pub fn files(store: &dyn Store, image: &Image) -> Result<Files, ContentsError> {
    let mut all = BTreeMap::new();
    for layer in &image.layers {
        let digest = layer.link.digest;
        let form = compression(&layer.link.media_type).ok_or_else(|| ContentsError::MediaType {
            digest,
            media_type: layer.link.media_type.clone(),
        })?;
        let blob = store.open(digest)?;
        let failed = |source| ContentsError::Layer { digest, source };
        let reader: Box<dyn Read> = match form {
            Compression::None => Box::new(blob),
            Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(blob)),
            Compression::Zstd => Box::new(zstd::Decoder::new(blob).map_err(failed)?),
        };
        add_layer(reader, &mut all).map_err(failed)?;
    }
    Ok(all)
}

fn add_layer(reader: impl Read, all: &mut BTreeMap<ImagePath, Found>) -> io::Result<()> {
    let mut archive = tar::Archive::new(reader);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let text = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        // The root itself, which some layers carry.
        if matches!(text.as_str(), "./" | "." | "/") {
            continue;
        }
        let path: ImagePath = text.parse().map_err(io::Error::other)?;
        if let Some(hidden) = path.file_name().strip_prefix(".wh.") {
            let parent = path.parent();
            let prefix = parent
                .as_ref()
                .map_or(String::new(), |parent| format!("{parent}/"));
            let gone = format!("{prefix}{hidden}");
            let opaque = hidden == ".wh..opq";
            all.retain(|path, _| {
                let path = path.as_str();
                let below = path
                    .strip_prefix(&gone)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                !(below || opaque && path.starts_with(&prefix))
            });
            continue;
        }
        let header = entry.header();
        let (mode, uid, gid) = (header.mode()?, header.uid()?, header.gid()?);
        let target = entry
            .link_name_bytes()
            .map(|name| String::from_utf8_lossy(&name).into_owned())
            .unwrap_or_default();
        let kind = match entry.header().entry_type() {
            tar::EntryType::Directory => Kind::Directory,
            tar::EntryType::Symlink => Kind::Symlink(target),
            tar::EntryType::Link => Kind::Hardlink(target),
            kind if kind.is_file() => {
                let size = entry.size();
                let mut hasher = Sha256::new();
                let mut buffer = vec![0; 128 * 1024];
                loop {
                    match entry.read(&mut buffer)? {
                        0 => break,
                        count => hasher.update(&buffer[..count]),
                    }
                }
                Kind::File {
                    size,
                    digest: BlobDigest::from_hasher(hasher),
                }
            }
            other => Kind::Other(format!("{other:?}")),
        };
        all.insert(
            path,
            Found {
                kind,
                mode: mode & 0o7777,
                uid,
                gid,
            },
        );
    }
    Ok(())
}

/// What differs at a path.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    pub path: ImagePath,
    pub old: Option<Found>,
    pub new: Option<Found>,
}

/// The paths at which two images differ, in order.
pub fn diff(old: &BTreeMap<ImagePath, Found>, new: &BTreeMap<ImagePath, Found>) -> Vec<Difference> {
    let paths: BTreeSet<&ImagePath> = old.keys().chain(new.keys()).collect();
    let difference = |path: &ImagePath| Difference {
        path: path.clone(),
        old: old.get(path).cloned(),
        new: new.get(path).cloned(),
    };
    paths
        .into_iter()
        .filter(|path| old.get(*path) != new.get(*path))
        .map(difference)
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn layer(entries: &[(&str, Option<&str>)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, text) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(text.map_or(0, |text| text.len() as u64));
            if text.is_none() {
                header.set_entry_type(tar::EntryType::Directory);
            }
            archive
                .append_data(&mut header, path, text.unwrap_or_default().as_bytes())
                .unwrap();
        }
        archive.into_inner().unwrap()
    }

    fn seen(layers: &[Vec<u8>]) -> BTreeMap<ImagePath, Found> {
        let mut all = BTreeMap::new();
        for layer in layers {
            add_layer(layer.as_slice(), &mut all).unwrap();
        }
        all
    }

    #[test]
    fn later_layers_hide_and_whiteouts_remove() {
        let base = layer(&[
            ("etc", None),
            ("etc/a", Some("1")),
            ("etc/b", Some("2")),
            ("etc/bc", Some("3")),
            ("srv", None),
            ("srv/x", Some("4")),
        ]);
        let over = layer(&[
            ("etc/.wh.b", Some("")),
            ("etc/a", Some("5")),
            ("srv/.wh..wh..opq", Some("")),
        ]);
        let (old, new) = (seen(std::slice::from_ref(&base)), seen(&[base, over]));
        let changed: Vec<String> = diff(&old, &new)
            .into_iter()
            .map(|difference| difference.path.to_string())
            .collect();
        assert_eq!(changed, ["etc/a", "etc/b", "srv/x"]);
        assert!(new.contains_key(&"etc/bc".parse::<ImagePath>().unwrap()));
        assert_eq!(diff(&new, &new), []);
    }
}
