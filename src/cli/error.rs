//! How the program ends when it does not end well.

use std::fmt;

/// The exit codes, as `forge --help` documents them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It ran, and the answer is no: the project has mistakes, a blob is damaged, two things differ where they should not.
    No = 1,
    /// It was called in a way that makes no sense (clap's own code for usage).
    Usage = 2,
    /// It could not run: a file cannot be read, a disk is full, a host cannot be reached. Hosts are as they were.
    Failed = 3,
    /// A host was changed, that failed, and it went back.
    RolledBack = 4,
    /// The same, and going back failed too.
    Incomplete = 5,
    /// Contact was lost while a host was being changed.
    Unknown = 6,
    /// There was nothing to do, where somebody wants to know (`--detailed-exitcode`).
    Nothing = 7,
}

/// One message for a person, with what to do about it.
#[derive(Debug)]
pub(crate) struct CliError {
    pub exit: Exit,
    pub message: String,
    pub hints: Vec<String>,
}

impl CliError {
    /// `error`, with everything that caused it.
    pub(crate) fn failed(error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            source = cause.source();
        }
        Self {
            exit: Exit::Failed,
            message,
            hints: Vec::new(),
        }
    }

    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hints: Vec::new(),
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
