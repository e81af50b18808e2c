use std::time::Duration;

use crate::cli::args::Global;
use crate::cli::deploying::{self, Consent, Watcher};
use crate::cli::error::CliError;
use crate::cli::progress::Progress;
use crate::cli::reach::{self, One};
use crate::cli::{Outcome, print_json, tell};
use crate::edge::patience::Waiting;
use crate::edge::reach::Network;
use crate::flow::operator::deploy::{self, Site};

const AFTER_HELP: &str = "\
Shows the activation that runs, from its first event, or how the last one ended. If it is your own and waits to be confirmed, it is confirmed: that \
you got here is what a confirmation proves. Another's is only shown.

Exit codes: as those of `forge deploy`.

Examples:
  forge attach --host mainframe
  sudo forge attach              on the host itself";

/// Follow the activation that runs on a host, after contact was lost
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Print how it ended as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    one: One,
}

/// As long as is tried to find a connection that is lost meanwhile.
const PATIENCE: Duration = Duration::from_secs(300);
const KNOCK: Duration = Duration::from_secs(3);

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let reached = reach::connect(&args.one, global)?;
    let name = reached.name.as_ref().map(ToString::to_string);
    let shown = name.clone().unwrap_or_else(|| "this machine".to_owned());
    let consent = Consent::none(args.json, PATIENCE);
    let progress = Progress::start(global, "");
    let mut watcher = Watcher::new(&consent, global, &progress, "", None);
    let mut site = Site {
        name,
        connect: &*reached.connect,
        patience: &Waiting::start(),
        reach: &Network { limit: KNOCK },
        person: &mut watcher,
        deadline: PATIENCE,
    };
    let outcome = deploy::attach(&mut site, &reached.operator.name);
    progress.finish();
    if args.json {
        print_json(&deploying::to_json(
            &shown,
            &outcome,
            &watcher,
            reached.connect.sent(),
            0,
        ))?;
    } else if !global.quiet {
        tell(&deploying::sentence(&outcome, &shown).unwrap_or_default());
    }
    deploying::exit(&outcome, &consent, &shown)
}
