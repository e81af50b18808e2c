//! The way back: the same resources, run towards the current generation.

use std::time::Duration;

use super::activate::PATIENCE;
use super::converge::apply_all_with;
use super::resource::Way;
use super::tell::Tell;
use super::works::Works;
use super::{Host, HostError, confirm, generations, stage};
use crate::edge::host::state::{State, StateError};
use crate::pure::generation::machine::{Decision, Situation, decide};
use crate::pure::generation::{Journal, Outcome, Phase, Record, Target};
use crate::pure::protocol::{Ending, Event};

/// As long as another process may be on the way back.
const LONGEST: Duration = Duration::from_secs(4 * 60 * 60);
/// What is decided can be out of date only as often as somebody else ends something meanwhile.
const TRIES: usize = 10;

/// Does what is to be done with an unfinished activation, and tells how that ended; none if nothing is unfinished, or if it has time left.
/// Stops an activation whose deadline has passed, and waits for whoever is on the way back already.
///
/// # Errors
/// [`HostError`]; then the journal is there, and the host goes back at its next boot, or when it is asked to.
pub fn recover(host: &Host, boot: bool, tell: &dyn Tell) -> Result<Option<Ending>, HostError> {
    recover_with(&Works::of(host), host, boot, tell)
}

/// True if there is anything to recover: an activation that is unfinished.
///
/// # Errors
/// [`HostError::State`].
pub fn is_wanted(host: &Host) -> Result<bool, HostError> {
    Ok(State::open(&host.paths)?.journal()?.is_some())
}

