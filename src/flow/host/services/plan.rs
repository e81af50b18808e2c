//! What will happen to the services, and why.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::difference::{Comparison, sources};
use super::{Found, NAME, containers};
use crate::edge::host::compose::Compose;
use crate::edge::host::engine::{Container, Engine};
use crate::flow::host::networks;
use crate::flow::host::resource::Way;
use crate::flow::host::{Host, HostError};
use crate::pure::generation::{Action, Change, Kind, Service, Target};
use crate::pure::name::ServiceName;

/// How a service is made what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// Compose creates, recreates or starts it.
    Up,
    /// Its container is as declared, runs, and is unhealthy.
    Restart,
    /// Stopped and removed.
    Remove,
    /// Only what an interrupted run has left is removed.
    Clean,
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) means: Means,
    pub(super) service: String,
    pub(super) change: Change,
}

#[derive(Debug, Default)]
pub(super) struct Steps {
    pub(super) steps: Vec<Step>,
    pub(super) found: Found,
}

impl Steps {
    pub(super) fn changes(&self) -> Vec<Change> {
        self.steps.iter().map(|step| step.change.clone()).collect()
    }

    pub(super) fn of(&self, means: Means) -> Vec<&Step> {
        self.steps
            .iter()
            .filter(|step| step.means == means)
            .collect()
    }

    fn push(&mut self, means: Means, name: &str, action: Action, why: impl Into<String>) {
        self.steps.push(Step {
            means,
            service: name.to_owned(),
            change: Change::new(Kind::Service, name, action, why),
        });
    }
}

/// The text of the new `compose.yaml`.
pub(in crate::flow::host) fn compose_text(target: &Target) -> Result<&[u8], HostError> {
    let path = target.compose.as_deref();
    let file = target
        .files
        .iter()
        .find(|(_, file)| Some(file.place.path()) == path);
    file.and_then(|(name, _)| target.file_bytes(name))
        .ok_or_else(|| {
            HostError::refused(
                "the bundle has services and no `compose.yaml`",
                Some("build it again"),
            )
        })
}

pub(super) fn of(host: &Host, way: Way<'_>) -> Result<Steps, HostError> {
    let engine = Engine::of(&host.paths);
    let mut steps = Steps::default();
    let is_asked = engine.present(Duration::ZERO)?;
    let compose = Compose::new(&engine, NAME);
    if is_asked {
        steps.found = containers(&engine)?;
    }
    let want = way.want;
    let hashes = match want.services.is_empty() {
        true => is_asked.then(BTreeMap::new),
        false if is_asked => compose.hashes_if_present(compose_text(want)?)?,
        false => None,
    };
    let Some(hashes) = hashes else {
        // Docker comes with this deploy.
        for name in want.services.keys() {
            steps.push(Means::Up, name.as_str(), Action::Add, "new");
        }
        return Ok(steps);
    };
    removals(&mut steps, way);
    if want.services.is_empty() {
        leftovers(&mut steps);
        return Ok(steps);
    }
    let text = compose_text(want)?;
    let images: BTreeMap<String, String> = engine
        .images()?
        .into_iter()
        .flat_map(|image| {
            let id = image.id;
            let tags = image.repo_tags.into_iter().flatten();
            tags.map(move |tag| (tag, id.clone()))
        })
        .collect();
    let networks = engine.networks()?;
    let renewed = networks::renewed(want, &networks).into_keys().collect();
    let comparison = Comparison {
        target: want,
        before: way.before,
        images: &images,
        hashes: &hashes,
        sources: &sources(text),
        renewed: &renewed,
    };
    for (name, service) in in_order(&want.services) {
        one(&mut steps, &comparison, name, service);
    }
    leftovers(&mut steps);
    Ok(steps)
}

