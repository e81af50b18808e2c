//! Texts of rules: as `iptables-restore` reads them, and as `iptables -S` prints them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::edge::host::iptables::Family;

/// The rules of chains, by chain; a policy is the rule of its built-in chain.
pub(super) type Rules = BTreeMap<String, Vec<String>>;

/// `KEY=value` or `KEY="value"` of a file for shells; the last one counts.
pub(super) fn setting(text: &str, key: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.trim().split_once('='))
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value.trim().trim_matches(['"', '\'']).to_owned())
        .next_back()
}

pub(super) fn is_yes(value: Option<String>) -> bool {
    value.is_some_and(|value| value.eq_ignore_ascii_case("yes"))
}

pub(super) fn prefix(family: Family) -> &'static str {
    match family {
        Family::V4 => "ufw",
        Family::V6 => "ufw6",
    }
}

/// What UFW sets by its defaults when it starts: the policies of the built-in chains, and the chains that stand for them.
pub(super) fn policies(family: Family, defaults: &str) -> String {
    let mut text = String::new();
    let p = prefix(family);
    for (chain, key) in [
        ("input", "DEFAULT_INPUT_POLICY"),
        ("output", "DEFAULT_OUTPUT_POLICY"),
        ("forward", "DEFAULT_FORWARD_POLICY"),
    ] {
        let set = setting(defaults, key).unwrap_or_default();
        let policy = match set.as_str() {
            "ACCEPT" | "REJECT" => set.as_str(),
            _ => "DROP",
        };
        let built_in = if policy == "ACCEPT" { "ACCEPT" } else { "DROP" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, ":{} {built_in} [0:0]", chain.to_uppercase());
        for kind in ["reject", "track", "skip-to-policy"] {
            let _ = writeln!(text, ":{p}-{kind}-{chain} - [0:0]");
        }
        let _ = writeln!(text, "-A {p}-skip-to-policy-{chain} -j {policy}");
        if policy == "REJECT" {
            let _ = writeln!(text, "-A {p}-reject-{chain} -j REJECT");
        }
        if policy == "ACCEPT" {
            for protocol in ["tcp", "udp"] {
                let _ = writeln!(
                    text,
                    "-A {p}-track-{chain} -p {protocol} -m conntrack --ctstate NEW -j ACCEPT"
                );
            }
        }
    }
    text
}

/// Several texts for `iptables-restore` as one, so that the kernel takes them together.
pub(super) fn merged(texts: &[&str]) -> String {
    let mut whole = String::from("*filter\n");
    for line in texts.iter().flat_map(|text| text.lines()) {
        let line = line.trim();
        if !matches!(line, "" | "*filter" | "COMMIT") && !line.starts_with('#') {
            whole.push_str(line);
            whole.push('\n');
        }
    }
    whole.push_str("COMMIT\n");
    whole
}

pub(super) fn declared(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix(':')?.split_whitespace().next())
        .map(ToOwned::to_owned)
        .collect()
}

/// True for the chains that UFW fills from `user.rules`.
pub(super) fn is_of_user_rules(family: Family, chain: &str) -> bool {
    let rest = chain.strip_prefix(prefix(family));
    ["-user-", "-before-logging-", "-after-logging-", "-logging-"]
        .iter()
        .any(|kind| rest.is_some_and(|rest| rest.starts_with(kind)))
}

pub(super) const CLOSED: &str = ":INPUT DROP [0:0]\n:FORWARD DROP [0:0]\n:OUTPUT DROP [0:0]\n";

/// The chains that people and programs have made.
pub(super) fn chains_of(printed: &str) -> BTreeSet<String> {
    printed
        .lines()
        .filter_map(|line| line.strip_prefix("-N "))
        .map(|chain| chain.trim().to_owned())
        .collect()
}

/// What `iptables -S` prints, of these chains: of a built-in one its policy alone, since others put their jumps there.
pub(super) fn of_chains(printed: &str, chains: &BTreeSet<String>) -> Rules {
    let mut rules = Rules::new();
    for line in printed.lines() {
        let mut words = line.split_whitespace();
        let (Some(verb), Some(chain)) = (words.next(), words.next()) else {
            continue;
        };
        if !chains.contains(chain) {
            continue;
        }
        let of_chain = rules.entry(chain.to_owned()).or_default();
        let built_in = matches!(chain, "INPUT" | "OUTPUT" | "FORWARD");
        if verb == "-P" || verb == "-A" && !built_in {
            of_chain.push(line.trim().to_owned());
        }
    }
    rules
}

pub(super) fn listing(rules: &Rules) -> String {
    rules
        .iter()
        .flat_map(|(chain, rules)| {
            std::iter::once(format!("{chain}:\n"))
                .chain(rules.iter().map(|rule| format!("{rule}\n")))
        })
        .collect()
}

pub(super) fn jumps(printed: &str, from: &str, to: &str) -> usize {
    let jump = format!("-A {from} -j {to}");
    printed.lines().filter(|line| line.trim() == jump).count()
}

/// What UFW loads when it starts to filter IPv6, as one text: its chains and the ways there, and its rules before and after those that
/// `wanted` has. Nothing that hangs in a built-in chain already is hung there again.
pub(super) fn start_v6(before: &str, after: &str, wanted: &str, printed: &str) -> String {
    let mut chains = String::new();
    for direction in ["input", "output", "forward"] {
        for kind in [
            "before-logging",
            "before",
            "after",
            "after-logging",
            "reject",
            "track",
        ] {
            let rule = format!("-A {} -j ufw6-{kind}-{direction}", direction.to_uppercase());
            let _ = writeln!(chains, ":ufw6-{kind}-{direction} - [0:0]");
            if printed.lines().all(|line| line.trim() != rule) {
                let _ = writeln!(chains, "{rule}");
            }
        }
    }
    let ways: String = ["input", "output", "forward"]
        .iter()
        .map(|direction| format!("-A ufw6-before-{direction} -j ufw6-user-{direction}\n"))
        .collect();
    let text = merged(&[&chains, before, after, wanted, &ways]);
    // Every chain is declared once, and before it is used.
    let (mut declarations, mut rest) = (Vec::new(), Vec::new());
    for line in text.lines().skip(1) {
        if !line.starts_with(':') {
            rest.push(line);
        } else if !declarations.contains(&line) {
            declarations.push(line);
        }
    }
    format!(
        "*filter\n{}\n{}\n",
        declarations.join("\n"),
        rest.join("\n")
    )
}
