//! `forge image`: what hosts run, one image at a time.

mod build;
pub(crate) mod diff;
mod export;
mod list;
mod run;
mod show;

use crate::cli::Outcome;
use crate::cli::args::Global;
use crate::cli::error::{CliError, Exit};
use crate::cli::session;
use crate::edge::packing::Compression;
use crate::flow::operator::evaluate::Opened;
use crate::pure::name::{Arch, ImageName};

const AFTER_HELP: &str = "\
An image comes from a registry, pinned by digest, or from a recipe that forge builds itself, without Docker and without root.

Examples:
  forge image list
  forge image build hermes-api                         print its digest
  forge image run -p 5432:5432 postgres-bookworm       try it in Docker
  forge image export caddy-bookworm --format docker --out - | docker load";

/// Build, list, show, export and try images
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

/// How layers are compressed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Compress {
    Gzip,
    Zstd,
}

impl From<Compress> for Compression {
    fn from(how: Compress) -> Self {
        match how {
            Compress::Gzip => Self::Gzip,
            Compress::Zstd => Self::Zstd,
        }
    }
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Build(build::Args),
    List(list::Args),
    Show(show::Args),
    Diff(diff::Args),
    Export(export::Args),
    Run(run::Args),
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    match &args.command {
        Command::Build(args) => build::run(args, global),
        Command::List(args) => list::run(args, global),
        Command::Show(args) => show::run(args, global),
        Command::Diff(args) => diff::run(args, global),
        Command::Export(args) => export::run(args, global),
        Command::Run(args) => run::run(args, global),
    }
}

/// The architecture that is meant: the one that was named, else this machine's.
pub(super) fn arch_of(named: Option<Arch>) -> Result<Arch, CliError> {
    if let Some(arch) = named {
        return Ok(arch);
    }
    match std::env::consts::ARCH {
        "x86_64" => Ok(Arch::Amd64),
        "aarch64" => Ok(Arch::Arm64),
        other => Err(CliError::new(
            Exit::Usage,
            format!("forge builds no images for this machine's architecture, {other}"),
        )
        .hint("name another: `--arch amd64` or `--arch arm64`")),
    }
}

/// The project, without mistakes.
pub(super) fn open(global: &Global) -> Result<Opened, CliError> {
    let opened = session::open(global)?;
    if opened.diagnostics.has_errors() {
        return Err(session::refuse(&opened, "the images cannot be read"));
    }
    Ok(opened)
}

/// An image of the project by its name.
pub(super) fn image_name(text: &str, opened: &Opened) -> Result<ImageName, CliError> {
    if let Ok(name) = text.parse::<ImageName>()
        && opened.project.images.contains_key(&name)
    {
        return Ok(name);
    }
    let names = opened.project.images.keys().map(ImageName::as_str);
    let error = unknown("image", text, names);
    Err(match error.hints.is_empty() {
        true => error.hint("`forge image list` lists them"),
        false => error,
    })
}

/// An image of the project by its name, where a host could be named as well and this is none.
pub(super) fn image_beside_hosts(text: &str, opened: &Opened) -> Result<ImageName, CliError> {
    image_name(text, opened).map_err(|_| {
        let images = opened.project.images.keys().map(ImageName::as_str);
        unknown("host and no image", text, images.chain(opened.text.hosts()))
    })
}

fn unknown<'a>(what: &str, text: &str, names: impl Iterator<Item = &'a str>) -> CliError {
    let error = CliError::new(Exit::Usage, format!("there is no {what} `{text}`"));
    let near = names
        .map(|name| (strsim::damerau_levenshtein(text, name), name))
        .filter(|(distance, _)| *distance <= 3)
        .min();
    match near {
        Some((_, name)) => error.hint(format!("did you mean `{name}`?")),
        None => error,
    }
}
