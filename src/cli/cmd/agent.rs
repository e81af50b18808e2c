use clap::Subcommand;

use crate::cli::Outcome;
use crate::cli::error::{CliError, Exit};
use crate::edge::host::events::{EventLog, Header};
use crate::edge::host::paths::Paths;
use crate::edge::host::state::State;
use crate::edge::store::{DiskStore, Options};
use crate::flow::host::confirm::secrets_at_boot;
use crate::flow::host::serve;
use crate::flow::host::serve::live::Live;
use crate::flow::host::tell::{Tell, ToLog};
use crate::flow::host::{Host, HostError, activate, recover};
use crate::pure::protocol::{Ending, Event};

/// What forge does on a host; forge itself runs it there
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Agent,
}

#[derive(Debug, Subcommand)]
enum Agent {
    /// Do what the request of the activation says
    Activate,
    /// Return to the current generation from an activation that is not finished
    Recover {
        /// The machine has just been started
        #[arg(long)]
        boot: bool,
    },
    /// Put what stands in memory alone in its place, before Docker starts: secrets above all
    Secrets,
    /// Answer a laptop on stdin and stdout
    Serve,
}

pub(crate) fn run(args: &Args) -> Result<Outcome, CliError> {
    match args.command {
        Agent::Activate => ended(activate_now()?),
        Agent::Recover { boot } => match recover_now(boot)? {
            // That is what it was to do: the unit has not failed.
            Some(Ending::RolledBack { .. }) => Ok(Outcome::Done),
            ending => ended(ending),
        },
        Agent::Secrets => {
            secrets_at_boot(&open()?).map_err(failed)?;
            Ok(Outcome::Done)
        }
        Agent::Serve => {
            answer();
            Ok(Outcome::Done)
        }
    }
}

/// Speaks the protocol. Nothing else may come out of stdout, and stderr is the laptop's terminal: how it went was told in the conversation.
/// A laptop that goes away closes both; where that comes as a signal, its default ends the process, and whatever it held is free.
fn answer() {
    // Unlocked and unbuffered: each frame is written at once.
    let mut to = std::io::BufWriter::with_capacity(64 << 10, std::io::stdout());
    match open() {
        Ok(host) => {
            let _ = serve::serve(&host, Box::new(std::io::stdin()), &mut to, &Live);
        }
        Err(error) => serve::cannot(&mut to, &error.to_string()),
    }
}

/// The host that this program runs on.
fn open() -> Result<Host, CliError> {
    let paths = Paths::default();
    let store = DiskStore::open(&paths.store(), Options::default())
        .map_err(|error| CliError::failed(&error))?;
    Ok(Host { paths, store })
}

fn failed(error: HostError) -> CliError {
    let hint = match &error {
        HostError::Refused { hint, .. } => hint.clone(),
        _ => None,
    };
    let error = CliError::failed(&error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn log(host: &Host) -> Result<ToLog, CliError> {
    let state = State::open(&host.paths).map_err(|error| CliError::failed(&error))?;
    let journal = state
        .journal()
        .map_err(|error| CliError::failed(&error))?
        .map(|journal| (journal.to, journal.token));
    let request = state
        .request()
        .map_err(|error| CliError::failed(&error))?
        .map(|request| (request.to, request.token));
    let (generation, token) = journal.or(request).unwrap_or_default();
    EventLog::go_on(&host.paths, &Header::new(generation, &token))
        .map(ToLog)
        .map_err(|error| CliError::failed(&error))
}

fn activate_now() -> Result<Option<Ending>, CliError> {
    let host = open()?;
    Ok(activate::run(&host, &log(&host)?))
}

fn recover_now(boot: bool) -> Result<Option<Ending>, CliError> {
    let host = open()?;
    if !recover::is_wanted(&host).map_err(failed)? {
        return Ok(None);
    }
    let log = log(&host)?;
    recover::recover(&host, boot, &log).map_err(|error| {
        let log: &dyn Tell = &log;
        log.tell(Event::Failed {
            step: "recovery".to_owned(),
            why: error.to_string(),
        });
        failed(error)
    })
}

/// What systemd's journal says of the unit.
fn ended(ending: Option<Ending>) -> Result<Outcome, CliError> {
    match ending {
        None | Some(Ending::AwaitingConfirmation { .. } | Ending::Confirmed { .. }) => {
            Ok(Outcome::Done)
        }
        Some(Ending::Refused { step, why }) => {
            Err(CliError::new(Exit::No, format!("refused at {step}: {why}")))
        }
        Some(Ending::RolledBack {
            generation,
            step,
            why,
        }) => Err(CliError::new(
            Exit::No,
            format!("{step}: {why}; the host is at generation {generation} again"),
        )),
        Some(Ending::Incomplete {
            generation,
            step,
            why,
            left,
        }) => Err(CliError::new(
            Exit::Failed,
            format!(
                "{step}: {why}; the host could not be brought back to generation {generation}: {}",
                left.join(", ")
            ),
        )),
    }
}
