//! What forge remembers of the paths that it has touched.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Mode, Owner};
use crate::pure::name::BlobDigest;

/// A regular file, by what it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    pub digest: BlobDigest,
    pub owner: Owner,
    pub mode: Mode,
}

/// What stood at a path before forge came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", deny_unknown_fields)]
pub enum Original {
    Nothing,
    /// Its bytes are kept.
    File {
        digest: BlobDigest,
        owner: Owner,
        mode: Mode,
    },
    Link {
        target: String,
    },
    /// The file is still there: forge has blocks in it.
    Theirs,
}

/// What forge remembers of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub original: Original,
    /// The whole file as forge wrote it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Standing>,
    /// The blocks as forge wrote them last, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub blocks: BTreeMap<String, BlobDigest>,
    /// There while the file is being replaced: what stands there until it is. After a crash the one or the other is there, and neither
    /// was made by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<BlobDigest>,
}

/// The durable list: path → what forge remembers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManagedList {
    pub version: u32,
    pub files: BTreeMap<String, Entry>,
}

impl ManagedList {
    pub const VERSION: u32 = 1;
}

impl Default for ManagedList {
    fn default() -> Self {
        Self {
            version: Self::VERSION,
            files: BTreeMap::new(),
        }
    }
}
