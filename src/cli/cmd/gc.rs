use serde_json::json;

use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::table::{amount, counted};
use crate::cli::{Outcome, bundles, print, print_json};
use crate::edge::parcel::{ParcelError, Wire};
use crate::edge::store::{Store as _, plan_gc};

const AFTER_HELP: &str = "\
The last build of each host of each project is kept, with everything that it needs.

Examples:
  forge gc --dry-run    what would go
  forge gc";

/// Remove from the store what no build needs any more
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Only say what would be removed
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
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
