//! The machine: what becomes of an unfinished activation. The one place that decides it, whoever asks: the boot, the deadline,
//! a person, a confirmation, the next deploy.

use super::{Journal, Phase};

/// What is known when somebody asks.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    pub journal: Option<&'a Journal>,
    /// Where `current` points; none where forge has never been.
    pub current: Option<u64>,
    /// Seconds since 1970.
    pub now: i64,
    /// An activation, or a way back, is at work in another process.
    pub running: bool,
    /// The machine has just been started: no process of the activation is left, and no timer.
    pub boot: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is unfinished.
    Idle,
    /// `current` is already what was to be activated: only the journal is left to be removed.
    FinishCommit { generation: u64 },
    /// The activation works, and has time left.
    Wait { until: i64 },
    /// It has ended well, and has time left to be confirmed.
    Await { until: i64 },
    /// Another process is on the way back: it is waited for.
    Returning,
    /// Converge to `to`. `applied`: every other generation of which something may have been applied.
    GoBack {
        to: u64,
        applied: [u64; 2],
        /// Stop the activation first.
        stop: bool,
        why: String,
    },
}

/// Decides. Whatever is at hand, the host ends at `current`, or at `from` where nothing is current: never at nothing.
pub fn decide(situation: Situation<'_>) -> Decision {
    let Situation {
        journal,
        current,
        now,
        running,
        boot,
    } = situation;
    let Some(journal) = journal else {
        return Decision::Idle;
    };
    // Killed between the commit point and the removal of the journal. A way back to the same generation is none of it.
    if current == Some(journal.to) {
        return Decision::FinishCommit {
            generation: journal.to,
        };
    }
    let running = running && !boot;
    let back = |why: &str| Decision::GoBack {
        to: current.unwrap_or(journal.from),
        applied: [journal.from, journal.to],
        stop: running,
        why: why.to_owned(),
    };
    let in_time = now < journal.deadline;
    match &journal.phase {
        Phase::Recovering { .. } if running => Decision::Returning,
        Phase::Recovering { why, .. } => back(why),
        Phase::Converging | Phase::AwaitingConfirmation if boot => {
            back("the machine was started anew before the activation was confirmed")
        }
        Phase::Converging if running && in_time => Decision::Wait {
            until: journal.deadline,
        },
        Phase::Converging if running => back("the deadline passed before the activation had ended"),
        Phase::Converging => back("the activation was killed"),
        Phase::AwaitingConfirmation if in_time => Decision::Await {
            until: journal.deadline,
        },
        Phase::AwaitingConfirmation => {
            back("the deadline passed before the activation was confirmed")
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    const PHASES: [fn() -> Phase; 3] = [
        || Phase::Converging,
        || Phase::AwaitingConfirmation,
        || Phase::Recovering {
            why: "it failed".to_owned(),
            left: Vec::new(),
        },
    ];

    fn journal(phase: Phase) -> Journal {
        Journal {
            version: Journal::VERSION,
            from: 1,
            to: 2,
            phase,
            deadline: 100,
            started: 0,
            by: "anna".to_owned(),
            token: "t".to_owned(),
        }
    }

    /// Every situation there is, with what is decided.
    fn all(mut check: impl FnMut(Situation<'_>, Decision)) {
        let journals: Vec<Option<Journal>> = std::iter::once(None)
            .chain(PHASES.map(|phase| Some(journal(phase()))))
            .collect();
        for journal in &journals {
            for current in [None, Some(1), Some(2), Some(7)] {
                for now in [-5, 0, 99, 100, 101] {
                    for (running, boot) in
                        [(false, false), (true, false), (false, true), (true, true)]
                    {
                        let situation = Situation {
                            journal: journal.as_ref(),
                            current,
                            now,
                            running,
                            boot,
                        };
                        check(situation, decide(situation));
                    }
                }
            }
        }
    }

    #[test]
    fn the_host_ends_at_current_and_never_at_nothing() {
        all(|situation, decision| match decision {
            Decision::GoBack { to, applied, .. } => {
                assert_eq!(to, situation.current.unwrap_or(1));
                assert_ne!(to, 2, "{situation:?}");
                assert_eq!(applied, [1, 2]);
            }
            Decision::FinishCommit { generation } => {
                assert_eq!((generation, situation.current), (2, Some(2)));
            }
            Decision::Idle => assert!(situation.journal.is_none()),
            Decision::Wait { .. } | Decision::Await { .. } | Decision::Returning => {
                assert!(!situation.boot, "{situation:?}");
            }
        });
    }

    #[test]
    fn whatever_was_committed_stays() {
        all(|situation, decision| {
            if situation.journal.is_some() && situation.current == Some(2) {
                assert_eq!(decision, Decision::FinishCommit { generation: 2 });
            }
        });
    }

    #[test]
    fn at_boot_and_after_the_deadline_nothing_is_waited_for() {
        all(|situation, decision| {
            let waits = matches!(decision, Decision::Wait { .. } | Decision::Await { .. });
            if situation.boot || situation.now >= 100 {
                assert!(!waits, "{situation:?}");
            }
            if let Decision::GoBack { stop, .. } = decision {
                assert_eq!(stop, situation.running && !situation.boot);
            }
        });
    }

    #[test]
    fn only_what_ended_well_and_in_time_may_be_confirmed() {
        all(|situation, decision| {
            let well = situation
                .journal
                .is_some_and(|journal| journal.phase == Phase::AwaitingConfirmation);
            let may =
                well && situation.current != Some(2) && situation.now < 100 && !situation.boot;
            assert_eq!(
                matches!(decision, Decision::Await { .. }),
                may,
                "{situation:?}"
            );
        });
    }

    #[test]
    fn the_reason_for_going_back_is_kept_on_the_way() {
        let journal = journal(PHASES[2]());
        let Decision::GoBack { why, .. } = decide(Situation {
            journal: Some(&journal),
            current: Some(1),
            now: 50,
            running: false,
            boot: true,
        }) else {
            panic!("it goes back");
        };
        assert_eq!(why, "it failed");
    }

    #[test]
    fn an_activation_that_was_killed_goes_back_at_once() {
        let journal = journal(Phase::Converging);
        let decision = decide(Situation {
            journal: Some(&journal),
            current: Some(1),
            now: 1,
            running: false,
            boot: false,
        });
        assert!(matches!(decision, Decision::GoBack { stop: false, .. }));
    }
}
