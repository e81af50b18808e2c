//! A host below a folder of its own, with a Docker daemon of its own, and what a bundle would say of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use forge::edge::host::paths::Paths;
use forge::edge::store::{DiskStore, Options, RefChange, Store, Trust};
use forge::flow::host::Host;
use forge::flow::host::resource::{Resource, Way};
use forge::flow::host::tell::Kept;
use forge::pure::bundle::{ImagePin, Part, PartKind};
use forge::pure::generation::{
    Action, Change, Mode, Network, Owner, Place, Service, Target, TargetFile,
};
use forge::pure::name::BlobDigest;
use forge::pure::oci::{Link, media};
use forge::pure::protocol::Event;
use serde_json::{Value, json};

use crate::daemon::Daemon;

pub(crate) struct World {
    pub(crate) daemon: Daemon,
    pub(crate) host: Host,
    folder: tempfile::TempDir,
}

fn compose() -> PathBuf {
    let tool = std::env::var_os("FORGE_TEST_COMPOSE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools/docker-compose"),
        PathBuf::from,
    );
    assert!(
        tool.is_file(),
        "no Docker Compose at {}: `cargo xtask test` fetches it, or name one in FORGE_TEST_COMPOSE",
        tool.display()
    );
    tool
}

impl World {
    pub(crate) fn new() -> Self {
        assert!(
            rustix::process::geteuid().is_root(),
            "a Docker daemon needs root"
        );
        let daemon = Daemon::start();
        let folder = tempfile::Builder::new().prefix("fh").tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in ["run", "root/.docker/cli-plugins", "var/lib/forge/files"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        let socket = daemon.host().strip_prefix("unix://").unwrap().to_owned();
        symlink(socket, at("run/docker.sock")).unwrap();
        symlink(compose(), at("root/.docker/cli-plugins/docker-compose")).unwrap();
        let paths = Paths::below(folder.path());
        let store = DiskStore::open(&paths.store(), Options::default()).unwrap();
        Self {
            daemon,
            host: Host { paths, store },
            folder,
        }
    }

    /// An image of these layers in the host's store.
    pub(crate) fn image(&self, name: &str, tag: &str, layers: &[&[u8]]) -> ImagePin {
        let diffs: Vec<String> = layers
            .iter()
            .map(|layer| BlobDigest::of(layer).to_string())
            .collect();
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "config": { "Env": ["PATH=/bin"], "Labels": { "tag": tag } },
            "rootfs": { "type": "layers", "diff_ids": diffs }
        });
        let config = serde_json::to_vec(&config).unwrap();
        let descriptor = |media_type: &str, bytes: &[u8]| json!({ "mediaType": media_type, "digest": BlobDigest::of(bytes).to_string(), "size": bytes.len() });
        let described: Vec<Value> = layers
            .iter()
            .map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar", layer))
            .collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media::MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": described
        });
        let manifest = serde_json::to_vec(&manifest).unwrap();
        let mut writer = self.host.store.begin(Trust::Size).unwrap();
        for mut bytes in layers.iter().copied().chain([config.as_slice(), &manifest]) {
            writer
                .put(BlobDigest::of(bytes), bytes.len() as u64, &mut bytes)
                .unwrap();
        }
        let link = Link::to(media::MANIFEST, &manifest);
        let called = format!("test/{name}-{tag}").parse().unwrap();
        let digest = link.digest.as_manifest();
        writer.commit(&[RefChange::Set(called, link)]).unwrap();
        ImagePin {
            name: name.parse().unwrap(),
            repository: format!("example.invalid/{name}"),
            tag: tag.to_owned(),
            digest,
        }
    }

    /// Writes a file as an activation does, by content; gives its path.
    fn content(&self, name: &str, bytes: &[u8]) -> (String, TargetFile) {
        let digest = BlobDigest::of(bytes);
        let path = format!("/var/lib/forge/files/{}/{name}", digest.hex());
        let on_disk = self.host.paths.at(&path);
        fs::create_dir_all(on_disk.parent().unwrap()).unwrap();
        fs::write(&on_disk, bytes).unwrap();
        let file = TargetFile {
            place: Place::Content { path: path.clone() },
            owner: Owner { uid: 0, gid: 0 },
            mode: Mode(0o644),
            digest,
            secrets: Default::default(),
        };
        (path, file)
    }

    /// A host of these services, each with a file `conf` of this text, mounted at `/conf`, and fields of `compose.yaml`.
    pub(crate) fn target(&self, services: &[Spec<'_>]) -> Target {
        let mut target = Target::nothing();
        let mut yaml = serde_json::Map::new();
        for spec in services {
            let (path, mut file) = self.content("conf", spec.conf.as_bytes());
            // What Compose mounts stands below the host's folder, and so does what the target calls it.
            let source = self.host.paths.at(&path).display().to_string();
            file.place = Place::Content {
                path: source.clone(),
            };
            target.files.insert(format!("{}/conf", spec.name), file);
            let mut entry = json!({
                "image": Target::image_tag(spec.image), "pull_policy": "never", "restart": "no",
                "stop_grace_period": "1s",
                "entrypoint": ["/bin/sh", "-c", spec.script.replace('$', "$$")],
                "volumes": [{ "type": "bind", "source": source, "target": "/conf", "read_only": true,
                    "bind": { "create_host_path": false } }]
            });
            if spec.healthcheck {
                entry["healthcheck"] = json!({
                    "test": ["CMD", "/bin/sh", "-c", "read x < /conf; test \"$$x\" != sick"],
                    "interval": "1s", "timeout": "5s", "retries": 2, "start_period": "0s"
                });
            }
            match spec.network {
                Some(name) => {
                    let network = Network {
                        internal: true,
                        // Interfaces are the machine's: tests that run at once share none.
                        subnet: Some(
                            if name == "back" {
                                "10.213.7.0/24"
                            } else {
                                "10.213.8.0/25"
                            }
                            .to_owned(),
                        ),
                    };
                    target.networks.insert(name.parse().unwrap(), network);
                    entry["networks"] = json!([name]);
                }
                None => entry["network_mode"] = "none".into(),
            }
            yaml.insert(spec.name.to_owned(), entry);
            target
                .images
                .insert(spec.image.name.clone(), spec.image.clone());
            let service = Service {
                image: spec.image.name.clone(),
                networks: spec
                    .network
                    .iter()
                    .map(|name| name.parse().unwrap())
                    .collect(),
                depends_on: Vec::new(),
                network_host: false,
                healthcheck: spec.healthcheck,
                patience: Duration::from_secs(60),
                one_shot: spec.one_shot,
                ports: Vec::new(),
            };
            target.services.insert(spec.name.parse().unwrap(), service);
        }
        let networks: serde_json::Map<String, Value> = target
            .networks
            .keys()
            .map(|name| {
                (
                    name.to_string(),
                    json!({ "name": name.in_docker(), "external": true }),
                )
            })
            .collect();
        let text = json!({ "name": "forge", "services": yaml, "networks": networks }).to_string();
        let (path, file) = self.content("compose.yaml", text.as_bytes());
        target.compose = Some(path);
        target.files.insert("forge/compose.yaml".to_owned(), file);
        let part = Part {
            kind: PartKind::File,
            title: "files/forge/compose.yaml".parse().unwrap(),
            bytes: text.into_bytes(),
            annotations: BTreeMap::new(),
        };
        target
            .parts
            .insert("files/forge/compose.yaml".to_owned(), part);
        target
    }

    pub(crate) fn plan(
        &self,
        resource: &dyn Resource,
        want: &Target,
        before: &[&Target],
    ) -> Vec<(String, Action, String)> {
        let changes = resource.plan(&self.host, Way { want, before }).unwrap();
        changes.into_iter().map(short).collect()
    }

    /// Applies; what was told must be what was planned.
    pub(crate) fn apply(&self, resource: &dyn Resource, want: &Target, before: &[&Target]) {
        let planned = self.plan(resource, want, before);
        let kept = Kept::default();
        resource
            .apply(&self.host, Way { want, before }, &kept)
            .unwrap();
        assert_eq!(changes(&kept), planned);
        assert_eq!(
            self.plan(resource, want, before),
            [],
            "an apply after an apply does nothing"
        );
    }

    /// Service → Id of its container.
    pub(crate) fn ids(&self) -> BTreeMap<String, String> {
        let format = "{{.Label \"com.docker.compose.service\"}} {{.ID}} {{.State}}";
        let text = self
            .daemon
            .ask(&["ps", "--all", "--no-trunc", "--format", format]);
        text.lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(service, id)| (service.to_owned(), id.to_owned()))
            .collect()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A bridge would outlive its daemon.
        let text = |arguments: &[&str]| {
            let output = self.daemon.docker(arguments);
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        for id in text(&["ps", "--all", "--quiet"]).lines() {
            self.daemon.docker(&["rm", "--force", id]);
        }
        for id in text(&["network", "ls", "--quiet", "--filter", "name=forge-"]).lines() {
            self.daemon.docker(&["network", "rm", id]);
        }
    }
}

