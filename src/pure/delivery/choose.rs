//! Which blob travels how, and in which order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Encoding, Holding};
use crate::pure::name::BlobDigest;
use crate::pure::oci::manifest::parse_manifest;
use crate::pure::oci::{Link, ManifestError, media};

/// Below this, packing costs more than it spares.
const TINY: u64 = 128;
/// Below this, a blob is sent before the large ones, and is worth no patch.
const SMALL: u64 = 64 << 10;

/// A blob of an image: the manifest itself, its config or a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub blob: BlobDigest,
    pub size: u64,
    /// What the layer holds ([`media::LAYER_KEY`]).
    pub key: Option<String>,
    /// True if it is compressed already, as layers from registries are.
    pub packed: bool,
}

/// A blob that is to travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    pub blob: BlobDigest,
    pub size: u64,
    pub encoding: Encoding,
}

/// All blobs of an image: its manifest, its config, and its layers from the most stable to the most volatile.
///
/// # Errors
/// [`ManifestError`] if these bytes are no manifest of an image.
pub fn pieces(manifest: &Link, bytes: &[u8]) -> Result<Vec<Piece>, ManifestError> {
    let parsed = parse_manifest(bytes)?;
    let config = Link::try_from(parsed.config())?;
    let plain = |link: &Link| Piece {
        blob: link.digest,
        size: link.size,
        key: None,
        packed: false,
    };
    let mut all = vec![plain(manifest), plain(&config)];
    for descriptor in parsed.layers() {
        let annotations = descriptor.annotations().as_ref();
        let link = Link::try_from(descriptor)?;
        all.push(Piece {
            key: annotations.and_then(|all| all.get(media::LAYER_KEY).cloned()),
            packed: is_packed(&link.media_type),
            ..plain(&link)
        });
    }
    Ok(all)
}

fn is_packed(media_type: &str) -> bool {
    matches!(
        media_type,
        media::LAYER_GZIP | media::LAYER_ZSTD | media::DOCKER_LAYER
    )
}

/// Of these pieces, those that the host is missing, each once: first the small ones, then the others in the order in which they were
/// given. `here` has the sizes of the blobs that the laptop has: a patch needs its base on both sides.
pub fn choose(
    pieces: impl IntoIterator<Item = Piece>,
    holding: &Holding,
    here: &BTreeMap<BlobDigest, u64>,
) -> Vec<Choice> {
    let mut seen = BTreeSet::new();
    let mut choices: Vec<Choice> = pieces
        .into_iter()
        .filter(|piece| holding.missing.contains(&piece.blob) && seen.insert(piece.blob))
        .map(|piece| Choice {
            blob: piece.blob,
            size: piece.size,
            encoding: encoding(&piece, holding, here),
        })
        .collect();
    // Stable: so the order within each half is the given one.
    choices.sort_by_key(|choice| choice.size >= SMALL);
    choices
}

