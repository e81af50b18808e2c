//! What will happen to a host, and why: computed on the host from its real state, shown by the laptop, and computed again before
//! the first change. The two must be equal.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::pure::name::{BlobDigest, BundleDigest, HostName, ImageName, ManifestDigest};

/// The kinds of thing that a host is made of, in the order in which they are converged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Package,
    Group,
    User,
    File,
    Secret,
    Sysctl,
    Volume,
    Unit,
    Firewall,
    Network,
    Image,
    Service,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Package => "package",
            Self::Group => "group",
            Self::User => "user",
            Self::File => "file",
            Self::Secret => "secret",
            Self::Sysctl => "sysctl",
            Self::Volume => "volume",
            Self::Unit => "unit",
            Self::Firewall => "firewall",
            Self::Network => "network",
            Self::Image => "image",
            Self::Service => "service",
        })
    }
}

/// What is done to a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Installed, made, written, loaded: it is not there.
    Add,
    /// It is there, and is not as declared.
    Change,
    /// No longer declared. Data is never removed.
    Remove,
    /// It is there as declared, and does not run.
    Start,
    Stop,
    /// It runs, and must be started anew to take what has changed.
    Restart,
}

/// One thing that will happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    pub kind: Kind,
    /// The package, the path, the unit, the service.
    pub name: String,
    pub action: Action,
    /// For a person, without a full stop: `image 15.19 → 15.20`, `edited by hand`. Never a secret.
    pub why: String,
    /// Unified, of text that holds no secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

impl Change {
    pub fn new(
        kind: Kind,
        name: impl Into<String>,
        action: Action,
        why: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            name: name.into(),
            action,
            why: why.into(),
            diff: None,
        }
    }

    #[must_use]
    pub fn with_diff(mut self, diff: impl Into<String>) -> Self {
        self.diff = Some(diff.into());
        self
    }
}

/// An image that the host does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    pub image: ImageName,
    /// As in `docker.io/library/postgres`.
    pub repository: String,
    pub tag: String,
    pub digest: ManifestDigest,
}

/// Everything that will happen to a host, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub host: HostName,
    /// The generation that is current; 0 is the host as it was found.
    pub from: u64,
    pub from_bundle: Option<BundleDigest>,
    pub to_bundle: Option<BundleDigest>,
    pub changes: Vec<Change>,
    /// What a person should know and forge does nothing about: data that stays behind, a reboot that is wanted.
    pub notes: Vec<String>,
}

impl Plan {
    /// True if the host is what the bundle says, and its current generation is that bundle.
    pub fn is_nothing(&self) -> bool {
        self.changes.is_empty() && self.from_bundle == self.to_bundle
    }

    /// Names the plan: two plans of one digest do the same to the same host.
    pub fn digest(&self) -> BlobDigest {
        // Serialising such a value cannot fail; if it ever did, no two plans would be equal by mistake.
        BlobDigest::of(serde_json::to_vec(self).unwrap_or_else(|error| error.to_string().into()))
    }
}
