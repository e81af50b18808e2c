//! The host itself, as the conversation sees it: each method is one call of the room that does it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::time::Duration;

use super::parts::{Environment, ExecOrder, FetchOrder, Fetched, LogOrder, Machine, Receiving};
use crate::edge::clock::{Clock, WallClock};
use crate::edge::host::engine::{Engine, LogOptions};
use crate::edge::host::machine_facts::{self, Facts};
use crate::edge::host::state::State;
use crate::edge::host::{events, lease, sshd, systemd};
use crate::edge::http::Http;
use crate::flow::host::receive::{self, Receiver};
use crate::flow::host::resource::Way;
use crate::flow::host::services::{self, Streams};
use crate::flow::host::tell::Tell;
use crate::flow::host::{
    Host, HostError, activate, confirm, converge, fetch, generations, images, lockout, recover,
    stage,
};
use crate::pure::delivery::{Holding, Parcel};
use crate::pure::generation::{Journal, Plan, Record, Target};
use crate::pure::name::{BlobDigest, BundleDigest, ImageName, NameError, ServiceName};
use crate::pure::protocol::{Ending, Event, ImageState, Lease, Operator, ServiceStatus};

/// Longer than any activation takes with its deadline and its way back.
const LONGEST: Duration = Duration::from_secs(48 * 3600);
/// Nobody waits longer for a command.
const LONGEST_COMMAND: Duration = Duration::from_secs(24 * 3600);

/// The host that the agent runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Live;

fn service(name: &str) -> Result<ServiceName, HostError> {
    name.parse()
        .map_err(|error: NameError| HostError::refused(error.to_string(), None))
}

fn now() -> i64 {
    WallClock.now().as_second()
}

impl Environment for Live {
    fn machine(&self, host: &Host) -> Result<Machine, HostError> {
        let Facts {
            system,
            arch,
            hostname,
            free,
            uptime,
        } = Facts::read(&host.paths);
        Ok(Machine {
            agent: machine_facts::own_program(&host.paths)?,
            hostname,
            arch,
            system,
            time: now(),
            free,
            uptime: uptime.as_secs(),
        })
    }

    fn current(&self, host: &Host) -> Result<Option<Record>, HostError> {
        generations::current(host)
    }

    fn records(&self, host: &Host) -> Result<Vec<Record>, HostError> {
        generations::all(host)
    }

    fn journal(&self, host: &Host) -> Result<Option<Journal>, HostError> {
        Ok(State::open(&host.paths)?.journal()?)
    }

    fn lease(&self, host: &Host) -> Result<Option<Lease>, HostError> {
        Ok(lease::current(&host.paths)?)
    }

    fn take_lease(&self, host: &Host, by: &str, what: &str) -> Result<(), HostError> {
        // Before it has a journal, an activation is known by its unit alone.
        if activate::runs(host) {
            return Err(HostError::refused(
                "an activation is at work on this host",
                Some("`forge attach` follows it"),
            ));
        }
        Ok(lease::take(&host.paths, by, what, now())?)
    }

    fn release_lease(&self, host: &Host) -> Result<(), HostError> {
        lease::release(&host.paths)?;
        Ok(())
    }

    fn unlock(&self, host: &Host, force: bool) -> Result<(), HostError> {
        lease::unlock(&host.paths, force)?;
        if force {
            recover::accept(host)?;
        }
        Ok(())
    }

    fn target_of(&self, host: &Host, record: &Record) -> Result<Target, HostError> {
        generations::target_of(host, record)
    }

    fn plan(
        &self,
        host: &Host,
        current: Option<&Record>,
        way: Way<'_>,
        _bundle: Option<BundleDigest>,
    ) -> Result<Plan, HostError> {
        let nothing = Target::nothing();
        let before = way.before.first().copied().unwrap_or(&nothing);
        converge::plan(host, current, before, way.want)
    }

    fn refusals(&self, host: &Host, way: Way<'_>, missing: u64) -> Result<Vec<String>, HostError> {
        let mut refusals = stage::refusals(host, way.want, missing)?;
        refusals.extend(lockout::refusals(host, way, &sshd::deployer())?);
        Ok(refusals)
    }

    fn image_states(
        &self,
        host: &Host,
        target: &Target,
    ) -> Result<BTreeMap<ImageName, ImageState>, HostError> {
        images::states(host, target)
    }

    fn holding(
        &self,
        host: &Host,
        asked: &BTreeMap<BlobDigest, u64>,
    ) -> Result<Holding, HostError> {
        receive::holding(&host.store, &host.paths.partial(), asked)
    }

