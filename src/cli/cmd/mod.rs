//! One file per command: its arguments, its help, a thin run.

pub(crate) mod agent;
pub(crate) mod attach;
pub(crate) mod build;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod deploy;
pub(crate) mod diff;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod fetch;
pub(crate) mod gc;
pub(crate) mod graph;
pub(crate) mod history;
pub(crate) mod image;
pub(crate) mod init;
pub(crate) mod lock;
pub(crate) mod logs;
pub(crate) mod module;
pub(crate) mod push_registry;
pub(crate) mod rollback;
pub(crate) mod sbom;
pub(crate) mod schema;
pub mod secret;
pub(crate) mod show;
pub(crate) mod ssh;
pub(crate) mod status;
pub(crate) mod unlock;
pub(crate) mod verify;

use super::Outcome;
use super::args::{Cli, Command};
use super::error::CliError;

pub(crate) fn run(cli: &Cli) -> Result<Outcome, CliError> {
    match &cli.command {
        Command::Check(args) => check::run(args, &cli.global),
        Command::Completions(args) => completions::run(args),
        Command::Explain(args) => explain::run(args, &cli.global),
        Command::Init(args) => init::run(args, &cli.global),
        Command::Lock(args) => lock::run(args, &cli.global),
        Command::Module(args) => module::run(args, &cli.global),
        Command::Schema(args) => schema::run(args, &cli.global),
        Command::Fetch(args) => fetch::run(args, &cli.global),
        Command::Image(args) => image::run(args, &cli.global),
        Command::PushRegistry(args) => push_registry::run(args, &cli.global),
        Command::Sbom(args) => sbom::run(args, &cli.global),
        Command::Build(args) => build::run(args, &cli.global),
        Command::Deploy(args) => deploy::run(args, &cli.global),
        Command::Rollback(args) => rollback::run(args, &cli.global),
        Command::Status(args) => status::run(args, &cli.global),
        Command::History(args) => history::run(args, &cli.global),
        Command::Logs(args) => logs::run(args, &cli.global),
        Command::Exec(args) => exec::run(args, &cli.global),
        Command::Ssh(args) => ssh::run(args, &cli.global),
        Command::Attach(args) => attach::run(args, &cli.global),
        Command::Unlock(args) => unlock::run(args, &cli.global),
        Command::Show(args) => show::run(args, &cli.global),
        Command::Diff(args) => diff::run(args, &cli.global),
        Command::Graph(args) => graph::run(args, &cli.global),
        Command::Gc(args) => gc::run(args, &cli.global),
        Command::Verify(args) => verify::run(args, &cli.global),
        Command::Agent(args) => agent::run(args),
        Command::Secret(args) => secret::run_for(args, &cli.global),
    }
}
