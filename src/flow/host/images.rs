//! Images into Docker.
//!
//! Invariant: an image counts as present only if its Id is the digest of its config or of its manifest, and a container was created from
//! it: Docker can inspect what it cannot run. That proof is kept, so that an unchanged deploy asks once and creates nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::resource::{Resource, Way};
use super::tell::Tell;
use super::{Host, HostError};
use crate::edge::disk::Folder;
use crate::edge::host::engine::{Engine, EngineError, ImageFacts, Info};
use crate::edge::store::Store;
use crate::edge::store::export::{Form, stream_image_without};
use crate::pure::bundle::{ImagePin, embedded};
use crate::pure::generation::{Action, Change, Kind, Target};
use crate::pure::name::{BlobDigest, ImageName, ManifestDigest};
use crate::pure::oci::manifest::is_index;
use crate::pure::oci::{Link, image, media, received};
use crate::pure::protocol::ImageState;

const PROOFS: &str = "docker.json";

/// What was proven of a daemon's images; of another daemon, or of another root folder, it says nothing.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Proofs {
    daemon: String,
    root: String,
    /// Id of an image → the blobs of its layers, as they were loaded.
    images: BTreeMap<String, BTreeSet<BlobDigest>>,
}

impl Proofs {
    fn read(host: &Host, info: &Info) -> Result<Self, HostError> {
        let kept: Option<Self> = match Folder::create(&host.paths.state())?.read_whole(PROOFS)? {
            // What cannot be read proves nothing.
            Some(bytes) => serde_json::from_slice(&bytes).ok(),
            None => None,
        };
        let of_this = |kept: &Self| kept.daemon == info.id && kept.root == info.root;
        Ok(kept.filter(of_this).unwrap_or_else(|| Self {
            daemon: info.id.clone(),
            root: info.root.clone(),
            images: BTreeMap::new(),
        }))
    }

    fn write(&self, host: &Host) -> Result<(), HostError> {
        let folder = Folder::create(&host.paths.state())?;
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        Ok(folder.replace(PROOFS, &folder, &bytes)?)
    }
}

/// An image as the host's store has it, whole.
#[derive(Clone, Debug)]
struct Stored {
    manifest: Link,
    config: BlobDigest,
    /// The blob and the diffID of each layer, from the lowest.
    layers: Vec<(BlobDigest, String)>,
}

impl Stored {
    /// Whether Docker means this image by this Id: a graph driver names it by its config, the containerd store by its manifest.
    fn is(&self, id: &str) -> bool {
        id == self.config.to_string() || id == self.manifest.digest.to_string()
    }
}

/// The manifest for this host of a pinned image, if the store has one: a pin may be an index, which only the package of a bundle leads
/// from.
fn manifest_of(
    store: &dyn Store,
    pin: ManifestDigest,
    target: &Target,
) -> Result<Option<Link>, HostError> {
    if store.size(pin.blob())?.is_some() {
        let bytes = store.read(pin.blob())?;
        if let Ok(link) = received::link(None, &bytes) {
            if !is_index(&link.media_type) {
                return Ok(Some(link));
            }
            let chosen = target.arch.map(|arch| received::choose(&bytes, arch));
            if let Some(Ok(chosen)) = chosen
                && store.size(chosen.digest)?.is_some()
            {
                return Ok(Some(chosen));
            }
        }
    }
    for entry in store.entries()? {
        let is_package = is_index(&entry.link.media_type)
            && entry.link.artifact_type.as_deref() == Some(media::SYSTEM);
        if !is_package || store.size(entry.link.digest)?.is_none() {
            continue;
        }
        let bytes = store.read(entry.link.digest)?;
        let images = embedded(&bytes).unwrap_or_default();
        if let Some(found) = images.into_iter().find(|image| image.pinned == pin) {
            return Ok(Some(found.manifest));
        }
    }
    Ok(None)
}

