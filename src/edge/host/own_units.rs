//! forge's own units: those that a host keeps, for its boot, and the transient ones of an activation. systemd 249 or newer.
//!
//! Kept: `forge-secrets.service` and `forge-recover.service`. Transient: `forge-activation.service`, so that a lost connection does
//! not end an activation; `forge-deadline.timer`, so that its death does not either go unnoticed; `forge-recovery.service`,
//! for a way back that another program than the running one goes.

use std::fmt::Debug;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use super::paths::Paths;
use crate::edge::disk::{DiskError, Folder};
use crate::edge::program::{self, ProgramError};

pub const ACTIVATION: &str = "forge-activation.service";
pub const RECOVERY: &str = "forge-recovery.service";
pub const DEADLINE: &str = "forge-deadline";
pub const CONFIRMATION: &str = "forge-confirmation";

const SECRETS_UNIT: &str = "forge-secrets.service";
const RECOVER_UNIT: &str = "forge-recover.service";

const UNITS: &str = "/etc/systemd/system";

/// Before Docker, because containers mount what it writes. After sshd's key, because that decrypts.
const SECRETS_TEXT: &str = "\
# Written by forge.
[Unit]
Description=Secrets of forge, on tmpfs
After=local-fs.target sshd-keygen.service
Before=docker.service containerd.service forge-recover.service
RequiresMountsFor=/var/lib/forge
ConditionPathExists=/var/lib/forge/current

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/var/lib/forge/current/agent/forge agent secrets

[Install]
WantedBy=multi-user.target docker.service
";

/// `exec` and no `oneshot`: recovery starts other units, and one of them may have to wait for the boot to be over, which would
/// wait for recovery.
const RECOVER_TEXT: &str = "\
# Written by forge.
[Unit]
Description=Return of forge to the current generation after an activation that a reboot has cut short
After=local-fs.target network.target docker.service forge-secrets.service
RequiresMountsFor=/var/lib/forge
ConditionPathExists=/var/lib/forge/journal.json

[Service]
Type=exec
ExecStart=/var/lib/forge/current/agent/forge agent recover --boot
TimeoutStartSec=infinity
TimeoutStopSec=60

[Install]
WantedBy=multi-user.target
";

/// Unit, text, and the units that want it.
const KEPT: [(&str, &str, &[&str]); 2] = [
    (
        SECRETS_UNIT,
        SECRETS_TEXT,
        &["multi-user.target", "docker.service"],
    ),
    (RECOVER_UNIT, RECOVER_TEXT, &["multi-user.target"]),
];

/// As long as systemd may take to answer.
const SHORT: Duration = Duration::from_secs(60);
/// As long as a unit may take to stop: its own `TimeoutStopSec`, and then it is killed.
const STOP: Duration = Duration::from_secs(150);

/// Why units cannot be asked or changed.
#[derive(Debug, thiserror::Error)]
pub enum UnitsError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("there is no `{0}` on this host: forge needs systemd 249 or newer")]
    NoSystemd(&'static str),
}

/// Who runs an activation and watches its deadline: systemd, or a double in tests.
pub trait Supervisor: Debug + Send + Sync {
    /// Puts the units in place that a host keeps. Durable when it has returned; what is as it must be is not written.
    ///
    /// # Errors
    /// [`UnitsError`].
    fn install(&self) -> Result<(), UnitsError>;

    /// Takes those units out again: forge leaves the host.
    ///
    /// # Errors
    /// [`UnitsError`].
    fn uninstall(&self) -> Result<(), UnitsError>;

    /// Runs `PROGRAM agent activate` apart from this process.
    ///
    /// # Errors
    /// [`UnitsError`], also if one runs.
    fn start_activation(&self, program: &Path) -> Result<(), UnitsError>;

    /// True while an activation or a way back that was started so runs.
    ///
    /// # Errors
    /// [`UnitsError`].
    fn runs(&self) -> Result<bool, UnitsError>;

