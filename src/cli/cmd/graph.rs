use std::path::PathBuf;

use crate::cli::args::Global;
use crate::cli::error::{CliError, Exit};
use crate::cli::{Outcome, print, session, tell};
use crate::pure::files::graph::graph;
use crate::pure::files::svg::{mermaid, svg};

const AFTER_HELP: &str = "\
Mermaid is what GitHub and GitLab draw in a Markdown file; put it between ```mermaid and ```.

Examples:
  forge graph mainframe                      Mermaid, to stdout
  forge graph mainframe --svg > host.svg     a picture
  forge graph mainframe --out host.svg       the same
  forge graph mainframe --scrapes            with the arrows of Prometheus";

/// Draw the services of a host: networks, routes, dependencies
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Host to draw
    host: String,
    /// Draw an SVG picture instead of Mermaid
    #[arg(long)]
    svg: bool,
    /// Also draw who is scraped for metrics
    #[arg(long)]
    scrapes: bool,
    /// Write to a file instead of stdout; one that ends in .svg is a picture
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let mut opened = session::open(global)?;
    let host = session::host_name(&args.host)?;
    let evaluated = session::evaluate(&mut opened, &host)?;
    let drawn = graph(&evaluated.system, &opened.project, args.scrapes);
    let picture = args.svg
        || args
            .out
            .as_ref()
            .and_then(|out| out.extension())
            .is_some_and(|extension| extension == "svg");
    let text = if picture {
        svg(&drawn)
    } else {
        mermaid(&drawn)
    };
    match &args.out {
        None => print(&text)?,
        Some(out) => {
            std::fs::write(out, &text).map_err(|error| {
                CliError::new(
                    Exit::Failed,
                    format!("cannot write {}: {error}", out.display()),
                )
            })?;
            if !global.quiet {
                tell(&format!("wrote {}\n", out.display()));
            }
        }
    }
    Ok(Outcome::Done)
}
