//! The commit point, and giving up.

use std::time::Duration;

use super::activate::{PATIENCE, program};
use super::tell::{Silent, Tell, ToLog};
use super::works::Works;
use super::{Host, HostError, generations, recover};
use crate::edge::disk::Lock;
use crate::edge::host::events::{self, EventLog, Header};
use crate::edge::host::state::{State, StateError};
use crate::pure::generation::machine::{Decision, Situation, decide};
use crate::pure::generation::{Journal, Outcome, Phase, Record, Target};
use crate::pure::protocol::{Ending, Event};

/// Confirms the activation: makes its generation current. Idempotent: what is confirmed may be confirmed again with the same token until
/// the next activation or the next boot.
///
/// # Errors
/// [`HostError::Refused`] if the token is another's, if the activation has not ended well, or if its deadline has passed: then the host goes
/// back. After any other error it is not known; asking again says.
pub fn confirm(host: &Host, token: &str) -> Result<Record, HostError> {
    confirm_with(&Works::of(host), host, token)
}

pub(super) fn confirm_with(works: &Works, host: &Host, token: &str) -> Result<Record, HostError> {
    let state = State::open(&host.paths)?;
    let _lock = state.lock(PATIENCE)?;
    let journal = state.journal()?;
    let current = state.current()?;
    let Some(journal) = journal else {
        return confirmed_before(host, &state, current, token);
    };
    if journal.token != token {
        return Err(alien());
    }
    match decide(Situation {
        journal: Some(&journal),
        current,
        now: works.now(),
        running: false,
        boot: false,
    }) {
        Decision::Await { .. } => {
            state.commit(journal.to)?;
            finish(works, host, &state, &journal)
        }
        Decision::FinishCommit { .. } => finish(works, host, &state, &journal),
        Decision::GoBack { why, .. } => Err(HostError::refused(
            format!("it is too late to confirm: {why}"),
            Some("`forge attach` tells how the host goes back"),
        )),
        Decision::Idle | Decision::Wait { .. } | Decision::Returning => Err(HostError::refused(
            "the activation has not ended yet",
            Some("`forge attach` follows it"),
        )),
    }
}

fn confirmed_before(
    host: &Host,
    state: &State,
    current: Option<u64>,
    token: &str,
) -> Result<Record, HostError> {
    match state.request()? {
        Some(request) if request.token == token && current == Some(request.to) => {
            generations::record(host, request.to)
        }
        Some(request) if request.token == token => Err(HostError::refused(
            "it is too late to confirm: the host has gone back",
            Some("`forge history` tells why"),
        )),
        _ => Err(HostError::refused(
            "no activation waits to be confirmed",
            Some("`forge status` tells which generation is current"),
        )),
    }
}

fn alien() -> HostError {
    HostError::refused(
        "the activation that waits to be confirmed is another one",
        Some("`forge status` tells whose it is"),
    )
}

/// What follows the commit point, under the lock: the record, the journal, the deadline. May be done again after a crash in it.
pub(super) fn finish(
    works: &Works,
    host: &Host,
    state: &State,
    journal: &Journal,
) -> Result<Record, HostError> {
    let record = Record {
        outcome: Outcome::Confirmed { at: works.now() },
        ..state
            .record(journal.to)?
            .ok_or(StateError::NoGeneration(journal.to))?
    };
    state.rewrite(&record)?;
    state.remove_journal()?;
    // Whoever attaches later reads how it ended.
    let log = EventLog::go_on(&host.paths, &Header::new(journal.to, &journal.token)).map(ToLog);
    let tell: &dyn Tell = match &log {
        Ok(log) => log,
        Err(_) => &Silent,
    };
    let target = generations::target_of(host, &record);
    match &target {
        Ok(target) => recover::settle(works, host, record.number, target, tell),
        Err(error) => {
            // Nothing is removed for it; what it had is still there.
            tell.warn(error.to_string());
            works.supervisor.disarm()?;
        }
    }
    tell.tell(Event::Ended {
        ending: Ending::Confirmed {
            generation: record.number,
            bundle: record.bundle,
        },
    });
    Ok(record)
}

/// Gives the activation up: the host goes back, apart from this process; also one that is on its way back, and did not come
/// whole, goes again. Its events are followed from the byte that this
/// gives: `edge::host::events::follow(paths, from, …)`.
///
/// # Errors
/// [`HostError::Refused`] if the token is another's, or if nothing can be given up any more.
pub fn abandon(host: &Host, token: &str, why: &str) -> Result<u64, HostError> {
    abandon_with(&Works::of(host), host, token, why)
}

