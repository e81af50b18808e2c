mod draw;

use serde_json::{Value as Json, json};

use crate::cli::args::Global;
use crate::cli::error::{CliError, Exit};
use crate::cli::{Outcome, layout, print, print_json, session};
use crate::flow::operator::explain::{NoAnswer, explain};
use crate::pure::text::codes::ALL;
use crate::pure::text::{Code, did_you_mean};

const AFTER_HELP: &str = "\
A SUBJECT is
  MODULE.OPTION      an option: its value, who set it, what that overrode
  KIND.NAME          a contribution: who made it, its fields, who refers to it
  KIND.NAME.FIELD    one field of it
  host.KEY           a key of [host]
  MODULE, KIND       all options of a module, all contributions of a kind

Examples:
  forge explain F0306       what a diagnostic means
  forge explain --all       all diagnostics
  forge explain mainframe postgres.memory
  forge explain mainframe service.grafana
  forge explain mainframe service.grafana.limits.memory --json";

/// Explain a diagnostic, or why something on a host is what it is
#[derive(Debug, clap::Args)]
#[command(
    after_help = AFTER_HELP,
    override_usage = "forge explain [OPTIONS] CODE\n       forge explain [OPTIONS] HOST SUBJECT\n       forge explain --all [--markdown]"
)]
pub(crate) struct Args {
    /// Code of a diagnostic, or name of a host
    #[arg(value_name = "CODE|HOST", required_unless_present = "all")]
    what: Option<String>,
    /// What to explain of the host
    #[arg(value_name = "SUBJECT")]
    subject: Option<String>,
    /// List all diagnostics
    #[arg(long, conflicts_with_all = ["what", "subject"])]
    all: bool,
    /// With --all: print all explanations as Markdown
    #[arg(long, requires = "all", conflicts_with = "json")]
    markdown: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    match (&args.what, &args.subject) {
        (Some(host), Some(subject)) => of_host(host, subject, args.json, global)?,
        (Some(code), None) => of_code(code, args.json)?,
        (None, _) if args.markdown => print(&markdown())?,
        (None, _) if args.json => print_json(&ALL.iter().copied().map(code_json).collect())?,
        (None, _) => print(&list())?,
    }
    Ok(Outcome::Done)
}

fn code_json(code: Code) -> Json {
    json!({
        "code": code.as_str(),
        "title": code.title(),
        "explanation": code.explanation().replace('\n', " "),
        "policy": code.is_policy(),
    })
}

fn of_code(text: &str, json: bool) -> Result<(), CliError> {
    let Some(code) = Code::find(text) else {
        return Err(no_code(text));
    };
    if json {
        return print_json(&code_json(code));
    }
    let bold = anstyle::Style::new().bold();
    let mut answer = format!("{bold}{code}{bold:#}: {}\n\n", code.title());
    answer.push_str(&layout::prose(code.explanation(), layout::prose_width()));
    if code.is_policy() {
        answer.push('\n');
        answer.push_str(&layout::prose(
            "A policy rule: a host may switch it off for one contribution, with a written reason:",
            layout::prose_width(),
        ));
        answer.push_str(&format!(
            "\n    [[allow]]\n    rule = \"{code}\"\n    subject = \"KIND.NAME\"\n    reason = \"…\"\n"
        ));
    }
    print(&answer)
}

fn no_code(text: &str) -> CliError {
    let looks_like_code = text
        .strip_prefix(['F', 'f'])
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    if looks_like_code {
        let error = CliError::new(Exit::Usage, format!("there is no diagnostic `{text}`"));
        let upper = text.to_uppercase();
        return match did_you_mean(&upper, ALL.iter().map(|code| code.as_str())) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        }
        .hint("`forge explain --all` lists them");
    }
    CliError::new(
        Exit::Usage,
        format!("`{text}` is no code of a diagnostic; what is to be explained of it?"),
    )
    .hint("of a host: `forge explain HOST MODULE.OPTION` or `forge explain HOST KIND.NAME`")
    .hint("of a diagnostic: `forge explain F0306`; `forge explain --all` lists them")
}

fn list() -> String {
    let rows = ALL
        .iter()
        .map(|code| vec![code.to_string(), code.title().to_owned()])
        .collect();
    layout::table(&["CODE", "MEANING"], rows)
}

/// What the codes that begin so are about.
const GROUPS: [(&str, &str); 7] = [
    ("F00", "Files and their shape"),
    ("F01", "Modules, options and templates"),
    ("F02", "References between contributions"),
    ("F03", "Policy"),
    ("F04", "Images and the lock"),
    ("F05", "Secrets"),
    ("F06", "Rendered files"),
];

/// `docs/reference/codes.md`.
fn markdown() -> String {
    let mut text = "\
# Diagnostics

Made by `forge explain --all --markdown` from the program's own table. A code, once given, never changes its meaning.
Policy rules (F03…) may be switched off by a host, for one contribution and with a written reason: `[[allow]]`.
"
    .to_owned();
    for (start, title) in GROUPS {
        text.push_str(&format!("\n## {title}\n"));
        for code in ALL.iter().filter(|code| code.as_str().starts_with(start)) {
            text.push_str(&format!(
                "\n### {code}: {}\n\n{}\n",
                code.title(),
                code.explanation()
            ));
        }
    }
    text
}

fn of_host(host: &str, subject: &str, json: bool, global: &Global) -> Result<(), CliError> {
    let name = session::host_name(host)?;
    let mut opened = session::open(global)?;
    let answers = match explain(&mut opened, &name, subject) {
        Ok(answers) => answers,
        Err(NoAnswer::Mistakes) => {
            let what = format!("`{subject}` of host `{name}` cannot be explained");
            return Err(session::refuse(&opened, &what));
        }
        Err(NoAnswer::Unknown(unknown)) => {
            let mut error = CliError::new(Exit::Usage, unknown.message);
            if let Some(near) = unknown.near {
                error = error.hint(format!("did you mean `{near}`?"));
            }
            return Err(error
                .hint("`forge module show NAME` lists the options of a module")
                .hint(format!(
                    "`forge explain {name} KIND` lists the contributions of a kind"
                )));
        }
    };
    if json {
        let mut answers = answers
            .iter()
            .map(|answer| draw::json(answer, &opened.sources));
        return match (answers.next(), answers.next()) {
            (Some(one), None) => print_json(&one),
            (first, second) => {
                print_json(&first.into_iter().chain(second).chain(answers).collect())
            }
        };
    }
    let texts: Vec<String> = answers
        .iter()
        .map(|answer| draw::text(answer, &name, &opened.sources))
        .collect();
    print(&texts.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_chapter() {
        let text = markdown();
        for code in ALL {
            assert!(text.contains(&format!("### {code}: ")), "{code}");
        }
    }
}
