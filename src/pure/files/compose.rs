//! `compose.yaml`: the services of a host for Docker Compose (Compose Specification; no `version:`, which it calls obsolete).
//!
//! Guarantees:
//! - the same services give the same bytes, in whatever order they come: services and networks stand in the order of their
//!   names, maps in that of their keys, mounts in that of their places in the container;
//! - nothing in it depends on the folder, the environment or the time of the run: paths are absolute, `env_file`, `.env` and
//!   inline configs are not used, and every `$` is doubled, since Compose interpolates all values (specification, section
//!   "Interpolation"); it does not interpolate keys, so those stay as they are;
//! - what runs is named by its content (images by a tag that holds the digest, files by a path that does), so Compose
//!   recreates exactly the containers whose image or file changed. For the same reason there is no label of forge's own here.
//!
//! Choices:
//! - a public port has no `host_ip`: Docker then binds 0.0.0.0 and, where the host has IPv6, [::]. Naming `::` would keep the
//!   container from starting on a host without IPv6. `mode` is left out: it has a meaning under Swarm only;
//! - a service without networks gets `network_mode: none`, because Compose would put it into a default network in which it
//!   meets all others that have none;
//! - networks are external: the agent makes them as [`network_name`], on a bridge named [`bridge_name`].

use std::collections::BTreeMap;

use crate::pure::config::units::{parse_duration, parse_size};
use crate::pure::name::{ImageName, NetworkName, SecretName};
use crate::pure::system::service::{Healthcheck, Mount, Network, PublishedPort, Service};
use crate::pure::template::yaml::{self, Yaml};

/// Where volumes stand on the host, each in a folder of its name.
pub const VOLUMES: &str = "/var/lib/forge/volumes";
/// Where the secrets of `env_secret` stand in a container, each in a file of its name.
pub const SECRETS_INSIDE: &str = "/run/secrets";

/// What names on a host stand for; nothing for a name that it does not know.
pub trait Resolve {
    /// The tag of an image: `forge.invalid/NAME:sha256-HEX`.
    fn image(&self, name: &ImageName) -> Option<String>;
    /// The content-addressed path on the host of a file, by its full name `MODULE/NAME`.
    fn file(&self, full_name: &str) -> Option<String>;
    /// The path on tmpfs of a secret, readable by the user that this service runs as.
    fn secret(&self, service: &Service, name: &SecretName) -> Option<String>;
}

/// Why services cannot be rendered. Checked systems do not give these errors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    #[error("service `{service}`: there is no {kind} `{name}`")]
    Unknown {
        service: String,
        kind: &'static str,
        name: String,
    },
    #[error("service `{service}`: `{text}` in `{field}` is no amount")]
    Amount {
        service: String,
        field: &'static str,
        text: String,
    },
    #[error("service `{service}`: the mount at `{at}` has no source")]
    NoSource { service: String, at: String },
    #[error("service `{service}`: its healthcheck has no command")]
    NoCommand { service: String },
}

/// The name of a network in Docker.
pub fn network_name(network: &NetworkName) -> String {
    network.in_docker()
}

/// The name of a network's bridge interface.
pub fn bridge_name(network: &NetworkName) -> String {
    network.bridge()
}

pub use crate::pure::name::BRIDGES;

/// The whole `compose.yaml`. Only networks that a service joins are in it: Compose checks no others.
pub fn render(
    services: &[Service],
    networks: &[Network],
    resolve: &dyn Resolve,
) -> Result<String, ComposeError> {
    let known: BTreeMap<&str, &Service> = services
        .iter()
        .map(|service| (service.name.as_str(), service))
        .collect();
    let all_networks: BTreeMap<&str, &Network> = networks
        .iter()
        .map(|network| (network.name.as_str(), network))
        .collect();
    let mut used = BTreeMap::new();
    let mut rendered = Vec::new();
    for (name, service) in &known {
        for network in &service.networks {
            let found = all_networks
                .get(network.as_str())
                .ok_or_else(|| unknown(service, "network", network.as_str()))?;
            used.insert(
                network.as_str(),
                Yaml::map([
                    ("name", Yaml::from(network_name(&found.name))),
                    ("external", Yaml::from(true)),
                ]),
            );
        }
        rendered.push((*name, One { service, resolve }.yaml(&known)?));
    }
    let mut whole = vec![("name", Yaml::from("forge"))];
    whole.push(("services", Yaml::map(rendered)));
    if !used.is_empty() {
        whole.push(("networks", Yaml::map(used)));
    }
    let mut whole = Yaml::map(whole);
    double_dollars(&mut whole);
    Ok(format!(
        "# Written by forge. A change here is undone by the next deploy.\n{}",
        yaml::block(&whole)
    ))
}

