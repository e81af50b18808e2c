//! systemd (249 or later): units are asked of many at a time, by `systemctl`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::edge::program::{self, ProgramError};
use crate::pure::generation::things::units::{PROPERTIES, State};

const ASK: Duration = Duration::from_secs(60);
const CHANGE: Duration = Duration::from_secs(2 * 60);
/// A one-shot unit may make a swap file or restart Docker.
const START: Duration = Duration::from_secs(15 * 60);

fn systemctl(arguments: &[&str], limit: Duration) -> Result<String, ProgramError> {
    program::run("systemctl", arguments, limit)?.ok_or_else(|| ProgramError::Run {
        command: "systemctl".to_owned(),
        source: std::io::ErrorKind::NotFound.into(),
    })
}

fn on(verb: &[&str], units: &[&str], limit: Duration) -> Result<(), ProgramError> {
    if units.is_empty() {
        return Ok(());
    }
    let mut words = verb.to_vec();
    words.push("--");
    words.extend(units);
    systemctl(&words, limit).map(|_| ())
}

/// What systemd knows of these units: one call.
///
/// # Errors
/// [`ProgramError`].
pub fn show(units: &[&str]) -> Result<BTreeMap<String, State>, ProgramError> {
    if units.is_empty() {
        return Ok(BTreeMap::new());
    }
    let property = format!("--property={PROPERTIES}");
    let mut words = vec!["show", "--no-pager", &property, "--"];
    words.extend(units);
    let states = State::parse(&systemctl(&words, ASK)?);
    Ok(units
        .iter()
        .map(|unit| (*unit).to_owned())
        .zip(states)
        .collect())
}

/// Makes systemd read all units anew.
///
/// # Errors
/// [`ProgramError`].
pub fn reload() -> Result<(), ProgramError> {
    systemctl(&["daemon-reload"], CHANGE).map(|_| ())
}

/// # Errors
/// [`ProgramError`].
pub fn enable(units: &[&str]) -> Result<(), ProgramError> {
    on(&["enable", "--quiet"], units, CHANGE)
}

/// Stops units and keeps them from starting at boot.
///
/// # Errors
/// [`ProgramError`].
pub fn disable_now(units: &[&str]) -> Result<(), ProgramError> {
    on(&["disable", "--quiet", "--now"], units, CHANGE)?;
    on(&["reset-failed"], units, CHANGE).or(Ok(()))
}

/// Starts units, or starts them anew, in the order that they ask for, and waits until they run.
///
/// # Errors
/// [`ProgramError`]: one of them failed; the others were started.
pub fn restart(units: &[&str]) -> Result<(), ProgramError> {
    // One that has failed too often would be refused.
    on(&["reset-failed"], units, CHANGE).or(Ok::<(), ProgramError>(()))?;
    on(&["restart"], units, START)
}

/// The end of what a unit wrote.
pub fn tail(unit: &str) -> String {
    let words = ["-u", unit, "-n", "20", "-o", "cat", "--no-pager", "-q"];
    match program::run("journalctl", &words, ASK) {
        Ok(Some(text)) => text.trim_end().to_owned(),
        Ok(None) | Err(_) => String::new(),
    }
}
