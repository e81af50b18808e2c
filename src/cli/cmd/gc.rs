use serde_json::json;

use crate::cli::args::Global;
use crate::cli::error::{CliError, Exit};
use crate::cli::plan::plain;
use crate::cli::reach::{self, One, Way};
use crate::cli::table::{amount, counted};
use crate::cli::{Outcome, bundles, print, print_json};
use crate::edge::parcel::{ParcelError, Wire};
use crate::edge::store::{Store as _, plan_gc};
use crate::flow::operator::remote;
use crate::pure::protocol::Purpose;

const AFTER_HELP: &str = "\
The last build of each host of each project is kept, with everything that it needs. On a host: the current generation, those before it that --keep \
counts, and what they need; never a volume.
Without --host, on a host itself and outside of a project, that host is meant; --store names a store there.

Examples:
  forge gc --host mainframe --keep 3
  forge gc --dry-run    what would go
  forge gc";

/// Generations that a host keeps, where nobody says otherwise.
const KEEP: u32 = 5;

/// Remove from the store what no build needs any more
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Only say what would be removed
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Collect on this host of the project, instead of in the store of this machine
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Generations that a host keeps [default: 5]
    #[arg(long, value_name = "N")]
    keep: Option<u32>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    way: Way,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    if args.host.is_some() || reach::is_host(global) {
        return on_host(args, global);
    }
    if args.keep.is_some() {
        let error = CliError::new(
            Exit::Usage,
            "`--keep` is of hosts: a store has no generations",
        );
        return Err(error.hint("name a host of the project with `--host NAME`"));
    }
    let store = bundles::open_store(global)?;
    let failed = |error| CliError::failed(&error);
    let packed = |error: ParcelError| CliError::failed(&error);
    let plan = plan_gc(&store).map_err(failed)?;
    let (kept, kept_bytes) = (plan.kept, plan.kept_bytes);
    // What a deploy that was cut off has packed: the next one packs it anew.
    let parcels = match Wire::existing(&store).map_err(packed)? {
        Some(wire) if args.dry_run => {
            let files = wire.files().map_err(packed)?;
            (files.len(), files.values().sum())
        }
        Some(wire) => wire.clear().map_err(packed)?,
        None => (0, 0),
    };
    let (verb, blobs, bytes) = if args.dry_run {
        (
            "would remove",
            plan.blobs.len() + plan.temporaries.len() + parcels.0,
            plan.bytes() + parcels.1,
        )
    } else {
        let collected = store.collect(plan).map_err(failed)?;
        (
            "removed",
            collected.blobs + collected.temporaries + parcels.0,
            collected.bytes + parcels.1,
        )
    };
    if args.json {
        print_json(&json!({
            "dry_run": args.dry_run,
            "removed": blobs,
            "removed_bytes": bytes,
            "kept": kept,
            "kept_bytes": kept_bytes,
        }))?;
    } else {
        print(&format!(
            "{verb} {}, {}; kept {}, {}\n",
            counted(blobs, "blob"),
            amount(bytes),
            counted(kept, "blob"),
            amount(kept_bytes)
        ))?;
    }
    Ok(Outcome::Done)
}

fn on_host(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let one = One {
        host: args.host.clone(),
        way: args.way.clone(),
    };
    let reached = reach::connect(&one, global)?;
    let mut talk = reached
        .connect
        .open(if args.dry_run {
            Purpose::Ask
        } else {
            Purpose::Change
        })
        .map_err(reach::not_reached)?;
    let report =
        remote::gc(&mut *talk, args.keep.unwrap_or(KEEP), args.dry_run).map_err(reach::not_done)?;
    if args.json {
        let json = serde_json::to_value(&report).map_err(|error| CliError::failed(&error))?;
        print_json(&json)?;
        return Ok(Outcome::Done);
    }
    let verb = if args.dry_run {
        "would remove"
    } else {
        "removed"
    };
    let count = |count: u64, word: &str| counted(usize::try_from(count).unwrap_or(0), word);
    let mut text = format!(
        "{verb} {}, {}, {}, {}, {}; {}\n",
        counted(report.generations.len(), "generation"),
        count(report.blobs, "blob"),
        count(report.files, "file"),
        counted(report.images.len(), "image"),
        count(report.agents, "agent"),
        amount(report.bytes)
    );
    for image in &report.images {
        text.push_str(&format!("  {}\n", plain(image)));
    }
    print(&text)?;
    Ok(Outcome::Done)
}
