//! The tests on virtual machines, while other steps run.

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::programs;
use crate::vm::machine::Machine;
use crate::workspace;

#[derive(Debug)]
pub(crate) struct Machines {
    child: Child,
    log: PathBuf,
    ended: bool,
}

impl Machines {
    pub(crate) fn start(program: &Path, filter: &[String]) -> Result<Self> {
        let log = workspace::target()?.join("vm-tests.log");
        let file = File::create(&log).with_context(|| format!("writing {}", log.display()))?;
        let mut command = Command::new(program);
        command
            .args(filter)
            .env("FORGE_TEST_XTASK", env::current_exe()?)
            .stdin(Stdio::null())
            .stderr(file.try_clone()?)
            .stdout(file);
        let child = programs::equip(&mut command)?
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        println!(
            "\nthe tests on virtual machines run beside what follows: {}",
            log.display()
        );
        Ok(Self {
            child,
            log,
            ended: false,
        })
    }

    /// Shows what they say until they end; that they passed.
    pub(crate) fn finish(mut self) -> Result<()> {
        let mut log = File::open(&self.log)?;
        let status = loop {
            let ended = self.child.try_wait()?;
            // What it said last is read when it has ended.
            io::copy(&mut log, &mut io::stdout())?;
            match ended {
                Some(status) => break status,
                None => sleep(Duration::from_millis(500)),
            }
        };
        self.ended = true;
        passed(status)
    }
}

fn passed(status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("the tests on virtual machines ended with {status}");
    }
    Ok(())
}

impl Drop for Machines {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Machines are in the background, and would stay.
        if let Err(error) = stop_machines() {
            eprintln!("warning: a virtual machine may still run: {error:#}");
        }
    }
}

fn stop_machines() -> Result<()> {
    let folder = workspace::target()?.join("tmp").join("vm");
    if !folder.exists() {
        return Ok(());
    }
    for place in fs::read_dir(folder)? {
        Machine::at(&place?.path()).stop()?;
    }
    Ok(())
}
