//! SSH from the laptop: one command on a host, with its standard input and output as a stream of bytes.
//!
//! Two implementations of [`Remote`] that say the same: [`Native`] speaks SSH itself, [`OpenSsh`] runs the system's `ssh`, for those whose
//! configuration or hardware keys need it. Both are blocking; that the first one is asynchronous within is its own business.

mod ask;
mod auth;
mod child;
mod command;
mod config;
mod error;
mod known_hosts;
mod local;
mod native;
mod openssh;
mod program;
mod stream;

use std::fmt;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

pub use ask::NewHost;
pub use ask::{Ask, NoAsk, ScriptedAsk, TerminalAsk};
pub use command::{NO_AGENT, RemoteCommand, Sudo};
pub use error::SshError;
pub use local::local;
pub use native::Native;
pub use openssh::OpenSsh;
pub use program::{AgentError, AgentProgram, Agents, arch_of_machine};

/// A host as the host file tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The name of the host file.
    pub name: String,
    /// A name or an address, looked up in the configuration of SSH as `ssh ADDRESS` would.
    pub address: String,
    /// Wins over the configuration.
    pub port: Option<u16>,
    /// Wins over the configuration.
    pub user: Option<String>,
    /// The one host key to accept, as in a `.pub` file.
    pub host_key: Option<String>,
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Take the key of a host that is not known yet without asking.
    pub accept_new_host_key: bool,
    /// Instead of `~/.ssh/config`. An empty file means no configuration.
    pub config: Option<PathBuf>,
    /// Instead of the files that the configuration names, or the usual ones.
    pub known_hosts: Option<PathBuf>,
    /// Key files, before those of the configuration.
    pub identity: Vec<PathBuf>,
    /// For the TCP connection.
    pub connect_timeout: Duration,
    /// For each step after it: key exchange, each attempt at authentication, opening the channel, the first byte.
    pub step_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            accept_new_host_key: false,
            config: None,
            known_hosts: None,
            identity: Vec::new(),
            connect_timeout: Duration::from_secs(15),
            step_timeout: Duration::from_secs(30),
        }
    }
}

/// The port: runs commands on one host.
pub trait Remote: fmt::Debug + Send + Sync {
    /// Starts a command. Connections may be shared between commands until [`Remote::hang_up`].
    ///
    /// # Errors
    /// [`SshError`]; that the command itself fails is told by [`Channel::finish`].
    fn start(&self, command: &RemoteCommand) -> Result<Channel, SshError>;

    /// The next command gets a new connection. What runs goes on.
    fn hang_up(&self);

    /// The host, as a person would name it: `deploy@203.0.113.10:22`.
    fn describe(&self) -> String;
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// As in a shell: 128 and more for signals.
    pub code: i32,
    /// The end of what it said.
    pub stderr: String,
}

/// What ends a channel; behind [`Channel::finish`].
pub(crate) trait End: Send {
    fn wait(self: Box<Self>) -> Result<Exit, SshError>;
}

/// How a command will have ended.
pub struct Ending(Box<dyn End>);

impl Ending {
    /// Waits for the end, not for long: to be called when the reader has ended.
    ///
    /// # Errors
    /// As [`Channel::finish`].
    pub fn wait(self) -> Result<Exit, SshError> {
        self.0.wait()
    }
}

impl fmt::Debug for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ending")
    }
}

/// A command that runs. Dropping it closes its standard input.
pub struct Channel {
    pub reader: Box<dyn Read + Send>,
    pub writer: Box<dyn Write + Send>,
    end: Box<dyn End>,
}

impl Channel {
    pub(crate) fn new(
        reader: impl Read + Send + 'static,
        writer: impl Write + Send + 'static,
        end: impl End + 'static,
    ) -> Self {
        Self {
            reader: Box::new(reader),
            writer: Box::new(writer),
            end: Box::new(end),
        }
    }

    /// Closes the standard input, lets what the command still writes pass by, and waits for its end.
    ///
    /// # Errors
    /// [`SshError::Lost`] if the connection ended before the command did; what the command never says in time.
    pub fn finish(self) -> Result<Exit, SshError> {
        let (mut reader, writer, ending) = self.into_parts();
        drop(writer);
        // If it breaks, the end tells so.
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
        ending.wait()
    }

    /// The streams, and the end to wait for when the writer is dropped.
    pub fn into_parts(self) -> (Box<dyn Read + Send>, Box<dyn Write + Send>, Ending) {
        (self.reader, self.writer, Ending(self.end))
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Channel")
    }
}
