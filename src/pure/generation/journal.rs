//! `journal.json`: there only while an activation is unfinished.

use serde::{Deserialize, Serialize};

/// How far the activation is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Phase {
    /// The deadline is armed; anything may have been changed.
    Converging,
    /// Everything runs and is well; it counts once a new connection has confirmed it.
    AwaitingConfirmation,
    /// On the way back to `from`.
    Recovering { why: String },
}

/// An unfinished activation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Of the format.
    pub version: u32,
    /// The generation that the host returns to: `current`, when this was written.
    pub from: u64,
    /// The generation that is being activated.
    pub to: u64,
    pub phase: Phase,
    /// Seconds since 1970: when the host goes back by itself.
    pub deadline: i64,
    pub started: i64,
    pub by: String,
    /// Known to who began the activation: a confirmation names it, so that nobody confirms another's.
    pub token: String,
}

impl Journal {
    pub const VERSION: u32 = 1;
}
