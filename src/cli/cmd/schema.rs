use clap::ValueEnum;

use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::{Outcome, print_json, session};
use crate::pure::config::schema::{FileKind, schema};

const AFTER_HELP: &str = "\
Editors with a TOML language server (Taplo, Even Better TOML, Tombi) complete
and check a file by its schema. Name it in the first line of the file,
`#:schema ../.schemas/host.json`, or in the server's configuration.

The schemas know the modules, options, kinds and images of the project and
those that come with forge: write them again when these change. `forge check`
finds more than a schema can say.

Examples:
  forge schema host > .schemas/host.json
  forge schema module | jq '.properties.service'";

/// Print the JSON Schema of a file of the project, for editors
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// The file
    file: File,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum File {
    /// hosts/NAME.toml
    Host,
    /// modules/NAME/module.toml
    Module,
    /// images/NAME/image.toml
    Image,
    /// forge.lock
    Lock,
    /// hosts/NAME.secrets.toml
    Secrets,
    /// forge.toml
    Project,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let opened = session::browse(global)?;
    let kind = match args.file {
        File::Host => FileKind::Host,
        File::Module => FileKind::Module,
        File::Image => FileKind::Image,
        File::Lock => FileKind::Lock,
        File::Secrets => FileKind::Secrets,
        File::Project => FileKind::Project,
    };
    print_json(&schema(kind, &opened.project))?;
    Ok(Outcome::Done)
}
