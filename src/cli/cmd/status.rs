use anstyle::{AnsiColor, Style};
use jiff::Timestamp;

use crate::cli::args::Global;
use crate::cli::error::CliError;
use crate::cli::plan::{self, Diffs, plain};
use crate::cli::reach::{self, One};
use crate::cli::table::{Table, amount};
use crate::cli::{Outcome, print, print_json};
use crate::flow::operator::remote;
use crate::pure::generation::{Phase, Record};
use crate::pure::protocol::{Health, Purpose, StatusReport};

const AFTER_HELP: &str = "\
Drift is what a deploy of the current generation would do: files edited by hand, units that were stopped, rules that somebody added.

Ends with 1 if anything has drifted, is unhealthy or is unfinished.

Examples:
  forge status --host mainframe
  forge status --host mainframe --json
  sudo forge status              on the host itself";

/// Show how a host is: services, drift, who holds it
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Show the differences of files whole
    #[arg(long)]
    diff: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    one: One,
}

const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const BOLD: Style = Style::new().bold();

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let reached = reach::connect(&args.one, global)?;
    let mut talk = reached
        .connect
        .open(Purpose::Ask)
        .map_err(reach::not_reached)?;
    let now = talk.welcome().time;
    let machine = talk.welcome().hostname.clone();
    let status = remote::status(&mut *talk).map_err(reach::not_done)?;
    if args.json {
        let json = serde_json::to_value(&status).map_err(|error| CliError::failed(&error))?;
        print_json(&json)?;
    } else {
        let name = reached.name.map_or(machine, |name| name.to_string());
        print(&draw(&status, &name, now, args.diff))?;
    }
    Ok(if is_fine(&status) {
        Outcome::Done
    } else {
        Outcome::No
    })
}

fn is_ill(health: Health) -> bool {
    match health {
        Health::Healthy | Health::Running | Health::Completed => false,
        Health::Starting | Health::Unhealthy | Health::Stopped | Health::Missing => true,
    }
}

fn is_fine(status: &StatusReport) -> bool {
    status.journal.is_none()
        && status.drift.is_empty()
        && status.failed_units.is_empty()
        && status.secrets.values().all(|there| *there)
        && !status.services.iter().any(|service| is_ill(service.health))
}

fn word(health: Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Running => "running",
        Health::Completed => "completed",
        Health::Starting => "starting",
        Health::Unhealthy => "unhealthy",
        Health::Stopped => "stopped",
        Health::Missing => "missing",
    }
}

/// The words of what is ill in a table that is drawn: within, colours would count as columns.
fn coloured(table: &str) -> String {
    let ill = [
        (Health::Starting, YELLOW),
        (Health::Unhealthy, RED),
        (Health::Stopped, RED),
        (Health::Missing, RED),
    ];
    ill.into_iter()
        .fold(table.to_owned(), |text, (health, style)| {
            let word = format!("  {}  ", word(health));
            text.replace(&word, &format!("{style}{word}{style:#}"))
        })
}

/// `3d 4h`, `5m`.
pub(crate) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, minutes) => format!("{hours}h {}m", minutes % 60),
        (days, hours, _) => format!("{days}d {}h", hours % 24),
    }
}

pub(crate) fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(
        |_| seconds.to_string(),
        |time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
    )
}

fn current(record: Option<&Record>) -> String {
    match record {
        None => "no generation of forge".to_owned(),
        Some(record) => format!(
            "generation {}{}, by {} at {}",
            record.number,
            record
                .bundle
                .map(|bundle| format!(" ({bundle})"))
                .unwrap_or_default(),
            plain(&record.by),
            time(record.created)
        ),
    }
}

