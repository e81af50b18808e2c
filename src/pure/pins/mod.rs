//! `forge.lock`: every image pinned: those of registries by digest, those that forge builds by every package and by the digest of
//! what comes out.
//!
//! Invariant: it says the same for everybody. No mirror stands in it, only paths below one.

mod diff;
mod from_config;
mod references;
mod to_text;

#[cfg(test)]
mod tests;

pub use diff::{Change, Changes, PackageChange, Registered, diff};
pub use from_config::{LOCK, read};
pub use to_text::to_text;

use std::collections::{BTreeMap, BTreeSet};

use crate::pure::name::{Arch, BlobDigest, ImageName, ManifestDigest};
use crate::pure::text::Span;

/// The pins of a project, by image.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    pub all: BTreeMap<ImageName, Pin>,
    /// The indexes that packages were resolved with, by suite.
    pub suites: BTreeMap<String, SuitePin>,
    /// Images whose entries could not be understood.
    pub broken: BTreeSet<String>,
    /// Some of the lock, nobody knows which images, could not be understood.
    pub incomplete: bool,
    /// The inputs that recipes have now, for whoever compares; no part of the lock. An image that is not here is not compared.
    pub inputs: BTreeMap<ImageName, BlobDigest>,
}

impl Pins {
    /// Leaves out the suites that no package is of.
    pub fn prune(&mut self) {
        let used: BTreeSet<&str> = self
            .all
            .values()
            .flat_map(Pin::packages)
            .map(|package| package.suite.as_str())
            .collect();
        let unused: Vec<String> = self
            .suites
            .keys()
            .filter(|suite| !used.contains(suite.as_str()))
            .cloned()
            .collect();
        for suite in unused {
            self.suites.remove(&suite);
        }
    }

    /// Whether an image that has no pin may have one that could not be read.
    pub fn may_hold(&self, image: &str) -> bool {
        self.incomplete || self.broken.contains(image)
    }
}

#[derive(Clone, Debug)]
pub enum Pin {
    Registry(RegistryPin),
    Recipe(RecipePin),
}

impl Pin {
    /// The same pin, said at another place.
    pub fn moved_to(mut self, at: Span) -> Self {
        match &mut self {
            Self::Registry(pin) => pin.at = at,
            Self::Recipe(pin) => pin.at = at,
        }
        self
    }

    /// Every package of every architecture.
    pub fn packages(&self) -> impl Iterator<Item = &PackagePin> {
        self.builds().values().flat_map(|build| &build.packages)
    }

    /// Every wheel of every architecture.
    pub fn wheels(&self) -> impl Iterator<Item = &WheelPin> {
        self.builds().values().flat_map(|build| &build.wheels)
    }

    /// What was resolved of a recipe; nothing of an image of a registry.
    pub fn builds(&self) -> &BTreeMap<Arch, BuildPin> {
        static NONE: BTreeMap<Arch, BuildPin> = BTreeMap::new();
        match self {
            Self::Registry(_) => &NONE,
            Self::Recipe(pin) => &pin.builds,
        }
    }

    pub fn at(&self) -> Span {
        match self {
            Self::Registry(pin) => pin.at,
            Self::Recipe(pin) => pin.at,
        }
    }
}

/// What an image's tag pointed to when it was locked.
#[derive(Clone, Debug)]
pub struct RegistryPin {
    pub at: Span,
    pub repository: String,
    pub tag: String,
    pub digest: ManifestDigest,
}

/// What a recipe was resolved to.
#[derive(Clone, Debug)]
pub struct RecipePin {
    pub at: Span,
    /// The digest of everything of the recipe that decides what comes out: if it differs, the pin is stale.
    pub inputs: BlobDigest,
    pub builds: BTreeMap<Arch, BuildPin>,
}

/// A recipe for one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildPin {
    /// Of the manifest that must come out.
    pub digest: ManifestDigest,
    /// Of its layers, in their order: tells which one differs.
    pub layers: Vec<BlobDigest>,
    /// Dependencies first.
    pub packages: Vec<PackagePin>,
    /// By name.
    pub wheels: Vec<WheelPin>,
}

/// A Debian package, as an index lists it (Debian Policy, section 5; "Packages" of the repository format).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackagePin {
    pub name: String,
    pub version: String,
    /// `amd64`, `arm64` or `all`.
    pub arch: String,
    /// The suite whose index named it.
    pub suite: String,
    /// Below the root of a mirror: `pool/…`.
    pub path: String,
    /// Of the .deb, in bytes.
    pub size: u64,
    /// Of the .deb.
    pub digest: BlobDigest,
}

/// A Python wheel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WheelPin {
    /// Normalised (PEP 503).
    pub name: String,
    pub version: String,
    /// As in `fastapi-0.115.0-py3-none-any.whl`.
    pub file: String,
    pub size: u64,
    pub digest: BlobDigest,
}

/// The index of a suite at the time of locking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuitePin {
    /// `Date` of its `InRelease`, in UTC, as in `20260711T101010Z`: where the snapshot archive is asked.
    pub date: String,
}

/// The one version of the lock's format that this forge reads and writes.
pub const VERSION: i64 = 1;
