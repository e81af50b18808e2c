use anstyle::{AnsiColor, Style};
use serde_json::Value as Json;

use super::image::diff as images;
use crate::cli::args::Global;
use crate::cli::error::{CliError, Exit};
use crate::cli::reach::{self, One, Way};
use crate::cli::{Outcome, bundles, print, print_json};
use crate::flow::operator::remote;
use crate::pure::bundle::diff::{Change, Diff, FieldChange, FileChange, Verb, diff};
use crate::pure::protocol::Purpose;

const AFTER_HELP: &str = "\
With one host: from its last build to what the project says now. With two: from the first to the second. Each is the name of a host, a digest or the \
beginning of one, or the path of an exported bundle. Secrets are compared, never shown. Two images are compared by their files, as by `forge image diff`. \
With --host: from what that host is at, or from its generation --generation, to what the project says now. On a host itself, outside of a project: from \
its generation --generation to the current one.

Examples:
  forge diff mainframe                  what the next build would change
  forge diff mainframe dr               how the two hosts differ
  forge diff sha256:1f3c mainframe      since that build
  forge diff --host mainframe           what the next deploy would change
  forge diff --generation 3             on a host: since its generation 3
  forge diff redis-bookworm debug       which files two images do not share
  forge diff mainframe --exit-code      for scripts: ends with 1 if anything differs";

/// Show what differs between two hosts or bundles
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// From: a host, an image, a digest, an exported bundle; with nothing else, the host to compare with its last build
    #[arg(required_unless_present_any = ["host", "generation"])]
    from: Option<String>,
    /// To
    to: Option<String>,
    /// Compare what this host of the project is at with what the project says now
    #[arg(long, value_name = "NAME", conflicts_with_all = ["from", "to"])]
    host: Option<String>,
    /// From this generation of the host [default: the current one]
    #[arg(long, value_name = "N", conflicts_with_all = ["from", "to"])]
    generation: Option<u64>,
    /// Leave out the contents of files
    #[arg(long)]
    summary: bool,
    /// End with 1 if anything differs
    #[arg(long)]
    exit_code: bool,
    /// Print the differences as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    way: Way,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    if let (Some(from), Some(to)) = (&args.from, &args.to)
        && let Some(images) = images::Args::between(from, to, args.exit_code, args.json, global)
    {
        return images::run(&images, global);
    }
    let (old, new) = match (&args.host, &args.from, &args.to) {
        (Some(host), _, _) => (
            at_host(args, args.generation, global)?,
            bundles::resolve(host, global)?,
        ),
        (None, Some(from), Some(to)) => (
            bundles::resolve(from, global)?,
            bundles::resolve(to, global)?,
        ),
        (None, Some(from), None) => (
            bundles::last_build(from, global)?,
            bundles::resolve(from, global)?,
        ),
        (None, None, _) => (
            at_host(args, args.generation, global)?,
            at_host(args, None, global)?,
        ),
    };
    let found = diff(&old.draft, &new.draft);
    if args.json {
        let json = serde_json::json!({ "from": old.digest, "to": new.digest, "diff": found });
        print_json(&json)?;
    } else if found.is_empty() {
        crate::cli::tell("no differences\n");
    } else {
        print(&draw(&found, args.summary))?;
    }
    Ok(if args.exit_code && !found.is_empty() {
        Outcome::No
    } else {
        Outcome::Done
    })
}

/// The bundle of a generation of a host, or of the current one.
fn at_host(
    args: &Args,
    generation: Option<u64>,
    global: &Global,
) -> Result<bundles::Found, CliError> {
    let one = One {
        host: args.host.clone(),
        way: args.way.clone(),
    };
    let reached = reach::connect(&one, global)?;
    let mut talk = reached
        .connect
        .open(Purpose::Ask)
        .map_err(reach::not_reached)?;
    let found = remote::bundle(&mut *talk, generation).map_err(reach::not_done)?;
    let (digest, opened) = found.ok_or_else(|| {
        CliError::new(Exit::No, "the host is as it was found: it has no bundle")
            .hint("`forge deploy --plan` shows what a deploy would do")
    })?;
    Ok(bundles::Found {
        digest,
        draft: opened.into_draft(),
    })
}

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const CYAN: Style = AnsiColor::Cyan.on_default();
const BOLD: Style = Style::new().bold();

fn mark(verb: Verb) -> String {
    match verb {
        Verb::Added => format!("{GREEN}+{GREEN:#}"),
        Verb::Removed => format!("{RED}-{RED:#}"),
        Verb::Changed => format!("{YELLOW}~{YELLOW:#}"),
    }
}

fn draw(found: &Diff, summary: bool) -> String {
    let Diff {
        images,
        services,
        contributions,
        files,
        secrets,
        host,
    } = found;
    let mut text = String::new();
    if !host.is_empty() {
        heading("Host", &mut text);
        fields(host, &mut text);
    }
    section("Services", services, &mut text, |change, text| {
        if !change.what.is_empty() {
            text.push_str(&format!("      recreated: {}\n", change.what.join(", ")));
        }
    });
    section("Images", images, &mut text, |change, text| {
        for (image, sign, style) in [(&change.what.old, "-", RED), (&change.what.new, "+", GREEN)] {
            if let Some(image) = image {
                text.push_str(&format!("      {style}{sign} {image}{style:#}\n"));
            }
        }
    });
    for (kind, changes) in contributions {
        section(&plural(kind), changes, &mut text, |change, text| {
            if change.verb == Verb::Changed {
                fields(&change.what, text);
            }
        });
    }
    section("Secrets", secrets, &mut text, |_, _| ());
    section("Files", files, &mut text, |change, text| {
        file(change, summary, text)
    });
    text
}

fn heading(title: &str, text: &mut String) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&format!("{BOLD}{title}{BOLD:#}\n"));
}

fn section<T>(
    title: &str,
    changes: &[Change<T>],
    text: &mut String,
    detail: impl Fn(&Change<T>, &mut String),
) {
    if changes.is_empty() {
        return;
    }
    heading(title, text);
    for change in changes {
        text.push_str(&format!("  {} {}\n", mark(change.verb), change.name));
        detail(change, text);
    }
}

fn fields(changes: &[FieldChange], text: &mut String) {
    for FieldChange { path, old, new } in changes {
        text.push_str(&format!("      {path}: "));
        match (old, new) {
            (Some(old), Some(new)) => text.push_str(&format!(
                "{RED}{}{RED:#} → {GREEN}{}{GREEN:#}\n",
                plain(old),
                plain(new)
            )),
            (Some(old), None) => text.push_str(&format!("{RED}{}{RED:#} removed\n", plain(old))),
            (None, Some(new)) => text.push_str(&format!("{GREEN}{}{GREEN:#}\n", plain(new))),
            (None, None) => text.push('\n'),
        }
    }
}

fn plain(value: &Json) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn file(change: &Change<FileChange>, summary: bool, text: &mut String) {
    if summary {
        return;
    }
    if change.what.unified.is_empty() {
        text.push_str("      (no text)\n");
    }
    for line in change.what.unified.lines() {
        let style = match line.chars().next() {
            Some('+') => GREEN,
            Some('-') => RED,
            Some('@') => CYAN,
            _ => Style::new(),
        };
        text.push_str(&format!("      {style}{line}{style:#}\n"));
    }
}

fn plural(kind: &str) -> String {
    let mut title: String = kind.replace('_', " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    match kind {
        "firewall" => title,
        _ if title.ends_with('y') => format!("{}ies", &title[..title.len() - 1]),
        _ if title.ends_with('h') => format!("{title}es"),
        _ => format!("{title}s"),
    }
}
