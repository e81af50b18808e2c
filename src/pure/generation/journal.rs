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
    Recovering {
        why: String,
        /// What could not go back, once that is known: nothing goes on by itself then, before the next boot.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        left: Vec<String>,
    },
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

    /// True if the host has not come back whole.
    pub fn is_stuck(&self) -> bool {
        matches!(&self.phase, Phase::Recovering { left, .. } if !left.is_empty())
    }

    /// What whoever wants something else of the host is told.
    pub fn told(&self) -> String {
        let Self { from, to, by, .. } = self;
        match &self.phase {
            Phase::Converging | Phase::AwaitingConfirmation => {
                format!("the activation of generation {to} by {by} is unfinished")
            }
            Phase::Recovering { why, left } if left.is_empty() => format!(
                "the activation of generation {to} by {by} failed ({why}), and the host is on its way back to generation {from}"
            ),
            Phase::Recovering { why, left } => format!(
                "the activation of generation {to} by {by} failed ({why}), and the host has not come back to generation {from} whole; what is \
                 left:\n  {}",
                left.join("\n  ")
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_left_where_nothing_goes_on_by_itself() {
        let of = |phase| Journal {
            version: Journal::VERSION,
            from: 1,
            to: 2,
            phase,
            deadline: 100,
            started: 0,
            by: "anna".to_owned(),
            token: "t".to_owned(),
        };
        let recovering = |left: &[&str]| Phase::Recovering {
            why: "it failed".to_owned(),
            left: left.iter().map(|&one| one.to_owned()).collect(),
        };
        let stuck = of(recovering(&["files: a", "units: b"]));
        assert!(stuck.is_stuck());
        let told = stuck.told();
        for part in [
            "generation 2 by anna",
            "it failed",
            "generation 1 whole",
            "\n  files: a\n  units: b",
        ] {
            assert!(told.contains(part), "{told}");
        }
        let back = of(recovering(&[]));
        assert!(!back.is_stuck() && back.told().contains("on its way back"));
        let works = of(Phase::Converging);
        assert!(!works.is_stuck() && works.told().contains("unfinished"));
    }
}
