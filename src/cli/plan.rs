//! Plans as a person reads them.

use std::collections::BTreeMap;

use anstyle::{AnsiColor, Style};
use serde_json::{Value as Json, json};

use super::table::amount;
use crate::flow::operator::deploy::ports::Proposal;
use crate::pure::generation::{Action, Change, Kind, Plan};

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const CYAN: Style = AnsiColor::Cyan.on_default();
const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// How much of each file's differences is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Diffs {
    All,
    /// So many lines of each.
    First(usize),
    None,
}

fn look(action: Action) -> (char, Style) {
    match action {
        Action::Add => ('+', GREEN),
        Action::Change => ('~', YELLOW),
        Action::Remove => ('-', RED),
        Action::Start => ('▶', GREEN),
        Action::Stop => ('■', RED),
        Action::Restart => ('↻', CYAN),
    }
}

/// A mark, coloured.
pub(crate) fn mark(action: Action) -> String {
    let (sign, style) = look(action);
    format!("{style}{sign}{style:#}")
}

/// One change on a line.
pub(crate) fn line(change: &Change) -> String {
    format!(
        "{} {} {}{}\n",
        mark(change.action),
        change.kind,
        plain(&change.name),
        because(&change.why)
    )
}

fn because(why: &str) -> String {
    if why.is_empty() {
        String::new()
    } else {
        format!("  {DIM}{}{DIM:#}", plain(why))
    }
}

/// What a host says may hold anything, but nothing that moves the cursor.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                '�'
            } else {
                c
            }
        })
        .collect()
}

/// [`plain`], of a text that may have lines of its own: those after the first are indented.
pub(crate) fn plain_lines(text: &str) -> String {
    let lines: Vec<String> = text.trim_end().lines().map(plain).collect();
    lines.join("\n  ")
}

fn title(kind: Kind) -> &'static str {
    match kind {
        Kind::Package => "Packages",
        Kind::Group => "Groups",
        Kind::User => "Users",
        Kind::File => "Files",
        Kind::Secret => "Secrets",
        Kind::Sysctl => "Kernel settings",
        Kind::Volume => "Volumes",
        Kind::Unit => "Units",
        Kind::Firewall => "Firewall",
        Kind::Network => "Networks",
        Kind::Image => "Images",
        Kind::Service => "Services",
    }
}

/// Changes, grouped by kind in the order in which they are made.
pub(crate) fn changes(changes: &[Change], diffs: Diffs) -> String {
    let mut groups: BTreeMap<Kind, Vec<&Change>> = BTreeMap::new();
    for change in changes {
        groups.entry(change.kind).or_default().push(change);
    }
    let mut text = String::new();
    for (kind, group) in groups {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("{BOLD}{}{BOLD:#}\n", title(kind)));
        let width = |change: &&Change| change.name.chars().count();
        // One long path must not push every reason off the screen.
        let widest = group.iter().map(width).filter(|w| *w <= 48).max();
        let widest = widest.unwrap_or(0);
        for change in group {
            let name = plain(&change.name);
            let name = if change.why.is_empty() {
                name
            } else {
                format!("{name:widest$}")
            };
            text.push_str(&format!(
                "  {} {name}{}\n",
                mark(change.action),
                because(&change.why)
            ));
            if let Some(diff) = &change.diff {
                text.push_str(&unified(diff, diffs));
            }
        }
    }
    text
}

fn unified(diff: &str, diffs: Diffs) -> String {
    let most = match diffs {
        Diffs::All => usize::MAX,
        Diffs::First(lines) => lines,
        Diffs::None => return String::new(),
    };
    let mut text = String::new();
    for line in diff.lines().take(most) {
        let style = match line.chars().next() {
            Some('+') => GREEN,
            Some('-') => RED,
            Some('@') => CYAN,
            _ => Style::new(),
        };
        text.push_str(&format!("      {style}{}{style:#}\n", plain(line)));
    }
    let rest = diff.lines().count().saturating_sub(most);
    if rest > 0 {
        text.push_str(&format!("      {DIM}… {rest} more lines: --diff{DIM:#}\n"));
    }
    text
}