fn unknown(service: &Service, kind: &'static str, name: &str) -> ComposeError {
    ComposeError::Unknown {
        service: service.name.to_string(),
        kind,
        name: name.to_owned(),
    }
}

fn double_dollars(value: &mut Yaml) {
    match value {
        Yaml::Text(text) if text.contains('$') => *text = text.replace('$', "$$"),
        Yaml::List(items) => items.iter_mut().for_each(double_dollars),
        Yaml::Map(entries) => entries
            .iter_mut()
            .for_each(|(_, value)| double_dollars(value)),
        Yaml::Text(_) | Yaml::Null | Yaml::Bool(_) | Yaml::Number(_) => {}
    }
}

/// A size as Compose reads it: its units are binary.
fn size(bytes: u64) -> String {
    for (shift, unit) in [(30, 'g'), (20, 'm'), (10, 'k')] {
        if bytes > 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}b")
}

/// The entries of a map in Compose, in their order, without those that are not there.
#[derive(Default)]
struct Entries(Vec<(&'static str, Yaml)>);

impl Entries {
    fn put(&mut self, key: &'static str, value: impl Into<Yaml>) {
        self.0.push((key, value.into()));
    }

    fn put_some(&mut self, key: &'static str, value: Option<impl Into<Yaml>>) {
        if let Some(value) = value {
            self.put(key, value);
        }
    }

    fn put_if(&mut self, key: &'static str, value: bool) {
        if value {
            self.put(key, true);
        }
    }

    fn put_texts(&mut self, key: &'static str, texts: &[String]) {
        if !texts.is_empty() {
            self.put(key, Yaml::texts(texts));
        }
    }

    fn put_map(&mut self, key: &'static str, map: &BTreeMap<String, String>) {
        if !map.is_empty() {
            let entries = map.iter().map(|(key, value)| (key, value.as_str().into()));
            self.put(key, Yaml::map(entries));
        }
    }

    fn yaml(self) -> Yaml {
        Yaml::map(self.0)
    }
}

/// One service on its way to YAML.
struct One<'a> {
    service: &'a Service,
    resolve: &'a dyn Resolve,
}

impl One<'_> {
    fn yaml(&self, known: &BTreeMap<&str, &Service>) -> Result<Yaml, ComposeError> {
        let service = self.service;
        let mut out = Entries::default();
        let image = self.resolve.image(&service.image);
        out.put(
            "image",
            image.ok_or_else(|| self.unknown("image", service.image.as_str()))?,
        );
        out.put("pull_policy", "never");
        // An empty list is not left out: it clears what the image says.
        out.put_some("entrypoint", service.entrypoint.as_ref().map(Yaml::texts));
        out.put_some("command", service.command.as_ref().map(Yaml::texts));
        out.put_some("user", service.user.as_deref());
        out.put_some("working_dir", service.working_dir.as_deref());
        out.put_some("hostname", service.hostname.as_deref());
        out.put_if("init", service.init);
        out.put("restart", service.restart.as_str());
        out.put_some("stop_signal", service.stop_signal.as_deref());
        out.put(
            "stop_grace_period",
            self.duration("stop_grace_period", &service.stop_grace_period)?,
        );
        let mut environment = service.env.clone();
        for (variable, secret) in &service.env_secret {
            environment.insert(variable.clone(), inside(secret));
        }
        out.put_map("environment", &environment);
        let mounts = self.mounts()?;
        if !mounts.is_empty() {
            out.put("volumes", Yaml::List(mounts));
        }
        self.network(&mut out);
        self.depends_on(known, &mut out)?;
        if let Some(healthcheck) = &service.healthcheck {
            out.put("healthcheck", self.healthcheck(healthcheck)?);
        }
        out.put_if("read_only", service.read_only);
        out.put_if("privileged", service.privileged);
        out.put_texts("cap_drop", &service.cap_drop);
        out.put_texts("cap_add", &service.cap_add);
        if service.no_new_privileges {
            out.put("security_opt", Yaml::texts(["no-new-privileges:true"]));
        }
        out.put_texts("devices", &service.devices);
        if service.pid_host {
            out.put("pid", "host");
        }
        out.put_map("sysctls", &service.sysctls);
        out.put_some(
            "shm_size",
            self.some_size("shm_size", service.shm_size.as_deref())?,
        );
        out.put_map("labels", &service.labels);
        out.put("deploy", self.deploy()?);
        out.put("logging", self.logging()?);
        Ok(out.yaml())
    }

    fn unknown(&self, kind: &'static str, name: &str) -> ComposeError {
        unknown(self.service, kind, name)
    }

    fn amount(&self, field: &'static str, text: &str) -> ComposeError {
        ComposeError::Amount {
            service: self.service.name.to_string(),
            field,
            text: text.to_owned(),
        }
    }

    fn bytes(&self, field: &'static str, text: &str) -> Result<u64, ComposeError> {
        parse_size(text).ok_or_else(|| self.amount(field, text))
    }

    fn some_size(
        &self,
        field: &'static str,
        text: Option<&str>,
    ) -> Result<Option<String>, ComposeError> {
        text.map(|text| self.bytes(field, text).map(size))
            .transpose()
    }

    /// Compose knows no days.
    fn duration(&self, field: &'static str, text: &str) -> Result<String, ComposeError> {
        let milliseconds = parse_duration(text).ok_or_else(|| self.amount(field, text))?;
        Ok(if milliseconds % 1000 == 0 {
            format!("{}s", milliseconds / 1000)
        } else {
            format!("{milliseconds}ms")
        })
    }

    fn mounts(&self) -> Result<Vec<Yaml>, ComposeError> {
        let mut by_place = BTreeMap::new();
        for secret in self.service.env_secret.values() {
            let at = inside(secret);
            by_place.insert(at.clone(), bind(&self.secret(secret)?, &at, true, None));
        }
        for mount in &self.service.mounts {
            by_place.insert(mount.at.clone(), self.mount(mount)?);
        }
        Ok(by_place.into_values().collect())
    }

    fn mount(&self, mount: &Mount) -> Result<Yaml, ComposeError> {
        let at = &mount.at;
        if let Some(bytes) = &mount.tmpfs {
            let bytes = size(self.bytes("tmpfs", bytes)?);
            let mut out = Entries::default();
            out.put("type", "tmpfs");
            out.put("target", at.as_str());
            out.put_if("read_only", mount.read_only);
            out.put("tmpfs", Yaml::map([("size", bytes.into())]));
            return Ok(out.yaml());
        }
        if let Some(name) = &mount.file {
            let source = self.resolve.file(name);
            let source = source.ok_or_else(|| self.unknown("file", name))?;
            return Ok(bind(&source, at, true, None));
        }
        if let Some(name) = &mount.secret {
            return Ok(bind(&self.secret(name)?, at, true, None));
        }
        let source = match (&mount.volume, &mount.host) {
            (Some(volume), _) => format!("{VOLUMES}/{volume}"),
            (None, Some(path)) => path.clone(),
            (None, None) => {
                return Err(ComposeError::NoSource {
                    service: self.service.name.to_string(),
                    at: at.clone(),
                });
            }
        };
        Ok(bind(
            &source,
            at,
            mount.read_only,
            mount.propagation.as_deref(),
        ))
    }

    fn secret(&self, name: &SecretName) -> Result<String, ComposeError> {
        self.resolve
            .secret(self.service, name)
            .ok_or_else(|| self.unknown("secret", name.as_str()))
    }

    fn network(&self, out: &mut Entries) {
        if self.service.network_host {
            // Ports are those of the host then; Docker discards published ones with a warning.
            out.put("network_mode", "host");
        } else if self.service.networks.is_empty() {
            out.put("network_mode", "none");
        } else {
            if !self.service.ports.is_empty() {
                let mut ports: Vec<_> = self.service.ports.iter().collect();
                ports.sort_by_key(|port| (port.host, port.protocol));
                out.put("ports", Yaml::List(ports.into_iter().map(port).collect()));
            }
            let mut networks: Vec<_> = self.service.networks.iter().collect();
            networks.sort();
            networks.dedup();
            out.put(
                "networks",
                Yaml::texts(networks.into_iter().map(NetworkName::as_str)),
            );
        }
        out.put_map("extra_hosts", &self.service.extra_hosts);
    }

    fn depends_on(
        &self,
        known: &BTreeMap<&str, &Service>,
        out: &mut Entries,
    ) -> Result<(), ComposeError> {
        let mut conditions = BTreeMap::new();
        for name in &self.service.depends_on {
            let target = known
                .get(name.as_str())
                .ok_or_else(|| self.unknown("service", name.as_str()))?;
            let condition = if target.healthcheck.is_some() {
                "service_healthy"
            } else {
                "service_started"
            };
            conditions.insert(name.as_str(), Yaml::map([("condition", condition.into())]));
        }
        if !conditions.is_empty() {
            out.put("depends_on", Yaml::map(conditions));
        }
        Ok(())
    }

    fn healthcheck(&self, healthcheck: &Healthcheck) -> Result<Yaml, ComposeError> {
        let test = match (&healthcheck.exec, &healthcheck.shell) {
            (Some(exec), _) => {
                Yaml::texts(std::iter::once("CMD").chain(exec.iter().map(String::as_str)))
            }
            (None, Some(shell)) => Yaml::texts(["CMD-SHELL", shell]),
            (None, None) => {
                return Err(ComposeError::NoCommand {
                    service: self.service.name.to_string(),
                });
            }
        };
        let mut out = Entries::default();
        out.put("test", test);
        for (field, text) in [
            ("interval", &healthcheck.interval),
            ("timeout", &healthcheck.timeout),
            ("start_period", &healthcheck.start_period),
        ] {
            out.put(field, self.duration(field, text)?);
        }
        if let Some(text) = &healthcheck.start_interval {
            let field = "start_interval";
            out.put(field, self.duration(field, text)?);
        }
        out.put("retries", healthcheck.retries);
        Ok(out.yaml())
    }

    fn deploy(&self) -> Result<Yaml, ComposeError> {
        let (limits, reservations) = (&self.service.limits, &self.service.reservations);
        let mut upper = Entries::default();
        upper.put_some("cpus", limits.cpus.as_deref());
        upper.put_some(
            "memory",
            self.some_size("limits.memory", limits.memory.as_deref())?,
        );
        upper.put("pids", limits.pids);
        let mut lower = Entries::default();
        lower.put_some("cpus", reservations.cpus.as_deref());
        lower.put_some(
            "memory",
            self.some_size("reservations.memory", reservations.memory.as_deref())?,
        );
        if reservations.gpus > 0 {
            let gpus = Yaml::map([
                ("driver", Yaml::from("nvidia")),
                ("count", Yaml::from(reservations.gpus)),
                ("capabilities", Yaml::texts(["gpu"])),
            ]);
            lower.put("devices", Yaml::List(vec![gpus]));
        }
        let mut resources = Entries::default();
        resources.put("limits", upper.yaml());
        if !lower.0.is_empty() {
            resources.put("reservations", lower.yaml());
        }
        Ok(Yaml::map([("resources", resources.yaml())]))
    }

    /// The sizes of the json-file driver have decimal units, so the size is given in bytes.
    fn logging(&self) -> Result<Yaml, ComposeError> {
        let bytes = self.bytes("log.max_size", &self.service.log.max_size)?;
        let options = [
            ("max-size", bytes.to_string()),
            ("max-file", self.service.log.max_files.to_string()),
        ];
        Ok(Yaml::map([
            ("driver", Yaml::from("json-file")),
            (
                "options",
                Yaml::map(options.map(|(key, value)| (key, value.into()))),
            ),
        ]))
    }
}

fn inside(secret: &SecretName) -> String {
    format!("{SECRETS_INSIDE}/{secret}")
}

fn bind(source: &str, target: &str, read_only: bool, propagation: Option<&str>) -> Yaml {
    let mut options = Entries::default();
    options.put_some("propagation", propagation);
    // A source that is missing is an error, and not a new empty folder of root's.
    options.put("create_host_path", false);
    let mut out = Entries::default();
    out.put("type", "bind");
    out.put("source", source);
    out.put("target", target);
    out.put_if("read_only", read_only);
    out.put("bind", options.yaml());
    out.yaml()
}

fn port(port: &PublishedPort) -> Yaml {
    let mut out = Entries::default();
    if !port.public {
        out.put("host_ip", "127.0.0.1");
    }
    out.put("published", port.host.to_string());
    out.put("target", u32::from(port.container));
    out.put("protocol", port.protocol.as_str());
    out.yaml()
}

#[cfg(test)]
mod tests;
