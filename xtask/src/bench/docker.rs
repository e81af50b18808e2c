//! `docker save | zstd -3 | ssh HOST docker load`: what people do who have no registry.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::guest::{Guest, ssh};
use super::link::{FAR, Link};
use crate::process;

/// All images at once, so that layers that they share are sent once. The time is that until the host's Docker has them.
pub(super) fn save_and_load(guest: &Guest, images: &[PathBuf]) -> Result<(u64, Duration)> {
    guest
        .ask("command -v docker || { apt-get -qq update && apt-get -qq install --yes --no-install-recommends docker.io docker-cli; } >/dev/null 2>&1")
        .context("Docker cannot be installed on the host")?;
    let daemon = Daemon::start()?;
    let mut names = Vec::new();
    for (number, image) in images.iter().enumerate() {
        let name = format!("lab/{number}:1");
        process::capture(
            Command::new("skopeo")
                .args(["copy", "--quiet", "--insecure-policy"])
                .args(["--dest-daemon-host", &daemon.host()])
                .arg(format!("oci:{}:{number}", image.display()))
                .arg(format!("docker-daemon:{name}")),
        )?;
        names.push(name);
    }
    let link = Link::open(FAR, guest.port)?;
    let begin = Instant::now();
    let mut save = daemon
        .docker()
        .arg("save")
        .args(&names)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut zstd = Command::new("zstd")
        .args(["-3", "-q", "-c"])
        .stdin(save.stdout.take().context("docker has no output")?)
        .stdout(Stdio::piped())
        .spawn()?;
    let load = ssh(link.port)?
        .arg("docker load")
        .stdin(zstd.stdout.take().context("zstd has no output")?)
        .stdout(Stdio::null())
        .status()?;
    let time = begin.elapsed();
    for (name, status) in [
        ("docker save", save.wait()?),
        ("zstd", zstd.wait()?),
        ("docker load", load),
    ] {
        if !status.success() {
            bail!("{name} ended with {status}");
        }
    }
    Ok((link.take().up, time))
}

/// A daemon of its own: what this machine's has is nobody's business here. Needs root.
struct Daemon {
    child: Child,
    folder: tempfile::TempDir,
}

impl Daemon {
    fn start() -> Result<Self> {
        // A socket's path has at most 107 bytes.
        let folder = tempfile::Builder::new().prefix("dk").tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let log = File::create(path("log"))?;
        let child = Command::new("dockerd")
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("--host")
            .arg(format!("unix://{}", path("sock").display()))
            .args(["--bridge=none", "--iptables=false", "--ip-forward=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting dockerd")?;
        let daemon = Self { child, folder };
        let begin = Instant::now();
        while !process::succeeds(daemon.docker().arg("version")) {
            if begin.elapsed() > Duration::from_secs(120) {
                bail!("dockerd does not answer:\n{}", daemon.log());
            }
            sleep(Duration::from_millis(200));
        }
        Ok(daemon)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("sock").display())
    }

    fn docker(&self) -> Command {
        let mut docker = Command::new("docker");
        docker.env("DOCKER_HOST", self.host());
        docker
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It unmounts what it has mounted when it is told to end.
        let _ = process::capture(Command::new("kill").arg(self.child.id().to_string()));
        let _ = self.child.wait();
    }
}
