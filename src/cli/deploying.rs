//! The person at the terminal, while a host is changed: shown the plan, asked, told what happens, and how it ended.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use serde_json::{Value as Json, json};

use super::args::Global;
use super::error::{CliError, Exit};
use super::plan::{self, Diffs, plain, plain_lines};
use super::progress::Progress;
use crate::flow::operator::deploy::Outcome;
use crate::flow::operator::deploy::ports::{Agreement, Person, Proposal};
use crate::pure::protocol::Event;

const RED: Style = AnsiColor::BrightRed.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const DIM: Style = Style::new().dimmed();

/// What deploy and rollback have in common.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Consent {
    /// Do it without asking
    #[arg(short, long)]
    pub yes: bool,
    /// Only show what would be done
    #[arg(long, conflicts_with = "yes")]
    pub plan: bool,
    /// Show the differences of files whole [default: their first lines]
    #[arg(long)]
    pub diff: bool,
    /// Show no differences of files
    #[arg(long, conflicts_with = "diff")]
    pub no_diff: bool,
    /// From the first change until it is confirmed; then the host goes back by itself
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = deadline)]
    pub deadline: Duration,
    /// End with 7 if there was nothing to do
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Print the plan and how it ended as JSON
    #[arg(long)]
    pub json: bool,
}

const SHORTEST: Duration = Duration::from_secs(30);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// `5m`, `1h30m`, `90s`.
fn deadline(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text
        .parse()
        .map_err(|_| "a time such as `5m` or `90s` is wanted".to_owned())?;
    Duration::try_from(span)
        .ok()
        .filter(|time| (SHORTEST..=LONGEST).contains(time))
        .ok_or_else(|| "it must be between 30s and 24h".to_owned())
}

/// Lines of each file's differences.
const SHOWN: usize = 20;

impl Consent {
    /// Of who only watches.
    pub(crate) fn none(json: bool, deadline: Duration) -> Self {
        Self {
            yes: false,
            plan: false,
            diff: false,
            no_diff: false,
            deadline,
            detailed_exitcode: false,
            json,
        }
    }

    fn diffs(&self) -> Diffs {
        match (self.diff, self.no_diff) {
            (true, _) => Diffs::All,
            (_, true) => Diffs::None,
            _ => Diffs::First(SHOWN),
        }
    }

    /// Where nobody can be asked, nothing is begun.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        if self.yes || self.plan || std::io::stdin().is_terminal() {
            return Ok(());
        }
        Err(CliError::new(
            Exit::No,
            "there is no terminal to ask on, so nothing is done",
        )
        .hint("`--yes` goes on without asking")
        .hint("`--plan` only shows what would be done"))
    }
}

/// Who asks and shows has the terminal for itself: several hosts are deployed at once.
static TERMINAL: Mutex<()> = Mutex::new(());

/// The person.
#[derive(Debug)]
pub(crate) struct Watcher<'a> {
    consent: &'a Consent,
    progress: &'a Progress,
    /// Before each line, where there are several hosts.
    prefix: String,
    /// The question.
    question: String,
    quiet: bool,
    pub proposal: Option<Proposal>,
    /// Of what the plan said, so much went over the connection.
    pub sent: u64,
    /// Each failure on the way, and what services wrote.
    pub failures: Vec<String>,
}

impl<'a> Watcher<'a> {
    pub(crate) fn new(
        consent: &'a Consent,
        global: &Global,
        progress: &'a Progress,
        question: impl Into<String>,
        host: Option<&str>,
    ) -> Self {
        Self {
            consent,
            progress,
            prefix: host
                .map(|host| format!("{DIM}{host}{DIM:#} "))
                .unwrap_or_default(),
            question: question.into(),
            quiet: global.quiet,
            proposal: None,
            sent: 0,
            failures: Vec::new(),
        }
    }

    fn line(&self, text: &str) {
        self.progress.above(&format!("{}{text}\n", self.prefix));
    }
}

