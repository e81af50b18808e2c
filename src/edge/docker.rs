//! Docker on this machine, by its command line (20.10 or newer): the only thing that forge asks of it here is to load an image and to
//! start it, so that a person can try what forge built.

use std::ffi::OsString;
use std::io::{self, Read as _, Write};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

/// Why Docker did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    #[error("cannot run `docker`: {0}")]
    Run(io::Error),
    #[error("`{command}` ended with {status}: {stderr}")]
    Failed {
        command: String,
        status: String,
        stderr: String,
    },
    #[error("`docker load` stopped reading the image: {0}")]
    Pipe(io::Error),
    /// Docker can inspect what it cannot run.
    #[error("Docker loaded the image and cannot make a container of it: {0}")]
    Unusable(String),
}

/// The end of a text, as much as an error message bears.
fn tail(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end();
    let start = text.len().saturating_sub(2000);
    text[text.ceil_char_boundary(start)..].to_owned()
}

fn run(arguments: &[&str]) -> Result<Vec<u8>, DockerError> {
    let output = Command::new("docker")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(DockerError::Run)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(DockerError::Failed {
        command: format!("docker {}", arguments.join(" ")),
        status: output.status.to_string(),
        stderr: tail(&output.stderr),
    })
}

/// True if Docker has an image of this name from which a container can be made.
///
/// # Errors
/// [`DockerError::Run`] if there is no Docker; [`DockerError::Failed`] if its daemon does not answer.
pub fn has(name: &str) -> Result<bool, DockerError> {
    run(&["version", "--format", "{{.Server.Version}}"])?;
    Ok(run(&["image", "inspect", "--format", "{{.Id}}", name]).is_ok() && probe(name).is_ok())
}

/// Makes a container and removes it: what `docker image inspect` shows need not be whole.
fn probe(name: &str) -> Result<(), DockerError> {
    let id = run(&["create", "--pull", "never", "--entrypoint", "/", name])
        .map_err(|error| DockerError::Unusable(error.to_string()))?;
    let id = String::from_utf8_lossy(&id);
    run(&["rm", "--force", id.trim()])?;
    Ok(())
}

/// An image on its way into Docker: written to like a file.
#[derive(Debug)]
pub struct Loading {
    child: Child,
}

impl Loading {
    /// Starts `docker load`.
    ///
    /// # Errors
    /// [`DockerError::Run`].
    pub fn start() -> Result<Self, DockerError> {
        let child = Command::new("docker")
            .args(["load", "--quiet"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(DockerError::Run)?;
        Ok(Self { child })
    }

    /// Ends the stream, waits, and sees that the image can be run.
    ///
    /// # Errors
    /// [`DockerError::Failed`], [`DockerError::Unusable`].
    pub fn finish(mut self, name: &str) -> Result<(), DockerError> {
        drop(self.child.stdin.take());
        let mut stderr = Vec::new();
        if let Some(mut pipe) = self.child.stderr.take() {
            pipe.read_to_end(&mut stderr).map_err(DockerError::Pipe)?;
        }
        let status = self.child.wait().map_err(DockerError::Run)?;
        if !status.success() {
            return Err(DockerError::Failed {
                command: "docker load".to_owned(),
                status: status.to_string(),
                stderr: tail(&stderr),
            });
        }
        probe(name)
    }
}

impl Write for Loading {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.child.stdin {
            Some(pipe) => pipe.write(bytes),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.child.stdin {
            Some(pipe) => pipe.flush(),
            None => Ok(()),
        }
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        // Only of one that was given up: after `finish` there is no process any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Becomes `docker run` with these arguments: the terminal, the signals and the exit code are the container's. Returns only if that fails.
pub fn become_run(arguments: impl IntoIterator<Item = OsString>) -> DockerError {
    let error = Command::new("docker").arg("run").args(arguments).exec();
    DockerError::Run(error)
}
