use std::time::{Duration, Instant};

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
Everything that forge has put there goes back as one: images, configuration, firewall, users, units, secrets. What cannot be undone is data: what \
services have written into their volumes and databases since stays as it is. Generation 0 is the host as it was found: forge's files go, what they \
replaced comes back, accounts are locked, packages and data stay.

An activation that is unfinished is ended, and one that could not go back whole is sent on its way back again, if no other generation is named.

It is confirmed over a new connection as a deploy is, and the host goes forward again by itself if it is not. On the host itself, as root, no \
laptop and no network is needed; the new connection is then one to the agent of the machine.

Exit codes: as those of `forge deploy`.

Examples:
  forge rollback --host mainframe            to the generation before
  forge rollback --host mainframe --to 12
  forge rollback --host mainframe --plan     only show what would be done
  sudo forge rollback --yes                  on the host itself";

/// Go back to an earlier generation of a host
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Generation to go to [default: the last confirmed one before the current]
    #[arg(long, value_name = "N")]
    to: Option<u64>,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    one: One,
}

const KNOCK: Duration = Duration::from_secs(3);

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let reached = reach::connect(&args.one, global)?;
    args.consent.check()?;
    let name = reached.name.as_ref().map(ToString::to_string);
    let shown = name.clone().unwrap_or_else(|| "this machine".to_owned());
    let question = format!("Go back on {shown}? What services have written since is not undone.");
    let progress = Progress::start(global, "");
    let mut watcher = Watcher::new(&args.consent, global, &progress, question, None);
    let started = Instant::now();
    let mut site = Site {
        name,
        connect: &*reached.connect,
        patience: &Waiting::start(),
        reach: &Network { limit: KNOCK },
        person: &mut watcher,
        deadline: args.consent.deadline,
    };
    let outcome = deploy::rollback(&mut site, args.to);
    progress.finish();
    if args.consent.json {
        let seconds = started.elapsed().as_secs();
        let total = reached.connect.sent();
        print_json(&deploying::to_json(
            &shown, &outcome, &watcher, total, seconds,
        ))?;
    } else if !global.quiet {
        tell(&deploying::sentence(&outcome, &shown).unwrap_or_default());
    }
    deploying::exit(&outcome, &args.consent, &shown)
}
