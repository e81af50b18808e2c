//! Lets the services run, and waits until they do.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::plan::{Means, compose_text, in_order};
use super::{NAME, containers};
use crate::edge::disk::Folder;
use crate::edge::host::compose::Compose;
use crate::edge::host::engine::{Container, Engine};
use crate::edge::host::wait::Deadline;
use crate::flow::host::networks;
use crate::flow::host::resource::Way;
use crate::flow::host::tell::Tell;
use crate::flow::host::{Host, HostError};
use crate::pure::generation::{Service, Target};
use crate::pure::name::ServiceName;

/// One that waits for another to come up may end some times; Docker waits longer before each restart, six take some seconds.
const RESTARTS: u32 = 6;
const STEP: Duration = Duration::from_secs(1);
/// A container without a healthcheck that was just started must run this long: many a server ends at once.
const SETTLED: Duration = Duration::from_secs(3);
/// Creating and stopping, beyond the services' own patience.
const MARGIN: Duration = Duration::from_secs(15 * 60);
const LOG_LINES: u32 = 40;
const LOG_BYTES: usize = 4 << 10;

pub(super) fn apply(host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
    let engine = Engine::of(&host.paths);
    if way.want.services.is_empty() && !engine.present(Duration::ZERO)? {
        return Ok(());
    }
    // Without a daemon that answers now, nothing here can be done.
    engine.info()?;
    let steps = super::plan::of(host, way)?;
    let leftovers: Vec<&str> = steps
        .found
        .leftovers
        .iter()
        .map(|container| container.id.as_str())
        .collect();
    engine.remove(&leftovers)?;
    for step in steps.of(Means::Clean) {
        tell.changed(&step.change);
    }
    for step in steps.of(Means::Remove) {
        let all = steps.found.services.get(&step.service);
        let ids: Vec<&str> = all
            .into_iter()
            .flatten()
            .map(|container| container.id.as_str())
            .collect();
        engine.stop(&ids)?;
        engine.remove(&ids)?;
        tell.changed(&step.change);
    }
    let touched = up(host, &engine, way.want, &steps, tell)?;
    wait(&engine, way.want, &touched)?;
    networks::sweep(host, way, tell)
}

/// Lets Compose do what the plan says; gives the services that were touched.
fn up(
    host: &Host,
    engine: &Engine,
    want: &Target,
    steps: &super::plan::Steps,
    tell: &dyn Tell,
) -> Result<BTreeSet<String>, HostError> {
    let mut touched = BTreeSet::new();
    for step in steps.of(Means::Restart) {
        let all = steps.found.services.get(&step.service);
        let ids = all.into_iter().flatten();
        let ids: Vec<&str> = ids.map(|container| container.id.as_str()).collect();
        engine.restart(&ids)?;
        tell.changed(&step.change);
        touched.insert(step.service.clone());
    }
    let ups = steps.of(Means::Up);
    if ups.is_empty() {
        return Ok(touched);
    }
    let names: Vec<&str> = ups.iter().map(|step| step.service.as_str()).collect();
    let path = on_disk(host, want)?;
    let patience: Duration = want.services.values().map(|service| service.patience).sum();
    let compose = Compose::new(engine, NAME);
    let (ended, said) = compose.up(&path, &names, patience + MARGIN)?;
    if !ended.is_success() {
        return Err(why_up_failed(engine, want, &names, &said)?);
    }
    for step in ups {
        tell.changed(&step.change);
        touched.insert(step.service.clone());
    }
    Ok(touched)
}

/// Where `compose.yaml` stands: its bytes must be those of the target, for a generation is what its bundle says.
fn on_disk(host: &Host, want: &Target) -> Result<String, HostError> {
    let text = compose_text(want)?;
    let path = host.paths.at(want.compose.as_deref().unwrap_or_default());
    let name = path.file_name().and_then(|name| name.to_str());
    let parent = path.parent();
    let there = match (parent, name) {
        (Some(parent), Some(name)) => Folder::open(parent)?.read_whole(name)?,
        _ => None,
    };
    if there.as_deref() != Some(text) {
        return Err(HostError::refused(
            format!("{} is not what the bundle says", path.display()),
            None,
        ));
    }
    Ok(path.display().to_string())
}

/// The service that kept `up` from succeeding, if one can be seen.
fn why_up_failed(
    engine: &Engine,
    want: &Target,
    names: &[&str],
    said: &str,
) -> Result<HostError, HostError> {
    let found = containers(engine)?;
    let said = tail(said);
    for (name, service) in in_order(&want.services) {
        if let Some(container) = found.one(name)
            && names.contains(&name.as_str())
            && let Some(why) = hopeless(container, service)
        {
            return Ok(failure(engine, name, Some(container), &why));
        }
    }
    let named = names.iter().find(|name| said.contains(**name));
    Ok(HostError::Service {
        service: named
            .or(names.first())
            .map_or_else(String::new, |name| (*name).to_owned()),
        why: format!("Compose could not start it:\n{}", said.trim()),
        log: String::new(),
    })
}

