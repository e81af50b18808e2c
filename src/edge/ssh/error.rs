//! What can go wrong between the laptop and a command on a host.

use std::path::PathBuf;
use std::time::Duration;

/// Why a host cannot be talked to. What to do about it is [`SshError::hint`].
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    #[error("{}: {why}", path.display())]
    Config { path: PathBuf, why: String },
    #[error("{}: {what} is not followed by forge's own SSH", path.display())]
    NotFollowed { path: PathBuf, what: String },
    #[error("cannot find the address of {host}: {why}")]
    Resolve { host: String, why: String },
    #[error("{place} refuses the connection")]
    Refused { place: String },
    #[error("cannot connect to {place}: {why}")]
    Connect { place: String, why: String },
    #[error("{place}: {step} took longer than {} s", limit.as_secs_f32())]
    TooLong {
        place: String,
        /// As in `the key exchange`.
        step: &'static str,
        limit: Duration,
    },
    #[error("{place}: {step} failed: {why}")]
    Protocol {
        place: String,
        step: &'static str,
        why: String,
    },
    #[error("the pinned host key of {name} is no public key: {why}")]
    Pin { name: String, why: String },
    #[error("{place} shows another key than the pinned one\n  pinned: {pinned}\n  shown:  {shown}")]
    NotPinned {
        place: String,
        pinned: String,
        shown: String,
    },
    #[error("{place} is not known: its key is {algorithm} {fingerprint}")]
    Unknown {
        place: String,
        algorithm: String,
        fingerprint: String,
        /// A person said no; nobody could be asked if false.
        asked: bool,
    },
    #[error(
        "{place} shows another key than before\n  known: {known} ({}:{line})\n  shown: {shown}", file.display()
    )]
    Changed {
        place: String,
        known: String,
        file: PathBuf,
        line: usize,
        shown: String,
    },
    #[error("{place} shows a key that is revoked: {shown} ({}:{line})", file.display())]
    Revoked {
        place: String,
        shown: String,
        file: PathBuf,
        line: usize,
    },
    #[error("{place} is known by a certificate authority ({}:{line})", file.display())]
    Authority {
        place: String,
        file: PathBuf,
        line: usize,
    },
    #[error("cannot keep the key of {place} in {}: {why}", file.display())]
    Keep {
        place: String,
        file: PathBuf,
        why: String,
    },
    #[error(
        "{place} lets nobody in as {user}; tried: {}{}",
        list(tried),
        offers(methods)
    )]
    Auth {
        place: String,
        user: String,
        /// Each key, and why it was of no use if forge knows.
        tried: Vec<String>,
        /// The methods that the host would have taken.
        methods: Vec<String>,
    },
    #[error("cannot run ssh: {0}")]
    Program(std::io::Error),
    #[error("ssh to {place} failed{}", said(text))]
    OpenSsh { place: String, text: String },
    #[error("the connection to {place} was lost{}", said(why))]
    Lost { place: String, why: String },
}

fn list(tried: &[String]) -> String {
    if tried.is_empty() {
        "nothing, there is no key to try".to_owned()
    } else {
        tried.join(", ")
    }
}

fn offers(methods: &[String]) -> String {
    if methods.is_empty() {
        String::new()
    } else {
        format!("; the host takes: {}", methods.join(", "))
    }
}

fn said(text: &str) -> String {
    match text.trim() {
        "" => String::new(),
        text => format!(": {}", text.replace('\n', "\n  ")),
    }
}

impl SshError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Config { .. } => {
                "mend the file, or use `--ssh openssh`, which leaves it to the system's ssh".to_owned()
            }
            Self::NotFollowed { .. } => "use `--ssh openssh`".to_owned(),
            Self::Resolve { .. } => "check `address` in the host file".to_owned(),
            Self::Refused { .. } => {
                "check `address` and `port` in the host file, and that sshd runs there".to_owned()
            }
            Self::Connect { .. } | Self::TooLong { .. } => {
                "check `address` and `port` in the host file, and whether a firewall is in between".to_owned()
            }
            Self::Protocol { .. } => {
                "try `--ssh openssh`; `journalctl -u ssh` on the host may tell more".to_owned()
            }
            Self::Pin { .. } => {
                "`host_key` is the host's public key: `cat /etc/ssh/ssh_host_ed25519_key.pub` there"
                    .to_owned()
            }
            Self::NotPinned { .. } => "if the host was made anew, put its new key into `host_key` in the host file; if not, somebody may be in between".to_owned(),
            Self::Unknown { asked: true, .. } => {
                "compare it with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host".to_owned()
            }
            Self::Unknown { asked: false, .. } => "use `--accept-new-host-key`, or put the host's key into `host_key` in the host file".to_owned(),
            Self::Changed { place, file, .. } => format!(
                "if the host was made anew, forget the old key: `ssh-keygen -R '{place}' -f {}`; if not, somebody may be in between",
                file.display()
            ),
            Self::Revoked { .. } => {
                "give the host a new key; this one is known to be in wrong hands".to_owned()
            }
            Self::Authority { .. } => {
                "host certificates are not followed by forge's own SSH: use `--ssh openssh`, or pin the key with `host_key`".to_owned()
            }
            Self::Keep { .. } => "make the file writable, or pin the key with `host_key`".to_owned(),
            Self::Auth { methods, tried, .. } => {
                if !methods.is_empty() && !methods.iter().any(|method| method == "publickey") {
                    "forge logs in with keys alone: allow them on the host, or use `--ssh openssh`".to_owned()
                } else if tried.is_empty() {
                    "name a key with `--identity`, or start an agent and `ssh-add` one".to_owned()
                } else {
                    "check `user` in the host file, and that one of these keys is in `~/.ssh/authorized_keys` of that user".to_owned()
                }
            }
            Self::Program(_) => "install the OpenSSH client, or use `--ssh russh`".to_owned(),
            Self::OpenSsh { text, .. } => {
                if text.contains("Permission denied") {
                    "check `user` in the host file, and `ssh -v` with the same address".to_owned()
                } else if text.contains("IDENTIFICATION HAS CHANGED")
                    || text.contains("Host key verification failed")
                {
                    "connect once with `ssh` and compare the key, or pin it with `host_key` in the host file".to_owned()
                } else {
                    "check `address` and `port` in the host file, and `ssh -v` with the same address"
                        .to_owned()
                }
            }
            Self::Lost { .. } => return None,
        })
    }
}
