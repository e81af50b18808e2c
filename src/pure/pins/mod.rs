//! `forge.lock`: every image pinned to a digest.

mod from_config;

pub use from_config::read;

use std::collections::{BTreeMap, BTreeSet};

use crate::pure::name::{ImageName, ManifestDigest};
use crate::pure::text::Span;

/// The pins of a project, by image.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    pub all: BTreeMap<ImageName, Pin>,
    /// Images whose entries could not be understood.
    pub broken: BTreeSet<String>,
    /// Some of the lock, nobody knows which images, could not be understood.
    pub incomplete: bool,
}

impl Pins {
    /// Whether an image that has no pin may have one that could not be read.
    pub fn may_hold(&self, image: &str) -> bool {
        self.incomplete || self.broken.contains(image)
    }
}

/// What an image's tag pointed to when it was locked.
#[derive(Clone, Debug)]
pub struct Pin {
    pub at: Span,
    pub repository: String,
    pub tag: String,
    pub digest: ManifestDigest,
}

/// The one version of the lock's format that this forge reads and writes.
pub const VERSION: i64 = 1;
