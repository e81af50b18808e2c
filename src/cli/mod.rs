//! The person: arguments, reports, progress, exit codes. The only place that prints.
#![allow(clippy::disallowed_methods)]

mod adapters;
mod args;
mod building;
mod bundles;
pub mod cmd;
mod deploying;
mod error;
mod freight;
pub mod fuzz;
mod images;
mod layout;
mod plan;
mod progress;
mod reach;
mod report;
mod session;
mod table;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, ColorChoice};
use error::{CliError, Exit};

/// What a command ends with: fine, or the answer is no and has been printed already.
pub(crate) enum Outcome {
    Done,
    No,
    /// There was nothing to do, and that is to be told apart from what was done.
    Nothing,
    /// Another program's exit code, handed on.
    Code(u8),
}

/// Runs the whole program: parses `args` (the first is the program's name), runs the command, prints how it ended.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to clap; it knows their streams and exit codes.
            let code = u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8);
            return match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::from(Exit::Failed as u8),
            };
        }
    };
    match cli.global.color {
        ColorChoice::Auto => {}
        ColorChoice::Always => anstream::ColorChoice::AlwaysAnsi.write_global(),
        ColorChoice::Never => anstream::ColorChoice::Never.write_global(),
    }
    match cmd::run(&cli) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::No) => ExitCode::from(Exit::No as u8),
        Ok(Outcome::Nothing) => ExitCode::from(Exit::Nothing as u8),
        Ok(Outcome::Code(code)) => ExitCode::from(code),
        Err(error) => {
            print_error(&error);
            ExitCode::from(error.exit as u8)
        }
    }
}

fn print_error(error: &CliError) {
    let red = anstyle::Style::new()
        .fg_color(Some(anstyle::AnsiColor::BrightRed.into()))
        .bold();
    let cyan = anstyle::Style::new()
        .fg_color(Some(anstyle::AnsiColor::BrightCyan.into()))
        .bold();
    let mut stderr = anstream::stderr().lock();
    // There is nobody left to tell when the error stream itself is closed.
    let _ = writeln!(stderr, "{red}error{red:#}: {error}");
    for hint in &error.hints {
        let _ = writeln!(stderr, "{cyan}help{cyan:#}: {hint}");
    }
}

/// Writes to stdout. A closed pipe (`forge show | head`) ends the program quietly, as it should.
pub(crate) fn print(text: &str) -> Result<(), CliError> {
    let mut stdout = anstream::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CliError::failed(&error))
        }
        _ => Ok(()),
    }
}

/// Writes bytes to stdout as they are.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CliError::failed(&error))
        }
        _ => Ok(()),
    }
}

/// Writes to stderr: progress, reports, whatever is not the result.
pub(crate) fn tell(text: &str) {
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

/// Writes a value as JSON to stdout.
pub(crate) fn print_json(value: &serde_json::Value) -> Result<(), CliError> {
    let mut text = serde_json::to_string_pretty(value).map_err(|error| CliError::failed(&error))?;
    text.push('\n');
    print(&text)
}