impl Person for Watcher<'_> {
    fn say(&mut self, what: &str) {
        self.progress.say(&format!("{}{what}", self.prefix));
    }

    fn show(&mut self, proposal: &Proposal) {
        if !self.consent.json && (!self.quiet || self.consent.plan) {
            let text = plan::draw(proposal, self.consent.diffs());
            let _held = TERMINAL.lock().unwrap_or_else(PoisonError::into_inner);
            // A closed pipe keeps nobody from being asked.
            let _ = self.progress.aside(|| super::print(&text));
        }
        self.proposal = Some(proposal.clone());
    }

    fn agree(&mut self) -> Agreement {
        if self.consent.plan {
            return Agreement::OnlyPlan;
        }
        if self.consent.yes {
            return Agreement::Go;
        }
        let _held = TERMINAL.lock().unwrap_or_else(PoisonError::into_inner);
        match self.progress.aside(|| ask(&self.question)) {
            Ok(true) => Agreement::Go,
            Ok(false) => Agreement::No {
                why: "not agreed to".to_owned(),
                hints: Vec::new(),
            },
            Err(error) => Agreement::No {
                why: format!("nobody can be asked: {error}"),
                hints: vec!["`--yes` goes on without asking".to_owned()],
            },
        }
    }

    fn sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    fn event(&mut self, event: &Event) {
        match event {
            Event::Step { step } => {
                self.progress
                    .say(&format!("{}{}", self.prefix, plain(step)));
            }
            Event::Changed { change } if !self.quiet => {
                self.line(plan::line(change).trim_end());
            }
            Event::Progress { done, of, what } => self.progress.at(*done, *of, &plain(what)),
            Event::Say { text } if !self.quiet => self.line(&plain_lines(text)),
            Event::Changed { .. } | Event::Say { .. } | Event::Ended { .. } => {}
            Event::Warn { text } => {
                self.line(&format!("{YELLOW}warning{YELLOW:#}: {}", plain_lines(text)));
            }
            Event::Log { service, text } => {
                for line in text.lines() {
                    self.line(&format!("  {DIM}{service} |{DIM:#} {}", plain(line)));
                }
                self.failures.push(format!("{service}: {text}"));
            }
            Event::Failed { step, why } => {
                self.line(&format!(
                    "{RED}failed{RED:#}: {}, and the host goes back: {}",
                    plain(step),
                    plain_lines(why)
                ));
                self.failures.push(format!("{step}: {why}"));
            }
        }
    }
}

fn ask(question: &str) -> std::io::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(std::io::Error::other("there is no terminal"));
    }
    let mut stderr = anstream::stderr();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
}

/// How it ended, as the program ends.
pub(crate) fn exit(
    outcome: &Outcome,
    consent: &Consent,
    host: &str,
) -> Result<super::Outcome, CliError> {
    let error = |exit, message: String, hints: &[String]| {
        Err(CliError {
            exit,
            message: format!("{host}: {message}"),
            hints: hints.to_vec(),
        })
    };
    match outcome {
        Outcome::Done { .. } | Outcome::Planned => Ok(super::Outcome::Done),
        Outcome::NothingToDo { .. } if consent.detailed_exitcode => Ok(super::Outcome::Nothing),
        Outcome::NothingToDo { .. } => Ok(super::Outcome::Done),
        Outcome::Refused { why, hints, .. } => error(
            Exit::No,
            format!("refused, and nothing was changed: {why}"),
            hints,
        ),
        Outcome::Failed { why, hints } => {
            error(Exit::Failed, format!("{why}; nothing was changed"), hints)
        }
        Outcome::RolledBack {
            generation,
            step,
            why,
        } => error(
            Exit::RolledBack,
            format!("{step}: {why}; the host went back to {}", at(*generation)),
            &[],
        ),
        Outcome::Incomplete {
            generation,
            step,
            why,
            left,
        } => {
            let mut message = format!(
                "{step}: {why}; going back to {} failed as well",
                at(*generation)
            );
            for one in left {
                message.push_str(&format!("\n  left: {one}"));
            }
            let hint =
                "`forge status` says what is not as it should be; `forge rollback` tries again"
                    .to_owned();
            error(Exit::Incomplete, message, &[hint])
        }
        Outcome::Unknown { why, hints } => error(
            Exit::Unknown,
            format!("contact lost, outcome unknown: {why}"),
            hints,
        ),
    }
}

