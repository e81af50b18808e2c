use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::cli::args::Global;
use crate::cli::building::{Built, build};
use crate::cli::deploying::{self, Consent, Watcher};
use crate::cli::error::{CliError, Exit};
use crate::cli::freight::Shelf;
use crate::cli::images::Images;
use crate::cli::layout::table;
use crate::cli::progress::Progress;
use crate::cli::reach::{self, Way};
use crate::cli::{Outcome, bundles, print, print_json, report, session, tell};
use crate::edge::patience::Waiting;
use crate::edge::reach::Network;
use crate::flow::operator::deploy::ports::Cargo;
use crate::flow::operator::deploy::{self, Site};
use crate::flow::operator::evaluate::Opened;
use crate::flow::operator::fleet::canary_first;
use crate::pure::name::Arch;
use crate::pure::system::Host;

const AFTER_HELP: &str = "\
Builds the host, shows what would change on it, asks, sends what it lacks, and activates it: packages, users, files, firewall, units, containers. It \
counts once this program has confirmed it over a new connection; until then, and when anything fails, the host goes back by itself. Data is \
never removed.

Several hosts: the first one alone, then the others side by side. After a failure no other is begun.

Exit codes:
  0  done and confirmed, or nothing to do (7 with --detailed-exitcode)
  1  refused: the host is as it was
  2  wrong usage
  3  it could not run: the host is as it was
  4  it failed, and the host went back
  5  it failed, and going back did too
  6  contact lost, outcome unknown: `forge attach` asks again

Examples:
  forge deploy mainframe                  show the plan, ask, deploy
  forge deploy mainframe --plan           only show the plan
  forge deploy --tag web --yes --jobs 4   every host with this tag, without asking
  forge deploy mainframe --address 127.0.0.1:2222 --user root
  forge deploy mainframe --json --yes     for scripts";

/// Build hosts, and make them so: shown before, confirmed after, undone if it fails
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Hosts to deploy
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Host to deploy, too
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Every host with this tag
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    #[command(flatten)]
    consent: Consent,
    /// Activate a bundle that failed on the host before
    #[arg(long)]
    retry: bool,
    /// Send the images of registries too, for hosts that cannot reach them
    #[arg(long)]
    vendor: bool,
    /// Hosts at once, after the first
    #[arg(short, long, value_name = "N", default_value = "4")]
    jobs: NonZeroUsize,
    #[command(flatten)]
    way: Way,
}

/// How a host came off.
#[derive(Debug)]
struct Ended {
    outcome: deploy::Outcome,
    took: Duration,
    json: Json,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let mut opened = session::open(global)?;
    let hosts = chosen(args, &mut opened)?;
    let several = hosts.len() > 1;
    if several && args.way.address.is_some() {
        return Err(CliError::new(
            Exit::Usage,
            "`--address` is of one host, and several are to be deployed",
        ));
    }
    args.consent.check()?;
    // All of them are built before the first is touched: a mistake in the last one is found in time.
    let mut drafts = Vec::new();
    for host in &hosts {
        drafts.push(session::draft(&mut opened, &host.name)?);
    }
    if !global.quiet && !args.consent.json {
        tell(&report::draw(&opened.diagnostics, &opened.sources));
    }
    let images = Images::open(&opened, global)?;
    let mut ready = Vec::new();
    for (host, draft) in hosts.iter().zip(drafts) {
        let progress = Progress::start(global, &format!("building {}", host.name));
        ready.push((
            host,
            build(&opened, &images, draft, args.vendor, &progress)?,
        ));
        progress.finish();
    }
    let one = |(host, built): &(&Host, Built)| {
        let started = Instant::now();
        let (outcome, mut json) = deploy_one(host, built, &images, several, args, global);
        let took = started.elapsed();
        if let Json::Object(all) = &mut json {
            all.insert("seconds".to_owned(), took.as_secs().into());
        }
        Ended {
            outcome,
            took,
            json,
        }
    };
    let fine = |ended: &Ended| ended.outcome.is_fine();
    let ended = canary_first(&ready, args.jobs.get(), &one, &fine);
    let results = hosts.iter().zip(&ended);
    if args.consent.json {
        let mut all: Vec<Json> = results
            .map(|(host, ended)| match ended {
                Some(ended) => ended.json.clone(),
                None => serde_json::json!({ "host": host.name, "outcome": "not_begun" }),
            })
            .collect();
        match (several, all.pop()) {
            (false, Some(one)) => print_json(&one)?,
            (_, last) => {
                all.extend(last);
                print_json(&Json::Array(all))?;
            }
        }
    } else if several {
        print(&sum(results))?;
    } else {
        for (host, ended) in results {
            let text = ended
                .as_ref()
                .and_then(|ended| deploying::sentence(&ended.outcome, host.name.as_str()));
            if !global.quiet {
                tell(&text.unwrap_or_default());
            }
        }
    }
    last(&hosts, &ended, &args.consent)
}

