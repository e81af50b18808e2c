//! Services, networks, volumes and firewall entries as the renderers need them: the contributions of these kinds, typed.
//!
//! These are made from checked contributions only (see `kinds.toml` for what each field means), so they carry no spans and
//! no optional that stands for "default".

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::pure::name::{ImageName, NetworkName, SecretName, ServiceName, VolumeName};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub name: ServiceName,
    pub module: String,
    pub image: ImageName,
    pub entrypoint: Option<Vec<String>>,
    pub command: Option<Vec<String>>,
    pub user: Option<String>,
    pub env: BTreeMap<String, String>,
    pub env_secret: BTreeMap<String, SecretName>,
    /// Its own and those that `[[mount]]` contributions add, in the order of their places in the container.
    pub mounts: Vec<Mount>,
    pub ports: Vec<PublishedPort>,
    pub networks: Vec<NetworkName>,
    pub depends_on: Vec<ServiceName>,
    pub restart: String,
    pub read_only: bool,
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub no_new_privileges: bool,
    pub privileged: bool,
    pub devices: Vec<String>,
    pub pid_host: bool,
    pub network_host: bool,
    pub hostname: Option<String>,
    pub working_dir: Option<String>,
    pub init: bool,
    pub stop_signal: Option<String>,
    pub stop_grace_period: String,
    pub shm_size: Option<String>,
    pub extra_hosts: BTreeMap<String, String>,
    pub sysctls: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub limits: Limits,
    pub reservations: Reservations,
    pub healthcheck: Option<Healthcheck>,
    pub log: Log,
}

/// Exactly one of `volume`, `file`, `secret`, `host`, `tmpfs` is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    pub at: String,
    pub volume: Option<VolumeName>,
    /// Full name, `MODULE/NAME`.
    pub file: Option<String>,
    pub secret: Option<SecretName>,
    pub host: Option<String>,
    pub tmpfs: Option<String>,
    pub read_only: bool,
    pub propagation: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishedPort {
    pub host: u16,
    pub container: u16,
    pub protocol: Protocol,
    pub public: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub memory: Option<String>,
    pub cpus: Option<String>,
    pub pids: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reservations {
    pub memory: Option<String>,
    pub cpus: Option<String>,
    pub gpus: u32,
}

/// Exactly one of `exec` and `shell` is given.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Healthcheck {
    pub exec: Option<Vec<String>>,
    pub shell: Option<String>,
    pub interval: String,
    pub timeout: String,
    pub retries: u32,
    pub start_period: String,
    pub start_interval: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub max_size: String,
    pub max_files: u32,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    pub name: NetworkName,
    pub module: String,
    pub internal: bool,
    pub subnet: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirewallEntry {
    pub name: String,
    pub module: String,
    pub port: u16,
    pub protocol: Protocol,
    /// Addresses and networks; nobody named means everybody.
    pub from: Vec<String>,
    pub limit: bool,
}
