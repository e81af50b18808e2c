//! The virtual machine that is deployed to, and the program that deploys.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Bench;
use super::project;
use crate::vm::image;
use crate::vm::machine::{Machine, SSH_OPTIONS, is_saved};
use crate::{process, vm, workspace};

/// The machine on which generation 1 of `lab` runs, as the tests keep it.
const LAB: &str = "lab";
const ANSWER: Duration = Duration::from_secs(300);

/// A machine in a folder of its own; gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    machine: Machine,
    place: PathBuf,
    pub(crate) port: u16,
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Where machines are kept while they run.
fn machines() -> Result<PathBuf> {
    Ok(workspace::target()?.join("tmp").join("vm"))
}

impl Guest {
    pub(crate) fn bare() -> Result<Self> {
        vm::ensure()?;
        Self::start("bench-bare", &vm::folder()?)
    }

    /// With `lab` on it: from the folder that the tests have kept, else deployed now, and kept.
    pub(crate) fn lab(bench: &Bench, root: &Path) -> Result<Self> {
        let kept = machines()?.join(LAB);
        if !is_saved(&kept) {
            println!("deploying `lab` to a bare host: minutes, once");
            let guest = Self::start(LAB, &vm::folder()?)?;
            let laptop = Laptop::new(bench, root)?;
            process::capture(&mut laptop.forge(guest.port, &["deploy", "--yes"])?)?;
            guest.machine.save()?;
            // What the next line starts goes on there.
            std::mem::forget(guest);
        }
        Self::start("bench-lab", &kept)
    }

    fn start(name: &str, from: &Path) -> Result<Self> {
        let place = machines()?.join(name);
        let machine = Machine::at(&place);
        machine.stop()?;
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        let port = free_port()?;
        machine.start(&vm::folder()?, from, &[(port, 22)])?;
        let guest = Self {
            machine,
            place,
            port,
        };
        guest.machine.wait_for_ssh(port, ANSWER)?;
        Ok(guest)
    }

    /// What a command on the host prints, straight.
    pub(crate) fn ask(&self, command: &str) -> Result<String> {
        process::text(ssh(self.port)?.arg(command))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.machine.stop().is_ok() {
            let _ = fs::remove_dir_all(&self.place);
        }
    }
}

/// The words of ssh before the destination's command.
pub(crate) fn ssh_words(port: u16) -> Result<Vec<String>> {
    let mut words: Vec<String> = SSH_OPTIONS.iter().map(|word| (*word).to_owned()).collect();
    words.extend([
        "-i".to_owned(),
        image::key()?.display().to_string(),
        "-p".to_owned(),
        port.to_string(),
    ]);
    Ok(words)
}

pub(crate) fn ssh(port: u16) -> Result<Command> {
    let mut ssh = Command::new("ssh");
    ssh.args(ssh_words(port)?).arg("root@127.0.0.1");
    Ok(ssh)
}

/// A copy of the project, so that it can be changed, and the program for release.
#[derive(Debug)]
pub(crate) struct Laptop<'a> {
    bench: &'a Bench,
    pub(crate) project: PathBuf,
    store: PathBuf,
}

impl<'a> Laptop<'a> {
    pub(crate) fn new(bench: &'a Bench, root: &Path) -> Result<Self> {
        let project = bench.place.join("lab");
        if project.exists() {
            fs::remove_dir_all(&project)?;
        }
        project::base(root, &project)?;
        Ok(Self {
            bench,
            project,
            // That of the tests: building the images of `lab` takes minutes.
            store: workspace::target()?.join("tmp").join("store"),
        })
    }

    /// Without a host.
    pub(crate) fn here(&self, words: &[&str]) -> Command {
        let mut command = self.bench.forge(&self.project, words);
        command.arg("--store").arg(&self.store);
        command
    }

    /// `forge WORDS --host lab`, with the host at a port of this machine.
    pub(crate) fn forge(&self, port: u16, words: &[&str]) -> Result<Command> {
        let mut command = self.here(words);
        command
            .env_remove("SSH_AUTH_SOCK")
            .args(["--host", LAB, "--address", &format!("127.0.0.1:{port}")])
            .arg("--identity")
            .arg(image::key()?);
        Ok(command)
    }

    /// Replaces text in a file of the project; it must be there.
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let path = self.project.join(file);
        let text = fs::read_to_string(&path)?;
        if !text.contains(from) {
            anyhow::bail!("{file} has no `{from}`");
        }
        fs::write(&path, text.replacen(from, to, 1))
            .with_context(|| format!("changing {}", path.display()))
    }
}
