//! `forge.lock`: every image pinned to a digest.

mod from_config;

pub use from_config::read;

use std::collections::BTreeMap;

use crate::pure::name::{ImageName, ManifestDigest};
use crate::pure::text::Span;

/// The pins of a project, by image.
#[derive(Clone, Debug, Default)]
pub struct Pins {
    pub all: BTreeMap<ImageName, Pin>,
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
