use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::plan::plain;
use crate::cli::reach::{self, One};
use crate::cli::{Outcome, tell};
use crate::flow::operator::remote;
use crate::pure::generation::Journal;
use crate::pure::protocol::Purpose;

const AFTER_HELP: &str = "\
A host is held by whoever deploys to it, until they are done. Whose program is gone holds nothing any more, and the next deploy takes over by \
itself; this is for the rest.

With --force it also takes a host as it is whose activation failed and that could not go back whole: the next deploy starts from what is there. \
`forge rollback` tries the way back again instead.

Examples:
  forge status --host mainframe            who holds it, and for how long
  forge unlock --host mainframe
  forge unlock --host mainframe --force    although that program still runs";

/// Free a host that somebody holds and does not work on any more
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Even if the program that holds it still runs, or if the host has not come back whole
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    one: One,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let reached = reach::connect(&args.one, global)?;
    let mut talk = reached
        .connect
        .open(Purpose::Change)
        .map_err(reach::not_reached)?;
    let held = talk.welcome().lease.clone();
    let journal = talk.welcome().journal.clone();
    if held.is_none() && (journal.is_none() || !args.force) {
        tell("nobody holds it\n");
        if let Some(journal) = journal.filter(Journal::is_stuck) {
            tell(&format!(
                "{}\n`--force` takes the host as it is\n",
                plain(&journal.told())
            ));
        }
        return Ok(Outcome::Done);
    }
    remote::unlock(&mut *talk, args.force).map_err(reach::not_done)?;
    if let Some(lease) = held {
        tell(&format!(
            "freed: it was held by {} ({})\n",
            plain(&lease.by),
            plain(&lease.what)
        ));
    }
    if journal.is_some() {
        tell("the host is taken as it is: the next deploy starts from what is there\n");
    }
    Ok(Outcome::Done)
}
