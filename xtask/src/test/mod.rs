//! `cargo xtask test`: the whole gate, step by step; the first step that fails ends it.
//!
//! The tests on virtual machines take as long as everything else together, and leave a good part of two processors idle. So they run
//! from when they are built, beside the other steps, which give way to them.

mod machines;
mod programs;

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{arch, generate, process, tools, vm, workspace};
use machines::Machines;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Install nothing: fail, naming what is missing
    #[arg(long)]
    no_install: bool,
    /// Run only the tests whose names contain one of these (the other steps run all the same)
    filter: Vec<String>,
}

const STEPS: usize = 8;

pub(crate) fn run(args: &Args) -> Result<()> {
    let begin = Instant::now();
    let mut steps = Steps { number: 0 };
    steps.next("tools", || tools::ensure(!args.no_install))?;
    steps.next("fmt", || cargo(&["fmt", "--all", "--check"]))?;
    let on_machines = steps.next("build", || beside(vm::ensure, programs::on_machines))?;
    // Stopped if a step fails.
    let machines = Machines::start(&on_machines, &args.filter)?;
    process::give_way()?;
    steps.next("clippy", || {
        cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])
    })?;
    steps.next("arch", arch::run)?;
    steps.next("gen --check", generate::check)?;
    steps.next("cargo test", || programs::others(&args.filter))?;
    steps.next("cargo test --test vm", || machines.finish())?;
    // The closing line by which a log is known to be whole.
    println!(
        "\ncargo xtask test: all {} steps passed, {:.1} s",
        steps.number,
        begin.elapsed().as_secs_f64()
    );
    Ok(())
}

#[derive(Debug)]
struct Steps {
    number: usize,
}

impl Steps {
    fn next<T>(&mut self, name: &str, step: impl FnOnce() -> Result<T>) -> Result<T> {
        self.number += 1;
        println!("\n==> {}/{STEPS} {name}", self.number);
        let begin = Instant::now();
        let done = step().with_context(|| {
            format!(
                "cargo xtask test: step {}/{STEPS} `{name}` failed",
                self.number
            )
        })?;
        println!("<== {name}: ok, {:.1} s", begin.elapsed().as_secs_f64());
        Ok(done)
    }
}

/// Both at once: the first waits for downloads and for a machine that boots.
fn beside<T>(first: fn() -> Result<()>, second: fn() -> Result<T>) -> Result<T> {
    let first = std::thread::spawn(first);
    let second = second()?;
    match first.join() {
        Ok(done) => done.map(|()| second),
        Err(_) => bail!("it panicked"),
    }
}

fn cargo(arguments: &[&str]) -> Result<()> {
    process::show(
        Command::new("cargo")
            .args(arguments)
            .current_dir(workspace::root()?),
    )
}
