use serde_json::json;

use super::image::{Compress, arch_of, image_beside_hosts, open};
use crate::cli::args::Global;
use crate::cli::error::{CliError, Exit};
use crate::cli::images::Images;
use crate::cli::{Outcome, bundles, print, print_json, progress, session, tell};
use crate::edge::store::find_bundle;
use crate::flow::operator::push::{Push, push};
use crate::pure::name::Arch;
use crate::pure::oci::Reference;

const AFTER_HELP: &str = "\
A host's last build goes as it is in the store, with the images that are in its bundle. An image goes with its bill of materials; with `--compress` its \
layers are packed on the way, and the digest is another one, which is printed. Logins are those of `docker login`.

Examples:
  forge push-registry mainframe registry.example.com/hosts/mainframe:2026-11
  forge push-registry hermes-api registry.example.com/hermes-api:1.0 --compress zstd";

/// Push the last build of a host, or an image, to a registry
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Host or image
    #[arg(value_name = "HOST|IMAGE")]
    what: String,
    /// Where to, as REGISTRY/REPOSITORY:TAG
    to: String,
    /// Pack the layers of an image
    #[arg(long, value_enum, value_name = "HOW")]
    compress: Option<Compress>,
    /// Architecture of an image, amd64 or arm64 [default: this machine's]
    #[arg(long)]
    arch: Option<Arch>,
    /// Print what is there now as JSON
    #[arg(long)]
    json: bool,
}

/// Blobs sent at once.
const UPLOADS: usize = 4;

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let reference: Reference =
        args.to
            .parse()
            .map_err(|error: crate::pure::oci::ReferenceError| {
                CliError::new(Exit::Usage, error.to_string())
            })?;
    if let Some(digest) = reference.digest {
        return Err(CliError::new(
            Exit::Usage,
            format!("a push gives a tag to what is there, and `{digest}` is a digest"),
        )
        .hint("write REGISTRY/REPOSITORY:TAG"));
    }
    let opened = open(global)?;
    let images = Images::open(&opened, global)?;
    let progress = progress::Progress::start(global, "looking into the store");
    let is_host = opened.text.hosts().any(|host| host == args.what);
    let root = if is_host {
        let name = bundles::ref_name(&opened, &session::host_name(&args.what)?)?;
        let failed = |error| CliError::failed(&error);
        let built = find_bundle(images.store(), &name).map_err(failed)?;
        let root = images.store().refs().map_err(failed)?.remove(&name);
        match (built, root) {
            (Some(_), Some(root)) => root,
            _ => {
                return Err(CliError::new(
                    Exit::No,
                    format!("`{}` was never built into this store", args.what),
                )
                .hint(format!("`forge build {}` builds it", args.what)));
            }
        }
    } else {
        let name = image_beside_hosts(&args.what, &opened)?;
        images.get(&name, arch_of(args.arch)?, &progress)?
    };
    let tags: Vec<String> = reference.tag().map(str::to_owned).into_iter().collect();
    let registry = images.registry(&Images::http()?);
    let pushed = push(
        &registry,
        images.store(),
        &Push {
            repository: &reference.repository,
            root: &root,
            tags: &tags,
            compress: args.compress.map(Into::into),
            referrers: true,
            mount: None,
            jobs: UPLOADS,
        },
        &progress,
    )
    .map_err(|error| CliError::failed(&error))?;
    progress.finish();
    if args.json {
        print_json(&json!({ "pushed": args.what, "to": args.to, "digest": pushed.digest }))?;
        return Ok(Outcome::Done);
    }
    if !global.quiet {
        tell(&format!("pushed {} to {}\n", args.what, args.to));
    }
    print(&format!("{}\n", pushed.digest))?;
    Ok(Outcome::Done)
}
