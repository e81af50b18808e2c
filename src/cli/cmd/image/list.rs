use serde_json::json;

use super::{arch_of, open};
use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::images::Images;
use crate::cli::table::{Table, amount};
use crate::cli::{Outcome, print, print_json};
use crate::pure::config::image::ImageSource;
use crate::pure::name::Arch;

const AFTER_HELP: &str = "\
The size is that of the layers, where the store has them; images of registries are left to the hosts unless they are fetched.

Examples:
  forge image list
  forge image list --json | jq -r '.[].name'";

/// List the images of the project and of the catalogue
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Architecture, amd64 or arm64 [default: this machine's]
    #[arg(long)]
    arch: Option<Arch>,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let arch = arch_of(args.arch)?;
    let opened = open(global)?;
    let images = Images::open(&opened, global)?;
    let mut table = Table::new(["name", "from", "digest", "stored"]);
    let mut list = Vec::new();
    for (name, image) in &opened.project.images {
        let digest = images.pinned(name, arch);
        let stored = images.present(name, arch)?;
        let size = match &stored {
            Some(link) => {
                let image = images.describe(link)?;
                Some(
                    image
                        .layers
                        .iter()
                        .map(|layer| layer.link.size)
                        .sum::<u64>(),
                )
            }
            None => None,
        };
        let from = match &image.source {
            ImageSource::Registry(registry) => {
                format!("{}:{}", registry.repository, registry.tag)
            }
            ImageSource::Recipe(_) => "recipe".to_owned(),
        };
        list.push(json!({
            "name": name, "summary": image.summary, "from": from, "digest": digest, "size": size,
        }));
        let short = |digest: String| digest.chars().take("sha256:".len() + 12).collect();
        table.row([
            name.to_string(),
            from,
            digest.map_or("not locked".to_owned(), |digest| short(digest.to_string())),
            size.map_or("-".to_owned(), amount),
        ]);
    }
    if args.json {
        print_json(&json!(list))?;
    } else {
        print(&table.draw(&format!("Images for {arch}")))?;
    }
    Ok(Outcome::Done)
}
