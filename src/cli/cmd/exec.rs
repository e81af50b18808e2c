use std::io::Read as _;
use std::sync::mpsc;

use crate::cli::Outcome;
use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::reach::{self, One};
use crate::flow::operator::remote;
use crate::pure::protocol::{Purpose, Request};

const AFTER_HELP: &str = "\
Standard input, output and error are the command's, and so is its exit code. It has no terminal: for an interactive shell, use `forge ssh NAME` and \
`docker exec -it` there.

Examples:
  forge exec postgres --host mainframe -- psql -U postgres -c 'select 1'
  forge exec postgres --host mainframe -- pg_dump -U postgres shop > shop.sql
  forge exec postgres --host mainframe -- psql -U postgres shop < shop.sql";

/// Run a command in the container of a service
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Service
    service: String,
    /// User in the container [default: the one that the service runs as]
    #[arg(long, value_name = "USER")]
    as_user: Option<String>,
    #[command(flatten)]
    one: One,
    /// Command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What is read at once, and how much of it may wait.
const CHUNK: usize = 64 << 10;
const WAITING: usize = 4;

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let reached = reach::connect(&args.one, global)?;
    let mut talk = reached
        .connect
        .open(Purpose::Change)
        .map_err(reach::not_reached)?;
    let request = Request::Exec {
        service: args.service.clone(),
        command: args.command.clone(),
        user: args.as_user.clone(),
    };
    let (sender, input) = mpsc::sync_channel(WAITING);
    // It may wait for somebody to type until the program ends: nobody waits for it.
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin();
        let mut buffer = vec![0; CHUNK];
        while let Ok(count) = stdin.read(&mut buffer) {
            if count == 0 || sender.send(buffer[..count].to_vec()).is_err() {
                break;
            }
        }
    });
    let code = remote::exec(
        &mut *talk,
        &request,
        &input,
        &mut std::io::stdout(),
        &mut std::io::stderr(),
    )
    .map_err(reach::not_done)?;
    Ok(Outcome::Code(u8::try_from(code).unwrap_or(u8::MAX)))
}
