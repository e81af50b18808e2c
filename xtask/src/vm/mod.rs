//! `cargo xtask vm`: a bare Debian 13 with sshd and nothing else, as a virtual machine, for tests and for people.
//!
//! It is made from packages of the mirror that this machine's apt is configured with, booted once, and kept as a snapshot
//! of the running machine: a fresh host is a copy of one file, and answers in seconds. Emulated, without KVM, so that it runs
//! wherever the tests run.

pub(crate) mod image;
pub(crate) mod machine;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{process, workspace};
use machine::Machine;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Build the disk and the snapshot, if they are not there, and print their folder
    Image,
    /// Start a fresh host; it listens for SSH on loopback
    Up {
        /// Port for SSH on this machine
        #[arg(long, default_value_t = 2222)]
        port: u16,
        /// Other ports of the host, reached on loopback: HERE:THERE
        #[arg(long, value_name = "HERE:THERE", default_values = ["8443:443", "8080:80"])]
        forward: Vec<String>,
        /// Throw a host that is up away, with all that is on it
        #[arg(long)]
        fresh: bool,
    },
    /// Stop the host, and throw it away
    Down,
    /// For tests: start a machine in a folder of its own, from a copy of a disk
    #[command(hide = true)]
    Start {
        place: PathBuf,
        /// Folder whose disk is copied, if the machine has none yet [default: the bare host]
        #[arg(long)]
        from: Option<PathBuf>,
        /// Without one, it boots
        #[arg(long)]
        snapshot: Option<String>,
        #[arg(long)]
        forward: Vec<String>,
    },
    /// For tests: keep the running machine under a name, in its disk
    #[command(hide = true)]
    Save { place: PathBuf, name: String },
    /// For tests: cut the power
    #[command(hide = true)]
    Cut { place: PathBuf },
    /// Log in to the host, or run a command on it
    Ssh {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

/// Where the disk and the snapshot are kept.
pub(crate) fn folder() -> Result<PathBuf> {
    Ok(workspace::root()?.join("target").join("vm"))
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = folder()?;
    match &args.verb {
        Verb::Image => {
            image::ensure(&folder)?;
            println!("{}", folder.display());
        }
        Verb::Up {
            port,
            forward,
            fresh,
        } => up(*port, forward, *fresh)?,
        Verb::Down => {
            let machine = Machine::at(&folder.join("up"));
            machine.stop()?;
            fs::remove_dir_all(folder.join("up")).ok();
            println!("the host is gone");
        }
        Verb::Start {
            place,
            from,
            snapshot,
            forward,
        } => {
            image::ensure(&folder)?;
            let machine = Machine::at(place);
            machine.copy_disk(from.as_deref().unwrap_or(&folder))?;
            machine.start(&folder, &pairs(forward)?, snapshot.as_deref())?;
        }
        Verb::Save { place, name } => {
            let said = Machine::at(place).monitor(&format!("savevm {name}"))?;
            if said.to_lowercase().contains("error") {
                bail!("QEMU kept no snapshot: {said}");
            }
        }
        Verb::Cut { place } => Machine::at(place).stop()?,
        Verb::Ssh { command } => ssh(command)?,
    }
    Ok(())
}

fn up(port: u16, forward: &[String], fresh: bool) -> Result<()> {
    let folder = folder()?;
    image::ensure(&folder)?;
    let place = folder.join("up");
    let machine = Machine::at(&place);
    if machine.runs() {
        if !fresh {
            bail!("a host is up already; `cargo xtask vm up --fresh` throws it away");
        }
        machine.stop()?;
    }
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("clearing {}", place.display()))?;
    }
    let mut ports = vec![(port, 22)];
    ports.extend(pairs(forward)?);
    machine.copy_disk(&folder)?;
    machine.start(&folder, &ports, Some("booted"))?;
    fs::write(place.join("port"), port.to_string())?;
    machine.wait_for_ssh(port, Duration::from_secs(120))?;
    println!(
        "a bare Debian 13 is up: root@127.0.0.1, port {port}, key {}",
        image::key()?.display()
    );
    println!("let ssh have it:  eval \"$(ssh-agent)\" && ssh-add hosts/example-insecure-key");
    println!("deploy to it:     forge deploy --host lab");
    println!("look at it:       cargo xtask vm ssh");
    println!("throw it away:    cargo xtask vm down");
    Ok(())
}

fn pairs(forward: &[String]) -> Result<Vec<(u16, u16)>> {
    let pair = |pair: &String| {
        let (here, there) = pair
            .split_once(':')
            .with_context(|| format!("`{pair}` is no HERE:THERE"))?;
        Ok((here.parse()?, there.parse()?))
    };
    forward.iter().map(pair).collect()
}

fn ssh(command: &[String]) -> Result<()> {
    let port = fs::read_to_string(folder()?.join("up").join("port"))
        .context("no host is up: `cargo xtask vm up` starts one")?;
    let mut ssh = Command::new("ssh");
    ssh.args(machine::SSH_OPTIONS)
        .arg("-i")
        .arg(image::key()?)
        .args(["-p", &port, "root@127.0.0.1"])
        .args(command);
    process::show(&mut ssh)
}

/// For the tests: builds what is missing.
pub(crate) fn ensure() -> Result<()> {
    image::ensure(&folder()?)
}
