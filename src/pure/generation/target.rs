//! What a host is to be, as its bundle says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pure::bundle::{ImagePin, Part};
use crate::pure::name::{
    Arch, BlobDigest, BundleDigest, HostName, ImageName, NetworkName, SecretName, ServiceName,
    VolumeName,
};

/// Below it stand the files that containers mount, by content.
pub const fn content_root() -> &'static str {
    "/var/lib/forge/files"
}

/// Below it stand secrets and files that embed them; tmpfs, root only.
pub const fn sealed_root() -> &'static str {
    "/run/forge/secrets"
}

/// Numeric `uid:gid`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// Permissions: the low twelve bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(pub u32);

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is no numeric `uid:gid`");
        let (uid, gid) = text.split_once(':').ok_or_else(refuse)?;
        Ok(Self {
            uid: uid.parse().map_err(|_| refuse())?,
            gid: gid.parse().map_err(|_| refuse())?,
        })
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl TryFrom<String> for Owner {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> Self {
        owner.to_string()
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        mode.to_string()
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match u32::from_str_radix(text, 8) {
            Ok(mode) if mode <= 0o7777 => Ok(Self(mode)),
            _ => Err(format!("`{text}` is no octal mode")),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// Where a rendered file stands, and who owns what else is there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", deny_unknown_fields)]
pub enum Place {
    /// At a path that contains its digest: what containers mount. Never changes.
    Content { path: String },
    /// On tmpfs, completed with secrets, at a path that contains the digest of all that it is made of.
    Sealed { path: String },
    /// A whole file of the host; the original is kept. Below `/run` if it embeds secrets.
    Managed { path: String },
    /// A marked block in a file that others own.
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

/// A rendered file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetFile {
    pub place: Place,
    pub owner: Owner,
    pub mode: Mode,
    /// Of the bytes in the bundle, with placeholders for secrets.
    pub digest: BlobDigest,
    /// The secrets that its placeholders name.
    pub secrets: BTreeSet<SecretName>,
}

/// A secret that a service is given as a file of its own.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSecret {
    pub name: SecretName,
    pub path: String,
    pub owner: Owner,
    pub mode: Mode,
}

/// A container; how it runs is in `compose.yaml` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub image: ImageName,
    pub networks: Vec<NetworkName>,
    pub depends_on: Vec<ServiceName>,
    pub network_host: bool,
    /// True if Docker can say whether it is healthy.
    pub healthcheck: bool,
    /// As long as an activation waits for its health: from its healthcheck's start period, interval, timeout and retries.
    pub patience: Duration,
    /// `no` or `on-failure` without a healthcheck: it may end, and has to end with 0.
    pub one_shot: bool,
    pub ports: Vec<ServicePort>,
}

/// A port that a service publishes on the host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct ServicePort {
    pub host: u16,
    pub container: u16,
    pub protocol: String,
    pub public: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub internal: bool,
    pub subnet: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    pub owner: Owner,
    pub mode: Mode,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub uid: Option<u32>,
    pub shell: String,
    pub comment: String,
    pub groups: Vec<String>,
    pub system: bool,
    /// OpenSSH public keys; they stand in files of the module `users`.
    pub keys: Vec<String>,
    /// `none`, `password` or `nopasswd`; it stands in a file of the module `users`.
    pub sudo: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub gid: Option<u32>,
}

/// A systemd unit. Its text is the file `unit/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    pub enable: bool,
}

/// A preflight check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub service: ServiceName,
    pub exec: Vec<String>,
}

/// What must be true after the services are healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub url: Option<String>,
    pub tcp: Option<u16>,
    pub exec: Option<Vec<String>>,
    pub service: Option<ServiceName>,
    pub timeout: Duration,
}

/// A hole in the firewall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    pub port: u16,
    pub protocol: String,
    pub from: Vec<String>,
}

/// What a host is to be. Made from a bundle by [`super::from_bundle`]; [`Target::nothing`] is generation 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// None of the host as it was found.
    pub bundle: Option<BundleDigest>,
    pub host: Option<HostName>,
    /// The port by which the laptop reaches sshd; none if the bundle does not say.
    pub ssh_port: Option<u16>,
    /// As in `debian-13`.
    pub system: String,
    pub arch: Option<Arch>,
    pub modules: Vec<String>,
    /// By name (`MODULE/NAME`).
    pub files: BTreeMap<String, TargetFile>,
    pub secrets: Vec<TargetSecret>,
    /// Path of `compose.yaml`; none if there is no service.
    pub compose: Option<String>,
    pub images: BTreeMap<ImageName, ImagePin>,
    pub services: BTreeMap<ServiceName, Service>,
    pub networks: BTreeMap<NetworkName, Network>,
    pub volumes: BTreeMap<VolumeName, Volume>,
    pub packages: BTreeSet<String>,
    pub users: BTreeMap<String, User>,
    pub groups: BTreeMap<String, Group>,
    pub sysctls: BTreeMap<String, String>,
    pub units: BTreeMap<String, Unit>,
    pub checks: BTreeMap<String, Check>,
    pub probes: BTreeMap<String, Probe>,
    pub holes: BTreeMap<String, Hole>,
    /// The bytes of every file and every ciphertext, by title (`files/NAME`, `secrets/NAME`).
    pub parts: BTreeMap<String, Part>,
}

impl Target {
    /// The host as it was found: forge has put nothing there.
    #[must_use]
    pub fn nothing() -> Self {
        Self::default()
    }

    /// The bytes of a file of the bundle, with placeholders for its secrets.
    pub fn file_bytes(&self, name: &str) -> Option<&[u8]> {
        self.part(&format!("files/{name}"))
    }

    /// The armored age file of a secret.
    pub fn ciphertext(&self, name: &SecretName) -> Option<&[u8]> {
        self.part(&format!("secrets/{name}"))
    }

    fn part(&self, title: &str) -> Option<&[u8]> {
        self.parts.get(title).map(|part| part.bytes.as_slice())
    }

    /// The name by which Compose calls an image: no registry has it, so it is never pulled.
    pub fn image_tag(pin: &ImagePin) -> String {
        format!("forge.invalid/{}:sha256-{}", pin.name, pin.digest.hex())
    }

    /// The images that services use: others of the bundle are not loaded.
    pub fn images_in_use(&self) -> BTreeMap<ImageName, ImagePin> {
        let used: BTreeSet<&ImageName> = self
            .services
            .values()
            .map(|service| &service.image)
            .collect();
        self.images
            .iter()
            .filter(|(name, _)| used.contains(name))
            .map(|(name, pin)| (name.clone(), pin.clone()))
            .collect()
    }
}
