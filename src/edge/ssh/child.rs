//! A program of the laptop whose standard input and output are a channel.

use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::{Exit, SshError};

/// As much of what it says is kept.
const TAIL: usize = 8 << 10;
const STEP: Duration = Duration::from_millis(5);

/// Killed when it is dropped.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    said: mpsc::Receiver<Vec<u8>>,
    limit: Duration,
}

/// Starts a program. It has `limit` to end when it is waited for.
pub(super) fn spawn(
    mut command: Command,
    limit: Duration,
) -> io::Result<(ChildStdout, ChildStdin, Running)> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (Some(writer), Some(reader), Some(mut errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let (send, said) = mpsc::channel();
    std::thread::spawn(move || {
        let mut tail = Vec::new();
        let mut bytes = [0; 4096];
        while let Ok(count) = errors.read(&mut bytes)
            && count > 0
        {
            tail.extend_from_slice(&bytes[..count]);
            let more = tail.len().saturating_sub(TAIL);
            tail.drain(..more);
        }
        // Nobody may want to know.
        let _ = send.send(tail);
    });
    Ok((reader, writer, Running { child, said, limit }))
}

impl Running {
    pub(super) fn wait(mut self, place: &str) -> Result<Exit, SshError> {
        let started = Instant::now();
        let status = loop {
            match self.child.try_wait().map_err(SshError::Program)? {
                Some(status) => break status,
                None if started.elapsed() > self.limit => {
                    return Err(SshError::TooLong {
                        place: place.to_owned(),
                        step: "the end of the command",
                        limit: self.limit,
                    });
                }
                None => std::thread::sleep(STEP),
            }
        };
        let tail = self.said.recv_timeout(self.limit).unwrap_or_default();
        Ok(Exit {
            code: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            stderr: String::from_utf8_lossy(&tail).into_owned(),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
