//! apt (2.0 or later): lists and installs, never removes on its own.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::paths::Paths;
use crate::edge::program::{self, ProgramError};

const ASK: Duration = Duration::from_secs(60);
const UPDATE: Duration = Duration::from_secs(10 * 60);
const INSTALL: Duration = Duration::from_secs(30 * 60);

/// Nobody is there to answer a question, and what needs a restart is forge's business.
const ENVIRONMENT: [&str; 3] = [
    "DEBIAN_FRONTEND=noninteractive",
    "NEEDRESTART_SUSPEND=1",
    "APT_LISTCHANGES_FRONTEND=none",
];

/// Another apt (unattended upgrades) is waited for.
const LOCK: &str = "DPkg::Lock::Timeout=300";

/// The arguments of `apt-get` that install these packages.
fn install_arguments<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec![
        "install",
        "--yes",
        "--no-install-recommends",
        "--no-remove",
        "-o",
        LOCK,
        // A configuration file that somebody changed stays.
        "-o",
        "Dpkg::Options::=--force-confdef",
        "-o",
        "Dpkg::Options::=--force-confold",
        "--",
    ];
    arguments.extend(names);
    arguments
}

/// Runs a program that installs. What it says on both streams is one story, of which the end stands in the error.
pub(super) fn installing(
    program: &str,
    arguments: &[&str],
    limit: Duration,
) -> Result<(), ProgramError> {
    let mut words = vec!["-c", "exec \"$@\" >&2", "sh", "env"];
    words.extend(ENVIRONMENT);
    words.push(program);
    words.extend(arguments);
    match program::run("sh", &words, limit)? {
        Some(_) => Ok(()),
        None => Err(ProgramError::Run {
            command: program.to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        }),
    }
}

/// Installs packages, and what they need; fails if it would have to remove another.
///
/// # Errors
/// [`ProgramError`], with the end of what apt and the packages said.
pub fn install(names: &[&str]) -> Result<(), ProgramError> {
    installing("apt-get", &install_arguments(names), INSTALL)
}

/// Fetches the lists of what the archives have, and gives what apt said: an archive that does not answer is no failure to it.
///
/// # Errors
/// [`ProgramError`].
pub fn update() -> Result<String, ProgramError> {
    let said = program::run("apt-get", &["update", "-o", LOCK], UPDATE)?;
    Ok(said.unwrap_or_default())
}

/// What apt knows of these names: `NAME:` and lines below it, for each that it knows.
///
/// # Errors
/// [`ProgramError`].
pub fn policy(names: &[&str]) -> Result<String, ProgramError> {
    let mut arguments = vec!["policy", "--"];
    arguments.extend(names);
    Ok(program::run("apt-cache", &arguments, ASK)?.unwrap_or_default())
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}

fn entries(folder: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.path())
}

/// True if there are no lists, or something below `/etc/apt` has changed since they were fetched.
pub fn lists_are_old(paths: &Paths) -> bool {
    let lists = paths.at("/var/lib/apt/lists");
    if !entries(&lists).any(|path| path.is_file() && !path.ends_with("lock")) {
        return true;
    }
    // The lists have the times of the archive; the folders that of the fetching.
    let fetched = [lists.join("partial"), lists]
        .iter()
        .filter_map(|folder| modified(folder))
        .max();
    let etc = paths.at("/etc/apt");
    let mut changed = vec![etc.clone()];
    for path in entries(&etc) {
        if path.is_dir() {
            changed.extend(entries(&path));
        }
        changed.push(path);
    }
    let changed = changed.iter().filter_map(|path| modified(path)).max();
    changed > fetched
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn asks_for_exactly_the_missing_and_removes_nothing() {
        let words = install_arguments(&["curl", "g++"]).join(" ");
        assert_eq!(
            words,
            "install --yes --no-install-recommends --no-remove -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef \
             -o Dpkg::Options::=--force-confold -- curl g++"
        );
    }

    #[test]
    fn both_streams_are_in_the_error_and_nobody_is_asked() {
        let limit = Duration::from_secs(60);
        let script = "echo $DEBIAN_FRONTEND; echo $NEEDRESTART_SUSPEND >&2; exit 3";
        let said = installing("sh", &["-c", script], limit)
            .unwrap_err()
            .to_string();
        assert!(said.contains("noninteractive\n  1"), "{said}");
        installing("true", &[], limit).unwrap();
    }

    #[test]
    fn lists_are_old_if_there_are_none_or_the_archives_changed() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        let lists = paths.at("/var/lib/apt/lists");
        std::fs::create_dir_all(lists.join("partial")).unwrap();
        std::fs::create_dir_all(paths.at("/etc/apt/sources.list.d")).unwrap();
        std::fs::write(lists.join("lock"), "").unwrap();
        assert!(lists_are_old(&paths));
        std::fs::write(lists.join("deb.example_InRelease"), "x").unwrap();
        let at = |path: &Path, seconds: u64| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            std::fs::File::open(path)
                .unwrap()
                .set_modified(time)
                .unwrap();
        };
        let sources = paths.at("/etc/apt/sources.list.d/docker.sources");
        std::fs::write(&sources, "x").unwrap();
        for folder in ["/etc/apt", "/etc/apt/sources.list.d"] {
            at(&paths.at(folder), 1000);
        }
        at(&lists, 1000);
        at(&lists.join("partial"), 2000);
        at(&sources, 1500);
        assert!(!lists_are_old(&paths));
        at(&sources, 2500);
        assert!(lists_are_old(&paths));
    }
}
