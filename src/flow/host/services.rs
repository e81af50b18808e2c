//! Services: containers of Compose's project `forge`.
//!
//! Invariant: exactly what the plan names is created, recreated, started or removed: `up` is told those services and no others, without
//! their dependencies. Compose's word is never taken for health: what is then running is looked at here.

mod apply;
mod difference;
mod plan;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

pub(super) use plan::compose_text;

use super::networks::PROJECT;
use super::resource::{Resource, Way};
use super::tell::Tell;
use super::{Host, HostError};
use crate::edge::host::engine::{Container, Engine};
pub use crate::edge::host::engine::{LogOptions, Streams};
use crate::edge::program::Ended;
use crate::pure::generation::{Change, Target};
use crate::pure::name::ServiceName;
use crate::pure::protocol::{Health, ServiceStatus};

/// The name that the rendered `compose.yaml` has, too.
pub(super) const NAME: &str = "forge";
const SERVICE: &str = "com.docker.compose.service";
/// Of containers of `docker compose run`.
const ONEOFF: &str = "com.docker.compose.oneoff=False";

/// The services that run.
#[derive(Debug)]
pub struct Services;

impl Resource for Services {
    fn step(&self) -> &'static str {
        "services"
    }

    fn plan(&self, host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError> {
        Ok(plan::of(host, way)?.changes())
    }

    fn apply(&self, host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
        apply::apply(host, way, tell)
    }
}

/// The containers of forge's project, without leftovers of a recreation that was interrupted.
fn containers(engine: &Engine) -> Result<Found, HostError> {
    let mut found = Found::default();
    for container in engine.containers(&[PROJECT, ONEOFF])? {
        let service = container.label(SERVICE).unwrap_or_default().to_owned();
        if is_leftover(&container) {
            found.leftovers.push(container);
        } else {
            found.services.entry(service).or_default().push(container);
        }
    }
    Ok(found)
}

#[derive(Debug, Default)]
struct Found {
    services: BTreeMap<String, Vec<Container>>,
    leftovers: Vec<Container>,
}

impl Found {
    fn one(&self, service: &ServiceName) -> Option<&Container> {
        self.services.get(service.as_str())?.first()
    }
}

/// Compose recreates by creating `<12 hexadecimal digits>_NAME`, removing the old container, and renaming; one that is still called so
/// and has never run was left by a run that was killed.
fn is_leftover(container: &Container) -> bool {
    let prefix = container.plain_name().split_once('_').map(|(head, _)| head);
    let is_short_id = |head: &str| head.len() == 12 && head.bytes().all(|b| b.is_ascii_hexdigit());
    container.state.status == "created" && prefix.is_some_and(is_short_id)
}

fn health_of(container: Option<&Container>, one_shot: bool) -> Health {
    let Some(container) = container else {
        return Health::Missing;
    };
    match (container.state.status.as_str(), container.health()) {
        ("running", Some("healthy")) => Health::Healthy,
        ("running", Some("unhealthy")) => Health::Unhealthy,
        ("running", Some(_)) => Health::Starting,
        ("running", None) => Health::Running,
        ("restarting", _) => Health::Unhealthy,
        ("exited", _) if one_shot && container.state.exit_code == 0 => Health::Completed,
        _ => Health::Stopped,
    }
}

/// How each service is.
///
/// # Errors
/// [`HostError`] if Docker is there and cannot be asked.
pub fn status(host: &Host, target: &Target) -> Result<Vec<ServiceStatus>, HostError> {
    let engine = Engine::of(&host.paths);
    let found = if engine.present(Duration::ZERO)? {
        containers(&engine)?
    } else {
        Found::default()
    };
    let status = |(name, service): (&ServiceName, &crate::pure::generation::Service)| {
        let container = found.one(name);
        let started = container.filter(|container| container.state.status != "created");
        ServiceStatus {
            name: name.to_string(),
            health: health_of(container, service.one_shot),
            image: container.map(|container| container.config.image.clone()),
            container: container.map(|container| container.id.clone()),
            started: started.map(|container| container.state.started_at.clone()),
            restarts: container.map_or(0, |container| container.restart_count),
        }
    };
    Ok(target.services.iter().map(status).collect())
}

fn find(engine: &Engine, service: &ServiceName) -> Result<Container, HostError> {
    let found = containers(engine)?;
    found.one(service).cloned().ok_or_else(|| {
        HostError::refused(
            format!("service {service} has no container on this host"),
            Some("`forge status` lists what runs"),
        )
    })
}

/// Hands on what a service writes: `to` is given what it prints, `errors_to` what it says.
///
/// # Errors
/// [`HostError::Refused`] if it has no container.
pub fn logs(
    host: &Host,
    service: &ServiceName,
    options: &LogOptions,
    to: &mut (dyn Write + Send),
    errors_to: &mut (dyn Write + Send),
) -> Result<(), HostError> {
    let engine = Engine::of(&host.paths);
    let container = find(&engine, service)?;
    Ok(engine.logs(&container.id, options, to, errors_to)?)
}

/// Runs a program in the running container of a service: words, no shell.
///
/// # Errors
/// [`HostError::Refused`] if it does not run. A program that fails is an answer.
pub fn exec(
    host: &Host,
    service: &ServiceName,
    command: &[String],
    user: Option<&str>,
    limit: Duration,
    streams: Streams<'_>,
) -> Result<Ended, HostError> {
    let engine = Engine::of(&host.paths);
    let container = find(&engine, service)?;
    if !container.is_running() {
        return Err(HostError::refused(
            format!(
                "service {service} does not run: its container is {}",
                container.state.status
            ),
            None,
        ));
    }
    Ok(engine.exec(&container.id, command, user, limit, streams)?)
}