/// The hosts that the arguments name, each once, in their order.
fn chosen(args: &Args, opened: &mut Opened) -> Result<Vec<Host>, CliError> {
    let mut hosts: Vec<Host> = Vec::new();
    let mut add = |host: Host| {
        if hosts.iter().all(|known| known.name != host.name) {
            hosts.push(host);
        }
    };
    for name in args.hosts.iter().chain(&args.names) {
        add(reach::host(opened, name)?);
    }
    let all: Vec<String> = opened.text.hosts().map(str::to_owned).collect();
    for tag in &args.tag {
        let mut found = false;
        for name in &all {
            let host = reach::host(opened, name)?;
            if host.tags.contains(tag) {
                found = true;
                add(host);
            }
        }
        if !found {
            return Err(CliError::new(
                Exit::Usage,
                format!("no host of this project has the tag `{tag}`"),
            ));
        }
    }
    if hosts.is_empty() {
        let hint = match all.as_slice() {
            [] => "this project has no hosts".to_owned(),
            all => format!("the hosts of this project: {}", all.join(", ")),
        };
        return Err(CliError::new(Exit::Usage, "no host is named").hint(hint));
    }
    Ok(hosts)
}

/// A SYN that a firewall drops is never answered; one that is let through is, within this.
const KNOCK: Duration = Duration::from_secs(3);

fn deploy_one(
    host: &Host,
    built: &Built,
    images: &Images<'_>,
    several: bool,
    args: &Args,
    global: &Global,
) -> (deploy::Outcome, Json) {
    let name = host.name.as_str();
    let consent = &args.consent;
    let question = format!("Deploy to {name}?");
    let progress = Progress::start(global, "");
    let prefix = several.then_some(name);
    let mut watcher = Watcher::new(consent, global, &progress, question, prefix);
    let failed = |error: CliError| deploy::Outcome::Failed {
        why: error.message,
        hints: error.hints,
    };
    let arch = host
        .arch
        .parse::<Arch>()
        .map_err(|error| CliError::failed(&error));
    let ready = arch.and_then(|arch| {
        let reached = reach::reach(host, &args.way, global)?;
        let wire = bundles::wire_path(global)?;
        let shelf = Shelf::new(images, &built.system, &built.present, arch, wire, &progress);
        Ok((reached, shelf.map_err(reach::not_reached)?))
    });
    let mut total = 0;
    let outcome = match ready {
        Ok((reached, mut shelf)) => {
            let mut site = Site {
                name: Some(name.to_owned()),
                connect: &*reached.connect,
                patience: &Waiting::start(),
                reach: &Network { limit: KNOCK },
                person: &mut watcher,
                deadline: consent.deadline,
            };
            let cargo = Cargo::new(&built.sealed, &built.system);
            let outcome = deploy::deploy(&mut site, &cargo, &mut shelf, args.retry);
            total = reached.connect.sent();
            outcome
        }
        Err(error) => failed(error),
    };
    progress.finish();
    let json = deploying::to_json(name, &outcome, &watcher, total, 0);
    (outcome, json)
}

fn sum<'a>(results: impl Iterator<Item = (&'a Host, &'a Option<Ended>)>) -> String {
    let row = |(host, ended): (&Host, &Option<Ended>)| {
        let name = host.name.to_string();
        match ended {
            Some(Ended { outcome, took, .. }) => vec![
                name,
                outcome.word().replace('_', " "),
                outcome
                    .generation()
                    .map_or_else(|| "-".to_owned(), |n| n.to_string()),
                format!("{}s", took.as_secs()),
            ],
            None => vec![name, "not begun".to_owned(), "-".to_owned(), "-".to_owned()],
        }
    };
    table(
        &["HOST", "OUTCOME", "GENERATION", "TIME"],
        results.map(row).collect(),
    )
}

/// The program ends as the worst host did: what is less known is worse.
fn last(hosts: &[Host], ended: &[Option<Ended>], consent: &Consent) -> Result<Outcome, CliError> {
    let mut worst: Option<CliError> = None;
    let mut all_nothing = true;
    for (host, ended) in hosts.iter().zip(ended) {
        let Some(ended) = ended else {
            continue;
        };
        match deploying::exit(&ended.outcome, consent, host.name.as_str()) {
            Ok(Outcome::Nothing) => {}
            Ok(_) => all_nothing = false,
            Err(error) => {
                all_nothing = false;
                let code = |error: &CliError| error.exit as u8;
                if worst
                    .as_ref()
                    .is_none_or(|worst| code(worst) < code(&error))
                {
                    worst = Some(error);
                }
            }
        }
    }
    match worst {
        Some(error) => Err(error),
        None if all_nothing => Ok(Outcome::Nothing),
        None => Ok(Outcome::Done),
    }
}