pub(super) fn abandon_with(
    works: &Works,
    host: &Host,
    token: &str,
    why: &str,
) -> Result<u64, HostError> {
    const STEP: &str = "abandoned";
    let state = State::open(&host.paths)?;
    let owner = |state: &State| -> Result<Option<String>, HostError> {
        Ok(match state.journal()? {
            Some(journal) => Some(journal.token),
            None => state.request()?.map(|request| request.token),
        })
    };
    if owner(&state)?.as_deref() != Some(token) {
        return Err(alien());
    }
    let lock = take(works, &state)?;
    let from = events::length(&host.paths);
    let Some(mut journal) = state.journal()? else {
        return never_begun(works, host, &state, token, why, from);
    };
    if journal.token != token {
        return Err(alien());
    }
    if state.current()? == Some(journal.to) {
        return Err(HostError::refused(
            format!("generation {} is confirmed", journal.to),
            Some("`forge rollback` goes back to the one before"),
        ));
    }
    // One that failed, and could not go back whole, is sent on its way again; why it failed stays.
    let (step, why) = match recover::reason(&state, &journal) {
        Some((step, why)) => (step, why),
        None => (STEP.to_owned(), why.to_owned()),
    };
    // So that whoever follows waits for the end that is yet to come.
    EventLog::go_on(&host.paths, &Header::new(journal.to, token))?.append(&Event::Failed {
        step: step.clone(),
        why: why.clone(),
    });
    recover::mark(works, &state, &mut journal, &step, &why)?;
    drop(lock);
    works.supervisor.start_recovery(&program(host))?;
    Ok(from)
}

/// The lock, from an activation that is at work too: it is stopped.
fn take(works: &Works, state: &State) -> Result<Lock, HostError> {
    match state.lock(Duration::ZERO) {
        Err(StateError::Busy(_)) => {
            works.supervisor.stop_activation()?;
            Ok(state.lock(PATIENCE)?)
        }
        lock => Ok(lock?),
    }
}

/// It was stopped before its journal was written: nothing has been changed.
fn never_begun(
    works: &Works,
    host: &Host,
    state: &State,
    token: &str,
    why: &str,
    from: u64,
) -> Result<u64, HostError> {
    let request = state.request()?.filter(|request| request.token == token);
    let Some(request) = request else {
        return Err(alien());
    };
    if state.current()? == Some(request.to) {
        return Err(HostError::refused(
            format!("generation {} is confirmed", request.to),
            Some("`forge rollback` goes back to the one before"),
        ));
    }
    let last = events::follow(&host.paths, 0, Duration::ZERO, || false).last();
    if matches!(last, Some(Event::Ended { .. })) {
        return Err(HostError::refused(
            "the activation has ended, and the host is at the generation that it was at before",
            Some("`forge history` tells why"),
        ));
    }
    works.supervisor.disarm()?;
    EventLog::go_on(&host.paths, &Header::new(request.to, token))?.append(&Event::Ended {
        ending: Ending::Refused {
            step: "abandoned".to_owned(),
            why: why.to_owned(),
        },
    });
    Ok(from)
}

/// Puts what stands in memory alone, secrets above all, in its place: of the current generation, and of one that is unfinished, unless
/// that one is on the way back. Run whenever Docker starts.
///
/// # Errors
/// [`HostError`].
pub fn secrets_at_boot(host: &Host) -> Result<(), HostError> {
    secrets_at_boot_with(&Works::of(host), host)
}

pub(super) fn secrets_at_boot_with(works: &Works, host: &Host) -> Result<(), HostError> {
    let state = State::open(&host.paths)?;
    let Some(current) = state.current()? else {
        return Ok(());
    };
    let mut targets: Vec<Target> = vec![generations::target(host, current)?];
    // On the way back Docker may start again after the files have gone: they would return, and the host would not be as it was.
    if let Some(journal) = state.journal()?
        && !matches!(journal.phase, Phase::Recovering { .. })
    {
        // Docker starts its containers before recovery replaces them; that they may not find their files harms nothing.
        targets.extend(generations::target(host, journal.to));
    }
    (works.steps.at_boot)(host, &targets.iter().collect::<Vec<_>>())
}
