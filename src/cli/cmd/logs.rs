use std::io::Write as _;

use crate::cli::Outcome;
use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::reach::{self, One};
use crate::flow::operator::remote::{self, RemoteError};
use crate::pure::protocol::{Purpose, Request};

const AFTER_HELP: &str = "\
Examples:
  forge logs postgres --host mainframe
  forge logs caddy -f --host mainframe
  forge logs caddy -n 1000 --since 2h --host mainframe | grep 502";

/// Show what a service of a host writes
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Service
    service: String,
    /// Go on with what it writes from now on
    #[arg(short, long)]
    follow: bool,
    /// So many lines of the end; `all` for all of them
    #[arg(short = 'n', long, value_name = "LINES", default_value = "100")]
    tail: String,
    /// Only what was written since: a time, or how long ago, such as 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    #[command(flatten)]
    one: One,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let tail = match args.tail.as_str() {
        "all" => None,
        lines => Some(lines.parse().map_err(|_| {
            CliError::new(
                crate::cli::error::Exit::Usage,
                format!("`{lines}` is no number of lines; `all` shows all of them"),
            )
        })?),
    };
    let reached = reach::connect(&args.one, global)?;
    let mut talk = reached
        .connect
        .open(Purpose::Ask)
        .map_err(reach::not_reached)?;
    let request = Request::Logs {
        service: args.service.clone(),
        tail,
        follow: args.follow,
        since: args.since.clone(),
    };
    let mut stdout = std::io::stdout().lock();
    match remote::logs(&mut *talk, &request, &mut stdout) {
        // Who reads has enough.
        Err(RemoteError::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
        Err(error) => return Err(reach::not_done(error)),
        Ok(()) => stdout.flush().map_err(|error| CliError::failed(&error))?,
    }
    Ok(Outcome::Done)
}
