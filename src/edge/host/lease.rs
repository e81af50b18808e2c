//! Who holds a host: `/var/lib/forge/lease.json`, so that a second deploy is told whose is the first, and since when.
//!
//! Invariant: at most one living process holds the lease; one whose holder is gone keeps nobody waiting. It protects people from
//! each other, not the host from a crash: what must not run twice holds [`super::state::State::lock`] too.

use std::ffi::OsStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::machine_facts::{boot_id, started};
use super::paths::Paths;
use super::state::{State, StateError, read};
use crate::edge::disk::{Folder, Hold, Lock};
use crate::pure::protocol::Lease;

const FILE: &str = "lease.json";
const LOCK: &str = "lease.lock";
const VERSION: u32 = 1;
/// As long as another may read and write one small file.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a lease was not taken or not given up.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("{} is changing this host ({}); nothing was changed", .0.by, .0.what)]
    Held(Box<Lease>),
    #[error(
        "an activation of generation {to}, begun by {by}, is not finished; `forge attach` follows it, `forge rollback` ends it"
    )]
    Unfinished { to: u64, by: String },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Holder {
    version: u32,
    by: String,
    since: i64,
    what: String,
    pid: u32,
    boot_id: String,
    /// Of the process, in ticks since the boot: its number alone is used again.
    start_time: u64,
}

impl Holder {
    fn is_alive(&self) -> bool {
        self.boot_id == boot_id() && started(self.pid) == Some(self.start_time)
    }

    fn is_own(&self) -> bool {
        self.pid == std::process::id() && self.is_alive()
    }

    fn shown(&self) -> Lease {
        Lease {
            by: self.by.clone(),
            since: self.since,
            what: self.what.clone(),
            alive: self.is_alive(),
        }
    }
}

fn open(paths: &Paths) -> Result<(Folder, Lock), StateError> {
    let folder = Folder::create(&paths.state()).map_err(StateError::from)?;
    let lock = folder.lock(LOCK, Hold::Alone, PATIENCE)?;
    Ok((folder, lock))
}

fn holder(folder: &Folder) -> Result<Option<Holder>, StateError> {
    read(folder, FILE, VERSION)
}

/// Takes the lease for this process; one whose holder is gone is taken over, one that this process holds is held on.
///
/// # Errors
/// [`LeaseError::Held`], [`LeaseError::Unfinished`]; then nothing has changed.
pub fn take(paths: &Paths, by: &str, what: &str, now: i64) -> Result<(), LeaseError> {
    let (folder, _lock) = open(paths)?;
    let state = State::open(paths)?;
    if let Some(journal) = state.journal()? {
        return Err(LeaseError::Unfinished {
            to: journal.to,
            by: journal.by,
        });
    }
    // One that has no journal yet, because nothing has been changed so far.
    if let (Err(StateError::Busy(_)), Some(request)) =
        (state.lock(Duration::ZERO), state.request()?)
    {
        return Err(LeaseError::Unfinished {
            to: request.to,
            by: request.by,
        });
    }
    if let Some(holder) = holder(&folder)?
        && holder.is_alive()
        && !holder.is_own()
    {
        return Err(LeaseError::Held(Box::new(holder.shown())));
    }
    let pid = std::process::id();
    let holder = Holder {
        version: VERSION,
        by: by.to_owned(),
        since: now,
        what: what.to_owned(),
        pid,
        boot_id: boot_id(),
        start_time: started(pid).unwrap_or(0),
    };
    let bytes = serde_json::to_vec(&holder).map_err(|error| StateError::Damaged {
        path: folder.path().join(FILE),
        why: error.to_string(),
    })?;
    folder
        .replace(FILE, &folder, &bytes)
        .map_err(StateError::from)?;
    Ok(())
}

/// Gives up the lease if this process holds it. True if it did.
///
/// # Errors
/// [`LeaseError::State`].
pub fn release(paths: &Paths) -> Result<bool, LeaseError> {
    let (folder, _lock) = open(paths)?;
    let own = holder(&folder)?.is_some_and(|holder| holder.is_own());
    if own {
        remove(&folder)?;
    }
    Ok(own)
}

/// Who holds it.
///
/// # Errors
/// [`LeaseError::State`].
pub fn current(paths: &Paths) -> Result<Option<Lease>, LeaseError> {
    if !paths.state().is_dir() {
        return Ok(None);
    }
    let folder = Folder::open(&paths.state()).map_err(StateError::from)?;
    Ok(holder(&folder)?.map(|holder| holder.shown()))
}

