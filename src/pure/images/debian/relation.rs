//! Relations between packages (Debian Policy, section 7.1).

use std::cmp::Ordering;
use std::fmt;

use super::control::{excerpt, is_package_name};
use super::version::Version;

/// One wish for a package: `libc6:any (>= 2.36) [amd64 arm64] <!nocheck>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation<'a> {
    pub name: &'a str,
    /// What stands after the colon: `any`, `native` or an architecture.
    pub qualifier: Option<&'a str>,
    pub version: Option<(Operator, Version<'a>)>,
    /// Where it holds; everywhere if there are none.
    pub architectures: Vec<Term<'a>>,
    /// Build profiles: it holds if all terms of one list do, or there is no list.
    pub profiles: Vec<Vec<Term<'a>>>,
}

/// A word that is wanted, or with `!`, one that is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term<'a> {
    pub negated: bool,
    pub word: &'a str,
}

/// How a version must stand to the one that a relation names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

impl Operator {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        }
    }

    fn accepts(self, order: Ordering) -> bool {
        match self {
            Self::Earlier => order.is_lt(),
            Self::EarlierOrEqual => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::LaterOrEqual => order.is_ge(),
            Self::Later => order.is_gt(),
        }
    }
}

/// Why a field is no list of relations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{relation}` is no relation to a package: {reason}")]
pub struct RelationError {
    pub relation: String,
    pub reason: &'static str,
}

/// Relations one of which must hold: `a | b`. Never empty.
pub type Alternatives<'a> = Vec<Relation<'a>>;

/// Reads a field such as `Depends`: all of the outer list must hold, of each inner one relation.
///
/// # Errors
/// [`RelationError`] for the first that is malformed.
pub fn parse(field: &str) -> Result<Vec<Alternatives<'_>>, RelationError> {
    field
        .split(',')
        .map(str::trim)
        // A comma at the end is common.
        .filter(|clause| !clause.is_empty())
        .map(|clause| clause.split('|').map(Relation::parse).collect())
        .collect()
}

impl<'a> Relation<'a> {
    /// Reads one relation.
    ///
    /// # Errors
    /// [`RelationError`].
    pub fn parse(text: &'a str) -> Result<Self, RelationError> {
        let text = text.trim();
        let refuse = |reason| RelationError {
            relation: excerpt(text),
            reason,
        };
        let is_end = |c: char| c.is_ascii_whitespace() || "([<".contains(c);
        let (word, mut rest) = text.split_at(text.find(is_end).unwrap_or(text.len()));
        let (name, qualifier) = match word.split_once(':') {
            Some((name, qualifier)) => (name, Some(qualifier)),
            None => (word, None),
        };
        if !is_package_name(name) {
            return Err(refuse("it does not begin with the name of a package"));
        }
        if qualifier.is_some_and(|word| !is_word(word)) {
            return Err(refuse("what follows its colon is no architecture"));
        }
        let mut relation = Self {
            name,
            qualifier,
            version: None,
            architectures: Vec::new(),
            profiles: Vec::new(),
        };
        loop {
            rest = rest.trim_start();
            let Some(open) = rest.chars().next() else {
                return Ok(relation);
            };
            let (close, unclosed) = match open {
                '(' => (')', "its `(` is not closed"),
                '[' => (']', "its `[` is not closed"),
                '<' => ('>', "its `<` is not closed"),
                _ => return Err(refuse("something follows that is in no brackets")),
            };
            let inside = rest.split_at(1).1;
            let (inside, after) = inside.split_once(close).ok_or_else(|| refuse(unclosed))?;
            rest = after;
            match open {
                '(' if relation.version.is_none() => {
                    relation.version = Some(restriction(inside).map_err(refuse)?);
                }
                '[' if relation.architectures.is_empty() => {
                    relation.architectures = terms(inside)
                        .ok_or_else(|| refuse("its list of architectures is malformed"))?;
                }
                '<' => relation
                    .profiles
                    .push(terms(inside).ok_or_else(|| refuse("its build profiles are malformed"))?),
                _ => return Err(refuse("it has two brackets of one kind")),
            }
        }
    }

    /// Whether the relation holds for packages of an architecture, outside of any build: no build profile is active.
    pub fn applies_to(&self, arch: &str) -> bool {
        let listed = |term: &Term<'_>| {
            term.word == arch
                || term.word == "any"
                || term.word == "linux-any"
                || term
                    .word
                    .strip_prefix("any-")
                    .is_some_and(|cpu| cpu == arch)
        };
        let here = match self.architectures.first() {
            None => true,
            Some(first) if first.negated => !self.architectures.iter().any(listed),
            Some(_) => self.architectures.iter().any(listed),
        };
        let built = self.profiles.is_empty()
            || self
                .profiles
                .iter()
                .any(|list| list.iter().all(|term| term.negated));
        here && built
    }

    /// Whether a version is one that the relation takes.
    pub fn accepts(&self, version: &Version<'_>) -> bool {
        self.version
            .as_ref()
            .is_none_or(|(operator, wanted)| operator.accepts(version.cmp(wanted)))
    }
}

/// A word of an architecture or a profile.
fn is_word(word: &str) -> bool {
    !word.is_empty()
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._+".contains(&byte))
}

