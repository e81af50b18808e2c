//! The durable state of a host: generations, `current`, the journal; and the request of the activation that runs.
//!
//! Owns: the layout of `/var/lib/forge` but for the store, the files and the volumes (`docs/format/generation.md`).
//!
//! Invariant: `current` points to a generation whose record and whose program are there, or is not there at all; it is changed by
//! [`State::commit`] alone, which is the commit point of every activation.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::paths::Paths;
use crate::edge::disk::{DiskError, Folder, Hold, Kind, Lock, LockError, Power};
use crate::pure::generation::{Journal, Record};
use crate::pure::name::BlobDigest;

const GENERATIONS: &str = "generations";
const RECORD: &str = "record.json";
const AGENT: &str = "agent";
const CURRENT: &str = "current";
const JOURNAL: &str = "journal.json";
const REQUEST: &str = "request.json";
const LOCK: &str = "activation.lock";

/// Why the state of a host cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("{} cannot be understood: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error(
        "{} has version {found} of the format, and this forge knows version {known}: use the forge that wrote it, or a newer one",
        path.display()
    )]
    Version {
        path: PathBuf,
        found: u64,
        known: u32,
    },
    #[error("there is no generation {0} on this host")]
    NoGeneration(u64),
    #[error("another forge has been changing this host for {} s; wait for it to end, and try again", .0.as_secs())]
    Busy(Duration),
}

impl From<LockError> for StateError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Disk(error) => Self::Disk(error),
            LockError::Busy { waited, .. } => Self::Busy(waited),
        }
    }
}

/// What an activation is to do. It lies on tmpfs: a reboot ends what it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationRequest {
    /// Of the format.
    pub version: u32,
    /// The generation to activate.
    pub to: u64,
    /// The plan that a person has agreed to.
    pub plan: BlobDigest,
    /// Seconds that it may take until it is confirmed.
    pub deadline: u64,
    pub by: String,
    /// Known to who asked: a confirmation names it.
    pub token: String,
}

impl ActivationRequest {
    pub const VERSION: u32 = 1;
}

/// The state of a host, held open.
#[derive(Debug)]
pub struct State {
    root: Folder,
    generations: Folder,
    run: PathBuf,
}

impl State {
    /// Opens the state below `/var/lib/forge`, making its folders if they are missing.
    ///
    /// # Errors
    /// [`StateError::Disk`].
    pub fn open(paths: &Paths) -> Result<Self, StateError> {
        Self::open_with(paths, Power::default())
    }

    /// [`Self::open`] with a power supply that a test can cut.
    ///
    /// # Errors
    /// [`StateError::Disk`].
    pub fn open_with(paths: &Paths, power: Power) -> Result<Self, StateError> {
        let root = Folder::create(&paths.state())?.with_power(power);
        let generations = root.enter_or_create(GENERATIONS)?;
        Ok(Self {
            root,
            generations,
            run: paths.activation(),
        })
    }

    /// Held by whoever changes the host or decides what becomes of an activation; given up when the process ends.
    ///
    /// # Errors
    /// [`StateError::Busy`] if another holds it for longer than `patience`.
    pub fn lock(&self, patience: Duration) -> Result<Lock, StateError> {
        Ok(self.root.lock(LOCK, Hold::Alone, patience)?)
    }

    /// The number of the current generation; none where forge has never been.
    ///
    /// # Errors
    /// [`StateError::Damaged`] if `current` points to something else.
    pub fn current(&self) -> Result<Option<u64>, StateError> {
        let Some(target) = self.root.read_link(CURRENT)? else {
            return Ok(None);
        };
        let number = target
            .strip_prefix(GENERATIONS)
            .ok()
            .and_then(Path::to_str)
            .and_then(number);
        match number {
            Some(number) => Ok(Some(number)),
            None => Err(StateError::Damaged {
                path: self.root.path().join(CURRENT),
                why: format!("it points to {}, which is no generation", target.display()),
            }),
        }
    }

    /// Makes a generation current: **the commit point**. Before a crash is over, `current` is the old generation or this
    /// one; when this has returned, this one.
    ///
    /// # Errors
    /// [`StateError::NoGeneration`] if it is not there whole, and then nothing has changed; [`StateError::Disk`], and then it is
    /// the old one or this one.
    pub fn commit(&self, number: u64) -> Result<(), StateError> {
        self.record(number)?
            .ok_or(StateError::NoGeneration(number))?;
        let target = Path::new(GENERATIONS).join(number.to_string());
        self.root.set_link(CURRENT, &target)?;
        Ok(self.root.sync()?)
    }

    /// A generation; none if there is none of this number, or if its making was cut short.
    ///
    /// # Errors
    /// [`StateError::Damaged`], [`StateError::Version`].
    pub fn record(&self, number: u64) -> Result<Option<Record>, StateError> {
        match self.generations.enter(&number.to_string())? {
            Some(folder) => read(&folder, RECORD, Record::VERSION),
            None => Ok(None),
        }
    }