fn encoding(piece: &Piece, holding: &Holding, here: &BTreeMap<BlobDigest, u64>) -> Encoding {
    if piece.packed || piece.size < TINY {
        return Encoding::Identity;
    }
    let bases = piece.key.as_ref().and_then(|key| holding.layers.get(key));
    let base = bases
        .into_iter()
        .flatten()
        .filter(|base| **base != piece.blob && !holding.missing.contains(base))
        .filter_map(|base| Some((*base, *here.get(base)?)))
        .filter(|(_, size)| *size > 0)
        // Of several versions, the one of the most similar size is the nearest as a rule. The larger of two: it has more to refer to.
        .min_by_key(|(base, size)| (size.abs_diff(piece.size), Reverse(*size), *base));
    match base {
        Some((base, _)) if piece.size >= SMALL => Encoding::Patch { base },
        _ => Encoding::Zstd,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LARGE: u64 = 10 << 20;

    fn digest(text: &str) -> BlobDigest {
        BlobDigest::of(text)
    }

    fn layer(name: &str, key: &str, size: u64) -> Piece {
        Piece {
            blob: digest(name),
            size,
            key: Some(key.to_owned()),
            packed: false,
        }
    }

    fn holding(missing: &[&str], layers: &[(&str, &[&str])]) -> Holding {
        Holding {
            missing: missing.iter().map(|name| digest(name)).collect(),
            layers: layers
                .iter()
                .map(|(key, names)| {
                    let names = names.iter().map(|name| digest(name)).collect();
                    ((*key).to_owned(), names)
                })
                .collect(),
            partial: BTreeMap::new(),
        }
    }

    fn here(blobs: &[(&str, u64)]) -> BTreeMap<BlobDigest, u64> {
        let sizes = blobs.iter();
        sizes.map(|(name, size)| (digest(name), *size)).collect()
    }

    fn one(piece: Piece, holding: &Holding, here: &BTreeMap<BlobDigest, u64>) -> Encoding {
        let choices = choose([piece], holding, here);
        assert_eq!(choices.len(), 1);
        choices[0].encoding
    }

    #[test]
    fn a_layer_is_patched_against_the_most_similar_one_that_both_sides_have() {
        let host = holding(
            &["new"],
            &[("deb/a", &["far", "near", "gone"]), ("deb/b", &["other"])],
        );
        let laptop = here(&[
            ("far", LARGE / 2),
            ("near", LARGE - 1),
            ("other", LARGE),
            ("mine", LARGE),
        ]);
        assert_eq!(
            one(layer("new", "deb/a", LARGE), &host, &laptop),
            Encoding::Patch {
                base: digest("near")
            }
        );
        // Not against another package, what the host lacks, or what the laptop lacks.
        assert_eq!(
            one(layer("new", "deb/c", LARGE), &host, &laptop),
            Encoding::Zstd
        );
        assert_eq!(
            one(
                layer("new", "deb/a", LARGE),
                &host,
                &here(&[("mine", LARGE)])
            ),
            Encoding::Zstd
        );
        let lies = holding(&["new", "near"], &[("deb/a", &["near"])]);
        assert_eq!(
            one(layer("new", "deb/a", LARGE), &lies, &laptop),
            Encoding::Zstd
        );
    }

    #[test]
    fn what_is_small_or_packed_is_not_patched() {
        let host = holding(&["new"], &[("deb/a", &["old"])]);
        let laptop = here(&[("old", LARGE)]);
        let encode = |piece| one(piece, &host, &laptop);
        assert_eq!(encode(layer("new", "deb/a", TINY - 1)), Encoding::Identity);
        assert_eq!(encode(layer("new", "deb/a", SMALL - 1)), Encoding::Zstd);
        let packed = Piece {
            packed: true,
            ..layer("new", "deb/a", LARGE)
        };
        assert_eq!(encode(packed), Encoding::Identity);
    }

    #[test]
    fn only_what_is_missing_goes_each_once_the_small_before_the_large() {
        let host = holding(&["base", "app", "config", "manifest"], &[]);
        let pieces = [
            layer("base", "deb/base", LARGE),
            layer("there", "deb/there", LARGE),
            layer("config", "x", 300),
            layer("app", "deb/app", SMALL),
            layer("base", "deb/base", LARGE),
            layer("manifest", "x", 20),
        ];
        let order: Vec<BlobDigest> = choose(pieces, &host, &BTreeMap::new())
            .iter()
            .map(|choice| choice.blob)
            .collect();
        assert_eq!(order, ["config", "manifest", "base", "app"].map(digest));
    }

    #[test]
    fn an_image_is_its_manifest_its_config_and_its_layers_in_their_order() {
        let descriptor = |media_type: &str, name: &str, more: &str| {
            format!(
                r#"{{"mediaType":"{media_type}","digest":"{}","size":7{more}}}"#,
                digest(name)
            )
        };
        let bytes = format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{},{}]}}"#,
            descriptor(media::IMAGE_CONFIG, "config", ""),
            descriptor(
                media::LAYER,
                "low",
                r#","annotations":{"forge.layer":"deb/low"}"#
            ),
            descriptor(media::LAYER_GZIP, "high", ""),
        );
        let link = Link::to(media::MANIFEST, bytes.as_bytes());
        let all = pieces(&link, bytes.as_bytes()).unwrap();
        let blobs: Vec<BlobDigest> = all.iter().map(|piece| piece.blob).collect();
        assert_eq!(
            blobs,
            [link.digest, digest("config"), digest("low"), digest("high")]
        );
        assert_eq!(all[2].key.as_deref(), Some("deb/low"));
        assert_eq!(
            all.iter().map(|piece| piece.packed).collect::<Vec<_>>(),
            [false, false, false, true]
        );
        assert!(pieces(&link, b"{}").is_err());
    }
}