fn restriction(inside: &str) -> Result<(Operator, Version<'_>), &'static str> {
    let inside = inside.trim();
    let end = inside
        .find(|c| !"<>=".contains(c))
        .ok_or("it names no version")?;
    let (operator, version) = inside.split_at(end);
    let operator = match operator {
        "<<" => Operator::Earlier,
        // `<` and `>` alone are obsolete and mean what they say least.
        "<=" | "<" => Operator::EarlierOrEqual,
        "=" => Operator::Equal,
        ">=" | ">" => Operator::LaterOrEqual,
        ">>" => Operator::Later,
        _ => return Err("its version has no operator: use `<<`, `<=`, `=`, `>=` or `>>`"),
    };
    let version = Version::parse(version.trim()).map_err(|error| error.reason)?;
    Ok((operator, version))
}

/// Words with or without `!`; nothing if there are none or one is malformed.
fn terms(inside: &str) -> Option<Vec<Term<'_>>> {
    let terms: Vec<_> = inside
        .split_ascii_whitespace()
        .map(|word| {
            let bare = word.strip_prefix('!');
            let term = Term {
                negated: bare.is_some(),
                word: bare.unwrap_or(word),
            };
            is_word(term.word).then_some(term)
        })
        .collect::<Option<_>>()?;
    (!terms.is_empty()).then_some(terms)
}

impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if let Some(qualifier) = self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        if let Some((operator, version)) = &self.version {
            write!(f, " ({operator} {version})")?;
        }
        if !self.architectures.is_empty() {
            write!(f, " [{}]", Terms(&self.architectures))?;
        }
        for list in &self.profiles {
            write!(f, " <{}>", Terms(list))?;
        }
        Ok(())
    }
}

struct Terms<'a>(&'a [Term<'a>]);

impl fmt::Display for Terms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, term) in self.0.iter().enumerate() {
            let blank = if at == 0 { "" } else { " " };
            let not = if term.negated { "!" } else { "" };
            write!(f, "{blank}{not}{}", term.word)?;
        }
        Ok(())
    }
}

/// `a (>= 1) | b`, for messages.
pub(super) fn display_alternatives(alternatives: &[Relation<'_>]) -> String {
    let all: Vec<String> = alternatives.iter().map(ToString::to_string).collect();
    all.join(" | ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_every_part() {
        let field =
            "libc6:any(>=2.36)[amd64 arm64] <!nocheck> <stage1 !x>,\n aa | bb (<< 1:2-3) ,,";
        let shown: Vec<_> = parse(field)
            .unwrap()
            .iter()
            .map(|clause| display_alternatives(clause))
            .collect();
        assert_eq!(
            shown,
            [
                "libc6:any (>= 2.36) [amd64 arm64] <!nocheck> <stage1 !x>",
                "aa | bb (<< 1:2-3)"
            ]
        );
        assert_eq!(parse(" , "), Ok(Vec::new()));
    }

    #[test]
    fn refuses_what_is_no_relation() {
        for bad in [
            "a",
            "Aa",
            "aa bb",
            "aa |",
            "| aa",
            "aa (1)",
            "aa (>= )",
            "aa (>= 1",
            "aa (=> 1)",
            "aa (>= 1) (<< 2)",
            "aa [",
            "aa []",
            "aa [amd64",
            "aa <>",
            "aa <!>",
            "aa [a/b]",
            "aa:",
            "aa:a:b",
            "aa) (",
            "aa/bb",
            "${x}",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn holds_for_some_architectures_and_versions() {
        let applies = |text: &str| Relation::parse(text).unwrap().applies_to("amd64");
        for good in [
            "aa",
            "aa [amd64]",
            "aa [arm64 amd64]",
            "aa [!arm64]",
            "aa [linux-any]",
            "aa [any-amd64]",
            "aa <!x>",
            "aa <x> <!y>",
        ] {
            assert!(applies(good), "{good}");
        }
        for bad in [
            "aa [arm64]",
            "aa [!amd64]",
            "aa [!arm64 !amd64]",
            "aa <x>",
            "aa <!x y>",
        ] {
            assert!(!applies(bad), "{bad}");
        }
        let accepted = |operator: &str| {
            let text = format!("aa ({operator} 2)");
            let relation = Relation::parse(&text).unwrap();
            ["1", "2", "2-0", "3"]
                .map(|version| relation.accepts(&Version::parse(version).unwrap()))
        };
        assert_eq!(accepted("<<"), [true, false, false, false]);
        assert_eq!(accepted("<="), [true, true, true, false]);
        assert_eq!(accepted("="), [false, true, true, false]);
        assert_eq!(accepted(">="), [false, true, true, true]);
        assert_eq!(accepted(">>"), [false, false, false, true]);
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_and_read_the_same(text in "[a-z]{2,3}(:any)?( \\((<<|<=|=|>=|>>) [0-9]\\))?( \\[!?[a-z]{1,3}\\])?( <!?[a-z]{1,3}>){0,2}") {
            let relation = Relation::parse(&text).unwrap();
            prop_assert_eq!(relation.to_string(), &*text);
            let shown = relation.to_string();
            prop_assert_eq!(Relation::parse(&shown).unwrap(), relation);
        }
    }
}
