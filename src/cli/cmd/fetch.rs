use std::collections::BTreeSet;

use serde_json::json;

use super::image::{arch_of, image_name, open};
use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::images::Images;
use crate::cli::table::counted;
use crate::cli::{Outcome, print_json, progress, session, tell};
use crate::pure::config::image::ImageSource;
use crate::pure::name::{Arch, ImageName};

const AFTER_HELP: &str = "\
With nothing named: everything that the hosts of the project use. Packages and wheels of recipes are kept until the lock moves on, so that a build \
needs no network, and outlives the mirror that they came from. Images of registries are fetched whole.

Examples:
  forge fetch                       before a journey
  forge fetch mainframe             what one host uses
  forge fetch --image hermes-api    what one image is built from";

/// Fill the store with all that builds need
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Hosts whose images are fetched
    #[arg(value_name = "HOST")]
    hosts: Vec<String>,
    /// Images to fetch
    #[arg(long, value_name = "IMAGE")]
    image: Vec<String>,
    /// Leave out the images of registries
    #[arg(long)]
    recipes_only: bool,
    /// Architecture of the images named by `--image`, amd64 or arm64 [default: this machine's]
    #[arg(long)]
    arch: Option<Arch>,
    /// Print what is there now as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let mut opened = open(global)?;
    let mut wanted: BTreeSet<(ImageName, Arch)> = BTreeSet::new();
    for text in &args.image {
        wanted.insert((image_name(text, &opened)?, arch_of(args.arch)?));
    }
    let hosts: Vec<String> = if args.hosts.is_empty() && args.image.is_empty() {
        opened.text.hosts().map(str::to_owned).collect()
    } else {
        args.hosts.clone()
    };
    for host in &hosts {
        let system = session::evaluate(&mut opened, &session::host_name(host)?)?.system;
        let arch = system
            .host
            .arch
            .parse()
            .map_err(|error: crate::pure::name::ArchError| CliError::failed(&error))?;
        wanted.extend(system.images.into_keys().map(|name| (name, arch)));
    }
    if args.recipes_only {
        wanted.retain(|(name, _)| {
            let image = opened.project.images.get(name);
            image.is_some_and(|image| matches!(image.source, ImageSource::Recipe(_)))
        });
    }
    let images = Images::open(&opened, global)?;
    let progress = progress::Progress::start(global, "looking into the store");
    for (name, arch) in &wanted {
        images.fetch(name, *arch, &progress)?;
    }
    progress.finish();
    if args.json {
        let list: Vec<_> = wanted
            .iter()
            .map(|(name, arch)| json!({ "image": name, "arch": arch }))
            .collect();
        print_json(&json!(list))?;
    } else if !global.quiet {
        tell(&format!(
            "the store has all that {} need{}\n",
            counted(wanted.len(), "image"),
            if wanted.len() == 1 { "s" } else { "" }
        ));
    }
    Ok(Outcome::Done)
}
