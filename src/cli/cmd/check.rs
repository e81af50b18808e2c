use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::table::counted;
use crate::cli::{Outcome, print_json, report, session, tell};

const AFTER_HELP: &str = "\
Examples:
  forge check                   every host of the project
  forge check mainframe dr      these hosts
  forge check --json | jq .     for editors and CI";

/// Say everything that is wrong with the project, and build nothing
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Hosts to check [default: all]
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// Print the diagnostics as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let mut opened = session::open(global)?;
    let names: Vec<String> = if args.hosts.is_empty() {
        opened.text.hosts().map(str::to_owned).collect()
    } else {
        args.hosts.clone()
    };
    for name in &names {
        let name = session::host_name(name)?;
        opened.draft(&name);
    }
    if args.json {
        print_json(&report::to_json(&opened.diagnostics, &opened.sources))?;
    } else {
        tell(&report::draw(&opened.diagnostics, &opened.sources));
        let verdict = match report::count(&opened.diagnostics) {
            Some(count) => format!("checked {}: {count}\n", counted(names.len(), "host")),
            None => format!("checked {}: no mistakes\n", counted(names.len(), "host")),
        };
        if !global.quiet || opened.diagnostics.has_errors() {
            tell(&verdict);
        }
    }
    Ok(if opened.diagnostics.has_errors() {
        Outcome::No
    } else {
        Outcome::Done
    })
}
