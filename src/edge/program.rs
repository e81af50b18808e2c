//! Runs another program: arguments as a list, a time limit, and the end of what it says in the error.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
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
    Call::new(program, arguments, limit).run()
}

/// The folders in which programs are looked for, as in `PATH`.
pub fn search_path() -> String {
    let path = std::env::var("PATH").ok().filter(|path| !path.is_empty());
    path.unwrap_or_else(|| {
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()
    })
}

/// The file that is run for a program, of these folders.
pub fn find(path: &str, program: &str) -> Option<PathBuf> {
    std::env::split_paths(path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

/// A program that is to be run.
#[derive(Clone, Debug)]
pub struct Call {
    program: String,
    arguments: Vec<String>,
    /// All that it is given, instead of what this process has.
    environment: Option<Vec<(String, String)>>,
    limit: Duration,
}

/// How a program ended whose failure is an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// None if a signal ended it.
    pub code: Option<i32>,
    /// As a person reads it.
    pub status: String,
}

impl Ended {
    fn of(status: ExitStatus) -> Self {
        Self {
            code: status.code(),
            status: status.to_string(),
        }
    }

    pub fn is_success(&self) -> bool {
        self.code == Some(0)
    }
}

/// What writes the input of a program; it is over when this returns.
type Feed<'a> = Box<dyn FnOnce(&mut dyn Write) + Send + 'a>;

impl Call {
    pub fn new(program: &str, arguments: &[impl AsRef<str>], limit: Duration) -> Self {
        Self {
            program: program.to_owned(),
            arguments: arguments
                .iter()
                .map(|argument| argument.as_ref().to_owned())
                .collect(),
            environment: None,
            limit,
        }
    }

    /// Gives it this environment and no other.
    #[must_use]
    pub fn only_with(mut self, environment: &[(String, String)]) -> Self {
        self.environment = Some(environment.to_vec());
        self
    }

    /// As [`run`].
    ///
    /// # Errors
    /// [`ProgramError`].
    pub fn run(&self) -> Result<Option<String>, ProgramError> {
        self.printed(None)
    }

    /// As [`Self::run`]; `feed` writes what the program reads. A program that ends early lets it meet a broken pipe.
    ///
    /// # Errors
    /// [`ProgramError`].
    pub fn feed<'a>(
        &self,
        feed: impl FnOnce(&mut dyn Write) + Send + 'a,
    ) -> Result<Option<String>, ProgramError> {
        self.printed(Some(Box::new(feed)))
    }

    /// Runs it, and gives how it ended and the end of what it printed and said, in the order in which it did.
    ///
    /// # Errors
    /// [`ProgramError::Run`], [`ProgramError::TooLong`].
    pub fn judge<'a>(
        &self,
        feed: impl FnOnce(&mut dyn Write) + Send + 'a,
    ) -> Result<Option<(Ended, String)>, ProgramError> {
        // One open file, so one offset: neither overwrites the other.
        let said = tempfile::tempfile().map_err(|error| self.failed(error))?;
        let (out, err) = (self.clone_of(&said)?, self.clone_of(&said)?);
        let Some(child) = self.spawn(true, out.into(), err.into())? else {
            return Ok(None);
        };
        let ended = self.wait(child, Some(Box::new(feed)))?;
        let text = self.tail(said)?;
        match ended {
            Some(status) => Ok(Some((Ended::of(status), text))),
            None => Err(self.too_long(text)),
        }
    }

    /// Runs it with the streams of another: what it prints is handed on as it comes. Nobody waits for the end of `stdin` when the program
    /// has ended; it may be read once more then. A stream that is not taken any more ends the program.
    ///
    /// # Errors
    /// [`ProgramError::Run`], [`ProgramError::TooLong`].
    pub fn stream(
        &self,
        stdin: Option<Box<dyn Read + Send>>,
        stdout: &mut (dyn Write + Send),
        stderr: &mut (dyn Write + Send),
    ) -> Result<Option<Ended>, ProgramError> {
        let spawned = self.spawn(stdin.is_some(), Stdio::piped(), Stdio::piped())?;
        let Some(mut child) = spawned else {
            return Ok(None);
        };
        let (out, err) = (child.stdout.take(), child.stderr.take());
        if let (Some(mut from), Some(mut to)) = (stdin, child.stdin.take()) {
            // Not joined: it may wait for somebody to type when the program has ended.
            std::thread::spawn(move || {
                // Whoever stops reading has read enough.
                let _ = io::copy(&mut from, &mut to);
            });
        }
        let ended = std::thread::scope(|scope| {
            // The pipe is closed when its reader ends, which ends a program that still writes.
            scope.spawn(move || out.map(|mut out| io::copy(&mut out, &mut { stdout })));
            scope.spawn(move || err.map(|mut err| io::copy(&mut err, &mut { stderr })));
            self.wait(child, None)
        })?;
        ended
            .map(|status| Some(Ended::of(status)))
            .ok_or_else(|| self.too_long(String::new()))
    }

    fn failed(&self, source: io::Error) -> ProgramError {
        ProgramError::Run {
            command: self.command(),
            source,
        }
    }

    fn too_long(&self, stderr: String) -> ProgramError {
        ProgramError::TooLong {
            command: self.command(),
            limit: self.limit,
            stderr,
        }
    }

    /// As it could be pasted.
    fn command(&self) -> String {
        let words =
            std::iter::once(self.program.as_str()).chain(self.arguments.iter().map(String::as_str));
        // No word can hold a NUL here that the system would not refuse too.
        shlex::try_join(words).unwrap_or_else(|_| self.program.clone())
    }

    fn clone_of(&self, file: &File) -> Result<File, ProgramError> {
        file.try_clone().map_err(|error| self.failed(error))
    }

    fn spawn(
        &self,
        is_fed: bool,
        stdout: Stdio,
        stderr: Stdio,
    ) -> Result<Option<Child>, ProgramError> {
        let mut command = Command::new(&self.program);
        if let Some(environment) = &self.environment {
            command.env_clear().envs(environment.iter().cloned());
        }
        let spawned = command
            .args(&self.arguments)
            .stdin(if is_fed {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(stdout)
            .stderr(stderr)
            // So that what it prints does not depend on the person.
            .env("LC_ALL", "C.UTF-8")
            .spawn();
        match spawned {
            Ok(child) => Ok(Some(child)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Waits for its end; none if it had to be killed.
    fn wait(
        &self,
        mut child: Child,
        feed: Option<Feed<'_>>,
    ) -> Result<Option<ExitStatus>, ProgramError> {
        let stdin = child.stdin.take();
        std::thread::scope(|scope| {
            if let (Some(mut stdin), Some(feed)) = (stdin, feed) {
                scope.spawn(move || feed(&mut stdin));
            }
            let started = Instant::now();
            let mut step = STEP;
            loop {
                if let Some(status) = child.try_wait().map_err(|error| self.failed(error))? {
                    return Ok(Some(status));
                }
                if started.elapsed() > self.limit {
                    // It may have ended in between: both are as good.
                    let _ = child.kill();
                    let _ = child.wait();
                    return Ok(None);
                }
                std::thread::sleep(step);
                step = (step * 2).min(LONGEST_STEP);
            }
        })
    }

    fn printed(&self, feed: Option<Feed<'_>>) -> Result<Option<String>, ProgramError> {
        // Files, and no pipes: nothing has to be read while it runs.
        let mut stdout = tempfile::tempfile().map_err(|error| self.failed(error))?;
        let stderr = tempfile::tempfile().map_err(|error| self.failed(error))?;
        let (out, err) = (self.clone_of(&stdout)?, self.clone_of(&stderr)?);
        let Some(child) = self.spawn(feed.is_some(), out.into(), err.into())? else {
            return Ok(None);
        };
        let status = self.wait(child, feed)?;
        if let Some(status) = status
            && status.success()
        {
            let mut bytes = Vec::new();
            stdout
                .rewind()
                .and_then(|()| stdout.take(LONGEST).read_to_end(&mut bytes))
                .map_err(|error| self.failed(error))?;
            return Ok(Some(String::from_utf8_lossy(&bytes).into_owned()));
        }
        let stderr = self.tail(stderr)?;
        Err(match status {
            Some(status) => ProgramError::Failed {
                command: self.command(),
                status: status.to_string(),
                stderr,
            },
            None => self.too_long(stderr),
        })
    }

    fn tail(&self, mut file: File) -> Result<String, ProgramError> {
        let mut read = || {
            let length = file.seek(SeekFrom::End(0))?;
            file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
            let mut bytes = Vec::new();
            (&mut file).take(TAIL).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().map_err(|error| self.failed(error))
    }
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
    fn is_fed_streamed_and_judged() {
        let cat = Call::new("cat", &[] as &[&str], SECOND);
        let fed = cat.feed(|to| to.write_all(b"a\nb").unwrap()).unwrap();
        assert_eq!(fed.unwrap(), "a\nb");
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let both = Call::new("sh", &["-c", "cat; echo why >&2; exit 4"], SECOND);
        let ended = both
            .stream(Some(Box::new(&b"in"[..])), &mut out, &mut err)
            .unwrap()
            .unwrap();
        assert_eq!(
            (out.as_slice(), err.as_slice()),
            (&b"in"[..], &b"why\n"[..])
        );
        assert_eq!(ended.code, Some(4));
        let (ended, said) = both
            .judge(|to| to.write_all(b"x\n").unwrap())
            .unwrap()
            .unwrap();
        assert_eq!((ended.code, said.as_str()), (Some(4), "x\nwhy\n"));
        // One that reads nothing breaks the pipe and nothing else.
        let deaf = Call::new("true", &[] as &[&str], SECOND);
        let fed = deaf.feed(|to| while to.write_all(&[0; 4096]).is_ok() {});
        assert_eq!(fed.unwrap().unwrap(), "");
    }

    /// Gives nothing, and does not end, as long as the other half is there.
    struct Silent(std::sync::mpsc::Receiver<()>);

    impl Read for Silent {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(self.0.recv().map_or(0, |()| 0))
        }
    }

    #[test]
    fn nobody_waits_for_input_that_does_not_end() {
        let (keyboard, stdin) = std::sync::mpsc::channel();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let echo = Call::new("echo", &["done"], SECOND);
        let ended = echo
            .stream(Some(Box::new(Silent(stdin))), &mut out, &mut err)
            .unwrap()
            .unwrap();
        assert_eq!((ended.code, out.as_slice()), (Some(0), &b"done\n"[..]));
        drop(keyboard);
    }

    #[test]
    fn has_the_given_environment_alone() {
        let call = Call::new("env", &[] as &[&str], SECOND);
        let path = std::env::var("PATH").unwrap();
        let env = [("PATH".to_owned(), path), ("A".to_owned(), "1".to_owned())];
        let said = call.only_with(&env).run().unwrap().unwrap();
        let mut names: Vec<&str> = said.lines().filter_map(|l| l.split('=').next()).collect();
        names.sort_unstable();
        assert_eq!(names, ["A", "LC_ALL", "PATH"]);
    }

    #[test]
    fn stops_what_takes_too_long() {
        let error = run("sleep", &["60"], Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, ProgramError::TooLong { .. }), "{error}");
    }
}
