//! How a deploy, or a rollback, ended.

use serde::Serialize;

use super::conversation::TalkError;
use crate::pure::name::BundleDigest;

/// "It could not run", "the answer is no" and "it was tried and undone" are different things, and so are their exit codes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// Confirmed, and read back.
    Done {
        generation: u64,
        bundle: Option<BundleDigest>,
    },
    /// The host is at it already.
    NothingToDo { generation: u64 },
    /// The plan was wanted, and no more.
    Planned,
    /// The answer is no; the host is as it was.
    Refused {
        step: String,
        why: String,
        hints: Vec<String>,
    },
    /// It could not run; the host is as it was.
    Failed { why: String, hints: Vec<String> },
    /// It failed, and the host is again at `generation`.
    RolledBack {
        generation: u64,
        step: String,
        why: String,
    },
    /// It failed, and going back did too.
    Incomplete {
        generation: u64,
        step: String,
        why: String,
        left: Vec<String>,
    },
    /// Contact was lost while the host was being changed: it goes on by itself, or goes back by itself.
    Unknown { why: String, hints: Vec<String> },
}

impl Outcome {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::NothingToDo { .. } => "nothing_to_do",
            Self::Planned => "planned",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
            Self::RolledBack { .. } => "rolled_back",
            Self::Incomplete { .. } => "incomplete",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// True if another host may follow.
    pub fn is_fine(&self) -> bool {
        matches!(
            self,
            Self::Done { .. } | Self::NothingToDo { .. } | Self::Planned
        )
    }

    /// The generation that the host is at, as far as that is known.
    pub fn generation(&self) -> Option<u64> {
        match self {
            Self::Done { generation, .. }
            | Self::NothingToDo { generation }
            | Self::RolledBack { generation, .. } => Some(*generation),
            _ => None,
        }
    }

    pub(super) fn refused(step: &str, why: impl Into<String>) -> Self {
        Self::Refused {
            step: step.to_owned(),
            why: why.into(),
            hints: Vec::new(),
        }
    }

    /// Before anything was asked that changes the host.
    pub(super) fn could_not(error: TalkError) -> Self {
        let why = error.to_string();
        match error {
            TalkError::Closed { hints, .. } => Self::Failed { why, hints },
            TalkError::Lost(_) | TalkError::Nonsense(_) | TalkError::Own(_) => Self::Failed {
                why,
                hints: Vec::new(),
            },
        }
    }
}
