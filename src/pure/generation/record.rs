//! `generations/N/record.json`: what was activated, when, by whom, and how it ended.

use serde::{Deserialize, Serialize};

use crate::pure::name::{BlobDigest, BundleDigest};

/// How the last activation of a generation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Outcome {
    /// It was begun, and nobody has confirmed it.
    Unconfirmed,
    /// `current` has been this generation. Seconds since 1970.
    Confirmed { at: i64 },
    /// It failed, and the host went back.
    Failed { at: i64, step: String, why: String },
}

/// A generation. Nothing of it changes but its outcome.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Of the format.
    pub version: u32,
    pub number: u64,
    /// None of generation 0, the host as it was found.
    pub bundle: Option<BundleDigest>,
    /// The program that activates it and that returns to it: `bin/HEX/forge`.
    pub agent: BlobDigest,
    /// Seconds since 1970.
    pub created: i64,
    /// Who deployed it, as in `anna@laptop`.
    pub by: String,
    /// The revision of the project, if it is kept in git.
    pub revision: Option<String>,
    pub outcome: Outcome,
}

impl Record {
    pub const VERSION: u32 = 1;

    pub fn is_confirmed(&self) -> bool {
        matches!(self.outcome, Outcome::Confirmed { .. })
    }
}