    /// Stops the activation, and waits until it is gone.
    ///
    /// # Errors
    /// [`UnitsError`].
    fn stop_activation(&self) -> Result<(), UnitsError>;

    /// Runs `PROGRAM agent recover` apart from this process.
    ///
    /// # Errors
    /// [`UnitsError`].
    fn start_recovery(&self, program: &Path) -> Result<(), UnitsError>;

    /// Lets `PROGRAM agent recover` run after this time, unless it is disarmed. What was armed before is disarmed.
    ///
    /// # Errors
    /// [`UnitsError`]; then nothing is armed.
    fn arm_deadline(&self, program: &Path, after: Duration) -> Result<(), UnitsError>;

    /// As [`Self::arm_deadline`], beside what is armed already: the time within which what has been activated must be confirmed.
    ///
    /// # Errors
    /// [`UnitsError`].
    fn arm_confirmation(&self, program: &Path, after: Duration) -> Result<(), UnitsError>;

    /// Disarms both; a recovery that it has already begun goes on.
    ///
    /// # Errors
    /// [`UnitsError`].
    fn disarm(&self) -> Result<(), UnitsError>;
}

/// systemd of this machine.
#[derive(Clone, Debug)]
pub struct Systemd {
    paths: Paths,
}

impl Systemd {
    pub fn new(paths: &Paths) -> Self {
        Self {
            paths: paths.clone(),
        }
    }

    /// True if the unit has processes, by its control group (version 2): then nobody need be asked whether it runs.
    fn has_processes(&self, unit: &str) -> bool {
        let group = self.paths.at("/sys/fs/cgroup/system.slice").join(unit);
        std::fs::read_to_string(group.join("cgroup.events"))
            .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
    }

    fn reload(&self) -> Result<(), UnitsError> {
        if self.paths.is_real() {
            call("systemctl", &["daemon-reload"], SHORT)?;
        }
        Ok(())
    }
}

fn call(program: &'static str, arguments: &[&str], limit: Duration) -> Result<String, UnitsError> {
    program::run(program, arguments, limit)?.ok_or(UnitsError::NoSystemd(program))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// The arguments of `systemd-run` for a program that runs apart.
fn transient(unit: &str, description: &str, program: &Path, verb: &str) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--quiet",
        "--collect",
        "--property=Type=exec",
        "--property=TimeoutStopSec=60",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.push(format!("--unit={unit}"));
    arguments.push(format!("--description={description}"));
    arguments.extend(["--".to_owned(), text(program)]);
    arguments.extend(["agent", verb].map(str::to_owned));
    arguments
}

/// The arguments of `systemd-run` for the deadline.
fn deadline(unit: &str, program: &Path, after: Duration) -> Vec<String> {
    // A deadline that is over would never come.
    let seconds = after.as_secs().max(1);
    vec![
        "--quiet".to_owned(),
        "--collect".to_owned(),
        format!("--unit={unit}"),
        "--description=The deadline of an activation of forge".to_owned(),
        format!("--on-active={seconds}s"),
        "--timer-property=AccuracySec=1s".to_owned(),
        "--timer-property=RemainAfterElapse=no".to_owned(),
        "--".to_owned(),
        text(program),
        "agent".to_owned(),
        "recover".to_owned(),
    ]
}

fn as_words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

impl Supervisor for Systemd {
    fn install(&self) -> Result<(), UnitsError> {
        let folder = Folder::create(&self.paths.at(UNITS))?;
        let mut changed = false;
        for (name, text, wanted_by) in KEPT {
            if folder.read_whole(name)?.as_deref() != Some(text.as_bytes()) {
                folder.replace(name, &folder, text.as_bytes())?;
                changed = true;
            }
            for target in wanted_by {
                let wants = folder.enter_or_create(&format!("{target}.wants"))?;
                let place = Path::new(UNITS).join(name);
                if wants.read_link(name)?.as_deref() != Some(&place) {
                    wants.set_link(name, &place)?;
                    wants.sync()?;
                    folder.sync()?;
                    changed = true;
                }
            }
        }
        if changed { self.reload() } else { Ok(()) }
    }

