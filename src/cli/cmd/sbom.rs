use std::path::PathBuf;

use super::image::{arch_of, image_beside_hosts, open};
use crate::cli::args::Global;
use crate::cli::error::{CliError, Exit};
use crate::cli::images::Images;
use crate::cli::{Outcome, print_bytes, progress, session, tell};
use crate::pure::name::Arch;

const AFTER_HELP: &str = "\
SPDX 2.3 as JSON: of an image that forge builds, every Debian package and every wheel with its version and digest; of a host, all its images, those \
of registries by their digests alone, because what is in them only their makers know. The same lock gives the same bytes.

Examples:
  forge sbom hermes-api
  forge sbom mainframe --out mainframe.spdx.json";

/// Say what is in an image, or in all images of a host
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Image or host
    #[arg(value_name = "IMAGE|HOST")]
    what: String,
    /// Architecture of an image, amd64 or arm64 [default: this machine's]
    #[arg(long)]
    arch: Option<Arch>,
    /// Write it to a file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let mut opened = open(global)?;
    let is_host = opened.text.hosts().any(|host| host == args.what);
    let progress = progress::Progress::start(global, "looking into the store");
    let bytes = if is_host {
        let host = session::host_name(&args.what)?;
        let system = session::evaluate(&mut opened, &host)?.system;
        Images::open(&opened, global)?.sbom_of_host(&system, &progress)?
    } else {
        let name = image_beside_hosts(&args.what, &opened)?;
        Images::open(&opened, global)?.sbom(&name, arch_of(args.arch)?, &progress)?
    };
    progress.finish();
    match &args.out {
        Some(path) => {
            std::fs::write(path, &bytes).map_err(|error| {
                CliError::new(
                    Exit::Failed,
                    format!("cannot write {}: {error}", path.display()),
                )
            })?;
            tell(&format!("wrote {}\n", path.display()));
        }
        None => print_bytes(&bytes)?,
    }
    Ok(Outcome::Done)
}
