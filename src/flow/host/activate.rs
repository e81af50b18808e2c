//! An activation: from the request to a host on which everything runs and waits to be confirmed, or to the way back.

use std::time::Duration;

use super::converge::{Failure, apply_with, plan_with};
use super::resource::Way;
use super::stage::{Staged, stage};
use super::tell::Tell;
use super::works::Works;
use super::{Host, HostError, converge, generations, recover, stage as staging};
use crate::edge::disk::Lock;
use crate::edge::host::events::{EventLog, Header};
use crate::edge::host::state::{ActivationRequest, State, StateError};
use crate::edge::random::OsRandomness;
use crate::pure::generation::machine::{Decision, Situation, decide};
use crate::pure::generation::{Journal, Outcome, Phase, Record, Target};
use crate::pure::name::BlobDigest;
use crate::pure::protocol::{Ending, Event};

/// As long as another forge may hold the host for something short.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// What can be done with a host that has not come back whole.
pub(super) const STUCK: &str =
    "`forge rollback` tries the way back again; `forge unlock --force` takes the host as it is";

/// As long as everything runs and nobody has confirmed it: longer than a laptop needs to connect anew, shorter than a person who is locked
/// out would like to wait.
const CONFIRMATION: Duration = Duration::from_secs(120);

/// Begins an activation apart from this process; its events are followed with `edge::host::events::follow`. Gives its token.
///
/// # Errors
/// [`HostError::Refused`] if the generation is current, or if an activation is unfinished; nothing that runs has been changed by any error.
pub fn start(
    host: &Host,
    to: u64,
    plan: BlobDigest,
    deadline: Duration,
    by: &str,
) -> Result<String, HostError> {
    start_with(&Works::of(host), host, to, plan, deadline, by)
}

pub(super) fn start_with(
    works: &Works,
    host: &Host,
    to: u64,
    plan: BlobDigest,
    deadline: Duration,
    by: &str,
) -> Result<String, HostError> {
    let state = State::open(&host.paths)?;
    let lock = state.lock(PATIENCE)?;
    ready(works, &state, to)?;
    let record = generations::record(host, to)?;
    let token = token()?;
    state.write_request(&ActivationRequest {
        version: ActivationRequest::VERSION,
        to,
        plan,
        deadline: deadline.as_secs(),
        by: by.to_owned(),
        token: token.clone(),
    })?;
    EventLog::create(&host.paths, &Header::new(to, &token))?;
    works.supervisor.install()?;
    // The lock is taken by what begins here.
    drop(lock);
    works
        .supervisor
        .start_activation(&host.paths.agent(record.agent))?;
    Ok(token)
}

/// True while an activation, or the way back from one, is at work: for `edge::host::events::follow`.
pub fn runs(host: &Host) -> bool {
    // Who cannot be asked may be at work.
    Works::of(host).supervisor.runs().unwrap_or(true)
}

fn token() -> Result<String, HostError> {
    let mut bytes = [0; 16];
    OsRandomness::bytes(&mut bytes)
        .map_err(|why| HostError::refused(format!("no random number can be had: {why}"), None))?;
    Ok(hex::encode(bytes))
}

/// Nothing is unfinished, and the generation is not current.
fn ready(works: &Works, state: &State, to: u64) -> Result<(), HostError> {
    let journal = state.journal()?;
    let current = state.current()?;
    let situation = Situation {
        journal: journal.as_ref(),
        current,
        now: works.now(),
        running: false,
        boot: false,
    };
    if decide(situation) != Decision::Idle {
        let told = journal.as_ref().map(Journal::told).unwrap_or_default();
        let stuck = journal.as_ref().is_some_and(Journal::is_stuck);
        return Err(HostError::refused(
            told,
            Some(if stuck {
                STUCK
            } else {
                "`forge attach` follows it, `forge rollback` ends it"
            }),
        ));
    }
    if current == Some(to) {
        return Err(HostError::refused(
            format!("generation {to} is current: there is nothing to activate"),
            Some("`forge deploy` mends what has drifted"),
        ));
    }
    Ok(())
}

/// What the unit of the activation does. The last event it tells is how it ended; none, if another program goes the way back, and
/// tells how that ended.
pub fn run(host: &Host, tell: &dyn Tell) -> Option<Ending> {
    run_with(&Works::of(host), host, tell)
}

pub(super) fn run_with(works: &Works, host: &Host, tell: &dyn Tell) -> Option<Ending> {
    let ending = match prepare(works, host, tell) {
        Ok(prepared) => converge_and_check(works, host, prepared, tell)?,
        Err(Failure { step, error }) => Ending::Refused {
            step,
            why: error.to_string(),
        },
    };
    tell.tell(Event::Ended {
        ending: ending.clone(),
    });
    Some(ending)
}

/// An activation that has its journal, and has changed nothing yet.
#[derive(Debug)]
struct Prepared {
    state: State,
    lock: Lock,
    journal: Journal,
    before: Target,
    want: Target,
    staged: Staged,
    /// The program of the generation that the host would return to is the one of the new generation.
    same_program: bool,
}

