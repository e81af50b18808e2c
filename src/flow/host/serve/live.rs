//! The host itself, as the conversation sees it: each method is one call of the room that does it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::time::Duration;

use super::parts::{
    Environment, ExecOrder, FetchOrder, Fetched, LogOrder, Machine, Receiving,
};
use crate::edge::clock::{Clock, WallClock};
use crate::edge::host::machine_facts::{self, Facts};
use crate::edge::host::state::State;
use crate::edge::host::{events, lease};
use crate::flow::host::resource::Way;
use crate::flow::host::tell::Tell;
use crate::flow::host::{Host, HostError, activate, confirm, converge, generations, recover};
use crate::pure::delivery::Holding;
use crate::pure::generation::{Journal, Plan, Record, Target};
use crate::pure::name::{BlobDigest, BundleDigest, ImageName};
use crate::pure::protocol::{Ending, Event, ImageState, Lease, Operator, ServiceStatus};

/// Longer than any activation takes with its deadline and its way back.
const LONGEST: Duration = Duration::from_secs(48 * 3600);

/// The host that the agent runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Live;

fn unbuilt<T>() -> Result<T, HostError> {
    Err(HostError::refused("not built yet", None))
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
            agent: machine_facts::own_program()?,
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

    fn refusals(&self, _host: &Host, _way: Way<'_>) -> Result<Vec<String>, HostError> {
        // `lockout::refusals` and the firewall's.
        Ok(Vec::new())
    }

    fn image_states(
        &self,
        _host: &Host,
        _target: &Target,
    ) -> Result<BTreeMap<ImageName, ImageState>, HostError> {
        unbuilt()
    }

    fn holding(
        &self,
        _host: &Host,
        _asked: &BTreeMap<BlobDigest, u64>,
    ) -> Result<Holding, HostError> {
        unbuilt()
    }

    fn receiving<'h>(&self, _host: &'h Host) -> Result<Box<dyn Receiving + 'h>, HostError> {
        unbuilt()
    }

    fn fetch(
        &self,
        _host: &Host,
        _order: &FetchOrder,
        _tell: &dyn Tell,
    ) -> Result<Fetched, HostError> {
        unbuilt()
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

    fn services(&self, _host: &Host, _target: &Target) -> Result<Vec<ServiceStatus>, HostError> {
        unbuilt()
    }

    fn failed_units(&self, _host: &Host, _target: &Target) -> Result<Vec<String>, HostError> {
        unbuilt()
    }

    fn logs(&self, _host: &Host, _order: &LogOrder, _to: &mut dyn Write) -> Result<(), HostError> {
        unbuilt()
    }

    fn exec(
        &self,
        _host: &Host,
        _order: &ExecOrder,
        _stdin: Box<dyn Read + Send>,
        _stdout: &mut (dyn Write + Send),
        _stderr: &mut (dyn Write + Send),
    ) -> Result<i32, HostError> {
        unbuilt()
    }

    fn loaded_images(&self, _host: &Host) -> Result<BTreeSet<String>, HostError> {
        unbuilt()
    }

    fn unload_image(&self, _host: &Host, _tag: &str) -> Result<bool, HostError> {
        unbuilt()
    }
}