pub(super) fn recover_with(
    works: &Works,
    host: &Host,
    boot: bool,
    tell: &dyn Tell,
) -> Result<Option<Ending>, HostError> {
    let state = State::open(&host.paths)?;
    // Of what was stopped: once it is, it looks killed.
    let mut reason = None;
    for _ in 0..TRIES {
        // Who works, holds the lock.
        let lock = match state.lock(Duration::ZERO) {
            Ok(lock) => Some(lock),
            Err(StateError::Busy(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let journal = state.journal()?;
        let decision = decide(Situation {
            journal: journal.as_ref(),
            current: state.current()?,
            now: works.now(),
            running: lock.is_none(),
            boot,
        });
        let ending = match (decision, journal, lock) {
            (Decision::Idle, ..) | (_, None, _) => return Ok(None),
            (Decision::Wait { .. } | Decision::Await { .. }, ..) => return Ok(None),
            (
                Decision::GoBack {
                    why, stop: true, ..
                },
                _,
                None,
            ) => {
                reason = Some(why);
                works.supervisor.stop_activation()?;
                drop(state.lock(PATIENCE)?);
                continue;
            }
            (_, _, None) | (Decision::Returning, ..) => {
                drop(state.lock(LONGEST)?);
                continue;
            }
            (Decision::FinishCommit { .. }, Some(journal), Some(_lock)) => {
                let record = confirm::finish(works, host, &state, &journal)?;
                Ending::Confirmed {
                    generation: record.number,
                    bundle: record.bundle,
                }
            }
            (Decision::GoBack { why, .. }, Some(mut journal), Some(_lock)) => {
                let why = reason.unwrap_or(why);
                if !matches!(journal.phase, Phase::Recovering { .. }) {
                    let step = match journal.phase {
                        Phase::AwaitingConfirmation => "confirmation",
                        Phase::Converging | Phase::Recovering { .. } => "activation",
                    };
                    tell.tell(Event::Failed {
                        step: step.to_owned(),
                        why: why.clone(),
                    });
                    mark(works, &state, &mut journal, step, &why)?;
                }
                return_to_current(works, host, &state, journal, tell)?
            }
        };
        tell.tell(Event::Ended {
            ending: ending.clone(),
        });
        return Ok(Some(ending));
    }
    Err(HostError::refused(
        "others keep changing what is to be done with the activation",
        Some("try again"),
    ))
}

/// Says durably that the host is on the way back, and why: in the record of what failed, and in the journal.
pub(super) fn mark(
    works: &Works,
    state: &State,
    journal: &mut Journal,
    step: &str,
    why: &str,
) -> Result<(), HostError> {
    journal.phase = Phase::Recovering {
        why: format!("{step}: {why}"),
        left: Vec::new(),
    };
    if let Some(record) = state.record(journal.to)? {
        state.rewrite(&Record {
            outcome: Outcome::Failed {
                at: works.now(),
                step: step.to_owned(),
                why: why.to_owned(),
            },
            ..record
        })?;
    }
    Ok(state.write_journal(journal)?)
}

/// Where it failed, and why, of one that is on the way back: as its record says. None of another.
pub(super) fn reason(state: &State, journal: &Journal) -> Option<(String, String)> {
    let Phase::Recovering { why, .. } = &journal.phase else {
        return None;
    };
    match state.record(journal.to) {
        Ok(Some(Record {
            outcome: Outcome::Failed { step, why, .. },
            ..
        })) => Some((step, why)),
        _ => Some(("activation".to_owned(), why.clone())),
    }
}

/// Converges to the current generation, under the lock. The journal goes only when the host is there.
pub(super) fn return_to_current(
    works: &Works,
    host: &Host,
    state: &State,
    journal: Journal,
    tell: &dyn Tell,
) -> Result<Ending, HostError> {
    let to = state.current()?.unwrap_or(journal.from);
    let unknown = || ("activation".to_owned(), "it was not finished".to_owned());
    let (step, why) = reason(state, &journal).unwrap_or_else(unknown);
    tell.say(format!("going back to generation {to}"));
    let want = generations::target(host, to)
        .inspect_err(|error| remember(state, &journal, &[error.to_string()], tell))?;
    let applied = applied(host, [journal.from, journal.to], to, tell);
    let before: Vec<&Target> = applied.iter().collect();
    let way = Way {
        want: &want,
        before: &before,
    };
    // What stands there by content is there already, unless somebody has removed it.
    if let Err(failure) = stage::run(&works.steps.always, host, &want, tell) {
        tell.warn(format!("{}: {}", failure.step, failure.error));
    }
    let left = apply_all_with(works, host, way, tell);
    if !left.is_empty() {
        remember(state, &journal, &left, tell);
        return Ok(Ending::Incomplete {
            generation: to,
            step,
            why,
            left,
        });
    }
    state.remove_journal()?;
    settle(works, host, to, &want, tell);
    Ok(Ending::RolledBack {
        generation: to,
        step,
        why,
    })
}

/// So that whoever comes next is told what is left.
fn remember(state: &State, journal: &Journal, still: &[String], tell: &dyn Tell) {
    let mut journal = journal.clone();
    if let Phase::Recovering { left, .. } = &mut journal.phase {
        *left = still.to_vec();
        if let Err(error) = state.write_journal(&journal) {
            tell.warn(format!("what is left cannot be written down: {error}"));
        }
    }
}

/// Every other generation of which something may have been applied. One that cannot be read takes with it what only its
/// bundle could say; what forge has on the host, it also knows from its own lists and labels.
fn applied(host: &Host, numbers: [u64; 2], to: u64, tell: &dyn Tell) -> Vec<Target> {
    let mut targets = Vec::new();
    for number in numbers.into_iter().filter(|number| *number != to) {
        match generations::target(host, number) {
            Ok(target) => targets.push(target),
            Err(error) => tell.warn(format!("generation {number} cannot be read: {error}")),
        }
    }
    targets
}

/// The host is at a generation for good: nothing waits for it any more. What fails here changes nothing of that.
pub(super) fn settle(works: &Works, host: &Host, number: u64, target: &Target, tell: &dyn Tell) {
    if let Err(error) = works.supervisor.disarm() {
        tell.warn(format!(
            "the deadline cannot be disarmed: {error}; it will find nothing to do"
        ));
    }
    if let Err(error) = (works.steps.prune)(host, &[target]) {
        tell.warn(format!(
            "what is no longer needed cannot be removed: {error}"
        ));
    }
    if number == 0
        && let Err(error) = works.supervisor.uninstall()
    {
        tell.warn(format!("forge's own units cannot be removed: {error}"));
    }
}

/// The way back could not even be begun.
pub(super) fn not_begun(journal: &Journal, step: &str, why: &str, error: &HostError) -> Ending {
    Ending::Incomplete {
        generation: journal.from,
        step: step.to_owned(),
        why: why.to_owned(),
        left: vec![error.to_string()],
    }
}

/// Takes a host as it is that could not go back whole (`forge unlock --force`): the journal goes, and the next plan starts from what
/// is there. True if there was one. Only while nothing is at work and nothing may still be confirmed.
///
/// # Errors
/// [`HostError::Refused`] if something is at work, or has time left.
pub fn accept(host: &Host) -> Result<bool, HostError> {
    accept_with(&Works::of(host), host)
}

pub(super) fn accept_with(works: &Works, host: &Host) -> Result<bool, HostError> {
    let state = State::open(&host.paths)?;
    let _lock = state.lock(Duration::ZERO)?;
    match state.journal()? {
        None => Ok(false),
        Some(Journal {
            phase: Phase::Recovering { .. },
            ..
        }) => {
            state.remove_journal()?;
            works.supervisor.disarm()?;
            Ok(true)
        }
        Some(_) => Err(HostError::refused(
            "an activation is not finished",
            Some("`forge rollback` ends it"),
        )),
    }
}