fn at(generation: u64) -> String {
    match generation {
        0 => "generation 0, as it was found".to_owned(),
        number => format!("generation {number}"),
    }
}

/// A line for a person.
pub(crate) fn sentence(outcome: &Outcome, host: &str) -> Option<String> {
    let green = AnsiColor::BrightGreen.on_default();
    match outcome {
        Outcome::Done { generation, bundle } => Some(format!(
            "{green}done{green:#}: {host} is at {}{}\n",
            at(*generation),
            bundle
                .map(|bundle| format!(", {bundle}"))
                .unwrap_or_default()
        )),
        Outcome::NothingToDo { generation } => Some(format!(
            "nothing to do: {host} is at {} and as declared\n",
            at(*generation)
        )),
        _ => None,
    }
}

/// The plan, and how it ended. `total`: bytes that were said to the host in all.
pub(crate) fn to_json(
    host: &str,
    outcome: &Outcome,
    watcher: &Watcher<'_>,
    total: u64,
    seconds: u64,
) -> Json {
    let mut json = json!({
        "host": host,
        "seconds": seconds,
        "failures": watcher.failures,
        "sent_bytes": watcher.sent,
        "total_bytes": total,
    });
    let proposal = watcher.proposal.as_ref().map(plan::to_json);
    let outcome = serde_json::to_value(outcome).unwrap_or_default();
    if let Json::Object(all) = &mut json {
        for more in [proposal, Some(outcome)].into_iter().flatten() {
            if let Json::Object(more) = more {
                all.extend(more);
            }
        }
    }
    json
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn consent(detailed_exitcode: bool) -> Consent {
        Consent {
            yes: false,
            plan: false,
            diff: false,
            no_diff: false,
            deadline: SHORTEST,
            detailed_exitcode,
            json: false,
        }
    }

    #[test]
    fn each_ending_has_its_exit_code_and_its_word() {
        let text = || "x".to_owned();
        let all = [
            (
                Outcome::Refused {
                    step: text(),
                    why: text(),
                    hints: vec![],
                },
                1,
                "refused",
            ),
            (
                Outcome::Failed {
                    why: text(),
                    hints: vec![],
                },
                3,
                "failed",
            ),
            (
                Outcome::RolledBack {
                    generation: 1,
                    step: text(),
                    why: text(),
                },
                4,
                "rolled_back",
            ),
            (
                Outcome::Incomplete {
                    generation: 1,
                    step: text(),
                    why: text(),
                    left: vec![text()],
                },
                5,
                "incomplete",
            ),
            (
                Outcome::Unknown {
                    why: text(),
                    hints: vec![],
                },
                6,
                "unknown",
            ),
        ];
        for (outcome, code, word) in all {
            let error = exit(&outcome, &consent(false), "web").err().unwrap();
            assert_eq!(error.exit as u8, code);
            assert_eq!(serde_json::to_value(&outcome).unwrap()["outcome"], word);
            assert_eq!(outcome.word(), word);
        }
        let nothing = Outcome::NothingToDo { generation: 3 };
        let fine = |detailed| exit(&nothing, &consent(detailed), "web").unwrap();
        assert!(matches!(fine(false), super::super::Outcome::Done));
        assert!(matches!(fine(true), super::super::Outcome::Nothing));
        assert_eq!(
            serde_json::to_value(&nothing).unwrap()["outcome"],
            "nothing_to_do"
        );
        let done = Outcome::Done {
            generation: 4,
            bundle: None,
        };
        assert!(matches!(
            exit(&done, &consent(true), "web"),
            Ok(super::super::Outcome::Done)
        ));
        assert_eq!(serde_json::to_value(&done).unwrap()["outcome"], "done");
    }

    #[test]
    fn deadlines_are_times_within_bounds() {
        assert_eq!(deadline("5m").unwrap(), Duration::from_secs(300));
        assert_eq!(deadline("1m30s").unwrap(), Duration::from_secs(90));
        for wrong in ["5", "1s", "-5m", "48h", "soon", ""] {
            assert!(deadline(wrong).is_err(), "{wrong}");
        }
    }
}
