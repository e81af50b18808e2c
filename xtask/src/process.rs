//! Running programs: shown, or captured with the tail of what they said when they fail.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Run with inherited output; an exit code other than 0 is an error that shows the command as it could be pasted.
pub(crate) fn show(command: &mut Command) -> Result<()> {
    let line = pasteable(command);
    let status = command
        .status()
        .with_context(|| format!("starting `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// Run and return standard output; on failure the error holds the end of standard error.
pub(crate) fn capture(command: &mut Command) -> Result<Vec<u8>> {
    let line = pasteable(command);
    let output = command
        .output()
        .with_context(|| format!("starting `{line}`"))?;
    if !output.status.success() {
        bail!(
            "`{line}` ended with {}{}",
            output.status,
            tail(&output.stderr)
        );
    }
    Ok(output.stdout)
}

/// As [`capture`], for programs that write text.
pub(crate) fn text(command: &mut Command) -> Result<String> {
    let line = pasteable(command);
    String::from_utf8(capture(command)?)
        .with_context(|| format!("`{line}` wrote something that is not UTF-8"))
}

/// Whether it ran and succeeded, quietly.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn pasteable(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@".contains(c);
        if !argument.is_empty() && argument.chars().all(plain) {
            let _ = write!(line, " {argument}");
        } else {
            let _ = write!(line, " '{}'", argument.replace('\'', r"'\''"));
        }
    }
    line
}

fn tail(stderr: &[u8]) -> String {
    let stderr = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = stderr.trim_end().lines().collect();
    let mut tail = String::new();
    for line in &lines[lines.len().saturating_sub(15)..] {
        let _ = write!(tail, "\n    {line}");
    }
    tail
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_command_and_what_it_said() {
        let error = capture(Command::new("sh").args(["-c", "echo it broke >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("sh -c 'echo it broke >&2; exit 3'"),
            "{error}"
        );
        assert!(error.contains("exit status: 3\n    it broke"), "{error}");
    }
}
