//! Why a conversation with an agent cannot begin, or ended.

use crate::edge::ssh::{AgentError, SshError};
use crate::edge::terminal::PromptError;
use crate::pure::protocol::VERSION;

/// Why there is no conversation, or no more.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Ssh(#[from] SshError),
    #[error(transparent)]
    Agent(#[from] AgentError),
    #[error("{place}: sudo wants a password, and {source}")]
    SudoPassword { place: String, source: PromptError },
    #[error("{place}: sudo does not take the password")]
    SudoWrong { place: String },
    #[error("{place}: sudo refuses: {said}")]
    SudoRefuses { place: String, said: String },
    #[error("{place}: who logs in is not root, and there is no sudo")]
    NoSudo { place: String },
    #[error("{place}: the host is a {machine}, which forge has no program for")]
    Machine { place: String, machine: String },
    #[error("{place}: the agent cannot be installed (code {code}): {said}")]
    Install {
        place: String,
        code: i32,
        said: String,
    },
    #[error("{place}: the agent did not answer in time")]
    NoAnswer { place: String },
    #[error("{place}: the agent ended with code {code}{}", tail(.said))]
    Crashed {
        place: String,
        code: i32,
        said: String,
    },
    #[error("{place}: {why}")]
    Frame { place: String, why: String },
    #[error(
        "{place}: the agent speaks version {theirs} of the protocol (forge {forge}), and this forge version {VERSION}"
    )]
    Version {
        place: String,
        theirs: u32,
        forge: String,
    },
    /// The connection, not the agent: what the host does goes on there.
    #[error("the connection to {place} was lost{}", tail(.why))]
    Lost { place: String, why: String },
}

fn tail(text: &str) -> String {
    match text.trim() {
        "" => String::new(),
        text => format!(":\n  {}", text.replace('\n', "\n  ")),
    }
}

impl ConnectError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Ssh(error) => return error.hint(),
            Self::Agent(error) => return Some(error.hint()),
            Self::SudoPassword { .. } => {
                "run forge in a terminal, log in as root, or let the user become root without one (`NOPASSWD`)"
            }
            Self::SudoWrong { .. } => "it is the password of the user on the host",
            Self::SudoRefuses { .. } => {
                "log in as root or as a user that may run all commands with sudo (`user` in the host file)"
            }
            Self::NoSudo { .. } => "log in as root (`user` in the host file), or install sudo",
            Self::Machine { .. } => "forge runs on amd64 and arm64",
            Self::Install { .. } => "see that `/var/lib/forge` can be written to and has space",
            Self::NoAnswer { .. } => "try again; `journalctl` on the host may tell more",
            Self::Crashed { .. } => "see `journalctl` on the host",
            Self::Frame { .. } => {
                "nothing may print when somebody logs in without a terminal: look into the shell's start files on the host"
            }
            Self::Version { .. } => "use the same forge on both sides",
            Self::Lost { .. } => return None,
        };
        Some(text.to_owned())
    }
}
