//! One host, fully decided: options, contributions, policy, provenance.
//!
//! Invariant: a [`System`] is only made by [`from_config::evaluate`], from a project without errors: every reference in it leads
//! somewhere, every image is pinned, no two contributions own one thing.

pub mod explain;
pub mod facts;
pub mod from_config;
pub mod policy;
pub mod service;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::pure::config::value::Value;
use crate::pure::name::{HostName, ImageName, ManifestDigest, ServiceName};
use facts::Facts;
use service::{FirewallEntry, Network, Service};

/// One evaluated host.
#[derive(Clone, Debug)]
pub struct System {
    pub host: Host,
    /// The enabled modules and their options.
    pub modules: BTreeMap<String, Value>,
    /// Modules that the host names and does not enable.
    pub disabled: Vec<String>,
    pub facts: Facts,
    pub services: BTreeMap<ServiceName, Service>,
    pub networks: Vec<Network>,
    pub firewall: Vec<FirewallEntry>,
    /// The images of the services.
    pub images: BTreeMap<ImageName, PinnedImage>,
    /// Who meets which need, as templates see it.
    pub providers: serde_json::Value,
}

#[derive(Clone, Debug, Serialize)]
pub struct Host {
    pub name: HostName,
    pub address: String,
    pub system: String,
    pub arch: String,
    pub user: String,
    pub port: u16,
    pub host_key: Option<String>,
    pub tags: Vec<String>,
    /// Images of registries are put into the bundle. No part of what the host is, so that the bundle has the same digest either way.
    #[serde(skip)]
    pub vendor: bool,
    /// The client that it is reached with: `russh` or `openssh`. The laptop's business as well.
    #[serde(skip)]
    pub ssh: String,
}

/// The registry of images that forge builds: a name that never resolves (RFC 2606), so that nothing pulls them behind our back.
pub const BUILT_REGISTRY: &str = "forge.invalid";
/// Where a tag is wanted for an image that forge builds. Nothing is ever found by it.
pub const BUILT_TAG: &str = "built";

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PinnedImage {
    pub repository: String,
    pub tag: String,
    pub digest: ManifestDigest,
}