    /// All generations, ascending.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub fn records(&self) -> Result<Vec<Record>, StateError> {
        let mut records = Vec::new();
        for number in self.numbers()? {
            records.extend(self.record(number)?);
        }
        Ok(records)
    }

    fn numbers(&self) -> Result<Vec<u64>, StateError> {
        let names = self.generations.names()?;
        let mut numbers: Vec<u64> = names
            .iter()
            .filter_map(|name| name.to_str().and_then(number))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The number for the next generation: it was never given to another, nor to one whose making was cut short.
    ///
    /// # Errors
    /// [`StateError::Disk`].
    pub fn next_number(&self) -> Result<u64, StateError> {
        Ok(self.numbers()?.last().map_or(1, |last| last + 1))
    }

    /// Makes a generation. After a crash it is there whole or not at all; when this has returned, it is.
    ///
    /// # Errors
    /// [`StateError::Disk`].
    pub fn create(&self, record: &Record) -> Result<(), StateError> {
        let folder = self
            .generations
            .enter_or_create(&record.number.to_string())?;
        // Before the record, so that a generation that is there has its program.
        let program = Path::new("../../bin").join(record.agent.hex());
        folder.set_link(AGENT, &program)?;
        write(&folder, RECORD, record)?;
        self.generations.sync()?;
        Ok(self.root.sync()?)
    }

    /// True if the program of this digest is in its place.
    ///
    /// # Errors
    /// [`StateError::Disk`].
    pub fn has_program(&self, agent: BlobDigest) -> Result<bool, StateError> {
        let Some(programs) = self.root.enter("bin")? else {
            return Ok(false);
        };
        let Some(folder) = programs.enter(&agent.hex())? else {
            return Ok(false);
        };
        Ok(matches!(folder.look("forge")?, Some(Kind::File(_))))
    }

    /// Replaces the record of a generation that is there: its outcome. After a crash it is the old one or the new one.
    ///
    /// # Errors
    /// [`StateError::NoGeneration`], [`StateError::Disk`].
    pub fn rewrite(&self, record: &Record) -> Result<(), StateError> {
        let folder = self
            .generations
            .enter(&record.number.to_string())?
            .ok_or(StateError::NoGeneration(record.number))?;
        write(&folder, RECORD, record)
    }

    /// Removes generations that are no longer kept: their records, never data. `current` stays.
    ///
    /// # Errors
    /// [`StateError::Disk`]; those before it are gone.
    pub fn forget(&self, numbers: &[u64]) -> Result<(), StateError> {
        let current = self.current()?;
        for number in numbers.iter().filter(|number| current != Some(**number)) {
            let Some(folder) = self.generations.enter(&number.to_string())? else {
                continue;
            };
            // Its record first: without it, it is no generation. The folder stays, so that its number is never used again.
            folder.remove(OsStr::new(RECORD))?;
            folder.sync()?;
            folder.remove(OsStr::new(AGENT))?;
        }
        Ok(())
    }

    /// The unfinished activation.
    ///
    /// # Errors
    /// [`StateError::Damaged`], [`StateError::Version`].
    pub fn journal(&self) -> Result<Option<Journal>, StateError> {
        read(&self.root, JOURNAL, Journal::VERSION)
    }

    /// Writes the journal. After a crash it is the old one (or none) or this one; when this has returned, this one.
    ///
    /// # Errors
    /// [`StateError::Disk`].
    pub fn write_journal(&self, journal: &Journal) -> Result<(), StateError> {
        write(&self.root, JOURNAL, journal)
    }

    /// Removes the journal: the activation is finished. True if there was one.
    ///
    /// # Errors
    /// [`StateError::Disk`]; then it is there or gone.
    pub fn remove_journal(&self) -> Result<bool, StateError> {
        let was = self.root.remove(OsStr::new(JOURNAL))?;
        self.root.sync()?;
        Ok(was)
    }

    /// What the last activation since the boot was asked to do.
    ///
    /// # Errors
    /// [`StateError::Damaged`].
    pub fn request(&self) -> Result<Option<ActivationRequest>, StateError> {
        if !self.run.is_dir() {
            return Ok(None);
        }
        let folder = Folder::open(&self.run)?;
        read(&folder, REQUEST, ActivationRequest::VERSION)
    }

    /// # Errors
    /// [`StateError::Disk`].
    pub fn write_request(&self, request: &ActivationRequest) -> Result<(), StateError> {
        write(&Folder::create(&self.run)?, REQUEST, request)
    }
}

/// A number as forge writes it.
fn number(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

fn write(folder: &Folder, name: &str, value: &impl Serialize) -> Result<(), StateError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| StateError::Damaged {
        path: folder.path().join(name),
        why: error.to_string(),
    })?;
    bytes.push(b'\n');
    Ok(folder.replace(name, folder, &bytes)?)
}

/// Reads what has a member `version`: another version is named, whatever else is in it.
pub(super) fn read<T: DeserializeOwned>(
    folder: &Folder,
    name: &str,
    known: u32,
) -> Result<Option<T>, StateError> {
    let Some(bytes) = folder.read_whole(name)? else {
        return Ok(None);
    };
    let path = folder.path().join(name);
    let damaged = |error: serde_json::Error| StateError::Damaged {
        path: path.clone(),
        why: error.to_string(),
    };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(damaged)?;
    match value.get("version").and_then(serde_json::Value::as_u64) {
        Some(found) if found != u64::from(known) => {
            return Err(StateError::Version { path, found, known });
        }
        _ => {}
    }
    serde_json::from_value(value).map(Some).map_err(damaged)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
