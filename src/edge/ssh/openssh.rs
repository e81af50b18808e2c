//! SSH by the system's `ssh`: everything that its configuration can, and what it asks it asks at the terminal itself.

use std::io::{self, Write as _};
use std::process::Command;

use secrecy::ExposeSecret as _;
use tempfile::NamedTempFile;

use super::child::{self, Running};
use super::{Channel, Destination, End, Exit, Remote, RemoteCommand, Settings, SshError};

/// A host, reached with the program `ssh` (OpenSSH 7.6 or later). Every command has a connection of its own.
#[derive(Debug)]
pub struct OpenSsh {
    destination: Destination,
    settings: Settings,
}

/// ssh's own failures.
const FAILED: i32 = 255;

impl OpenSsh {
    pub fn new(destination: Destination, settings: Settings) -> Self {
        Self {
            destination,
            settings,
        }
    }

    fn arguments(&self, pinned: Option<&NamedTempFile>) -> Vec<String> {
        let mut arguments: Vec<String> = ["-T", "-x", "-a", "-e", "none"].map(str::to_owned).into();
        let mut option = |text: String| arguments.extend(["-o".to_owned(), text]);
        for text in [
            "ClearAllForwardings=yes",
            "PermitLocalCommand=no",
            "RemoteCommand=none",
            // The connection that confirms must be a new one.
            "ControlMaster=no",
            "ControlPath=none",
            "ServerAliveInterval=15",
            "ServerAliveCountMax=4",
            "LogLevel=ERROR",
        ] {
            option(text.to_owned());
        }
        option(format!(
            "ConnectTimeout={}",
            self.settings.connect_timeout.as_secs().max(1)
        ));
        if let Some(file) = pinned {
            for text in [
                format!("UserKnownHostsFile={}", file.path().display()),
                "GlobalKnownHostsFile=/dev/null".to_owned(),
                format!("HostKeyAlias={PINNED}"),
                "StrictHostKeyChecking=yes".to_owned(),
                "UpdateHostKeys=no".to_owned(),
            ] {
                option(text);
            }
        } else {
            if let Some(file) = &self.settings.known_hosts {
                option(format!("UserKnownHostsFile={}", file.display()));
            }
            if self.settings.accept_new_host_key {
                option("StrictHostKeyChecking=accept-new".to_owned());
            }
        }
        if let Some(file) = &self.settings.config {
            arguments.extend(["-F".to_owned(), file.display().to_string()]);
        }
        for file in &self.settings.identity {
            arguments.extend(["-i".to_owned(), file.display().to_string()]);
        }
        if let Some(port) = self.destination.port {
            arguments.extend(["-p".to_owned(), port.to_string()]);
        }
        if let Some(user) = &self.destination.user {
            arguments.extend(["-l".to_owned(), user.clone()]);
        }
        let address = self.destination.address.trim_matches(['[', ']']);
        arguments.extend(["--".to_owned(), address.to_owned()]);
        arguments
    }

    /// A file of known hosts with the pinned key alone.
    fn pinned(&self) -> Result<Option<NamedTempFile>, SshError> {
        let Some(key) = &self.destination.host_key else {
            return Ok(None);
        };
        let failed = |why: String| SshError::Pin {
            name: self.destination.name.clone(),
            why,
        };
        let mut words = key.split_ascii_whitespace();
        let (Some(kind), Some(data)) = (words.next(), words.next()) else {
            return Err(failed("it is no line of two words".to_owned()));
        };
        let write = || -> io::Result<NamedTempFile> {
            let mut file = NamedTempFile::new()?;
            writeln!(file, "{PINNED} {kind} {data}")?;
            file.flush()?;
            Ok(file)
        };
        write().map(Some).map_err(|error| failed(error.to_string()))
    }
}

/// The name of a pinned host in its own file.
const PINNED: &str = "forge-pinned";

impl Remote for OpenSsh {
    fn start(&self, command: &RemoteCommand) -> Result<Channel, SshError> {
        let pinned = self.pinned()?;
        let mut ssh = Command::new("ssh");
        ssh.args(self.arguments(pinned.as_ref()))
            .arg(command.text());
        let (reader, mut writer, child) =
            child::spawn(ssh, self.settings.step_timeout).map_err(SshError::Program)?;
        if let Some(password) = command.first_line() {
            let line = zeroize::Zeroizing::new(format!("{}\n", password.expose_secret()));
            writer
                .write_all(line.as_bytes())
                .map_err(|error| SshError::Lost {
                    place: self.describe(),
                    why: error.to_string(),
                })?;
        }
        Ok(Channel::new(
            reader,
            writer,
            Ending {
                child,
                place: self.describe(),
                _pinned: pinned,
            },
        ))
    }

    fn hang_up(&self) {}

    fn describe(&self) -> String {
        let mut text = self.destination.address.clone();
        if let Some(user) = &self.destination.user {
            text = format!("{user}@{text}");
        }
        if let Some(port) = self.destination.port {
            text = format!("{text}:{port}");
        }
        text
    }
}

struct Ending {
    child: Running,
    place: String,
    _pinned: Option<NamedTempFile>,
}

impl End for Ending {
    fn wait(self: Box<Self>) -> Result<Exit, SshError> {
        let exit = self.child.wait(&self.place)?;
        if exit.code == FAILED {
            return Err(SshError::OpenSsh {
                place: self.place,
                text: exit.stderr,
            });
        }
        Ok(exit)
    }
}
