//! The programs with which tests check what forge renders: found, installed, or named as missing.

use anyhow::Result;

use crate::{compose, packages, vm};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Install nothing: fail, naming what is missing
    #[arg(long)]
    no_install: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    ensure(!args.no_install)?;
    vm::ensure()
}

/// All but the virtual machine.
pub(crate) fn ensure(install: bool) -> Result<()> {
    packages::ensure(install)?;
    println!("all {} programs are here", packages::TOOLS.len());
    let (binary, version) = compose::ensure(install)?;
    println!("{version} at {}", binary.display());
    Ok(())
}
