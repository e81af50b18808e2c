//! What Docker says of its daemon, its images, containers and networks.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The daemon, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Of this installation.
    pub id: String,
    pub root: String,
    pub version: String,
    /// True of the containerd image store; false of a graph driver.
    pub containerd: bool,
    /// `iptables` or `nftables`, where it says so (29 and newer).
    pub firewall: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct RawInfo {
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(rename = "DockerRootDir", default)]
    root: String,
    #[serde(rename = "ServerVersion", default)]
    version: String,
    #[serde(rename = "DriverStatus", default)]
    status: Option<Vec<(String, String)>>,
    #[serde(rename = "FirewallBackend", default)]
    firewall: Option<Firewall>,
}

#[derive(Deserialize)]
struct Firewall {
    #[serde(rename = "Driver", default)]
    driver: String,
}

impl From<RawInfo> for Info {
    fn from(raw: RawInfo) -> Self {
        Self {
            containerd: raw
                .status
                .iter()
                .flatten()
                .any(|(_, value)| value.starts_with("io.containerd.snapshotter.")),
            firewall: raw.firewall.map(|firewall| firewall.driver),
            id: raw.id,
            root: raw.root,
            version: raw.version,
        }
    }
}

/// An image that Docker has.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageFacts {
    /// Of the config on a graph driver, of the manifest in the containerd store.
    pub id: String,
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    #[serde(rename = "RootFS", default)]
    pub root: RootFs,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RootFs {
    /// The digests of the uncompressed layers, from the lowest.
    #[serde(default)]
    pub layers: Option<Vec<String>>,
}

/// A container, as `docker inspect` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    pub id: String,
    /// With a slash before it.
    pub name: String,
    /// The Id of its image.
    pub image: String,
    #[serde(default)]
    pub restart_count: u32,
    pub state: State,
    pub config: Config,
    #[serde(default)]
    pub mounts: Vec<Mount>,
    #[serde(default)]
    pub network_settings: NetworkSettings,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`.
    pub status: String,
    pub exit_code: i64,
    #[serde(default)]
    pub error: String,
    pub started_at: String,
    pub health: Option<HealthState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthState {
    /// `starting`, `healthy`, `unhealthy`.
    pub status: String,
    #[serde(default)]
    pub log: Option<Vec<HealthLog>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthLog {
    pub output: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// The name by which its image was called.
    pub image: String,
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mount {
    #[serde(default)]
    pub source: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkSettings {
    #[serde(default)]
    pub networks: BTreeMap<String, Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Endpoint {
    #[serde(rename = "NetworkID", default)]
    pub network_id: String,
    #[serde(rename = "IPAddress", default)]
    pub address: String,
}

impl Container {
    pub fn label(&self, name: &str) -> Option<&str> {
        self.config
            .labels
            .as_ref()?
            .get(name)
            .map(std::string::String::as_str)
    }

    pub fn plain_name(&self) -> &str {
        self.name.trim_start_matches('/')
    }

    pub fn is_running(&self) -> bool {
        self.state.status == "running"
    }

    /// `starting`, `healthy`, `unhealthy`; none without a healthcheck.
    pub fn health(&self) -> Option<&str> {
        self.state
            .health
            .as_ref()
            .map(|health| health.status.as_str())
            .filter(|status| *status != "none")
    }
}

/// A network, as `docker network inspect` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkFacts {
    pub id: String,
    pub name: String,
    pub driver: String,
    pub internal: bool,
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    #[serde(default)]
    pub options: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
    /// Those that run, by their Ids.
    #[serde(default)]
    pub containers: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ipam {
    #[serde(default)]
    pub config: Option<Vec<IpamConfig>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamConfig {
    #[serde(default)]
    pub subnet: String,
}
