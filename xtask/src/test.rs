//! `cargo xtask test`: the whole gate, step by step; the first step that fails ends it.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{arch, compose, generate, packages, process, tools, vm, workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Install nothing: fail, naming what is missing
    #[arg(long)]
    no_install: bool,
    /// Run only the tests whose names contain one of these (the other steps run all the same)
    filter: Vec<String>,
}

type Step<'a> = (&'a str, Box<dyn Fn() -> Result<()> + 'a>);

pub(crate) fn run(args: &Args) -> Result<()> {
    let steps: [Step<'_>; 7] = [
        ("tools", Box::new(|| tools::ensure(!args.no_install))),
        ("fmt", Box::new(|| cargo(&["fmt", "--all", "--check"]))),
        (
            "clippy",
            Box::new(|| {
                cargo(&[
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--",
                    "-D",
                    "warnings",
                ])
            }),
        ),
        ("arch", Box::new(arch::run)),
        ("build", Box::new(|| beside(vm::ensure, build))),
        ("gen --check", Box::new(generate::check)),
        ("cargo test", Box::new(|| tests(&args.filter))),
    ];
    let count = steps.len();
    let begin = Instant::now();
    for (number, (name, step)) in steps.iter().enumerate() {
        println!("\n==> {}/{count} {name}", number + 1);
        let begin = Instant::now();
        step().with_context(|| {
            format!(
                "cargo xtask test: step {}/{count} `{name}` failed",
                number + 1
            )
        })?;
        println!("<== {name}: ok, {:.1} s", begin.elapsed().as_secs_f64());
    }
    // The closing line by which a log is known to be whole.
    println!(
        "\ncargo xtask test: all {count} steps passed, {:.1} s",
        begin.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Both at once: the first waits for downloads, and for a machine that boots.
fn beside(first: fn() -> Result<()>, second: fn() -> Result<()>) -> Result<()> {
    let first = std::thread::spawn(first);
    second()?;
    match first.join() {
        Ok(done) => done,
        Err(_) => bail!("it panicked"),
    }
}

fn build() -> Result<()> {
    generate::build(&workspace::root()?).map(drop)
}

fn cargo(arguments: &[&str]) -> Result<()> {
    process::show(
        Command::new("cargo")
            .args(arguments)
            .current_dir(workspace::root()?),
    )
}

/// Plain `cargo test`: it is everywhere where Rust is, and it builds the `forge` binary that the tests run.
fn tests(filter: &[String]) -> Result<()> {
    let mut command = Command::new("cargo");
    command
        .args(["test", "--workspace"])
        .current_dir(workspace::root()?);
    command
        .env("PATH", packages::search_path()?)
        .env(compose::VARIABLE, compose::path()?);
    if !filter.is_empty() {
        command.arg("--").args(filter);
    }
    process::show(&mut command)
}