/// Gives up a lease whose holder is gone; with `force` also one whose holder runs, or that cannot be understood. Gives back whose
/// it was.
///
/// # Errors
/// [`LeaseError::Held`] if the holder runs and it is not forced.
pub fn unlock(paths: &Paths, force: bool) -> Result<Option<Lease>, LeaseError> {
    let (folder, _lock) = open(paths)?;
    let holder = match holder(&folder) {
        Err(StateError::Damaged { .. } | StateError::Version { .. }) if force => None,
        holder => holder?,
    };
    if let Some(holder) = &holder
        && holder.is_alive()
        && !force
    {
        return Err(LeaseError::Held(Box::new(holder.shown())));
    }
    remove(&folder)?;
    Ok(holder.map(|holder| holder.shown()))
}

fn remove(folder: &Folder) -> Result<(), StateError> {
    folder.remove(OsStr::new(FILE))?;
    Ok(folder.sync()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pure::generation::{Journal, Phase};

    /// A lease of another process: `pid` with that start.
    fn lie(paths: &Paths, pid: u32, start_time: u64) {
        let holder = Holder {
            version: VERSION,
            by: "ben@desk".to_owned(),
            since: 1,
            what: "deploy".to_owned(),
            pid,
            boot_id: boot_id(),
            start_time,
        };
        std::fs::create_dir_all(paths.state()).unwrap();
        let bytes = serde_json::to_vec(&holder).unwrap();
        std::fs::write(paths.state().join(FILE), bytes).unwrap();
    }

    #[test]
    fn is_taken_held_on_and_given_up() {
        let at = tempfile::tempdir().unwrap();
        let paths = Paths::below(at.path());
        assert_eq!(current(&paths).unwrap(), None);
        take(&paths, "anna@laptop", "deploy", 7).unwrap();
        take(&paths, "anna@laptop", "rollback", 8).unwrap();
        let lease = current(&paths).unwrap().unwrap();
        assert!(lease.alive);
        assert_eq!((lease.what.as_str(), lease.since), ("rollback", 8));
        assert!(release(&paths).unwrap());
        assert!(!release(&paths).unwrap());
        assert_eq!(current(&paths).unwrap(), None);
    }

    #[test]
    fn a_living_holder_keeps_it_and_a_dead_one_does_not() {
        let at = tempfile::tempdir().unwrap();
        let paths = Paths::below(at.path());
        // Process 1 runs as long as this test does.
        lie(&paths, 1, started(1).unwrap());
        let error = take(&paths, "anna@laptop", "deploy", 7).unwrap_err();
        assert!(error.to_string().contains("ben@desk"), "{error}");
        assert!(!release(&paths).unwrap());
        assert!(matches!(unlock(&paths, false), Err(LeaseError::Held(_))));
        assert_eq!(unlock(&paths, true).unwrap().unwrap().by, "ben@desk");
        // The same number, used again by a process that began later.
        lie(&paths, 1, started(1).unwrap() + 1);
        assert!(!current(&paths).unwrap().unwrap().alive);
        take(&paths, "anna@laptop", "deploy", 7).unwrap();
        assert_eq!(current(&paths).unwrap().unwrap().by, "anna@laptop");
    }

    #[test]
    fn an_unfinished_activation_keeps_it() {
        let at = tempfile::tempdir().unwrap();
        let paths = Paths::below(at.path());
        let journal = Journal {
            version: Journal::VERSION,
            from: 1,
            to: 2,
            phase: Phase::Converging,
            deadline: 100,
            started: 1,
            by: "ben@desk".to_owned(),
            token: "t".to_owned(),
        };
        State::open(&paths)
            .unwrap()
            .write_journal(&journal)
            .unwrap();
        let error = take(&paths, "anna@laptop", "deploy", 7).unwrap_err();
        assert!(
            matches!(error, LeaseError::Unfinished { to: 2, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_torn_lease_is_given_up_by_force() {
        let at = tempfile::tempdir().unwrap();
        let paths = Paths::below(at.path());
        std::fs::create_dir_all(paths.state()).unwrap();
        std::fs::write(paths.state().join(FILE), "{").unwrap();
        assert!(unlock(&paths, false).is_err());
        unlock(&paths, true).unwrap();
        take(&paths, "anna@laptop", "deploy", 7).unwrap();
    }
}
