//! Everything that is done before the first change: the host is the right one, and all that is needed is there and right.

use std::time::Duration;

use super::converge::Failure;
use super::files::{self, content::stage_content};
use super::services::NAME;
use super::tell::Tell;
use super::works::Works;
use super::{Host, HostError, firewall, images, preflight, probes, secrets};
use crate::edge::host::compose::Compose;
use crate::edge::host::engine::Engine;
use crate::edge::host::machine_facts::Facts;
use crate::edge::host::state::State;
use crate::pure::generation::{Outcome, Record, Target};

type Run = fn(&Host, &Target, &dyn Tell) -> Result<(), HostError>;

/// Something that is done with a target and is no [`Resource`](super::resource::Resource): nothing that runs is changed by it.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub name: &'static str,
    pub run: Run,
}

/// The steps of an activation that are not convergence.
#[derive(Debug)]
pub struct Steps {
    /// First of all: content files are written, every secret decrypts.
    pub always: Vec<Step>,
    /// What needs Docker: images are loaded, preflight checks pass. Where Docker is not there yet, it is done when it is: after the packages,
    /// before the services.
    pub with_docker: Vec<Step>,
    pub docker_is_there: fn(&Host) -> bool,
    /// After the services are healthy: probes.
    pub after: Vec<Step>,
    /// Once the host is at a generation for good: what only others needed on tmpfs goes.
    pub prune: fn(&Host, &[&Target]) -> Result<(), HostError>,
    /// At boot, before Docker starts: what stands in memory alone, secrets above all, is put in its place.
    pub at_boot: fn(&Host, &[&Target]) -> Result<(), HostError>,
}

/// The steps of a real activation.
pub fn steps() -> Steps {
    Steps {
        always: vec![
            Step {
                name: "secrets",
                run: |host, want, _| secrets::stage(host, want),
            },
            Step {
                name: "content",
                run: |host, want, _| stage_content(host, want),
            },
        ],
        with_docker: vec![
            Step {
                name: "images",
                run: |host, want, tell| images::ensure(host, want, tell).map(|_| ()),
            },
            Step {
                name: "preflight",
                run: preflight::check,
            },
        ],
        docker_is_there: |host| {
            let engine = Engine::of(&host.paths);
            engine.present(Duration::ZERO).unwrap_or(false)
                && Compose::new(&engine, NAME).present().unwrap_or(false)
        },
        after: vec![Step {
            name: "probes",
            run: probes::check,
        }],
        prune: |host, keep| {
            secrets::prune(host, keep)?;
            Ok(())
        },
        at_boot: |host, targets| {
            let secrets = secrets::at_boot(host, targets);
            // One kind that cannot be had does not keep the other back.
            files::at_boot(host, targets).and(secrets)
        },
    }
}

/// Beyond what a bundle needs.
const SPARE: u64 = 512 << 20;

/// Why this host must not be activated to this target at all, each with its mend: another system or architecture, no space for
/// the `missing` bytes that are still to come, a clock that is wrong, a Docker whose ports no firewall would close.
///
/// # Errors
/// [`HostError::State`], [`HostError::Engine`].
pub fn refusals(host: &Host, want: &Target, missing: u64) -> Result<Vec<String>, HostError> {
    refusals_at(host, want, missing, Works::of(host).now())
}

fn refusals_at(
    host: &Host,
    want: &Target,
    missing: u64,
    now: i64,
) -> Result<Vec<String>, HostError> {
    let records = State::open(&host.paths)?.records()?;
    let mut why = refused(&Facts::read(&host.paths), want, missing, &records, now);
    why.extend(firewall::refusal(host, want)?);
    Ok(why)
}

