//! Becoming root on a host.

use std::fmt;
use std::sync::Mutex;

use secrecy::SecretString;

use crate::edge::ssh::{Exit, Remote, RemoteCommand, Sudo};
use crate::edge::terminal::{Prompt, PromptError};

use super::ConnectError;

/// How to become root on a host; remembers the password that a person gave, for as long as it lives.
pub struct BecomeRoot {
    prompt: Mutex<Box<dyn Prompt + Send>>,
    password: Mutex<Option<SecretString>>,
}

impl fmt::Debug for BecomeRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BecomeRoot")
    }
}

/// A password may be mistyped so often.
const TRIES: usize = 3;

impl BecomeRoot {
    pub fn new(prompt: impl Prompt + Send + 'static) -> Self {
        Self {
            prompt: Mutex::new(Box::new(prompt)),
            password: Mutex::default(),
        }
    }

    pub(super) fn way(&self) -> Sudo {
        let password = self.password.lock().ok().and_then(|known| known.clone());
        password.map_or(Sudo::Quiet, Sudo::Password)
    }

    /// Asks for the password, and tries it.
    pub(super) fn ask(&self, remote: &dyn Remote) -> Result<(), ConnectError> {
        let place = remote.describe();
        let question = format!("Password for sudo on {place}");
        for _ in 0..TRIES {
            let asked = match self.prompt.lock() {
                Ok(mut prompt) => prompt.hidden(&question),
                Err(_) => Err(PromptError::NoAnswer),
            };
            let password = asked.map_err(|source| ConnectError::SudoPassword {
                place: place.clone(),
                source,
            })?;
            let exit = remote
                .start(&RemoteCommand::nothing(Sudo::Password(password.clone())))?
                .finish()?;
            if exit.code == 0 {
                if let Ok(mut known) = self.password.lock() {
                    *known = Some(password);
                }
                return Ok(());
            }
            if let Some(error) = refused_by_sudo(&place, &exit) {
                return Err(error);
            }
        }
        Err(ConnectError::SudoWrong { place })
    }
}

pub(super) fn wants_password(exit: &Exit) -> bool {
    exit.code == 1
        && [
            "sudo: a password is required",
            "sudo: interactive authentication is required",
            "incorrect password attempt",
        ]
        .iter()
        .any(|text| exit.stderr.contains(text))
}

pub(super) fn refused_by_sudo(place: &str, exit: &Exit) -> Option<ConnectError> {
    let place = place.to_owned();
    let line_with = |words: &[&str]| {
        exit.stderr
            .lines()
            .find(|line| words.iter().any(|word| line.contains(word)))
    };
    if exit.code == 127 && line_with(&["sudo: not found", "sudo: command not found"]).is_some() {
        return Some(ConnectError::NoSudo { place });
    }
    let said = line_with(&[
        "is not in the sudoers file",
        "is not allowed to",
        "may not run sudo",
        "you must have a tty",
        "unknown user",
        "I'm sorry",
    ])?;
    Some(ConnectError::SudoRefuses {
        place,
        said: said.trim().to_owned(),
    })
}
