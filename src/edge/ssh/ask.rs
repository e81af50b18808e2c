//! Asking a person whether a host is the one they mean.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::sync::Mutex;

/// A host whose key nobody knows yet.
#[derive(Clone, Copy, Debug)]
pub struct NewHost<'a> {
    /// As `known_hosts` has it.
    pub place: &'a str,
    /// As in `ssh-ed25519`.
    pub algorithm: &'a str,
    /// As in `SHA256:…`.
    pub fingerprint: &'a str,
}

/// The port: is this the host? None if there is nobody to ask.
pub trait Ask: fmt::Debug + Send + Sync {
    fn is_it(&self, host: NewHost<'_>) -> Option<bool>;
}

/// The terminal of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct TerminalAsk;

impl Ask for TerminalAsk {
    fn is_it(&self, host: NewHost<'_>) -> Option<bool> {
        let terminal = File::options()
            .read(true)
            .write(true)
            .open("/dev/tty")
            .ok()?;
        let mut output = terminal.try_clone().ok()?;
        let mut input = BufReader::new(terminal);
        write!(
            output,
            "The host {} is not known yet.\nIts key is {} {}\nCompare it with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` prints on the host. Is it the same? [yes/no] ",
            host.place, host.algorithm, host.fingerprint
        )
        .ok()?;
        loop {
            output.flush().ok()?;
            let mut answer = String::new();
            if input.read_line(&mut answer).ok()? == 0 {
                return None;
            }
            match answer.trim() {
                "yes" => return Some(true),
                "no" => return Some(false),
                // As ssh does: the fingerprint itself is the best answer.
                text if text == host.fingerprint => return Some(true),
                _ => write!(output, "Please answer `yes` or `no`: ").ok()?,
            }
        }
    }
}

/// Nobody to ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAsk;

impl Ask for NoAsk {
    fn is_it(&self, _: NewHost<'_>) -> Option<bool> {
        None
    }
}

/// The double: always the same answer, and what was asked.
#[derive(Debug)]
pub struct ScriptedAsk {
    answer: bool,
    asked: Mutex<Vec<String>>,
}

impl ScriptedAsk {
    pub fn new(answer: bool) -> Self {
        Self {
            answer,
            asked: Mutex::default(),
        }
    }

    /// Place and fingerprint of each host that was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked
            .lock()
            .map(|asked| asked.clone())
            .unwrap_or_default()
    }
}

impl Ask for ScriptedAsk {
    fn is_it(&self, host: NewHost<'_>) -> Option<bool> {
        if let Ok(mut asked) = self.asked.lock() {
            asked.push(format!("{} {}", host.place, host.fingerprint));
        }
        Some(self.answer)
    }
}

impl<A: Ask + ?Sized> Ask for std::sync::Arc<A> {
    fn is_it(&self, host: NewHost<'_>) -> Option<bool> {
        (**self).is_it(host)
    }
}