/// Everything up to the journal. Whatever fails here has changed nothing that runs.
fn prepare(works: &Works, host: &Host, tell: &dyn Tell) -> Result<Prepared, Failure> {
    let at = Failure::at;
    let state = State::open(&host.paths).map_err(|e| at("state")(e.into()))?;
    let lock = state.lock(PATIENCE).map_err(|e| at("lock")(e.into()))?;
    let request = state
        .request()
        .map_err(|e| at("request")(e.into()))?
        .ok_or_else(|| at("request")(HostError::refused("nothing was asked for", None)))?;
    ready(works, &state, request.to).map_err(at("request"))?;
    let (current, before, to, want) = both(host, &request).map_err(at("generations"))?;

    tell.step("plan");
    let plan =
        plan_with(&works.resources, host, Some(&current), &before, &want).map_err(at("plan"))?;
    if plan.digest() != request.plan {
        return Err(at("plan")(HostError::refused(
            "the host has changed since the plan was made",
            Some("deploy again, and look at the new plan"),
        )));
    }
    let staged = stage(works, host, &want, tell)?;

    let now = works.now();
    let journal = Journal {
        version: Journal::VERSION,
        from: current.number,
        to: to.number,
        phase: Phase::Converging,
        deadline: now.saturating_add_unsigned(request.deadline),
        started: now,
        by: request.by,
        token: request.token,
    };
    // Armed first: then no journal is ever without its deadline. One that comes and finds no journal does nothing.
    works
        .supervisor
        .arm_deadline(&program(host), Duration::from_secs(request.deadline))
        .map_err(|e| at("deadline")(e.into()))?;
    let written = forgive(&state, &to).and_then(|()| state.write_journal(&journal));
    if let Err(error) = written {
        // It may be there in spite of the error, and the deadline finds it then.
        if state.remove_journal().is_ok() {
            let _ = works.supervisor.disarm();
        }
        return Err(at("journal")(error.into()));
    }
    Ok(Prepared {
        same_program: current.agent == to.agent,
        state,
        lock,
        journal,
        before,
        want,
        staged,
    })
}

fn both(
    host: &Host,
    request: &ActivationRequest,
) -> Result<(Record, Target, Record, Target), HostError> {
    let current = generations::current(host)?.ok_or(StateError::NoGeneration(0))?;
    let before = generations::target_of(host, &current)?;
    let to = generations::record(host, request.to)?;
    let want = generations::target_of(host, &to)?;
    Ok((current, before, to, want))
}

/// What an earlier activation of the same generation ended with is no longer so.
fn forgive(state: &State, record: &Record) -> Result<(), StateError> {
    match record.outcome {
        Outcome::Failed { .. } => state.rewrite(&Record {
            outcome: Outcome::Unconfirmed,
            ..record.clone()
        }),
        Outcome::Unconfirmed | Outcome::Confirmed { .. } => Ok(()),
    }
}

/// The program of the generation that the host returns to.
pub(super) fn program(host: &Host) -> std::path::PathBuf {
    host.paths.current().join("agent/forge")
}

fn converge_and_check(
    works: &Works,
    host: &Host,
    mut prepared: Prepared,
    tell: &dyn Tell,
) -> Option<Ending> {
    let done = attempt(works, host, &prepared, tell).and_then(|()| {
        let limit = works.now().saturating_add_unsigned(CONFIRMATION.as_secs());
        prepared.journal.deadline = prepared.journal.deadline.min(limit);
        // Beside the deadline: if this fails, or the power goes now, that one is still there.
        works
            .supervisor
            .arm_confirmation(&program(host), CONFIRMATION)
            .map_err(|error| Failure::at("deadline")(error.into()))?;
        prepared.journal.phase = Phase::AwaitingConfirmation;
        let written = prepared.state.write_journal(&prepared.journal);
        written.map_err(|error| Failure::at("journal")(error.into()))
    });
    match done {
        Ok(()) => Some(Ending::AwaitingConfirmation {
            generation: prepared.journal.to,
            token: prepared.journal.token,
            deadline: prepared.journal.deadline,
        }),
        Err(failure) => go_back(works, host, prepared, failure, tell),
    }
}

fn attempt(
    works: &Works,
    host: &Host,
    prepared: &Prepared,
    tell: &dyn Tell,
) -> Result<(), Failure> {
    let want = &prepared.want;
    let way = Way {
        want,
        before: &[&prepared.before],
    };
    let mut staged = prepared.staged;
    let mut late = || {
        if staged == Staged::WithoutDocker {
            staged = Staged::Whole;
            // Without services nothing needs Docker, and it need not be there.
            if !want.services.is_empty() {
                staging::run(&works.steps.with_docker, host, want, tell)?;
            }
        }
        Ok(())
    };
    apply_with(&works.resources, host, way, tell, &mut |step| {
        if step == converge::SERVICES {
            late()
        } else {
            Ok(())
        }
    })?;
    staging::run(&works.steps.after, host, want, tell)
}

/// The program of the old generation goes back: a new one that is broken must not be what recovery depends on.
fn go_back(
    works: &Works,
    host: &Host,
    prepared: Prepared,
    failure: Failure,
    tell: &dyn Tell,
) -> Option<Ending> {
    let Failure { step, error } = failure;
    let why = error.to_string();
    if let HostError::Service { service, log, .. } = error {
        tell.tell(Event::Log { service, text: log });
    }
    tell.tell(Event::Failed {
        step: step.clone(),
        why: why.clone(),
    });
    let Prepared {
        state,
        lock,
        mut journal,
        same_program,
        ..
    } = prepared;
    let marked = recover::mark(works, &state, &mut journal, &step, &why);
    if let Err(error) = marked {
        // The journal is as it was: whoever comes later goes back too.
        tell.warn(error.to_string());
    }
    if !same_program {
        drop(lock);
        match works.supervisor.start_recovery(&program(host)) {
            Ok(()) => return None,
            Err(error) => tell.warn(format!(
                "the program of generation {} cannot be started: {error}; this one goes back",
                journal.from
            )),
        }
        return match recover::recover_with(works, host, false, tell) {
            // It has told how it ended.
            Ok(_) => None,
            Err(error) => Some(recover::not_begun(&journal, &step, &why, &error)),
        };
    }
    let _held = lock;
    Some(
        recover::return_to_current(works, host, &state, journal.clone(), tell)
            .unwrap_or_else(|error| recover::not_begun(&journal, &step, &why, &error)),
    )
}