    fn uninstall(&self) -> Result<(), UnitsError> {
        let folder = Folder::create(&self.paths.at(UNITS))?;
        for (name, _, wanted_by) in KEPT {
            for target in wanted_by {
                if let Some(wants) = folder.enter(&format!("{target}.wants"))? {
                    wants.remove(name.as_ref())?;
                    wants.sync()?;
                }
            }
            folder.remove(name.as_ref())?;
        }
        folder.sync()?;
        self.reload()
    }

    fn start_activation(&self, program: &Path) -> Result<(), UnitsError> {
        let arguments = transient(ACTIVATION, "An activation of forge", program, "activate");
        call("systemd-run", &as_words(&arguments), SHORT).map(drop)
    }

    fn runs(&self) -> Result<bool, UnitsError> {
        let (deadline, confirmation) = (
            format!("{DEADLINE}.service"),
            format!("{CONFIRMATION}.service"),
        );
        let units = [ACTIVATION, RECOVERY, RECOVER_UNIT, &deadline, &confirmation];
        if units.iter().any(|unit| self.has_processes(unit)) {
            return Ok(true);
        }
        // It may be about to start, or to end.
        let arguments = ["show", "--property=ActiveState", "--value"];
        let states = call("systemctl", &[&arguments[..], &units].concat(), SHORT)?;
        Ok(states.lines().any(|state| {
            matches!(
                state,
                "active" | "activating" | "deactivating" | "reloading"
            )
        }))
    }

    fn stop_activation(&self) -> Result<(), UnitsError> {
        stop(ACTIVATION)
    }

    fn start_recovery(&self, program: &Path) -> Result<(), UnitsError> {
        let arguments = transient(
            RECOVERY,
            "The way back of an activation of forge",
            program,
            "recover",
        );
        call("systemd-run", &as_words(&arguments), SHORT).map(drop)
    }

    fn arm_deadline(&self, program: &Path, after: Duration) -> Result<(), UnitsError> {
        self.disarm()?;
        let arguments = deadline(DEADLINE, program, after);
        call("systemd-run", &as_words(&arguments), SHORT).map(drop)
    }

    fn arm_confirmation(&self, program: &Path, after: Duration) -> Result<(), UnitsError> {
        stop(&format!("{CONFIRMATION}.timer"))?;
        let arguments = deadline(CONFIRMATION, program, after);
        call("systemd-run", &as_words(&arguments), SHORT).map(drop)
    }

    fn disarm(&self) -> Result<(), UnitsError> {
        stop(&format!("{CONFIRMATION}.timer"))?;
        stop(&format!("{DEADLINE}.timer"))
    }
}

/// Stops a unit, and waits until it is gone; one that is not there is stopped.
fn stop(unit: &str) -> Result<(), UnitsError> {
    let arguments = ["show", "--property=LoadState", "--value", unit];
    if call("systemctl", &arguments, SHORT)?.trim() != "not-found" {
        call("systemctl", &["stop", unit], STOP)?;
    }
    Ok(())
}

/// The double: keeps what it is asked, and does none of it.
#[derive(Debug, Default)]
pub struct Recorded {
    calls: Mutex<Vec<String>>,
}

impl Recorded {
    /// `armed 60`, `disarmed`, `activation PROGRAM`, in order.
    pub fn calls(&self) -> Vec<String> {
        self.calls
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    fn keep(&self, call: String) -> Result<(), UnitsError> {
        self.calls
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(call);
        Ok(())
    }
}

impl Supervisor for Recorded {
    fn install(&self) -> Result<(), UnitsError> {
        self.keep("installed".to_owned())
    }

    fn uninstall(&self) -> Result<(), UnitsError> {
        self.keep("uninstalled".to_owned())
    }

