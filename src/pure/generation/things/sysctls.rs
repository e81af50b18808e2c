//! Kernel parameters: now, and at each boot by forge's own file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::pure::generation::{Action, Change, Kind};

/// forge's own file: read at boot after the distribution's.
pub const FILE: &str = "/etc/sysctl.d/90-forge.conf";

/// What was observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Have {
    /// What the running kernel says; a key that is missing is unknown to it.
    pub live: BTreeMap<String, String>,
    /// What [`FILE`] says.
    pub boot: BTreeMap<String, String>,
    /// What the kernel said before forge changed it.
    pub originals: BTreeMap<String, String>,
}

/// One key and what is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub change: Change,
    /// Written into the running kernel.
    pub live: Option<String>,
}

/// Where the kernel shows a key, below `/proc/sys`: the first separator says which of `.` and `/` separates. None if it would lead
/// elsewhere.
pub fn path(key: &str) -> Option<String> {
    let path: String = match key.chars().find(|c| matches!(c, '.' | '/')) {
        Some('.') => key
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => key.to_owned(),
    };
    let good = |part: &str| !part.is_empty() && part != "." && part != "..";
    (path.split('/').all(good) && !path.contains(['\0', '\n', '=', '*', '?'])).then_some(path)
}

/// The kernel pads some lists with tabs.
pub fn normal(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The text of [`FILE`]. A key that a kernel does not know (yet: a module may bring it) is no failure of the boot: hence the `-`.
pub fn render(want: &BTreeMap<String, String>) -> String {
    let mut text = "# Written by forge.\n".to_owned();
    for (key, value) in want {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "-{key} = {}", normal(value));
    }
    text
}

/// Reads what [`render`] wrote; what others wrote into it counts too, since it is in force.
pub fn parse(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with(['#', ';']))
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| {
            let key = key.trim();
            (
                key.strip_prefix('-').unwrap_or(key).to_owned(),
                normal(value),
            )
        })
        .collect()
}

/// What differs. Keys that the kernel does not know are only put into the file ([`unknown`] lists them).
pub fn plan(want: &BTreeMap<String, String>, have: &Have) -> Vec<Step> {
    let mut steps = Vec::new();
    let step = |key: &str, action, why: String, live| Step {
        change: Change::new(Kind::Sysctl, key, action, why),
        live,
    };
    for (key, value) in want {
        let value = normal(value);
        let live = have.live.get(key).map(|live| normal(live));
        match live {
            Some(live) if live != value => steps.push(step(
                key,
                Action::Change,
                format!("{live} → {value}"),
                Some(value),
            )),
            _ if have.boot.get(key) != Some(&value) => steps.push(step(
                key,
                Action::Change,
                format!("{value} is not set at boot"),
                None,
            )),
            _ => {}
        }
    }
    let gone = have.boot.keys().chain(have.originals.keys());
    let gone: std::collections::BTreeSet<&String> =
        gone.filter(|key| !want.contains_key(*key)).collect();
    for key in gone {
        let original = have.originals.get(key).map(|original| normal(original));
        let live = have.live.get(key).map(|live| normal(live));
        match original {
            Some(original) if live.as_ref().is_some_and(|live| *live != original) => {
                let why = format!(
                    "no longer declared: {} → {original}, as it was",
                    live.unwrap_or_default()
                );
                steps.push(step(key, Action::Remove, why, Some(original)));
            }
            _ if have.boot.contains_key(key) => {
                steps.push(step(
                    key,
                    Action::Remove,
                    "no longer declared".to_owned(),
                    None,
                ));
            }
            // It is as it was: only the record of it is to go.
            _ => {}
        }
    }
    steps
}

/// The wanted keys that the running kernel does not have.
pub fn unknown<'a>(want: &'a BTreeMap<String, String>, have: &Have) -> Vec<&'a str> {
    want.keys()
        .filter(|key| !have.live.contains_key(*key))
        .map(String::as_str)
        .collect()
}

/// The originals to be kept: of every key that is wanted and known to the kernel, what it was before forge.
pub fn originals(want: &BTreeMap<String, String>, have: &Have) -> BTreeMap<String, String> {
    want.keys()
        .filter_map(|key| {
            let value = have.originals.get(key).or_else(|| have.live.get(key))?;
            Some((key.clone(), normal(value)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_key_leads_below_proc_sys_or_nowhere() {
        assert_eq!(path("vm.swappiness").unwrap(), "vm/swappiness");
        assert_eq!(
            path("net.ipv4.conf.eth0/100.rp_filter").unwrap(),
            "net/ipv4/conf/eth0.100/rp_filter"
        );
        assert_eq!(
            path("net/ipv4/conf/eth0.100/rp_filter").unwrap(),
            "net/ipv4/conf/eth0.100/rp_filter"
        );
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            ".a",
            "a.b\nc",
            "net.*.x",
        ] {
            assert_eq!(path(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn what_is_rendered_is_read_back() {
        let want = map(&[("a.b", "1"), ("net.ipv4.tcp_rmem", "4096\t131072  6291456")]);
        let read = parse(&render(&want));
        assert_eq!(read["net.ipv4.tcp_rmem"], "4096 131072 6291456");
        assert_eq!(read["a.b"], "1");
        assert_eq!(read.len(), 2);
    }

    #[test]
    fn plans_now_boot_and_the_way_back() {
        let want = map(&[
            ("a.now", "1"),
            ("b.boot", "1"),
            ("c.fine", "4 5"),
            ("d.unknown", "1"),
        ]);
        let have = Have {
            live: map(&[
                ("a.now", "0"),
                ("b.boot", "1"),
                ("c.fine", "4\t5"),
                ("e.gone", "2"),
                ("f.gone", "2"),
                ("g.back", "7"),
            ]),
            boot: map(&[
                ("a.now", "1"),
                ("c.fine", "4 5"),
                ("e.gone", "2"),
                ("f.gone", "2"),
            ]),
            originals: map(&[("e.gone", "0"), ("g.back", "7")]),
        };
        let said: Vec<(String, Option<String>)> = plan(&want, &have)
            .into_iter()
            .map(|step| {
                (
                    format!("{} {}", step.change.name, step.change.why),
                    step.live,
                )
            })
            .collect();
        assert_eq!(
            said,
            [
                ("a.now 0 → 1".to_owned(), Some("1".to_owned())),
                ("b.boot 1 is not set at boot".to_owned(), None),
                ("d.unknown 1 is not set at boot".to_owned(), None),
                (
                    "e.gone no longer declared: 2 → 0, as it was".to_owned(),
                    Some("0".to_owned())
                ),
                ("f.gone no longer declared".to_owned(), None),
            ]
        );
        assert_eq!(unknown(&want, &have), ["d.unknown"]);
    }

    #[test]
    fn the_first_value_seen_is_the_original() {
        let have = Have {
            live: map(&[("a", "2"), ("b", "3")]),
            originals: map(&[("a", "0")]),
            ..Have::default()
        };
        let want = map(&[("a", "5"), ("b", "5"), ("c", "5")]);
        assert_eq!(originals(&want, &have), map(&[("a", "0"), ("b", "3")]));
    }
}
