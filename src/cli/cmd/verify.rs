use serde_json::json;

use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::table::amount;
use crate::cli::{Outcome, bundles, print, print_json};
use crate::edge::store::{Found, Store as _, verify};

const AFTER_HELP: &str = "\
Examples:
  forge verify
  forge verify --repair    remove what is damaged; the next build fetches it or makes it anew
  forge verify --store /backup/store --json";

/// Read every blob of the store again, and compare it with its digest
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Remove what is damaged, so that the next build or fetch puts it there again
    #[arg(long)]
    repair: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let store = bundles::open_store(global)?;
    let report = verify(&store).map_err(|error| CliError::failed(&error))?;
    let suspects = report.bad.iter().map(|bad| bad.expected).collect();
    let removed = match args.repair {
        true => store
            .evict(&suspects)
            .map_err(|error| CliError::failed(&error))?
            .len(),
        false => 0,
    };
    let why = |found: &Found| match found {
        Found::Digest(digest) => format!("its bytes have the digest {digest}"),
        Found::Unreadable(why) | Found::Misfit(why) => why.clone(),
    };
    if args.json {
        print_json(&json!({
            "checked": report.checked,
            "removed": removed,
            "bytes": report.bytes,
            "damaged": report.bad.iter().map(|bad| json!({
                "digest": bad.expected,
                "path": bad.location,
                "why": why(&bad.found),
                "needed_by": bad.needed_by,
            })).collect::<Vec<_>>(),
            "missing": report.missing.iter().map(|missing| json!({
                "digest": missing.digest,
                "needed_by": missing.needed_by,
            })).collect::<Vec<_>>(),
        }))?;
    } else {
        let mut text = String::new();
        let needed = |by: &std::collections::BTreeSet<String>| {
            if by.is_empty() {
                "nobody needs it".to_owned()
            } else {
                format!(
                    "needed by {}",
                    by.iter().cloned().collect::<Vec<_>>().join(", ")
                )
            }
        };
        for bad in &report.bad {
            text.push_str(&format!(
                "damaged {}\n  {}\n  {}\n  {}\n",
                bad.expected,
                bad.location,
                why(&bad.found),
                needed(&bad.needed_by)
            ));
        }
        for missing in &report.missing {
            text.push_str(&format!(
                "missing {}\n  {}\n",
                missing.digest,
                needed(&missing.needed_by)
            ));
        }
        text.push_str(&format!(
            "checked {} blobs, {}: ",
            report.checked,
            amount(report.bytes)
        ));
        text.push_str(&match (report.bad.len(), report.missing.len()) {
            (0, 0) => "intact\n".to_owned(),
            (bad, missing) if removed > 0 => format!(
                "{bad} damaged, {missing} missing\nremoved {removed}; build the hosts again: what is missing is fetched or made anew\n"
            ),
            (bad, missing) => format!(
                "{bad} damaged, {missing} missing\n`forge verify --repair` removes what is damaged; then build the hosts again\n"
            ),
        });
        print(&text)?;
    }
    Ok(if report.is_intact() {
        Outcome::Done
    } else {
        Outcome::No
    })
}