    fn start_activation(&self, program: &Path) -> Result<(), UnitsError> {
        self.keep(format!("activation {}", program.display()))
    }

    fn runs(&self) -> Result<bool, UnitsError> {
        Ok(false)
    }

    fn stop_activation(&self) -> Result<(), UnitsError> {
        self.keep("stopped".to_owned())
    }

    fn start_recovery(&self, program: &Path) -> Result<(), UnitsError> {
        self.keep(format!("recovery {}", program.display()))
    }

    fn arm_deadline(&self, _: &Path, after: Duration) -> Result<(), UnitsError> {
        self.keep(format!("armed {}", after.as_secs()))
    }

    fn arm_confirmation(&self, _: &Path, after: Duration) -> Result<(), UnitsError> {
        self.keep(format!("to be confirmed within {}", after.as_secs()))
    }

    fn disarm(&self) -> Result<(), UnitsError> {
        self.keep("disarmed".to_owned())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn units_are_put_in_place_once_and_enabled() {
        let at = tempfile::tempdir().unwrap();
        let systemd = Systemd::new(&Paths::below(at.path()));
        systemd.install().unwrap();
        let folder = at.path().join("etc/systemd/system");
        let unit = folder.join(RECOVER_UNIT);
        let before = std::fs::metadata(&unit).unwrap();
        let link = folder.join("multi-user.target.wants").join(RECOVER_UNIT);
        assert_eq!(
            std::fs::read_link(link).unwrap(),
            Path::new("/etc/systemd/system/forge-recover.service")
        );
        systemd.install().unwrap();
        let inode = |metadata: &std::fs::Metadata| std::os::unix::fs::MetadataExt::ino(metadata);
        assert_eq!(inode(&before), inode(&std::fs::metadata(&unit).unwrap()));
        // What somebody has edited is put right.
        std::fs::write(&unit, "[Unit]\n").unwrap();
        systemd.install().unwrap();
        assert_eq!(std::fs::read_to_string(&unit).unwrap(), RECOVER_TEXT);
        systemd.uninstall().unwrap();
        assert!(!unit.exists());
        systemd.uninstall().unwrap();
    }

    #[test]
    fn a_unit_with_processes_runs_whatever_systemd_would_say() {
        let at = tempfile::tempdir().unwrap();
        let systemd = Systemd::new(&Paths::below(at.path()));
        let group = at.path().join("sys/fs/cgroup/system.slice").join(RECOVERY);
        std::fs::create_dir_all(&group).unwrap();
        let events = group.join("cgroup.events");
        assert!(!systemd.has_processes(RECOVERY));
        std::fs::write(&events, "populated 0\nfrozen 0\n").unwrap();
        assert!(!systemd.has_processes(RECOVERY));
        std::fs::write(&events, "populated 1\nfrozen 0\n").unwrap();
        assert!(systemd.has_processes(RECOVERY));
        assert!(systemd.runs().unwrap());
    }

    /// Whoever enables them with systemctl(1) gets the same links.
    #[test]
    fn a_unit_is_wanted_by_those_that_its_text_names() {
        for (name, text, wanted_by) in KEPT {
            let line = text.lines().find_map(|line| line.strip_prefix("WantedBy="));
            assert_eq!(line, Some(wanted_by.join(" ").as_str()), "{name}");
        }
    }

    #[test]
    fn a_program_is_an_argument_and_never_a_line_of_a_shell() {
        let program = Path::new("/var/lib/forge/bin/ab c/forge");
        let arguments = transient(ACTIVATION, "An activation", program, "activate");
        let end = &arguments[arguments.len() - 4..];
        assert_eq!(
            end,
            ["--", "/var/lib/forge/bin/ab c/forge", "agent", "activate"]
        );
        let arguments = deadline(DEADLINE, program, Duration::ZERO);
        assert!(
            arguments.contains(&"--on-active=1s".to_owned()),
            "{arguments:?}"
        );
    }
}
