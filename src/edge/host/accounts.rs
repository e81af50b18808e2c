//! Accounts, by the programs of Debian's package `passwd` (4.8 or later).

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use super::paths::Paths;
use crate::edge::disk::DiskError;
use crate::edge::program::{self, ProgramError};
use crate::pure::generation::User;
use crate::pure::generation::things::accounts::{Have, LOCKED_SINCE, Step};

const LIMIT: Duration = Duration::from_secs(60);

fn read(paths: &Paths, path: &str) -> Result<String, DiskError> {
    let path = paths.at(path);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(source) => Err(DiskError {
            operation: "read",
            path,
            source,
        }),
    }
}

/// The accounts of the host itself, not those of a directory service.
///
/// # Errors
/// [`DiskError`].
pub fn have(paths: &Paths) -> Result<Have, DiskError> {
    Ok(Have::parse(
        &read(paths, "/etc/passwd")?,
        &read(paths, "/etc/group")?,
        &read(paths, "/etc/shadow")?,
    ))
}

/// Runs one of the programs, on the files below the root.
fn change(paths: &Paths, program: &str, mut words: Vec<String>) -> Result<(), ProgramError> {
    if !paths.is_real() {
        words.insert(0, paths.at("/").display().to_string());
        words.insert(0, "--prefix".to_owned());
    }
    match program::run(program, &words, LIMIT)? {
        Some(_) => Ok(()),
        None => Err(ProgramError::Run {
            command: program.to_owned(),
            source: io::ErrorKind::NotFound.into(),
        }),
    }
}

/// Makes a group.
///
/// # Errors
/// [`ProgramError`].
pub fn make_group(paths: &Paths, name: &str, gid: Option<u32>) -> Result<(), ProgramError> {
    let mut words = Vec::new();
    if let Some(gid) = gid {
        words.extend(["--gid".to_owned(), gid.to_string()]);
    }
    words.extend(["--".to_owned(), name.to_owned()]);
    change(paths, "groupadd", words)
}

fn list(groups: &BTreeSet<String>) -> String {
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    groups.join(",")
}

/// Makes an account into which nobody gets with a password. `own_group` is true if a group of its name is there already.
///
/// # Errors
/// [`ProgramError`].
pub fn make_user(
    paths: &Paths,
    name: &str,
    user: &User,
    own_group: bool,
) -> Result<(), ProgramError> {
    let mut words: Vec<String> = Vec::new();
    let mut add = |option: &str, value: &str| words.extend([option.to_owned(), value.to_owned()]);
    // Not `!`, which sshd without PAM takes for a locked account: this is a password that nothing matches.
    add("--password", "*");
    if !user.shell.is_empty() {
        add("--shell", &user.shell);
    }
    if !user.comment.is_empty() {
        add("--comment", &user.comment);
    }
    if let Some(uid) = user.uid {
        add("--uid", &uid.to_string());
    }
    if !user.groups.is_empty() {
        add("--groups", &list(&user.groups.iter().cloned().collect()));
    }
    if own_group {
        add("--gid", name);
    }
    if user.system {
        add("--home-dir", "/nonexistent");
    }
    let mut flag = |flag: &str| words.push(flag.to_owned());
    if !own_group {
        flag("--user-group");
    }
    if user.system {
        flag("--system");
        flag("--no-create-home");
    } else {
        flag("--create-home");
    }
    flag("--");
    flag(name);
    change(paths, "useradd", words)
}

/// Changes an account as planned, in one call.
///
/// # Errors
/// [`ProgramError`].
pub fn change_user(paths: &Paths, name: &str, step: &Step) -> Result<(), ProgramError> {
    let mut words: Vec<String> = Vec::new();
    let mut add = |option: &str, value: &str| words.extend([option.to_owned(), value.to_owned()]);
    if let Some(shell) = &step.shell {
        add("--shell", shell);
    }
    if let Some(comment) = &step.comment {
        add("--comment", comment);
    }
    if let Some(groups) = &step.groups {
        add("--groups", &list(groups));
    }
    if step.lock {
        add("--expiredate", LOCKED_SINCE);
    } else if step.unexpire {
        add("--expiredate", "");
    }
    if step.lock {
        words.push("--lock".to_owned());
    } else if step.unlock {
        words.push("--unlock".to_owned());
    }
    if words.is_empty() {
        return Ok(());
    }
    words.extend(["--".to_owned(), name.to_owned()]);
    change(paths, "usermod", words)
}
