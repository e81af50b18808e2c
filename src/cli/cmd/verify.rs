use serde_json::json;

use crate::cli::args::Global;
use crate::cli::error::{CliError, Exit};
use crate::cli::plan::plain;
use crate::cli::reach::{self, One, Way};
use crate::cli::table::amount;
use crate::cli::{Outcome, bundles, print, print_json};
use crate::edge::store::{Found, Store as _, verify};
use crate::flow::operator::remote;
use crate::pure::protocol::Purpose;

const AFTER_HELP: &str = "\
On a host, the files that forge put there and the containers that run are compared with the current generation, too.
Without --host, on a host itself and outside of a project, that host is meant; --store names a store there.

Examples:
  forge verify
  forge verify --host mainframe
  forge verify --repair    remove what is damaged; the next build fetches it or makes it anew
  forge verify --store /backup/store --json";

/// Read every blob of the store again, and compare it with its digest
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Remove what is damaged, so that the next build or fetch puts it there again
    #[arg(long)]
    repair: bool,
    /// Verify this host of the project, instead of the store of this machine
    #[arg(long, value_name = "NAME", conflicts_with = "repair")]
    host: Option<String>,
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

fn on_host(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    if args.repair {
        let error = CliError::new(
            Exit::Usage,
            "`--repair` is of stores: what a host runs is not removed",
        );
        return Err(error.hint("`forge deploy` sends what a host is missing"));
    }
    let one = One {
        host: args.host.clone(),
        way: args.way.clone(),
    };
    let reached = reach::connect(&one, global)?;
    let mut talk = reached
        .connect
        .open(Purpose::Ask)
        .map_err(reach::not_reached)?;
    let (problems, blobs, bytes) = remote::verify(&mut *talk).map_err(reach::not_done)?;
    if args.json {
        print_json(&json!({ "checked": blobs, "bytes": bytes, "problems": problems }))?;
    } else {
        let mut text = String::new();
        for problem in &problems {
            text.push_str(&format!(
                "{}\n  {}\n",
                plain(&problem.subject),
                plain(&problem.why)
            ));
        }
        let end = match problems.len() {
            0 => "intact".to_owned(),
            n => format!("{n} wrong; the next deploy mends what it manages"),
        };
        text.push_str(&format!(
            "checked {blobs} blobs, {}: {end}\n",
            amount(bytes)
        ));
        print(&text)?;
    }
    Ok(if problems.is_empty() {
        Outcome::Done
    } else {
        Outcome::No
    })
}
