use oci_spec::image::ImageConfiguration;
use serde_json::json;

use super::{arch_of, image_name, open};
use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::images::Images;
use crate::cli::table::{Table, amount};
use crate::cli::{Outcome, print, print_json, progress};
use crate::pure::name::Arch;

const AFTER_HELP: &str = "\
An image that is not in the store is built or fetched first.

Examples:
  forge image show postgres-bookworm
  forge image show postgres-bookworm --json | jq .config";

/// Show how an image starts, and its layers
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Image to show
    image: String,
    /// Architecture, amd64 or arm64 [default: this machine's]
    #[arg(long)]
    arch: Option<Arch>,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let arch = arch_of(args.arch)?;
    let opened = open(global)?;
    let name = image_name(&args.image, &opened)?;
    let images = Images::open(&opened, global)?;
    let progress = progress::Progress::start(global, "looking into the store");
    let link = images.get(&name, arch, &progress)?;
    let image = images.describe(&link)?;
    progress.finish();
    if args.json {
        let layers: Vec<_> = image
            .layers
            .iter()
            .map(|layer| {
                json!({
                    "digest": layer.link.digest, "size": layer.link.size,
                    "media_type": layer.link.media_type, "created_by": layer.created_by,
                })
            })
            .collect();
        print_json(&json!({
            "image": name, "arch": arch, "digest": link.digest,
            "config_digest": image.config.digest, "config": image.runs.config(), "layers": layers,
        }))?;
        return Ok(Outcome::Done);
    }
    let mut facts = Table::new(["what", "is"]);
    facts.row(["digest".to_owned(), link.digest.to_string()]);
    facts.row(["config".to_owned(), image.config.digest.to_string()]);
    for (what, is) in starts(&image.runs) {
        facts.row([what.to_owned(), is]);
    }
    let mut layers = Table::new(["layer", "size", "from"]);
    for layer in &image.layers {
        let digest = layer.link.digest.to_string();
        layers.row([
            digest.chars().take("sha256:".len() + 12).collect(),
            amount(layer.link.size),
            layer.created_by.clone().unwrap_or_default(),
        ]);
    }
    print(&facts.draw(&format!("{name} for {arch}")))?;
    print(&format!("\n{}", layers.draw("Layers")))?;
    Ok(Outcome::Done)
}

/// How a container of the image starts.
fn starts(image: &ImageConfiguration) -> Vec<(&'static str, String)> {
    let Some(config) = image.config() else {
        return Vec::new();
    };
    let words = |list: &Option<Vec<String>>| {
        let list = list.as_deref().unwrap_or_default();
        shlex::try_join(list.iter().map(String::as_str)).unwrap_or_else(|_| list.join(" "))
    };
    let lines = |list: &Option<Vec<String>>| list.as_deref().unwrap_or_default().join("\n");
    [
        ("user", config.user().clone().unwrap_or_default()),
        ("entrypoint", words(config.entrypoint())),
        ("command", words(config.cmd())),
        (
            "working directory",
            config.working_dir().clone().unwrap_or_default(),
        ),
        ("environment", lines(config.env())),
        ("ports", lines(config.exposed_ports())),
        (
            "stop signal",
            config.stop_signal().clone().unwrap_or_default(),
        ),
    ]
    .into_iter()
    .filter(|(_, is)| !is.is_empty())
    .collect()
}