/// An image of the store; nothing if a part of it is missing.
fn stored(store: &dyn Store, pin: &ImagePin, target: &Target) -> Result<Option<Stored>, HostError> {
    let Some(manifest) = manifest_of(store, pin.digest, target)? else {
        return Ok(None);
    };
    if store.size(manifest.digest)?.is_none() {
        return Ok(None);
    }
    let wrong = |why: &dyn std::fmt::Display| HostError::thing(Kind::Image, pin.name.as_str(), why);
    let bytes = store.read(manifest.digest)?;
    let config = image::config_of(&bytes).map_err(|error| wrong(&error))?;
    if !store.has(config.digest, config.size)? {
        return Ok(None);
    }
    let read = image::read(&bytes, &store.read(config.digest)?).map_err(|error| wrong(&error))?;
    let diffs = read.runs.rootfs().diff_ids();
    if diffs.len() != read.layers.len() {
        return Err(wrong(
            &"its config and its manifest have not the same layers",
        ));
    }
    let mut layers = Vec::new();
    for (layer, diff) in read.layers.iter().zip(diffs) {
        if !store.has(layer.link.digest, layer.link.size)? {
            return Ok(None);
        }
        layers.push((layer.link.digest, diff.clone()));
    }
    Ok(Some(Stored {
        manifest,
        config: config.digest,
        layers,
    }))
}

/// Everything that is asked of Docker once.
struct Asked {
    engine: Engine,
    info: Info,
    images: Vec<ImageFacts>,
    proofs: Proofs,
}

impl Asked {
    fn of(host: &Host) -> Result<Self, HostError> {
        let engine = Engine::of(&host.paths);
        let info = engine.info()?;
        let mut asked = Self {
            images: engine.images()?,
            proofs: Proofs::read(host, &info)?,
            engine,
            info,
        };
        // What Docker has no more is proven no more: its blobs may be collected.
        let there: BTreeSet<&str> = asked.images.iter().map(|image| image.id.as_str()).collect();
        asked
            .proofs
            .images
            .retain(|id, _| there.contains(id.as_str()));
        Ok(asked)
    }

    fn id_of(&self, tag: &str) -> Option<&str> {
        let named = |image: &&ImageFacts| image.repo_tags.iter().flatten().any(|name| name == tag);
        self.images
            .iter()
            .find(named)
            .map(|image| image.id.as_str())
    }

    /// Whether the image of this tag is the pinned one, and was proven. Without the store's copy the proof is believed: it was made
    /// under this very tag, which names the digest.
    fn is_proven(&self, tag: &str, stored: Option<&Stored>) -> bool {
        self.id_of(tag).is_some_and(|id| {
            self.proofs.images.contains_key(id) && stored.is_none_or(|stored| stored.is(id))
        })
    }

    /// The layers that Docker need not be sent.
    fn omitted(&self, stored: &Stored) -> BTreeSet<BlobDigest> {
        if self.info.containerd {
            let ours: BTreeSet<BlobDigest> =
                self.proofs.images.values().flatten().copied().collect();
            let layers = stored.layers.iter().map(|(blob, _)| *blob);
            return layers.filter(|blob| ours.contains(blob)).collect();
        }
        let wanted: Vec<&str> = stored
            .layers
            .iter()
            .map(|(_, diff)| diff.as_str())
            .collect();
        let prefix = longest_prefix(
            &wanted,
            self.images
                .iter()
                .map(|image| image.root.layers.as_deref().unwrap_or_default()),
        );
        let (there, missing) = stored.layers.split_at(prefix);
        // One blob can be two layers; it is left out only if no layer above needs it.
        let missing: BTreeSet<BlobDigest> = missing.iter().map(|(blob, _)| *blob).collect();
        let there = there.iter().map(|(blob, _)| *blob);
        there.filter(|blob| !missing.contains(blob)).collect()
    }
}

/// How many of the lowest layers some image has, too: a graph driver knows a layer by all that lies below it.
fn longest_prefix<'a>(wanted: &[&str], images: impl Iterator<Item = &'a [String]>) -> usize {
    let common = |layers: &[String]| {
        wanted
            .iter()
            .zip(layers)
            .take_while(|(ours, theirs)| **ours == theirs.as_str())
            .count()
    };
    images.map(common).max().unwrap_or(0)
}

