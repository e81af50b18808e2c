//! Debian packages: missing ones are installed, nothing is ever removed.

use std::collections::BTreeSet;

use crate::pure::generation::{Action, Change, Kind};

/// What `dpkg-query` is asked to print of each package that it knows.
pub const FORMAT: &str = "${Package}\\t${db:Status-Status}\\t${Provides}\\n";

/// What dpkg knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Have {
    /// Whole, and with everything that the installed ones provide.
    pub installed: BTreeSet<String>,
    /// Left half done by a dpkg that was stopped.
    pub interrupted: BTreeSet<String>,
}

impl Have {
    /// Reads lines of [`FORMAT`].
    pub fn parse(text: &str) -> Self {
        let mut have = Self::default();
        for line in text.lines() {
            let mut fields = line.split('\t');
            let (Some(name), Some(status)) = (fields.next(), fields.next()) else {
                continue;
            };
            match status {
                // Triggers are about other packages: what waits for them is there.
                "installed" | "triggers-awaited" | "triggers-pending" => {
                    have.installed.insert(name.to_owned());
                    let provided = fields.next().unwrap_or_default().split(',');
                    have.installed.extend(
                        provided
                            .filter_map(|entry| entry.split_whitespace().next())
                            .map(ToOwned::to_owned),
                    );
                }
                "half-installed" | "half-configured" | "unpacked" => {
                    have.interrupted.insert(name.to_owned());
                }
                _ => {}
            }
        }
        have
    }
}

/// The packages that must be installed.
pub fn plan(want: &BTreeSet<String>, have: &Have) -> Vec<Change> {
    want.iter()
        .filter(|name| !have.installed.contains(*name))
        .map(|name| {
            let why = if have.interrupted.contains(name) {
                "its installation was interrupted"
            } else {
                "not installed"
            };
            Change::new(Kind::Package, name, Action::Add, why)
        })
        .collect()
}

/// True of what apt takes for the name of one package: with other words it removes (`x-`), or looks for a pattern.
pub fn is_name(name: &str) -> bool {
    let within = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+.-".contains(c);
    name.len() >= 2
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(within)
        && !name.ends_with('-')
}

/// Those of the names of which `apt-cache policy` has nothing to say: no archive has them, under any name.
pub fn unknown<'a>(names: &[&'a str], policy: &str) -> Vec<&'a str> {
    let known: BTreeSet<&str> = policy
        .lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.strip_suffix(':'))
        .collect();
    names
        .iter()
        .copied()
        .filter(|name| !known.contains(name))
        .collect()
}

/// True if apt would perhaps have found it with newer lists.
pub fn lists_may_be_old(said: &str) -> bool {
    [
        "Unable to fetch",
        "Failed to fetch",
        "Unable to locate",
        "has no installation candidate",
        "404  Not Found",
        "Hash Sum mismatch",
    ]
    .iter()
    .any(|sign| said.contains(sign))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const DPKG: &str = "adduser\tinstalled\t\nmawk\tinstalled\tawk\nexim4-daemon-light\tinstalled\tdefault-mta, mail-transport-agent (= 4)\n\
        old\tconfig-files\tgone\nsudo\thalf-configured\t\nman-db\ttriggers-pending\t\n";

    #[test]
    fn what_is_provided_counts_and_what_was_removed_does_not() {
        let have = Have::parse(DPKG);
        let want = set(&[
            "adduser",
            "awk",
            "mail-transport-agent",
            "man-db",
            "old",
            "gone",
            "sudo",
            "curl",
        ]);
        let plan = plan(&want, &have);
        let names: Vec<&str> = plan.iter().map(|change| change.name.as_str()).collect();
        assert_eq!(names, ["curl", "gone", "old", "sudo"]);
        assert_eq!(plan[0].why, "not installed");
        assert_eq!(plan[0].action, Action::Add);
        assert_eq!(plan[3].why, "its installation was interrupted");
    }

    #[test]
    fn what_is_there_and_not_wanted_stays() {
        assert!(plan(&BTreeSet::new(), &Have::parse(DPKG)).is_empty());
    }

    #[test]
    fn only_names_reach_apt() {
        for good in ["g++", "docker.io", "libc6", "0ad", "python3-pip"] {
            assert!(is_name(good), "{good}");
        }
        for bad in [
            "", "a", "sudo-", "-y", "lib*", "Foo", "a b", "a/b", "a=1", "a?",
        ] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn finds_what_no_archive_has() {
        let policy = "curl:\n  Installed: (none)\n  Candidate: 8\n  Version table:\n     8 500\nawk:\n  Installed: (none)\n";
        assert_eq!(unknown(&["awk", "curl", "crul"], policy), ["crul"]);
    }
}
