use std::io::IsTerminal as _;
use std::path::PathBuf;

use super::{Compress, arch_of, image_name, open};
use crate::cli::args::Global;
use crate::cli::error::{CliError, Exit};
use crate::cli::images::{Images, built_name};
use crate::cli::table::amount;
use crate::cli::{Outcome, print, progress, tell};
use crate::edge::store::export::{Form, Target, export_image, stream_image};
use crate::flow::progress::Progress as _;
use crate::pure::name::Arch;

const AFTER_HELP: &str = "\
The layers are written as they are in the store, uncompressed, so that the digest stays what forge.lock says; with `--compress` the \
manifest is another one, whose digest is printed. The form `docker` is an OCI image layout too.

Examples:
  forge image export redis-bookworm --out redis/                         for skopeo, umoci, podman
  forge image export redis-bookworm --out redis.tar --compress zstd
  forge image export redis-bookworm --format docker --out - | docker load";

/// Write an image as an OCI image layout or for `docker load`
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Args {
    /// Image to export
    image: String,
    /// Where to: a folder, a file if it ends in .tar, or `-` for standard output
    #[arg(long, value_name = "DIR|FILE.tar|-")]
    out: PathBuf,
    /// What the archive is for
    #[arg(long, value_enum, default_value = "oci")]
    format: Format,
    /// Compress the layers
    #[arg(long, value_enum, value_name = "HOW")]
    compress: Option<Compress>,
    /// Name that it carries, as REPOSITORY:TAG [default: forge.invalid/IMAGE:ARCH]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Architecture, amd64 or arm64 [default: this machine's]
    #[arg(long)]
    arch: Option<Arch>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Oci,
    Docker,
}

pub(super) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let arch = arch_of(args.arch)?;
    let opened = open(global)?;
    let name = image_name(&args.image, &opened)?;
    let to_stdout = args.out.as_os_str() == "-";
    if to_stdout && std::io::stdout().is_terminal() {
        return Err(
            CliError::new(Exit::Usage, "an archive is nothing for a terminal")
                .hint("pipe it, as in `forge image export IMAGE --format docker --out - | docker load`, or name a file"),
        );
    }
    let form = match args.format {
        Format::Oci => Form::Oci,
        Format::Docker => Form::Docker,
    };
    let target = Target::of(&args.out);
    if form == Form::Docker && !to_stdout && matches!(target, Target::Folder(_)) {
        return Err(
            CliError::new(Exit::Usage, "`docker load` reads an archive, not a folder")
                .hint("name a file that ends in .tar"),
        );
    }
    let images = Images::open(&opened, global)?;
    let progress = progress::Progress::start(global, "looking into the store");
    let mut link = images.get(&name, arch, &progress)?;
    if let Some(compress) = args.compress {
        let bytes = images
            .describe(&link)?
            .layers
            .iter()
            .map(|l| l.link.size)
            .sum();
        progress.begin("compressing", 1, bytes);
        link = images.compress(&link, compress.into(), &progress)?;
    }
    progress.say("exporting");
    let full = match &args.name {
        Some(full) => full.clone(),
        None => built_name(&name, arch),
    };
    let failed = |error| CliError::failed(&error);
    let exported = if to_stdout {
        stream_image(images.store(), &link, &full, form, &mut std::io::stdout()).map_err(failed)?
    } else {
        export_image(images.store(), &link, &full, form, &target).map_err(failed)?
    };
    progress.finish();
    if !global.quiet {
        tell(&format!(
            "exported {full} to {}: {}\n",
            if to_stdout {
                "standard output".into()
            } else {
                args.out.display().to_string()
            },
            amount(exported.bytes)
        ));
    }
    if !to_stdout {
        print(&format!("{}\n", link.digest))?;
    }
    Ok(Outcome::Done)
}