/// What the host has of each image that services use. Without Docker nothing is loaded.
///
/// # Errors
/// [`HostError`] if the store or Docker cannot be asked.
pub fn states(host: &Host, target: &Target) -> Result<BTreeMap<ImageName, ImageState>, HostError> {
    let asked = ask_if_present(host)?;
    let mut states = BTreeMap::new();
    for (name, pin) in target.images_in_use() {
        let stored = stored(&host.store, &pin, target)?;
        let tag = Target::image_tag(&pin);
        let loaded = asked
            .as_ref()
            .is_some_and(|asked| asked.is_proven(&tag, stored.as_ref()));
        let state = match stored {
            _ if loaded => ImageState::Loaded,
            Some(_) => ImageState::Stored,
            None => ImageState::Absent,
        };
        states.insert(name, state);
    }
    Ok(states)
}

fn ask_if_present(host: &Host) -> Result<Option<Asked>, HostError> {
    let present = Engine::of(&host.paths).present(std::time::Duration::ZERO)?;
    present.then(|| Asked::of(host)).transpose()
}

/// Puts every image that services use into Docker, each proven by a container that was created from it. Gives those that were loaded.
///
/// # Errors
/// [`HostError::Thing`] if the store lacks one, or Docker does not take it, or cannot run what it took; then nothing of it stays.
pub fn ensure(
    host: &Host,
    target: &Target,
    tell: &dyn Tell,
) -> Result<BTreeSet<ImageName>, HostError> {
    let mut loaded = BTreeSet::new();
    let wanted = target.images_in_use();
    if wanted.is_empty() {
        return Ok(loaded);
    }
    let mut asked = Asked::of(host)?;
    for (name, pin) in wanted {
        let tag = Target::image_tag(&pin);
        let stored = stored(&host.store, &pin, target)?;
        if asked.is_proven(&tag, stored.as_ref()) {
            continue;
        }
        let stored = stored.ok_or_else(|| {
            HostError::thing(
                Kind::Image,
                name.as_str(),
                "neither Docker nor the host's store has it whole",
            )
        })?;
        // Somebody else may have loaded it, or the proof was lost.
        let there = asked
            .id_of(&tag)
            .filter(|id| stored.is(id))
            .map(ToOwned::to_owned);
        let id = match there {
            Some(id) if asked.engine.prove(&tag).is_ok() => {
                asked.proofs.images.insert(id, BTreeSet::new());
                asked.proofs.write(host)?;
                continue;
            }
            _ => load(host, &asked, &pin, &stored, tell)?,
        };
        let blobs = stored.layers.iter().map(|(blob, _)| *blob).collect();
        asked.proofs.images.insert(id, blobs);
        asked.proofs.write(host)?;
        asked.images = asked.engine.images()?;
        loaded.insert(name);
    }
    Ok(loaded)
}

/// Loads an image, without the layers that Docker has; in full if that fails, or if what Docker then has is not what it was given.
fn load(
    host: &Host,
    asked: &Asked,
    pin: &ImagePin,
    stored: &Stored,
    tell: &dyn Tell,
) -> Result<String, HostError> {
    let tag = Target::image_tag(pin);
    // A tag that stands for something else, or for what cannot be run, would be taken for the new one. What it stood for is not relied on.
    let omitted = if asked.id_of(&tag).is_some() {
        // If that fails, the load says more.
        let _ = asked.engine.remove_image(&tag);
        BTreeSet::new()
    } else {
        asked.omitted(stored)
    };
    tell.say(format!(
        "loading the image {} into Docker, {} of its {} layers are there",
        pin.name,
        omitted.len(),
        stored.layers.len()
    ));
    let first = load_once(host, &asked.engine, stored, &tag, &omitted);
    let again = match first {
        Ok(id) => return Ok(id),
        Err(HostError::Store(error)) => return Err(error.into()),
        Err(error) => error,
    };
    // A failed load can leave its tag behind; there being none is as good.
    let _ = asked.engine.remove_image(&tag);
    if !omitted.is_empty() {
        tell.say(format!("loading the image {} in full: {again}", pin.name));
    }
    load_once(host, &asked.engine, stored, &tag, &BTreeSet::new()).inspect_err(|_| {
        let _ = asked.engine.remove_image(&tag);
    })
}

