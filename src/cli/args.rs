//! The command line.

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::cmd;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::BrightGreen.on_default().bold())
    .usage(AnsiColor::BrightGreen.on_default().bold())
    .literal(AnsiColor::BrightCyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const AFTER_HELP: &str = "\
Examples:
  forge init                    make a project in an empty folder
  forge check                   say everything that is wrong with the project
  forge lock                    pin every image
  forge build mainframe         build the bundle of a host, print its digest
  forge diff mainframe          what changed since the last build
  forge deploy mainframe        show what would change on the host, ask, and change it
  forge status --host mainframe how the host is, and what drifted
  forge rollback --host mainframe
  forge explain F0306           what a diagnostic means

Exit codes:
  0  done; of a deploy: and confirmed by the host, or there was nothing to do
  1  it ran, and the answer is no: mistakes in the project, damaged blobs, drift, a refusal. Hosts are as they were
  2  wrong usage
  3  it could not run: a file cannot be read, a host cannot be reached. Hosts are as they were
  4  the host was changed, that failed, and it is again as it was
  5  the same, and going back failed too: `forge status` says what is left
  6  contact was lost while the host was being changed: `forge attach` asks again
  7  nothing to do, with --detailed-exitcode";

/// A whole server declared in TOML, built into one content-addressed bundle
#[derive(Debug, Parser)]
#[command(name = "forge", version, styles = STYLES, after_help = AFTER_HELP, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Folder of the project
    #[arg(
        short = 'C',
        long,
        global = true,
        value_name = "DIR",
        default_value = ".",
        env = "FORGE_PROJECT",
        help_heading = "Global options"
    )]
    pub project: PathBuf,
    /// Folder of the store [default: forge/store in the user's cache folder]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "FORGE_STORE",
        help_heading = "Global options"
    )]
    pub store: Option<PathBuf>,
    /// When to use colours; NO_COLOR is obeyed too
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Global options"
    )]
    pub color: ColorChoice,
    /// Say nothing but results and errors
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub quiet: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum ColorChoice {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Init(cmd::init::Args),
    Check(cmd::check::Args),
    Explain(cmd::explain::Args),
    Module(cmd::module::Args),
    Schema(cmd::schema::Args),
    Completions(cmd::completions::Args),
    Lock(cmd::lock::Args),
    Build(cmd::build::Args),
    Image(cmd::image::Args),
    Fetch(cmd::fetch::Args),
    Sbom(cmd::sbom::Args),
    PushRegistry(cmd::push_registry::Args),
    Deploy(cmd::deploy::Args),
    Rollback(cmd::rollback::Args),
    Status(cmd::status::Args),
    History(cmd::history::Args),
    Logs(cmd::logs::Args),
    Exec(cmd::exec::Args),
    Ssh(cmd::ssh::Args),
    Attach(cmd::attach::Args),
    Unlock(cmd::unlock::Args),
    Show(cmd::show::Args),
    Diff(cmd::diff::Args),
    Graph(cmd::graph::Args),
    Gc(cmd::gc::Args),
    Verify(cmd::verify::Args),
    Secret(cmd::secret::Args),
    Agent(cmd::agent::Args),
}
