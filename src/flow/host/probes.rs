//! Probes: what must be true once the services are well.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::networks::PROJECT;
use super::tell::Tell;
use super::{Host, HostError};
use crate::edge::host::engine::{Container, Engine};
use crate::edge::host::knock;
use crate::edge::host::wait::Deadline;
use crate::pure::generation::{Probe, Target};

const STEP: Duration = Duration::from_millis(500);
/// One try; a probe that has less left is tried with what it has, and at least this.
const TRY: Duration = Duration::from_secs(10);
const LEAST: Duration = Duration::from_secs(1);

/// So many are tried at once: each may start a program.
const AT_ONCE: usize = 4;

/// Tries every probe until it is true, each for as long as it allows, some at once.
///
/// # Errors
/// [`HostError::Probe`] of the first, in the order of their names, that does not come true, with the last reason; [`HostError`] if Docker
/// cannot be asked.
pub fn check(host: &Host, target: &Target, tell: &dyn Tell) -> Result<(), HostError> {
    let engine = Engine::of(&host.paths);
    let probes: Vec<_> = target.probes.iter().collect();
    let next = AtomicUsize::new(0);
    let failed: Mutex<BTreeMap<usize, HostError>> = Mutex::default();
    let work = || {
        // In order, and what was begun is ended: so it is the first that is told.
        while let at = next.fetch_add(1, Ordering::Relaxed)
            && let Some((name, probe)) = probes.get(at)
        {
            match until_true(&engine, target, name, probe) {
                Ok(()) => tell.say(format!("probe {name} is true")),
                Err(error) => {
                    next.store(probes.len(), Ordering::Relaxed);
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    failed.insert(at, error);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(probes.len()) {
            scope.spawn(work);
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.into_values().next().map_or(Ok(()), Err)
}

fn until_true(
    engine: &Engine,
    target: &Target,
    name: &str,
    probe: &Probe,
) -> Result<(), HostError> {
    let deadline = Deadline::after(probe.timeout);
    loop {
        let limit = deadline.left().clamp(LEAST, TRY);
        let Err(why) = once(engine, target, probe, limit)? else {
            return Ok(());
        };
        if deadline.is_over() {
            return Err(HostError::Probe {
                probe: name.to_owned(),
                why: format!("for {} s: {why}", probe.timeout.as_secs()),
            });
        }
        deadline.pause(STEP);
    }
}

/// One try: every part of the probe, or why one is not true.
fn once(
    engine: &Engine,
    target: &Target,
    probe: &Probe,
    limit: Duration,
) -> Result<Result<(), String>, HostError> {
    if let Some(url) = &probe.url {
        match knock::status(url, limit) {
            Ok(200) => {}
            Ok(status) => return Ok(Err(format!("{url} answers {status}"))),
            Err(why) => return Ok(Err(format!("{url}: {why}"))),
        }
    }
    if probe.tcp.is_none() && probe.exec.is_none() {
        return Ok(Ok(()));
    }
    let Some(service) = &probe.service else {
        return Ok(Err("it names no service".to_owned()));
    };
    let label = format!("com.docker.compose.service={service}");
    let containers = engine.containers(&[PROJECT, &label])?;
    let Some(container) = containers.into_iter().find(Container::is_running) else {
        return Ok(Err(format!("service {service} does not run")));
    };
    if let Some(port) = probe.tcp {
        let of_host = target
            .services
            .get(service)
            .is_some_and(|service| service.network_host);
        let Some(address) = address(&container, of_host) else {
            return Ok(Err(format!("service {service} has no address")));
        };
        if let Err(why) = knock::accepts(address, port, limit) {
            return Ok(Err(format!("port {port} of service {service}: {why}")));
        }
    }
    if let Some(command) = &probe.exec {
        // A program that is stopped because it takes too long is one that is not true yet.
        let (ended, said) = match engine.exec_judged(&container.id, command, limit.max(TRY)) {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if !ended.is_success() {
            let words = command.join(" ");
            return Ok(Err(format!(
                "`{words}` ended with {}: {}",
                ended.status,
                said.trim()
            )));
        }
    }
    Ok(Ok(()))
}

/// Where a container is met from the host.
fn address(container: &Container, of_host: bool) -> Option<IpAddr> {
    if of_host {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    let networks = container.network_settings.networks.values();
    let mut addresses = networks.filter_map(|endpoint| endpoint.address.parse().ok());
    addresses.next()
}