    fn receiving<'h>(&self, host: &'h Host) -> Result<Box<dyn Receiving + 'h>, HostError> {
        Ok(Box::new(Receiver::open(
            &host.store,
            &host.paths.partial(),
        )?))
    }

    fn fetch(
        &self,
        host: &Host,
        order: &FetchOrder,
        tell: &dyn Tell,
    ) -> Result<Fetched, HostError> {
        let refused = |why: String| HostError::refused(why, Some("the laptop can send the images"));
        let http = Http::new().map_err(|error| refused(error.to_string()))?;
        let arch = Facts::read(&host.paths)
            .arch
            .ok_or_else(|| refused("this host's architecture has no name".to_owned()))?;
        let sources = fetch::Sources {
            credentials: &order.credentials,
            plain_http: &order.plain_http,
            mirrors: &order.mirrors,
        };
        let fetched = fetch::fetch(&http, sources, &host.store, &order.images, arch, tell);
        Ok(Fetched {
            present: fetched.images.into_values().collect(),
            failed: fetched.failed,
        })
    }

    fn create(
        &self,
        host: &Host,
        bundle: BundleDigest,
        operator: &Operator,
    ) -> Result<Record, HostError> {
        let agent = machine_facts::keep_own_program(&host.paths)?;
        generations::create(
            host,
            generations::New {
                bundle,
                agent,
                by: operator.name.clone(),
                revision: operator.revision.clone(),
            },
        )
    }

    fn start(
        &self,
        host: &Host,
        to: u64,
        plan: BlobDigest,
        deadline: Duration,
        by: &str,
    ) -> Result<String, HostError> {
        activate::start(host, to, plan, deadline, by)
    }

    fn follow(
        &self,
        host: &Host,
        from: u64,
        each: &mut dyn FnMut(Event) -> bool,
    ) -> Result<Option<Ending>, HostError> {
        if events::header(&host.paths).is_none() {
            return Err(HostError::refused(
                "nothing has been activated since the host was started",
                Some("`forge status` says how it is"),
            ));
        }
        let mut ending = None;
        for event in events::follow(&host.paths, from, LONGEST, || activate::runs(host)) {
            if let Event::Ended { ending: last } = &event {
                ending = Some(last.clone());
            }
            if !each(event) {
                return Ok(None);
            }
        }
        Ok(ending)
    }

    fn confirm(&self, host: &Host, token: &str) -> Result<Record, HostError> {
        confirm::confirm(host, token)
    }

    fn abandon(&self, host: &Host, token: &str, why: &str) -> Result<u64, HostError> {
        confirm::abandon(host, token, why)
    }

    fn services(&self, host: &Host, target: &Target) -> Result<Vec<ServiceStatus>, HostError> {
        services::status(host, target)
    }

    fn failed_units(&self, _: &Host, target: &Target) -> Result<Vec<String>, HostError> {
        let names: Vec<&str> = target.units.keys().map(String::as_str).collect();
        Ok(systemd::show(&names)?
            .into_iter()
            .filter(|(_, state)| state.has_failed())
            .map(|(name, _)| name)
            .collect())
    }

    fn logs(
        &self,
        host: &Host,
        order: &LogOrder,
        to: &mut (dyn Write + Send),
        errors_to: &mut (dyn Write + Send),
    ) -> Result<(), HostError> {
        let options = LogOptions {
            tail: order.tail.map(u64::from),
            since: order.since.clone(),
            follow: order.follow,
        };
        services::logs(host, &service(&order.service)?, &options, to, errors_to)
    }

    fn exec(
        &self,
        host: &Host,
        order: &ExecOrder,
        stdin: Box<dyn Read + Send>,
        stdout: &mut (dyn Write + Send),
        stderr: &mut (dyn Write + Send),
    ) -> Result<i32, HostError> {
        let ended = services::exec(
            host,
            &service(&order.service)?,
            &order.command,
            order.user.as_deref(),
            LONGEST_COMMAND,
            Streams {
                stdin: Some(stdin),
                stdout,
                stderr,
            },
        )?;
        // None of a program that a signal has ended.
        Ok(ended.code.unwrap_or(-1))
    }

    fn loaded_images(&self, host: &Host) -> Result<BTreeSet<String>, HostError> {
        let engine = Engine::of(&host.paths);
        if !engine.present(Duration::ZERO)? {
            return Ok(BTreeSet::new());
        }
        let tags = engine
            .images()?
            .into_iter()
            .flat_map(|image| image.repo_tags.unwrap_or_default());
        Ok(tags
            .filter(|tag| tag.starts_with("forge.invalid/"))
            .collect())
    }

    fn unload_image(&self, host: &Host, tag: &str) -> Result<bool, HostError> {
        // Docker refuses what a container needs. Whatever else it refuses stays too, and the next collection tries again.
        Ok(Engine::of(&host.paths).remove_image(tag).is_ok())
    }
}

/// What `flow/host/receive.rs` does, one call each.
impl Receiving for Receiver<'_> {
    fn begin(&mut self, parcel: &Parcel, from: u64) -> Result<(), HostError> {
        Self::begin(self, *parcel, from)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        Self::write(self, bytes)
    }

    fn finish(&mut self) -> Result<(), HostError> {
        Self::finish(self).map(drop)
    }

    fn commit(&mut self) -> Result<(), HostError> {
        Self::commit(self)
    }
}
