use std::io::IsTerminal as _;

use serde_json::json;

use super::{arch_of, image_name, open};
use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::images::Images;
use crate::cli::table::{amount, counted};
use crate::cli::{Outcome, print, print_json, progress, tell};
use crate::pure::name::Arch;

const AFTER_HELP: &str = "\
The digest of each manifest is printed; alone, when the output is no terminal. What comes out is what forge.lock says, on every machine, or the \
build stops and says which layers differ. An image of a registry is fetched.

Examples:
  forge image build hermes-api
  forge image build --arch arm64 caddy-bookworm redis-bookworm";

/// Build images, and print their digests
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Images to build
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
    /// Architecture to build for, amd64 or arm64 [default: this machine's]
    #[arg(long)]
    arch: Option<Arch>,
    /// Packages to unpack at once [default: one for each processor]
    #[arg(short, long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// Print what was built as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let arch = arch_of(args.arch)?;
    let opened = open(global)?;
    let names = args
        .images
        .iter()
        .map(|text| image_name(text, &opened))
        .collect::<Result<Vec<_>, _>>()?;
    let images = Images::open(&opened, global)?.jobs(args.jobs);
    let progress = progress::Progress::start(global, "looking into the store");
    let mut built = Vec::with_capacity(names.len());
    for name in names {
        let link = images.get(&name, arch, &progress)?;
        let described = images.describe(&link)?;
        built.push((name, link, described));
    }
    progress.finish();
    let size = |image: &crate::pure::oci::image::Image| {
        image
            .layers
            .iter()
            .map(|layer| layer.link.size)
            .sum::<u64>()
    };
    if args.json {
        let list: Vec<_> = built
            .iter()
            .map(|(name, link, image)| {
                json!({
                    "image": name, "arch": arch, "digest": link.digest,
                    "config": image.config.digest, "layers": image.layers.len(), "size": size(image),
                })
            })
            .collect();
        print_json(&json!(list))?;
        return Ok(Outcome::Done);
    }
    let person = std::io::stdout().is_terminal();
    for (name, link, image) in &built {
        if !global.quiet {
            tell(&format!(
                "{name} for {arch}: {}, {}\n",
                counted(image.layers.len(), "layer"),
                amount(size(image))
            ));
        }
        if person {
            let bold = anstyle::Style::new().bold();
            print(&format!("{bold}{}{bold:#}\n", link.digest))?;
        } else {
            print(&format!("{}\n", link.digest))?;
        }
    }
    Ok(Outcome::Done)
}