/// `12 to add, 3 to change, 1 to remove`
fn counts(plan: &Plan) -> String {
    let words = [
        (Action::Add, "to add", true),
        (Action::Change, "to change", true),
        (Action::Remove, "to remove", true),
        (Action::Start, "to start", false),
        (Action::Stop, "to stop", false),
        (Action::Restart, "to restart", false),
    ];
    let mut parts = Vec::new();
    for (action, word, always) in words {
        let count = plan.changes.iter().filter(|c| c.action == action).count();
        if always || count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    parts.join(", ")
}

/// A plan, whole. The last line is the sum.
pub(crate) fn draw(proposal: &Proposal, diffs: Diffs) -> String {
    let Proposal {
        plan,
        bytes,
        fetched,
    } = proposal;
    let mut text = changes(&plan.changes, diffs);
    let section = |text: &mut String, title: &str| {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("{BOLD}{title}{BOLD:#}\n"));
    };
    if !fetched.is_empty() {
        section(&mut text, "Fetched by the host");
        for image in fetched {
            text.push_str(&format!("  {image}\n"));
        }
    }
    if !plan.notes.is_empty() {
        section(&mut text, "Notes");
        for note in &plan.notes {
            text.push_str(&format!("  {}\n", plain(note)));
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&format!(
        "{}: {}; {} to send\n",
        plan.host,
        if plan.changes.is_empty() {
            "nothing to change".to_owned()
        } else {
            counts(plan)
        },
        amount(*bytes)
    ));
    text
}

pub(crate) fn to_json(proposal: &Proposal) -> Json {
    json!({
        "plan": proposal.plan,
        "planned_bytes": proposal.bytes,
        "fetched": proposal.fetched,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn stripped(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    fn proposal() -> Proposal {
        let change = |kind, name: &str, action, why: &str| Change::new(kind, name, action, why);
        Proposal {
            plan: Plan {
                host: "web".parse().unwrap(),
                from: 3,
                from_bundle: None,
                to_bundle: None,
                changes: vec![
                    change(Kind::File, "/etc/motd", Action::Change, "edited by hand")
                        .with_diff("@@ -1 +1 @@\n-a\u{1b}[2J\n+b\n"),
                    change(Kind::File, "/etc/a", Action::Add, ""),
                    change(Kind::Service, "web", Action::Restart, "image 1 → 2"),
                    change(Kind::Package, "curl", Action::Remove, "not declared"),
                ],
                notes: vec!["the volume `old` stays".to_owned()],
            },
            bytes: 4200,
            fetched: vec!["postgres".parse().unwrap()],
        }
    }

    #[test]
    fn what_a_program_said_keeps_its_lines_and_moves_no_cursor() {
        assert_eq!(
            plain_lines("exit status: 1:\nline\u{1b}[2J\r\nend\n"),
            "exit status: 1:\n  line�[2J\n  end"
        );
    }

    #[test]
    fn a_plan_is_grouped_aligned_and_summed() {
        assert_eq!(
            stripped(&draw(&proposal(), Diffs::First(2))),
            "\
Packages
  - curl  not declared

Files
  ~ /etc/motd  edited by hand
      @@ -1 +1 @@
      -a�[2J
      … 1 more lines: --diff
  + /etc/a

Services
  ↻ web  image 1 → 2

Fetched by the host
  postgres

Notes
  the volume `old` stays

web: 1 to add, 1 to change, 1 to remove, 1 to restart; 4.10 KiB to send
"
        );
    }

    #[test]
    fn a_plan_of_nothing_is_one_line_and_json_has_all_of_it() {
        let mut proposal = proposal();
        let json = to_json(&proposal);
        assert_eq!(json["plan"]["changes"][0]["action"], "change");
        assert_eq!(json["planned_bytes"], 4200);
        proposal.plan.changes.clear();
        proposal.plan.notes.clear();
        proposal.fetched.clear();
        assert_eq!(
            stripped(&draw(&proposal, Diffs::All)),
            "web: nothing to change; 4.10 KiB to send\n"
        );
    }
}