fn refused(
    facts: &Facts,
    want: &Target,
    missing: u64,
    records: &[Record],
    now: i64,
) -> Vec<String> {
    let mut why = Vec::new();
    if want.bundle.is_some() && facts.system != want.system {
        why.push(format!(
            "this host runs {}, and the bundle is made for {}: set `system` in the host file and build again",
            shown(&facts.system),
            want.system
        ));
    }
    if let Some(arch) = want.arch
        && facts.arch != Some(arch)
    {
        let here = facts.arch.map_or("something else", |arch| arch.as_str());
        why.push(format!(
            "this host is {here}, and the bundle is made for {}: set `arch` in the host file and build again",
            arch.as_str()
        ));
    }
    // Once as a blob, once in Docker or in place.
    let needed = missing.saturating_mul(2).saturating_add(SPARE);
    if want.bundle.is_some() && facts.free < needed {
        why.push(format!(
            "there are {} MiB free below /var/lib/forge, and {} MiB are needed: `forge gc` on this host makes room",
            facts.free >> 20,
            needed >> 20
        ));
    }
    let newest = records
        .iter()
        .flat_map(|record| {
            let at = match record.outcome {
                Outcome::Unconfirmed => record.created,
                Outcome::Confirmed { at } | Outcome::Failed { at, .. } => at,
            };
            [record.created, at]
        })
        .max();
    if let Some(newest) = newest
        && now < newest
    {
        why.push(format!(
            "the clock of this host is {} s before the time of its newest generation: set it (`timedatectl`), deadlines depend on it",
            newest - now
        ));
    }
    why
}

fn shown(system: &str) -> &str {
    if system.is_empty() {
        "an unknown system"
    } else {
        system
    }
}

/// How far staging has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Staged {
    /// All that is needed is there and right.
    Whole,
    /// But for what needs Docker, which is not there yet.
    WithoutDocker,
}

/// Stages a target. Nothing that runs is changed; what was staged stays, and is found again.
///
/// # Errors
/// [`Failure`].
pub(super) fn stage(
    works: &Works,
    host: &Host,
    want: &Target,
    tell: &dyn Tell,
) -> Result<Staged, Failure> {
    tell.step("host");
    let refusals = refusals_at(host, want, 0, works.now()).map_err(Failure::at("host"))?;
    if !refusals.is_empty() {
        let error = HostError::refused(refusals.join("; "), None);
        return Err(Failure::at("host")(error));
    }
    run(&works.steps.always, host, want, tell)?;
    if !(works.steps.docker_is_there)(host) {
        return Ok(Staged::WithoutDocker);
    }
    run(&works.steps.with_docker, host, want, tell)?;
    Ok(Staged::Whole)
}

pub(super) fn run(
    steps: &[Step],
    host: &Host,
    want: &Target,
    tell: &dyn Tell,
) -> Result<(), Failure> {
    for step in steps {
        tell.step(step.name);
        (step.run)(host, want, tell).map_err(Failure::at(step.name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::pure::name::{Arch, BlobDigest};

    fn facts() -> Facts {
        Facts {
            system: "debian-13".to_owned(),
            arch: Some(Arch::Amd64),
            hostname: "h".to_owned(),
            free: 1 << 30,
            uptime: Duration::ZERO,
        }
    }

    fn want() -> Target {
        Target {
            bundle: Some(BlobDigest::of("b").as_bundle()),
            system: "debian-13".to_owned(),
            arch: Some(Arch::Amd64),
            ..Target::nothing()
        }
    }

    fn record() -> Record {
        Record {
            version: Record::VERSION,
            number: 1,
            bundle: None,
            agent: BlobDigest::of("a"),
            created: 50,
            by: "anna".to_owned(),
            revision: None,
            outcome: Outcome::Confirmed { at: 80 },
        }
    }

    #[test]
    fn the_right_host_with_space_and_a_clock_is_not_refused() {
        assert!(refused(&facts(), &want(), 256 << 20, &[record()], 80).is_empty());
        assert!(refused(&facts(), &Target::nothing(), u64::MAX, &[], 0).is_empty());
    }

    #[test]
    fn each_refusal_names_its_mend() {
        let only = |facts: &Facts, missing, now, word: &str| {
            let why = refused(facts, &want(), missing, &[record()], now);
            assert_eq!(why.len(), 1, "{why:?}");
            assert!(why[0].contains(word), "{why:?}");
        };
        let other = Facts {
            system: "ubuntu-24.04".to_owned(),
            ..facts()
        };
        only(&other, 0, 90, "`system`");
        let other = Facts {
            arch: Some(Arch::Arm64),
            ..facts()
        };
        only(&other, 0, 90, "`arch`");
        only(&facts(), (256 << 20) + 1, 90, "forge gc");
        only(&facts(), 0, 79, "timedatectl");
    }
}
