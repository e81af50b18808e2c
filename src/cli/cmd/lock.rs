mod draw;

use std::collections::BTreeSet;

use serde_json::json;

use crate::cli::args::Global;
use crate::cli::error::{CliError, Exit};
use crate::cli::images::Images;
use crate::cli::progress::Progress;
use crate::cli::table::counted;
use crate::cli::{Outcome, print, print_json, session, tell};
use crate::edge::clock::WallClock;
use crate::edge::{catalogue, lock_file};
use crate::flow::operator::evaluate::Opened;
use crate::flow::operator::lock::{self, Finding, LockError, Request, World};
use crate::pure::name::ImageName;
use crate::pure::pins::LOCK;

const AFTER_HELP: &str = "\
Without names: the images of the project, and those of the catalogue that its
hosts use. Pins that still fit stay as they are, unless `--update` moves them.
Either all of it is resolved and written, or nothing.

Examples:
  forge lock                        resolve what is missing or out of date
  forge lock postgres               this image only
  forge lock --update               newest packages, and what tags point to now
  forge lock --update caddy redis   these images only
  forge lock --check                for CI: end with 1 if the lock is out of date";

/// Pin every image: what tags point to, which packages recipes are made of
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Images to lock, with those that they continue [default: all]
    #[arg(value_name = "NAME")]
    images: Vec<String>,
    /// Also move the pins that still fit
    #[arg(long, conflicts_with = "check")]
    update: bool,
    /// Only say what is missing or out of date; asks nobody, writes nothing
    #[arg(long)]
    check: bool,
    /// Ask nobody: use what is cached
    #[arg(long)]
    offline: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let mut opened = session::open(global)?;
    let images = args
        .images
        .iter()
        .map(|name| {
            name.parse().map_err(|error: crate::pure::name::NameError| {
                CliError::new(Exit::Usage, error.to_string())
            })
        })
        .collect::<Result<BTreeSet<ImageName>, _>>()?;
    if args.check {
        let findings =
            lock::check(&mut opened, &images).map_err(|error| refused(error, &opened))?;
        return checked(&findings, args, global);
    }
    let request = Request {
        images,
        update: args.update,
    };
    let locked = {
        let progress = Progress::start(global, "resolving images");
        let shipped = Opened::read(catalogue::with_lock()).pins;
        let parts = opened.clone();
        let images = Images::open(&parts, global)?.offline(args.offline);
        let http = Images::http()?;
        let registry = images.registry(&http);
        let world = World::new(images.workshop(&http, &progress), &registry, &WallClock);
        let locked = lock::lock(&mut opened, &shipped, &request, &world, &progress);
        progress.finish();
        locked.map_err(|error| refused(error, &opened))?
    };
    if let Some(text) = &locked.text {
        let was = opened.text.get(LOCK).map(|file| file.bytes.as_ref());
        lock_file::replace(&global.project, was, text).map_err(|error| CliError::failed(&error))?;
    }
    if args.json {
        print_json(&json!({
            "written": locked.text.is_some(),
            "looked_at": locked.images,
            "changes": locked.changes,
        }))?;
    } else {
        print(&draw::changes(&locked.changes))?;
        if !global.quiet {
            tell(&draw::verdict(&locked));
        }
    }
    Ok(Outcome::Done)
}

fn checked(findings: &[Finding], args: &Args, global: &Global) -> Result<Outcome, CliError> {
    if args.json {
        let all: Vec<_> = findings
            .iter()
            .map(|finding| json!({ "image": finding.image, "reason": finding.state.to_string() }))
            .collect();
        print_json(&json!({ "up_to_date": findings.is_empty(), "images": all }))?;
    } else {
        for finding in findings {
            print(&format!("{}: {}\n", finding.image, finding.state))?;
        }
        if findings.is_empty() {
            if !global.quiet {
                tell(&format!("{LOCK} is up to date\n"));
            }
        } else {
            return Err(CliError::new(
                Exit::No,
                format!(
                    "{LOCK} is out of date for {}",
                    counted(findings.len(), "image")
                ),
            )
            .hint("run `forge lock`, look at the difference, and commit it"));
        }
    }
    Ok(if findings.is_empty() {
        Outcome::Done
    } else {
        Outcome::No
    })
}

fn refused(error: LockError, opened: &Opened) -> CliError {
    match error {
        LockError::Mistakes => session::refuse(opened, "the project cannot be locked"),
        LockError::Unknown { name } => {
            let known = opened.project.images.keys().map(|name| name.as_str());
            let error = CliError::new(Exit::Usage, format!("there is no image `{name}`"));
            match crate::pure::text::did_you_mean(name.as_str(), known) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => {
                    error.hint("images are the folders in `images/` and those of the catalogue")
                }
            }
        }
        LockError::Unresolved(failures) => {
            let mut lines = String::new();
            for failure in &failures {
                let shown = CliError::failed(failure.error.as_ref());
                lines.push_str(&format!("\n  {}: {shown}", failure.image));
            }
            CliError::new(
                Exit::Failed,
                format!(
                    "{} could not be resolved, so {LOCK} stays as it was:{lines}",
                    counted(failures.len(), "image")
                ),
            )
        }
    }
}