fn short(change: Change) -> (String, Action, String) {
    (change.name, change.action, change.why)
}

pub(crate) fn changes(kept: &Kept) -> Vec<(String, Action, String)> {
    let changed = |event| match event {
        Event::Changed { change } => Some(short(change)),
        _ => None,
    };
    kept.events().into_iter().filter_map(changed).collect()
}

#[derive(Clone, Copy)]
pub(crate) struct Spec<'a> {
    pub(crate) name: &'a str,
    pub(crate) image: &'a ImagePin,
    pub(crate) conf: &'a str,
    pub(crate) script: &'a str,
    pub(crate) healthcheck: bool,
    pub(crate) one_shot: bool,
    pub(crate) network: Option<&'a str>,
}

/// A layer with programs of this machine that need its C library alone.
pub(crate) fn programs() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for path in [
        "/lib64/ld-linux-x86-64.so.2",
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/bin/sh",
        "/bin/sleep",
        "/bin/cat",
    ] {
        let bytes = fs::read(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        add(&mut tar, &path[1..], &bytes);
    }
    tar.into_inner().unwrap()
}

/// A layer with one file.
pub(crate) fn layer(path: &str, text: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    add(&mut tar, path, text.as_bytes());
    tar.into_inner().unwrap()
}

fn add(tar: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o755);
    tar.append_data(&mut header, path, bytes).unwrap();
}