fn one(steps: &mut Steps, comparison: &Comparison<'_>, name: &ServiceName, service: &Service) {
    let all = steps.found.services.get(name.as_str());
    let Some(container) = all.and_then(|all| all.first()) else {
        let known = comparison.before.iter();
        let was_there = known
            .into_iter()
            .any(|before| before.services.contains_key(name));
        let why = match was_there {
            true => "its container is gone",
            false => "new",
        };
        steps.push(Means::Up, name.as_str(), Action::Add, why);
        return;
    };
    let mut reasons = comparison.reasons(name, service, container);
    if all.is_some_and(|all| all.len() > 1) {
        reasons.push("it has more than one container".to_owned());
    }
    if !reasons.is_empty() {
        let action = match container.is_running() {
            true => Action::Restart,
            false => Action::Change,
        };
        steps.push(Means::Up, name.as_str(), action, reasons.join(", "));
        return;
    }
    if let Some(why) = not_running(container, service.one_shot) {
        steps.push(Means::Up, name.as_str(), Action::Start, why);
    } else if container.is_running() && container.health() == Some("unhealthy") {
        steps.push(Means::Restart, name.as_str(), Action::Restart, "unhealthy");
    }
}

/// Why a container that is as declared must be started; nothing if it runs, or has done what it is for.
fn not_running(container: &Container, one_shot: bool) -> Option<String> {
    let state = &container.state;
    match state.status.as_str() {
        "running" | "restarting" => None,
        "exited" if one_shot && state.exit_code == 0 => None,
        "exited" => Some(format!("not running: it ended with {}", state.exit_code)),
        other => Some(format!("not running: {other}")),
    }
}

/// Services of forge's project that are no longer wanted: those that others depend on come last.
fn removals(steps: &mut Steps, way: Way<'_>) {
    let gone: BTreeSet<String> = steps
        .found
        .services
        .keys()
        .filter(|name| !way.want.services.contains_key(name.as_str()))
        .cloned()
        .collect();
    let mut ordered = Vec::new();
    for before in way.before {
        let names = in_order(&before.services).into_iter().rev();
        let names = names.map(|(name, _)| name.as_str());
        ordered.extend(names.filter(|name| gone.contains(*name)).map(str::to_owned));
    }
    ordered.extend(gone.iter().cloned());
    let mut told = BTreeSet::new();
    for name in ordered {
        if told.insert(name.clone()) {
            let why = "no longer declared; its data stays";
            steps.push(Means::Remove, &name, Action::Remove, why);
        }
    }
}

fn leftovers(steps: &mut Steps) {
    let touched: BTreeSet<&str> = steps
        .steps
        .iter()
        .map(|step| step.service.as_str())
        .collect();
    let names: BTreeSet<String> = steps
        .found
        .leftovers
        .iter()
        .filter_map(|container| container.label(super::SERVICE))
        .filter(|service| !touched.contains(service))
        .map(str::to_owned)
        .collect();
    for name in names {
        let why = "an interrupted run has left a container";
        steps.push(Means::Clean, &name, Action::Change, why);
    }
}

/// Services after those that they depend on, else in the order of their names.
pub(super) fn in_order(services: &BTreeMap<ServiceName, Service>) -> Vec<(&ServiceName, &Service)> {
    let mut done: BTreeSet<&ServiceName> = BTreeSet::new();
    let mut ordered = Vec::new();
    while ordered.len() < services.len() {
        let waits = |service: &Service, done: &BTreeSet<&ServiceName>| {
            service
                .depends_on
                .iter()
                .any(|on| services.contains_key(on) && !done.contains(on))
        };
        let next: Vec<_> = services
            .iter()
            .filter(|(name, service)| !done.contains(name) && !waits(service, &done))
            .collect();
        if next.is_empty() {
            // A circle, which a checked project has not.
            ordered.extend(services.iter().filter(|(name, _)| !done.contains(name)));
            break;
        }
        done.extend(next.iter().map(|(name, _)| *name));
        ordered.extend(next);
    }
    ordered
}