/// Why it will not be well any more, whatever one waits; nothing if it may.
fn hopeless(container: &Container, service: &Service) -> Option<String> {
    let state = &container.state;
    match (state.status.as_str(), container.health()) {
        ("running", Some("unhealthy")) => {
            let logs = state.health.as_ref().and_then(|health| health.log.as_ref());
            let last = logs.and_then(|logs| logs.last());
            let output = last.map(|last| last.output.trim()).unwrap_or_default();
            Some(match output {
                "" => "it is unhealthy".to_owned(),
                output => format!("it is unhealthy: {}", tail(output)),
            })
        }
        ("exited", _) if service.one_shot && state.exit_code == 0 => None,
        ("exited" | "dead", _) => Some(format!("it ended with {}", state.exit_code)),
        ("restarting", _) if container.restart_count >= RESTARTS => Some(format!(
            "it ends again and again, {} times so far, the last time with {}",
            container.restart_count, state.exit_code
        )),
        // Docker could not start it: a port that is taken, a mount that is missing.
        ("created", _) if !state.error.is_empty() => Some(state.error.clone()),
        _ => None,
    }
}

/// Waits until every service is well: healthy, or running, or ended as it should.
fn wait(engine: &Engine, want: &Target, touched: &BTreeSet<String>) -> Result<(), HostError> {
    if want.services.is_empty() {
        return Ok(());
    }
    let deadlines: BTreeMap<&ServiceName, Deadline> = want
        .services
        .iter()
        .map(|(name, service)| (name, Deadline::after(service.patience)))
        .collect();
    // Since when each has run without being started anew.
    let mut since: BTreeMap<String, (String, Deadline)> = BTreeMap::new();
    loop {
        let found = containers(engine)?;
        let mut pause = None;
        for (name, service) in in_order(&want.services) {
            let container = found.one(name);
            let is_new = touched.contains(name.as_str());
            if is_well(name, service, container, is_new, &mut since) {
                continue;
            }
            let hope = container.map_or(Some("it has no container".to_owned()), |container| {
                hopeless(container, service)
            });
            if let Some(why) = hope {
                return Err(failure(engine, name, container, &why));
            }
            let deadline = &deadlines[name];
            if deadline.is_over() {
                let why = not_yet(container, service);
                return Err(failure(engine, name, container, &why));
            }
            pause = Some(deadline);
        }
        match pause {
            Some(deadline) => deadline.pause(STEP),
            None => return Ok(()),
        }
    }
}

fn is_well(
    name: &ServiceName,
    service: &Service,
    container: Option<&Container>,
    is_new: bool,
    since: &mut BTreeMap<String, (String, Deadline)>,
) -> bool {
    let Some(container) = container else {
        return false;
    };
    let state = &container.state;
    if service.one_shot {
        return state.status == "exited" && state.exit_code == 0;
    }
    if !container.is_running() {
        since.remove(name.as_str());
        return false;
    }
    match container.health() {
        Some(health) => health == "healthy",
        None if !is_new => true,
        None => {
            let fresh = || (state.started_at.clone(), Deadline::after(SETTLED));
            let seen = since.entry(name.to_string()).or_insert_with(fresh);
            if seen.0 != state.started_at {
                *seen = fresh();
            }
            seen.1.is_over()
        }
    }
}

fn not_yet(container: Option<&Container>, service: &Service) -> String {
    let state = container.map_or("missing", |container| container.state.status.as_str());
    let health = container.and_then(Container::health);
    let within = service.patience.as_secs();
    match health {
        Some(health) => format!("it is still {health} after {within} s"),
        None if service.one_shot => format!("it did not end within {within} s: it is {state}"),
        None => format!("it does not keep running within {within} s: it is {state}"),
    }
}

fn failure(
    engine: &Engine,
    name: &ServiceName,
    container: Option<&Container>,
    why: &str,
) -> HostError {
    let log = container.map(|container| {
        let log = engine.log_tail(&container.id, LOG_LINES);
        log.unwrap_or_else(|error| format!("its log cannot be read: {error}"))
    });
    HostError::Service {
        service: name.to_string(),
        why: why.to_owned(),
        log: tail(&log.unwrap_or_default()).to_owned(),
    }
}

/// The end of a text, as much as an error bears.
fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(LOG_BYTES);
    &text[text.ceil_char_boundary(start)..]
}
