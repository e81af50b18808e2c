//! What containers write, and programs that are run in them.

use std::fmt;
use std::io::{Read, Write};
use std::time::Duration;

use super::{ASK, Engine, EngineError};
use crate::edge::program::Ended;

impl Engine {
    /// The end of what a container wrote, in the order in which it did.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn log_tail(&self, id: &str, lines: u32) -> Result<String, EngineError> {
        let lines = lines.to_string();
        let call = self.call(&["logs", "--tail", &lines, id], ASK);
        let (_, text) = call.judge(|_| {})?.ok_or(EngineError::Missing("docker"))?;
        Ok(text)
    }

    /// Hands on what a container writes. `limit` ends it: none is a day.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn logs(
        &self,
        id: &str,
        options: &LogOptions,
        to: &mut (dyn Write + Send),
        errors_to: &mut (dyn Write + Send),
    ) -> Result<(), EngineError> {
        let mut arguments = vec!["logs".to_owned()];
        if let Some(tail) = options.tail {
            arguments.extend(["--tail".to_owned(), tail.to_string()]);
        }
        if let Some(since) = &options.since {
            arguments.extend(["--since".to_owned(), since.clone()]);
        }
        if options.follow {
            arguments.push("--follow".to_owned());
        }
        arguments.push(id.to_owned());
        self.call(&arguments, LONGEST_FOLLOW)
            .stream(None, to, errors_to)?
            .ok_or(EngineError::Missing("docker"))?;
        Ok(())
    }

    /// Runs a program in a running container: words, no shell.
    ///
    /// # Errors
    /// [`EngineError`]. A program that fails is an answer.
    pub fn exec(
        &self,
        id: &str,
        command: &[String],
        user: Option<&str>,
        limit: Duration,
        streams: Streams<'_>,
    ) -> Result<Ended, EngineError> {
        let arguments = exec_arguments(id, command, user, streams.stdin.is_some());
        self.call(&arguments, limit)
            .stream(streams.stdin, streams.stdout, streams.stderr)?
            .ok_or(EngineError::Missing("docker"))
    }

    /// As [`Self::exec`]; gives the end of what it says.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn exec_judged(
        &self,
        id: &str,
        command: &[String],
        limit: Duration,
    ) -> Result<(Ended, String), EngineError> {
        let arguments = exec_arguments(id, command, None, false);
        self.call(&arguments, limit)
            .judge(|_| {})?
            .ok_or(EngineError::Missing("docker"))
    }
}

/// Streams of a program in a container.
pub struct Streams<'a> {
    /// Its end is not waited for when the program has ended.
    pub stdin: Option<Box<dyn Read + Send>>,
    pub stdout: &'a mut (dyn Write + Send),
    pub stderr: &'a mut (dyn Write + Send),
}

impl fmt::Debug for Streams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams")
            .field("stdin", &self.stdin.is_some())
            .finish_non_exhaustive()
    }
}

/// Nobody follows longer.
const LONGEST_FOLLOW: Duration = Duration::from_secs(24 * 60 * 60);

/// Which lines of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    pub tail: Option<u64>,
    /// As Docker reads it: RFC 3339, or `10m`.
    pub since: Option<String>,
    pub follow: bool,
}

fn exec_arguments(
    id: &str,
    command: &[String],
    user: Option<&str>,
    interactive: bool,
) -> Vec<String> {
    let mut arguments = vec!["exec".to_owned()];
    if interactive {
        arguments.push("--interactive".to_owned());
    }
    if let Some(user) = user {
        arguments.extend(["--user".to_owned(), user.to_owned()]);
    }
    arguments.push(id.to_owned());
    arguments.extend_from_slice(command);
    arguments
}
