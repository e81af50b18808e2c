//! A program that has this terminal for itself until it ends.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;

/// Runs a program with this one's standard streams. Gives its exit code, as a shell would.
///
/// # Errors
/// If it cannot be run.
pub fn run(program: &str, arguments: &[String]) -> io::Result<i32> {
    let status = Command::new(program).args(arguments).status()?;
    let signal = status.signal().map(|signal| 128 + signal);
    Ok(status.code().or(signal).unwrap_or(1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_code_of_a_program_or_of_its_signal() {
        let sh = |text: &str| run("sh", &["-c".to_owned(), text.to_owned()]).unwrap();
        assert_eq!(sh("exit 7"), 7);
        assert_eq!(sh("kill -KILL $$"), 137);
        assert!(run("forge-no-such-program", &[]).is_err());
    }
}
