//! Why a container is not as its service is declared.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::edge::host::engine::Container;
use crate::flow::host::images;
use crate::pure::generation::{Service, Target};
use crate::pure::name::{NetworkName, ServiceName};

/// What Compose compares beside its own hash.
pub(super) const HASH: &str = "com.docker.compose.config-hash";
const IMAGE: &str = "com.docker.compose.image";

#[derive(Default, Deserialize)]
struct File {
    #[serde(default)]
    services: BTreeMap<String, Entry>,
}

#[derive(Default, Deserialize)]
struct Entry {
    #[serde(default)]
    volumes: Vec<Volume>,
}

#[derive(Default, Deserialize)]
struct Volume {
    #[serde(default)]
    source: Option<String>,
}

/// The sources of each service's mounts, as its `compose.yaml` has them; nothing of one that is none.
pub(super) fn sources(text: &[u8]) -> BTreeMap<String, BTreeSet<String>> {
    let file: File = serde_yaml_ng::from_slice(text).unwrap_or_default();
    let sources = |entry: Entry| {
        let sources = entry.volumes.into_iter().filter_map(|volume| volume.source);
        // Compose's doubled dollars.
        sources.map(|source| source.replace("$$", "$")).collect()
    };
    let services = file.services.into_iter();
    services
        .map(|(name, entry)| (name, sources(entry)))
        .collect()
}

/// What stands at a path of the host, in the words of the project: of equal bytes, several files may.
fn called(path: &str, target: &Target) -> BTreeSet<String> {
    let files = target.files.iter();
    let files = files.filter(|(_, file)| file.place.path() == path);
    let secrets = target.secrets.iter().filter(|secret| secret.path == path);
    files
        .map(|(name, _)| format!("file {name}"))
        .chain(secrets.map(|secret| format!("secret {}", secret.name)))
        .collect()
}

/// What the new declaration of a service is compared with.
pub(super) struct Comparison<'a> {
    pub(super) target: &'a Target,
    pub(super) before: &'a [&'a Target],
    /// The Id that Docker has for each tag.
    pub(super) images: &'a BTreeMap<String, String>,
    pub(super) hashes: &'a BTreeMap<String, String>,
    pub(super) sources: &'a BTreeMap<String, BTreeSet<String>>,
    pub(super) renewed: &'a BTreeSet<NetworkName>,
}

impl Comparison<'_> {
    /// Why the container must be created anew, each reason once; nothing if it need not.
    pub(super) fn reasons(
        &self,
        name: &ServiceName,
        service: &Service,
        container: &Container,
    ) -> Vec<String> {
        let mut reasons = Vec::new();
        let mut add = |reason: String| {
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        };
        let pin = self.target.images.get(&service.image);
        let tag = pin.map(Target::image_tag).unwrap_or_default();
        let id = self.images.get(&tag).map(String::as_str);
        let is_other = id.is_some_and(|id| {
            // Compose compares its label; without one, the container's own image counts.
            container.label(IMAGE).unwrap_or(&container.image) != id
        });
        if container.config.image != tag || is_other {
            let what = images::difference(self.target, self.before, &service.image);
            add(format!("image {what}"));
        }
        for network in &service.networks {
            if self.renewed.contains(network) {
                add(format!("network {network} is made anew"));
            } else if !self.is_on(network, container) {
                add(format!("joins network {network}"));
            }
        }
        let differs = self.hashes.get(name.as_str()).map(String::as_str) != container.label(HASH);
        if differs {
            for file in self.changed_files(name, container) {
                add(file);
            }
            if reasons.is_empty() {
                reasons.push("its configuration changed".to_owned());
            }
        }
        reasons
    }

    fn is_on(&self, network: &NetworkName, container: &Container) -> bool {
        let networks = &container.network_settings.networks;
        networks.contains_key(&network.in_docker())
    }

    /// The files and secrets whose paths the container does not mount.
    fn changed_files(&self, name: &ServiceName, container: &Container) -> Vec<String> {
        let mounted: BTreeSet<&str> = container
            .mounts
            .iter()
            .map(|mount| mount.source.as_str())
            .collect();
        // What they were called when they were mounted.
        let before: BTreeSet<String> = self
            .before
            .iter()
            .flat_map(|before| mounted.iter().flat_map(|path| called(path, before)))
            .collect();
        let new = self.sources.get(name.as_str()).into_iter().flatten();
        let new = new.filter(|source| !mounted.contains(source.as_str()));
        let said = |source: &String| {
            let names = called(source, self.target);
            match names.intersection(&before).next() {
                Some(name) => Some(format!("{name} changed")),
                None => names.first().map(|name| format!("{name} is mounted")),
            }
        };
        new.filter_map(said).collect()
    }
}
