//! `cargo xtask vm`: a bare Debian 13 with sshd and nothing else, as a virtual machine, for tests and for people.
//!
//! It is made from packages of the mirror that this machine's apt is configured with, booted once, and saved with its memory: a fresh
//! host goes on there, on a disk that holds what differs, and answers in seconds. Emulated, without KVM, so that it runs wherever
//! the tests run.

mod emulator;
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
    /// Make the host that others start from, if it is not there, and print its folder
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
    /// For tests: start a machine in a folder of its own; one that has a disk boots
    #[command(hide = true)]
    Start {
        place: PathBuf,
        /// Folder of a machine that was saved, for one that has no disk yet [default: the bare host]
        #[arg(long)]
        from: Option<PathBuf>,
        #[arg(long)]
        forward: Vec<String>,
    },
    /// For tests: end the running machine, so that others can go on where it was
    #[command(hide = true)]
    Save { place: PathBuf },
    /// For tests: cut the power
    #[command(hide = true)]
    Cut { place: PathBuf },
    /// Log in to the host, or run a command on it
    Ssh {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

/// The machine that the others start from.
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
            forward,
        } => {
            image::ensure(&folder)?;
            let from = from.as_deref().unwrap_or(&folder);
            Machine::at(place).start(&folder, from, &pairs(forward)?)?;
        }
        Verb::Save { place } => Machine::at(place).save()?,
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
    machine.start(&folder, &folder, &ports)?;
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
