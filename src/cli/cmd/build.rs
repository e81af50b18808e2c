use std::io::IsTerminal as _;
use std::path::PathBuf;

use serde_json::json;

use crate::cli::args::Global;
use crate::cli::building::{Built, build};
use crate::cli::error::CliError;
use crate::cli::images::Images;
use crate::cli::table::counted;
use crate::cli::{Outcome, bundles, print, print_json, progress, report, session, tell};
use crate::edge::store::export::{Target, export};
use crate::pure::oci::RefName;

const AFTER_HELP: &str = "\
The digest is printed last; alone, when the output is no terminal. The same project gives the same digest on every machine.

Examples:
  forge build mainframe                       into the store in the cache folder
  forge build mainframe --out mainframe.tar   and as an OCI layout for other tools
  forge build mainframe --vendor              with the images of registries in it
  DIGEST=$(forge build mainframe)             for scripts";

/// Build the bundle of a host, and print its digest
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Host to build
    host: String,
    /// Also export the bundle as an OCI image layout: a folder, or a file if it ends in .tar
    #[arg(long, value_name = "DIR|FILE.tar")]
    out: Option<PathBuf>,
    /// Put the images of registries into the bundle too, for hosts that cannot reach them
    #[arg(long)]
    vendor: bool,
    /// Packages to unpack at once [default: one for each processor]
    #[arg(short, long, value_name = "N")]
    jobs: Option<std::num::NonZeroUsize>,
    /// Print what was built as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let progress = progress::Progress::start(global, &format!("building {}", args.host));
    let mut opened = session::open(global)?;
    let host = session::host_name(&args.host)?;
    let drafted = session::draft(&mut opened, &host)?;
    let (files, images) = (drafted.rendered.files.len(), drafted.draft.images.len());
    let services = drafted.system.services.len();
    let images_of = Images::open(&opened, global)?.jobs(args.jobs);
    let Built {
        sealed,
        present,
        written,
        ..
    } = build(&opened, &images_of, drafted, args.vendor, &progress)?;
    let digest = sealed.digest();
    let store = images_of.store();
    if let Some(out) = &args.out {
        progress.say("exporting");
        let package = sealed
            .package_index(&present)
            .map_err(|error| CliError::failed(&error))?;
        let tag = host
            .as_str()
            .parse::<RefName>()
            .map_err(|error| CliError::failed(&error))?;
        export(store, &package.root, &tag, &Target::of(out))
            .map_err(|error| CliError::failed(&error))?;
    }
    progress.finish();
    if args.json {
        print_json(&json!({
            "host": host,
            "digest": digest,
            "services": services,
            "files": files,
            "images": images,
            "added_bytes": written.bytes,
            "store": bundles::store_path(global)?,
            "out": args.out,
            "diagnostics": report::to_json(&opened.diagnostics, &opened.sources),
        }))?;
        return Ok(Outcome::Done);
    }
    let person = std::io::stdout().is_terminal();
    if !global.quiet {
        tell(&report::draw(&opened.diagnostics, &opened.sources));
        let what = if written.is_nothing() {
            "unchanged"
        } else {
            "built"
        };
        tell(&format!(
            "{what} {host}: {}, {}, {}\n",
            counted(services, "service"),
            counted(images, "image"),
            counted(files, "file")
        ));
        if let Some(out) = &args.out {
            tell(&format!("exported to {}\n", out.display()));
        }
    }
    if person {
        let bold = anstyle::Style::new().bold();
        print(&format!("{bold}{digest}{bold:#}\n"))?;
    } else {
        print(&format!("{digest}\n"))?;
    }
    Ok(Outcome::Done)
}
