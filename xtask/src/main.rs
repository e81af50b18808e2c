//! The only task runner of this workspace: `cargo xtask --help`. What each task does, and what it needs from the
//! machine, stands in `docs/testing.md`.

mod apt_sources;
mod arch;
mod bench;
mod compose;
mod generate;
mod packages;
mod process;
mod test;
mod tools;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "The task runner of the forge workspace"
)]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Everything that must hold before a commit: tools, format, lints, architecture, generated files, all tests
    Test(test::Args),
    /// Only the first step of `test`: install or find the programs with which rendered files are checked
    Tools(tools::Args),
    /// Check who may use whom among the rooms of `src/`, and the size and shape of its files
    Arch,
    /// Write the generated files: schemas, references, golden digests
    Gen(generate::Args),
    /// Measure whole processes against their targets; prints, never fails on a time
    Bench(bench::Args),
    /// A bare Debian host as a virtual machine: what deploys are tried and tested on
    Vm(vm::Args),
}

fn main() -> ExitCode {
    let done = match Args::parse().task {
        Task::Test(args) => test::run(&args),
        Task::Tools(args) => tools::run(&args),
        Task::Arch => arch::run(),
        Task::Gen(args) => generate::run(&args),
        Task::Bench(args) => bench::run(&args),
        Task::Vm(args) => vm::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
