//! `iptables` and `ip6tables` (1.8 or newer, of either kind: what `update-alternatives` has chosen), and the script by which UFW (0.36 or
//! newer) starts and stops.
//!
//! Never `ufw enable`, `ufw reload` or `ufw disable`: the first two write files of their own, and a reload leaves the host open while it works.

use std::time::Duration;

use super::answers::Answers;
use super::paths::Paths;
use crate::edge::program::{self, Call, ProgramError, run};

/// However long another program may hold the lock of the tables, and the kernel take.
const LIMIT: Duration = Duration::from_secs(30);
/// UFW starts some dozens of programs.
const START: Duration = Duration::from_secs(120);
/// For the lock of the tables, in seconds.
const WAIT: [&str; 2] = ["-w", "10"];

/// IPv4 or IPv6: two tables, two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub fn program(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }

    fn restore(self) -> &'static str {
        match self {
            Self::V4 => "iptables-restore",
            Self::V6 => "ip6tables-restore",
        }
    }

    /// Loads rules into an empty table and prints them, as the kernel understands them.
    fn canonical(self) -> &'static str {
        match self {
            Self::V4 => "iptables-restore && iptables -S",
            Self::V6 => "ip6tables-restore && ip6tables -S",
        }
    }
}

fn installed(program: &str, said: Option<String>) -> Result<String, ProgramError> {
    said.ok_or_else(|| ProgramError::Run {
        command: program.to_owned(),
        source: std::io::ErrorKind::NotFound.into(),
    })
}

fn iptables(family: Family, arguments: &[&str]) -> Result<String, ProgramError> {
    let program = family.program();
    let arguments = [&WAIT[..], arguments].concat();
    installed(program, run(program, &arguments, LIMIT)?)
}

/// The rules of the table `filter` in the running kernel, as `iptables -S` prints them. Nothing if the program is not installed, or the
/// kernel has no IPv6.
///
/// # Errors
/// [`ProgramError`].
pub fn rules(family: Family) -> Result<Option<String>, ProgramError> {
    let arguments = [&WAIT[..], &["-S"]].concat();
    match run(family.program(), &arguments, LIMIT) {
        Err(ProgramError::Failed { .. }) if family == Family::V6 => Ok(None),
        other => other,
    }
}

/// The same rules as [`rules`] would print them if they were loaded: they are, into a network namespace that is gone then, once for
/// each text.
///
/// # Errors
/// [`ProgramError`], also if a line is wrong.
pub fn canonical(paths: &Paths, family: Family, rules: &str) -> Result<String, ProgramError> {
    let ask = || {
        let arguments = ["--net", "sh", "-c", family.canonical()];
        installed("unshare", fed("unshare", &arguments, rules)?)
    };
    let path = program::search_path();
    let find = |name| program::find(&path, name);
    match (find(family.restore()), find(family.program())) {
        (Some(restore), Some(print)) => {
            let question = [family.canonical(), rules];
            Answers::of(paths).answer(&[&restore, &print], &question, ask)
        }
        _ => ask(),
    }
}

/// Runs a program that reads rules. One that ends early says itself why it did not read them all.
fn fed(program: &str, arguments: &[&str], rules: &str) -> Result<Option<String>, ProgramError> {
    Call::new(program, arguments, LIMIT).feed(|to| {
        let _ = to.write_all(rules.as_bytes());
    })
}

/// Replaces the chains that the text declares, at once, and touches no others. A text with a bad line changes nothing.
///
/// # Errors
/// [`ProgramError`]; then the old rules are there.
pub fn restore(family: Family, rules: &str) -> Result<(), ProgramError> {
    test(family, rules)?;
    let arguments = [&["-n"][..], &WAIT].concat();
    let program = family.restore();
    installed(program, fed(program, &arguments, rules)?).map(|_| ())
}

/// Reads a text as [`restore`] does, and changes nothing.
///
/// # Errors
/// [`ProgramError`] if a line is wrong.
pub fn test(family: Family, rules: &str) -> Result<(), ProgramError> {
    let arguments = [&["-n", "--test"][..], &WAIT].concat();
    let program = family.restore();
    installed(program, fed(program, &arguments, rules)?).map(|_| ())
}

/// Puts a jump before everything else in a chain.
///
/// # Errors
/// [`ProgramError`].
pub fn insert_jump(family: Family, from: &str, to: &str) -> Result<(), ProgramError> {
    iptables(family, &["-I", from, "1", "-j", to]).map(|_| ())
}

/// Puts a rule that accepts everything of an interface behind the others of a chain.
///
/// # Errors
/// [`ProgramError`].
pub fn accept_loopback(family: Family, chain: &str, direction: &str) -> Result<(), ProgramError> {
    iptables(family, &["-A", chain, direction, "lo", "-j", "ACCEPT"]).map(|_| ())
}

/// Removes one jump.
///
/// # Errors
/// [`ProgramError`], also if there is none.
pub fn delete_jump(family: Family, from: &str, to: &str) -> Result<(), ProgramError> {
    iptables(family, &["-D", from, "-j", to]).map(|_| ())
}

/// Empties a chain that nothing jumps to any more, and removes it.
///
/// # Errors
/// [`ProgramError`].
pub fn delete_chain(family: Family, chain: &str) -> Result<(), ProgramError> {
    iptables(family, &["-F", chain])?;
    iptables(family, &["-X", chain]).map(|_| ())
}

/// What `ufw-init` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ufw {
    /// Loads everything, as at boot; does nothing if it is active already, or not enabled in `ufw.conf`.
    Start,
    /// Empties its chains and opens the host.
    ForceStop,
}

/// Runs UFW's own script for boot. False if UFW is not installed.
///
/// # Errors
/// [`ProgramError`].
pub fn ufw_init(paths: &Paths, verb: Ufw) -> Result<bool, ProgramError> {
    let program = paths.at("/lib/ufw/ufw-init").display().to_string();
    let root = paths.at("/").display().to_string();
    let mut arguments = Vec::new();
    if !paths.is_real() {
        arguments.extend(["--rootdir", &root, "--datadir", &root]);
    }
    arguments.push(match verb {
        Ufw::Start => "start",
        Ufw::ForceStop => "force-stop",
    });
    Ok(run(&program, &arguments, START)?.is_some())
}

/// True if systemd starts UFW at boot.
///
/// # Errors
/// [`ProgramError`] if systemd cannot be asked.
pub fn ufw_is_enabled() -> Result<bool, ProgramError> {
    match run("systemctl", &["is-enabled", "ufw.service"], LIMIT) {
        Ok(said) => Ok(said.is_some_and(|said| said.trim() == "enabled")),
        // It says `disabled` with an exit code.
        Err(ProgramError::Failed { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lets systemd start UFW at boot, and know that it is started.
///
/// # Errors
/// [`ProgramError`].
pub fn enable_ufw() -> Result<(), ProgramError> {
    for verb in ["enable", "start"] {
        installed(
            "systemctl",
            run("systemctl", &[verb, "ufw.service"], START)?,
        )?;
    }
    Ok(())
}
