//! systemd units. Their texts are managed files, written before: here systemd is made to take them.

use std::collections::{BTreeMap, BTreeSet};

use super::resource::{Resource, Way};
use super::tell::Tell;
use super::{Host, HostError};
use crate::edge::host::{remembered, systemd};
use crate::pure::generation::things::units::{self, Started, State, Step};
use crate::pure::generation::{Change, Kind};
use crate::pure::name::BlobDigest;

/// Stops and disables what is no longer wanted: before its file goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct UnitsGone;

/// Enables and starts what is wanted: after its file was written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Units;

/// Below `/var/lib/forge/managed`: with which text each unit was started last.
const RECORD: &str = "units.json";

fn started(host: &Host) -> Result<Started, HostError> {
    Ok(remembered::read(&host.paths, RECORD)?)
}

fn gone(way: Way<'_>, started: &Started) -> BTreeSet<String> {
    units::gone(&way.want.units, way.before.iter().copied(), started)
}

fn show<'a>(
    names: impl IntoIterator<Item = &'a String>,
) -> Result<BTreeMap<String, State>, HostError> {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    Ok(systemd::show(&names)?)
}

fn steps(way: Way<'_>, have: &BTreeMap<String, State>, started: &Started) -> Vec<Step> {
    let text = |name: &str| units::text_of(way.want, name);
    units::plan(&way.want.units, &text, have, started)
}

impl Resource for UnitsGone {
    fn step(&self) -> &'static str {
        "units that are no longer declared"
    }

    fn plan(&self, host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError> {
        let gone = gone(way, &started(host)?);
        Ok(units::plan_gone(&gone, &show(&gone)?))
    }

    fn apply(&self, host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
        let mut started = started(host)?;
        let gone = gone(way, &started);
        let changes = units::plan_gone(&gone, &show(&gone)?);
        for change in &changes {
            systemd::disable_now(&[&change.name])
                .map_err(|error| HostError::thing(Kind::Unit, &change.name, error))?;
            tell.changed(change);
        }
        let known = started.len();
        started.retain(|name, _| !gone.contains(name));
        if started.len() != known {
            remembered::write(&host.paths, RECORD, &started)?;
        }
        Ok(())
    }
}

impl Resource for Units {
    fn step(&self) -> &'static str {
        "units"
    }

    fn plan(&self, host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError> {
        let have = show(way.want.units.keys())?;
        let steps = steps(way, &have, &started(host)?);
        Ok(steps.into_iter().map(|step| step.change).collect())
    }

    fn apply(&self, host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
        let mut started = started(host)?;
        let have = show(way.want.units.keys())?;
        let steps = steps(way, &have, &started);
        let stale = |state: &State| state.needs_reload() || !state.is_there();
        if have.values().any(stale) || steps.iter().any(|step| step.restart) {
            systemd::reload()?;
        }
        let names = |wanted: fn(&Step) -> bool| -> Vec<&str> {
            let wanted = steps.iter().filter(|step| wanted(step));
            wanted.map(|step| step.change.name.as_str()).collect()
        };
        for unit in names(|step| step.disable) {
            systemd::disable_now(&[unit])
                .map_err(|error| HostError::thing(Kind::Unit, unit, error))?;
            started.remove(unit);
            remembered::write(&host.paths, RECORD, &started)?;
        }
        let restarted = names(|step| step.restart);
        if !restarted.is_empty() {
            // Killed from here on, it is not known with which text they run.
            started.extend(restarted.iter().map(|unit| ((*unit).to_owned(), None)));
            remembered::write(&host.paths, RECORD, &started)?;
        }
        systemd::enable(&names(|step| step.enable))?;
        let ended = match restarted.as_slice() {
            [] => Ok(()),
            // All at once, in the order that they ask for.
            units => systemd::restart(units),
        };
        let failed = match &ended {
            Ok(()) => BTreeSet::new(),
            Err(_) => failed(&restarted)?,
        };
        for unit in &restarted {
            // If systemd calls none of them failed, nobody knows which was not started.
            if ended.is_ok() || !(failed.is_empty() || failed.contains(*unit)) {
                let text = units::text_of(way.want, unit);
                // Without a text of ours there is none that could change.
                let text = text.unwrap_or_else(|| BlobDigest::of(b""));
                started.insert((*unit).to_owned(), Some(text));
            }
        }
        if !restarted.is_empty() {
            remembered::write(&host.paths, RECORD, &started)?;
        }
        for step in &steps {
            let name = &step.change.name;
            let runs = started.get(name).is_some_and(Option::is_some);
            if ended.is_ok() || !step.restart || runs {
                tell.changed(&step.change);
            }
        }
        let Err(error) = ended else {
            return Ok(());
        };
        let Some(first) = failed.first() else {
            return Err(error.into());
        };
        let mut why = match failed.len() {
            1 => "it did not start".to_owned(),
            _ => {
                let others: Vec<&str> = failed.iter().skip(1).map(String::as_str).collect();
                format!("it did not start, and neither did {}", others.join(", "))
            }
        };
        let tail = systemd::tail(first);
        let said = if tail.is_empty() {
            error.to_string()
        } else {
            tail
        };
        why.push_str(":\n  ");
        why.push_str(&said.replace('\n', "\n  "));
        Err(HostError::thing(Kind::Unit, first, why))
    }
}

/// Those that do not run, and ought to.
fn failed(units: &[&str]) -> Result<BTreeSet<String>, HostError> {
    let have = systemd::show(units)?;
    Ok(have
        .into_iter()
        .filter(|(_, state)| state.has_failed() || !state.is_well())
        .map(|(name, _)| name)
        .collect())
}
