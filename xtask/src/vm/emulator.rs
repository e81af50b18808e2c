//! The emulator: QEMU of Debian 13, whatever this machine has. An older one (7.2, of Debian 12) takes three times as long to start a
//! program, and translates some instructions wrongly. Its packages are unpacked beside the disk, with the libraries that they need:
//! nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

/// The release that lends it.
pub(super) const RELEASE: &str = "trixie";

pub(super) const PACKAGES: &str = "qemu-system-x86,qemu-utils,libc6";

fn root(base: &Path) -> PathBuf {
    base.join("qemu")
}

/// `sources` are apt's, of the release.
pub(super) fn unpack(base: &Path, sources: &Path) -> Result<()> {
    process::capture(
        Command::new("mmdebstrap")
            .args(["--variant=extract", "--mode=root", "--quiet"])
            .arg(format!("--include={PACKAGES}"))
            .args(["--aptopt=Acquire::Retries \"3\""])
            .args(["--aptopt=APT::Install-Recommends \"false\""])
            .arg(RELEASE)
            .arg(root(base))
            .arg(sources),
    )?;
    Ok(())
}

/// A program of it, by its own loader: the libraries of this machine are of another release.
pub(super) fn program(base: &Path, name: &str) -> Result<Command> {
    // It is daemonized, and then elsewhere.
    let root = fs::canonicalize(root(base)).context("there is no emulator")?;
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let loader = libraries.join("ld-linux-x86-64.so.2");
    let program = root.join("usr/bin").join(name);
    for file in [&loader, &program] {
        if !file.is_file() {
            bail!("the emulator has no {}", file.display());
        }
    }
    let mut command = Command::new(loader);
    command
        .env("QEMU_MODULE_DIR", libraries.join("qemu"))
        .arg("--library-path")
        .arg(&libraries)
        .arg(program);
    Ok(command)
}

/// Where the firmware is.
pub(super) fn firmware(base: &Path) -> [PathBuf; 2] {
    ["qemu", "seabios"].map(|folder| root(base).join("usr/share").join(folder))
}
