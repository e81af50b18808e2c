use std::fmt;
use std::str::FromStr;

use crate::pure::images::layer::ImagePath;
use crate::pure::name::BlobDigest;

/// An absolute path in which `*` is anything within one part and `**`, as a whole part, any number of parts.
///
/// It covers what it matches and everything below. All other characters stand for themselves (`/usr/bin/[` is a program).
/// `/bin`, `/sbin` and `/lib` mean the folders below `/usr` that they are links to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern {
    parts: Vec<String>,
}

/// A text that is no [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is no pattern of paths: begin it with `/`, leave out empty parts, `.` and `..`, and let `**` be a part of its own", .0.escape_debug()
)]
pub struct PatternError(pub String);

/// Folders of the root that are links to those of the same name below `usr`.
pub(in crate::pure::images) const MERGED: [&str; 4] = ["bin", "lib", "lib64", "sbin"];

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let refuse = || PatternError(text.to_owned());
        let path = text.strip_prefix('/').ok_or_else(refuse)?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let bad = |part: &str| {
            matches!(part, "" | "." | "..")
                || part.contains('\0')
                || (part.contains("**") && part != "**")
        };
        if path.split('/').any(bad) {
            return Err(refuse());
        }
        let mut parts: Vec<String> = path.split('/').map(str::to_owned).collect();
        if MERGED.contains(&parts[0].as_str()) {
            parts.insert(0, "usr".to_owned());
        }
        Ok(Self { parts })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| write!(f, "/{part}"))
    }
}

impl Pattern {
    /// Whether it matches the path or a folder that the path is in.
    pub fn covers(&self, path: &ImagePath) -> bool {
        let path: Vec<&str> = path.as_str().split('/').collect();
        covers(&self.parts, &path)
    }

    /// Whether the path may be a folder on the way to what it matches. Only the parts before the first `**` are looked at: beyond it,
    /// every path would be one.
    fn leads_from(&self, path: &[&str]) -> bool {
        let parts = self.parts.iter().take_while(|part| *part != "**");
        parts.clone().count() >= path.len()
            && parts
                .zip(path)
                .all(|(pattern, part)| matches_part(pattern.as_bytes(), part.as_bytes()))
    }
}

fn covers(pattern: &[String], path: &[&str]) -> bool {
    let Some((first, rest)) = pattern.split_first() else {
        return true;
    };
    if first == "**" {
        return (0..=path.len()).any(|skipped| covers(rest, &path[skipped..]));
    }
    path.split_first().is_some_and(|(part, below)| {
        matches_part(first.as_bytes(), part.as_bytes()) && covers(rest, below)
    })
}

