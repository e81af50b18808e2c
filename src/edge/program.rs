//! Runs another program: arguments as a list, a time limit, and the end of what it says in the error.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Why a program did not do what it was run for.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    #[error("cannot run `{command}`: {source}")]
    Run { command: String, source: io::Error },
    #[error("`{command}` ended with {status}{}", said(.stderr))]
    Failed {
        command: String,
        status: String,
        /// The end of what it said.
        stderr: String,
    },
    #[error("`{command}` did not end within {} s and was stopped{}", limit.as_secs(), said(.stderr))]
    TooLong {
        command: String,
        limit: Duration,
        stderr: String,
    },
}

fn said(stderr: &str) -> String {
    match stderr.trim() {
        "" => String::new(),
        text => format!(":\n  {}", text.replace('\n', "\n  ")),
    }
}

/// As much of what a program says is kept.
const TAIL: u64 = 4 << 10;
const LONGEST: u64 = 64 << 20;
const STEP: Duration = Duration::from_millis(2);
const LONGEST_STEP: Duration = Duration::from_millis(50);

/// Runs a program to its end and gives what it prints; nothing if there is no such program.
///
/// # Errors
/// [`ProgramError`]. A program that takes too long is killed.
pub fn run(
    program: &str,
    arguments: &[impl AsRef<str>],
    limit: Duration,
) -> Result<Option<String>, ProgramError> {
    run_fed(program, arguments, &[], limit)
}

/// [`run`], with something to read on its standard input. That is not part of an error.
///
/// # Errors
/// [`ProgramError`]. A program that takes too long is killed.
pub fn run_fed(
    program: &str,
    arguments: &[impl AsRef<str>],
    input: &[u8],
    limit: Duration,
) -> Result<Option<String>, ProgramError> {
    let words = std::iter::once(program).chain(arguments.iter().map(AsRef::as_ref));
    // No word can hold a NUL here that the system would not refuse too.
    let command = shlex::try_join(words).unwrap_or_else(|_| program.to_owned());
    let failed = |source| ProgramError::Run {
        command: command.clone(),
        source,
    };
    // Files, and no pipes: nothing has to be read while it runs.
    let mut stdout = tempfile::tempfile().map_err(failed)?;
    let mut stderr = tempfile::tempfile().map_err(failed)?;
    let stdin = if input.is_empty() {
        Stdio::null()
    } else {
        let mut stdin = tempfile::tempfile().map_err(failed)?;
        stdin.write_all(input).map_err(failed)?;
        stdin.rewind().map_err(failed)?;
        stdin.into()
    };
    let spawned = Command::new(program)
        .args(arguments.iter().map(AsRef::as_ref))
        .stdin(stdin)
        .stdout(stdout.try_clone().map_err(failed)?)
        .stderr(stderr.try_clone().map_err(failed)?)
        // So that what it prints does not depend on the person.
        .env("LC_ALL", "C.UTF-8")
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let started = Instant::now();
    let mut step = STEP;
    let status: Option<ExitStatus> = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break Some(status);
        }
        if started.elapsed() > limit {
            // It may have ended in between: both are as good.
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(step);
        step = (step * 2).min(LONGEST_STEP);
    };
    if let Some(status) = status
        && status.success()
    {
        stdout.rewind().map_err(failed)?;
        let mut bytes = Vec::new();
        stdout
            .take(LONGEST)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        return Ok(Some(String::from_utf8_lossy(&bytes).into_owned()));
    }
    let length = stderr.seek(SeekFrom::End(0)).map_err(failed)?;
    let from = length.saturating_sub(TAIL);
    stderr.seek(SeekFrom::Start(from)).map_err(failed)?;
    let mut bytes = Vec::new();
    stderr.take(TAIL).read_to_end(&mut bytes).map_err(failed)?;
    let stderr = String::from_utf8_lossy(&bytes).into_owned();
    Err(match status {
        Some(status) => ProgramError::Failed {
            command,
            status: status.to_string(),
            stderr,
        },
        None => ProgramError::TooLong {
            command,
            limit,
            stderr,
        },
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(10);

    #[test]
    fn gives_what_it_prints_or_what_it_says() {
        assert_eq!(run("printf", &["a b"], SECOND).unwrap().unwrap(), "a b");
        assert!(
            run("forge-no-such-program", &["x"], SECOND)
                .unwrap()
                .is_none()
        );
        let error = run("sh", &["-c", "echo out; echo why >&2; exit 3"], SECOND).unwrap_err();
        let said = error.to_string();
        assert!(said.contains("exit status: 3:\n  why"), "{said}");
        assert!(said.contains("sh -c 'echo out;"), "{said}");
    }

    #[test]
    fn feeds_a_program() {
        let nothing: [&str; 0] = [];
        let said = run_fed("cat", &nothing, b"a\nb", SECOND).unwrap();
        assert_eq!(said.unwrap(), "a\nb");
    }

    #[test]
    fn stops_what_takes_too_long() {
        let error = run("sleep", &["60"], Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, ProgramError::TooLong { .. }), "{error}");
    }
}