fn draw(status: &StatusReport, name: &str, now: i64, diff: bool) -> String {
    let mut text = format!(
        "{BOLD}{}{BOLD:#}: {}\nup {}, {} free\n",
        plain(name),
        current(status.current.as_ref()),
        span(i64::try_from(status.uptime).unwrap_or(i64::MAX)),
        amount(status.free)
    );
    if let Some(journal) = &status.journal {
        let phase = match &journal.phase {
            Phase::Converging => "is being made so".to_owned(),
            Phase::AwaitingConfirmation => "waits to be confirmed".to_owned(),
            Phase::Recovering { why, left } if left.is_empty() => {
                format!("failed, and the host goes back: {}", plain(why))
            }
            Phase::Recovering { why, left } => format!(
                "failed, and the host has not come back whole: {}; left: {}; `forge rollback` tries again, `forge unlock --force` takes it as it \
                 is",
                plain(why),
                plain(&left.join("; "))
            ),
        };
        text.push_str(&format!(
            "{YELLOW}unfinished{YELLOW:#}: generation {}, by {}, {phase}; it has {} left\n",
            journal.to,
            plain(&journal.by),
            span(journal.deadline - now)
        ));
    }
    if let Some(lease) = &status.lease {
        let alive = if lease.alive {
            ""
        } else {
            "; that process is gone: `forge unlock`"
        };
        text.push_str(&format!(
            "held by {} for {}: {}{alive}\n",
            plain(&lease.by),
            span(now - lease.since),
            plain(&lease.what)
        ));
    }
    let mut services = Table::new(["service", "health", "up", "restarts", "image"]);
    for service in &status.services {
        let since = service
            .started
            .as_deref()
            .and_then(|at| at.parse::<Timestamp>().ok());
        services.row([
            plain(&service.name),
            word(service.health).to_owned(),
            since.map_or_else(|| "-".to_owned(), |at| span(now - at.as_second())),
            service.restarts.to_string(),
            plain(service.image.as_deref().unwrap_or("-")),
        ]);
    }
    text.push('\n');
    text.push_str(&coloured(&services.draw("Services")));
    let mut list = |title: &str, names: Vec<String>| {
        if !names.is_empty() {
            text.push_str(&format!("\n{BOLD}{title}{BOLD:#}\n"));
            for name in names {
                text.push_str(&format!("  {RED}{name}{RED:#}\n"));
            }
        }
    };
    list(
        "Failed units",
        status.failed_units.iter().map(|unit| plain(unit)).collect(),
    );
    let missing = status.secrets.iter().filter(|(_, there)| !**there);
    list(
        "Missing secrets",
        missing.map(|(name, _)| name.to_string()).collect(),
    );
    text.push_str(&format!("\n{BOLD}Drift{BOLD:#}\n"));
    if status.drift.is_empty() {
        text.push_str("  none\n");
    } else {
        let diffs = if diff { Diffs::All } else { Diffs::First(10) };
        for line in plan::changes(&status.drift, diffs).lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::pure::generation::{Action, Change, Kind};
    use crate::pure::protocol::ServiceStatus;

    fn status() -> StatusReport {
        StatusReport {
            current: None,
            journal: None,
            lease: None,
            services: vec![ServiceStatus {
                name: "web".to_owned(),
                health: Health::Healthy,
                image: Some("caddy".to_owned()),
                container: None,
                started: Some("2026-01-01T00:00:00Z".to_owned()),
                restarts: 0,
            }],
            drift: Vec::new(),
            failed_units: Vec::new(),
            secrets: std::collections::BTreeMap::new(),
            free: 1 << 30,
            uptime: 90_000,
        }
    }

    #[test]
    fn a_host_is_fine_only_if_everything_is() {
        assert!(is_fine(&status()));
        let spoil: [fn(&mut StatusReport); 4] = [
            |s| s.services[0].health = Health::Unhealthy,
            |s| {
                s.drift
                    .push(Change::new(Kind::File, "/etc/motd", Action::Change, ""))
            },
            |s| s.failed_units.push("x.service".to_owned()),
            |s| {
                s.secrets.insert("a".parse().unwrap(), false);
            },
        ];
        for spoil in spoil {
            let mut status = status();
            spoil(&mut status);
            assert!(!is_fine(&status));
        }
    }

    #[test]
    fn services_and_drift_are_shown() {
        let mut status = status();
        let change = Change::new(Kind::File, "/etc/motd", Action::Change, "edited by hand");
        status.drift.push(change);
        let now = "2026-01-01T01:02:00Z"
            .parse::<Timestamp>()
            .unwrap()
            .as_second();
        let text = draw(&status, "web", now, false);
        assert_eq!(
            anstream::adapter::strip_str(&text).to_string(),
            "\
web: no generation of forge
up 1d 1h, 1.00 GiB free

Services
  SERVICE  HEALTH   UP     RESTARTS  IMAGE
  web      healthy  1h 2m  0         caddy

Drift
  Files
    ~ /etc/motd  edited by hand
"
        );
    }
}