fn load_once(
    host: &Host,
    engine: &Engine,
    stored: &Stored,
    tag: &str,
    omitted: &BTreeSet<BlobDigest>,
) -> Result<String, HostError> {
    let wrong = |why: String| HostError::thing(Kind::Image, tag, why);
    let mut written = Ok(());
    let loading = engine.load(|to| {
        let streamed = stream_image_without(
            &host.store,
            &stored.manifest,
            tag,
            Form::Docker,
            omitted,
            to,
        );
        written = streamed.map(|_| ());
    });
    match (loading, written) {
        // It stopped reading because it failed: what it says is the reason.
        (Err(error @ EngineError::Program(_)), _) => return Err(wrong(error.to_string())),
        (Err(error), _) => return Err(error.into()),
        (Ok(()), Err(error)) => return Err(wrong(error.to_string())),
        (Ok(()), Ok(())) => {}
    }
    let images = engine.images()?;
    let named = |image: &&ImageFacts| image.repo_tags.iter().flatten().any(|name| name == tag);
    let id = images.iter().find(named).map(|image| image.id.clone());
    let id = id.ok_or_else(|| wrong("Docker took it, and does not list it".to_owned()))?;
    if !stored.is(&id) {
        return Err(wrong(format!("Docker took it for another image, {id}")));
    }
    engine.prove(tag).map_err(|error| {
        wrong(format!(
            "Docker took it, and cannot make a container of it: {error}"
        ))
    })?;
    Ok(id)
}

/// As a person tells what changed: `postgres 15.19 → 15.20`.
pub(super) fn difference(target: &Target, before: &[&Target], name: &ImageName) -> String {
    let Some(new) = target.images.get(name) else {
        return format!("{name}");
    };
    let old = before
        .iter()
        .filter_map(|before| before.images.get(name))
        .find(|old| old.digest != new.digest);
    let short = |pin: &ImagePin| format!("sha256:{}", &pin.digest.hex()[..12]);
    match old {
        None => format!("{name} {}", new.tag),
        Some(old) if old.tag == new.tag => {
            format!("{name} {}, {} → {}", new.tag, short(old), short(new))
        }
        Some(old) => format!("{name} {} → {}", old.tag, new.tag),
    }
}

/// The images that services use, in Docker.
#[derive(Debug)]
pub struct Images;

impl Images {
    fn change(way: Way<'_>, name: &ImageName) -> Change {
        let why = difference(way.want, way.before, name);
        Change::new(Kind::Image, name.as_str(), Action::Add, why)
    }
}

impl Resource for Images {
    fn step(&self) -> &'static str {
        "images"
    }

    fn plan(&self, host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError> {
        let states = states(host, way.want)?;
        Ok(states
            .iter()
            .filter(|(_, state)| **state != ImageState::Loaded)
            .map(|(name, _)| Self::change(way, name))
            .collect())
    }

    fn apply(&self, host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
        for name in ensure(host, way.want, tell)? {
            tell.changed(&Self::change(way, &name));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lowest_layers_in_their_order_are_a_prefix() {
        let layers = |text: &str| -> Vec<String> { text.chars().map(String::from).collect() };
        let count = |wanted: &[&str], images: &[&str]| {
            let images: Vec<Vec<String>> = images.iter().map(|text| layers(text)).collect();
            longest_prefix(wanted, images.iter().map(Vec::as_slice))
        };
        assert_eq!(count(&["a", "b", "c"], &["abx", "a"]), 2);
        assert_eq!(count(&["a", "b", "c"], &["bc", "xabc"]), 0);
        assert_eq!(count(&["a", "b", "c"], &["abcd"]), 3);
        assert_eq!(count(&["a"], &[]), 0);
    }
}