/// With one step back to the last `*` alone: linear in practice, and quadratic at worst.
fn matches_part(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        if pattern.get(at) == Some(&b'*') {
            star = Some((at, seen));
            at += 1;
        } else if pattern.get(at) == Some(&text[seen]) {
            at += 1;
            seen += 1;
        } else if let Some((back, taken)) = star {
            at = back + 1;
            seen = taken + 1;
            star = Some((back, taken + 1));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Which files of packages are left out: the rules, and what a recipe says beyond them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prune {
    drop: Vec<Pattern>,
    keep: Vec<Pattern>,
}

impl Prune {
    /// `keep` wins over `drop`. Both are [`Pattern`]s; a text that is none matches nothing, and is reported where it stands.
    pub fn new(drop: Vec<String>, keep: Vec<String>) -> Self {
        let patterns = |texts: Vec<String>| {
            let mut patterns: Vec<Pattern> =
                texts.iter().filter_map(|text| text.parse().ok()).collect();
            patterns.sort();
            patterns.dedup();
            patterns
        };
        Self {
            drop: patterns(drop),
            keep: patterns(keep),
        }
    }

    /// Whether a path goes into the image. A folder on the way to what is kept does.
    pub fn keeps(&self, path: &ImagePath) -> bool {
        let parts: Vec<&str> = path.as_str().split('/').collect();
        !self
            .drop
            .iter()
            .any(|pattern| covers(&pattern.parts, &parts))
            || self
                .keep
                .iter()
                .any(|pattern| covers(&pattern.parts, &parts) || pattern.leads_from(&parts))
    }

    /// Changes when the outcome may: part of the key under which a layer is remembered.
    pub fn fingerprint(&self) -> BlobDigest {
        let mut text = Vec::from("prune 1");
        for (mark, patterns) in [(1, &self.drop), (2, &self.keep)] {
            for pattern in patterns {
                // No pattern holds these bytes.
                text.extend([0, mark]);
                text.extend(pattern.to_string().into_bytes());
            }
        }
        BlobDigest::of(text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn path(text: &str) -> ImagePath {
        text.parse().unwrap()
    }

    fn prune(drop: &[&str], keep: &[&str]) -> Prune {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Prune::new(owned(drop), owned(keep))
    }

    #[test]
    fn a_pattern_covers_what_it_matches_and_what_lies_below() {
        let yes = [
            ("/usr/share/man", "usr/share/man"),
            ("/usr/share/man/", "usr/share/man/man1/ls.1.gz"),
            (
                "/usr/share/doc/*/copyright",
                "usr/share/doc/libc6/copyright",
            ),
            ("/usr/**/tests", "usr/lib/python3/tests/a"),
            ("/usr/**/tests", "usr/tests"),
            ("/usr/lib/**", "usr/lib"),
            ("/etc/cron*", "etc/cron.d/x"),
            ("/*a*b", "xaybzb"),
            ("/lib/systemd", "usr/lib/systemd/system/x.service"),
            ("/usr/bin/[", "usr/bin/["),
        ];
        for (pattern, text) in yes {
            let pattern: Pattern = pattern.parse().unwrap();
            assert!(pattern.covers(&path(text)), "{pattern} {text}");
        }
        let no = [
            ("/usr/share/man", "usr/share"),
            ("/usr/share/man", "usr/share/man2"),
            ("/usr/share/doc/*/copyright", "usr/share/doc/a/b/copyright"),
            ("/usr/**/tests", "var/tests"),
            ("/*a*b", "xaybzc"),
            ("/usr/bin/[", "usr/bin/x"),
            ("/etc", "usr/etc"),
        ];
        for (pattern, text) in no {
            let pattern: Pattern = pattern.parse().unwrap();
            assert!(!pattern.covers(&path(text)), "{pattern} {text}");
        }
    }

    #[test]
    fn refuses_what_could_never_match() {
        for bad in ["", "/", "usr", "/a//b", "/a/../b", "/./a", "/a/**b", "/a\0"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn keep_wins_and_keeps_the_folders_on_the_way() {
        let prune = prune(&["/usr/share/doc"], &["/usr/share/doc/*/copyright"]);
        for kept in [
            "usr/bin/ls",
            "usr/share/doc",
            "usr/share/doc/libc6",
            "usr/share/doc/libc6/copyright",
        ] {
            assert!(prune.keeps(&path(kept)), "{kept}");
        }
        for dropped in [
            "usr/share/doc/libc6/changelog.gz",
            "usr/share/doc/libc6/examples/copyright",
        ] {
            assert!(!prune.keeps(&path(dropped)), "{dropped}");
        }
        assert!(Prune::default().keeps(&path("usr/share/doc/x/y")));
    }

    #[test]
    fn a_keep_with_two_stars_keeps_no_siblings() {
        let prune = prune(&["/usr/share/locale"], &["/usr/share/locale/**/de.mo"]);
        assert!(prune.keeps(&path("usr/share/locale/de/de.mo")));
        assert!(prune.keeps(&path("usr/share/locale")));
        assert!(!prune.keeps(&path("usr/share/locale/de/fr.mo")));
    }

    #[test]
    fn the_fingerprint_follows_the_meaning() {
        let one = prune(&["/a", "/b"], &["/c"]);
        assert_eq!(
            one.fingerprint(),
            prune(&["/b", "/a", "/a/"], &["/c"]).fingerprint()
        );
        for other in [
            prune(&["/a"], &["/c"]),
            prune(&["/a", "/b", "/c"], &[]),
            prune(&["/a/b"], &["/c"]),
            Prune::default(),
        ] {
            assert_ne!(one.fingerprint(), other.fingerprint());
        }
    }

    #[test]
    fn many_stars_are_not_slow() {
        let pattern: Pattern = format!("/{}b", "*a".repeat(60)).parse().unwrap();
        assert!(!pattern.covers(&path(&"a".repeat(250))));
    }
}
