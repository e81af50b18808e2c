//! The closure of a set of packages: what must be in an image for these to work.

mod candidates;
mod order;
mod solve;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::pure::name::Arch;
use crate::pure::pins::PackagePin;

use super::index::{Index, IndexError};
use super::version::VersionError;

/// What is asked for.
#[derive(Clone)]
pub struct Request<'a> {
    pub arch: Arch,
    /// Names, or `NAME=VERSION`.
    pub packages: Vec<String>,
    /// Names that the recipe leaves out: whatever depends on them takes them for present.
    pub exclude: BTreeSet<String>,
    /// Whether the rules leave a name out. What is in `packages` is never left out by them.
    pub dropped: &'a dyn Fn(&str) -> bool,
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("arch", &self.arch)
            .field("packages", &self.packages)
            .field("exclude", &self.exclude)
            .finish_non_exhaustive()
    }
}

/// Packages that need nothing beyond themselves, but for what was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure {
    /// Dependencies first; in a cycle and where there is no order, by name.
    pub packages: Vec<PackagePin>,
    /// Why each package is there, by name.
    pub reasons: BTreeMap<String, Reason>,
    /// What was left out although something depends on it, by name.
    pub cut: Vec<Cut>,
}

/// Why a package is in a closure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    Requested,
    /// `by` is the first package found that needs it, `relation` what that says, as in `debconf (>= 0.5) | debconf-2.0`.
    Needed {
        by: String,
        relation: String,
    },
}

/// A package that is left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut {
    pub name: String,
    /// A package of the closure that takes it for present.
    pub needed_by: String,
}

/// Packages from a requested one to the one that is spoken of, each needed by the one before. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain(pub Vec<String>);

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" → "))
    }
}

impl Closure {
    /// How a package came in; nothing if it is not there.
    pub fn chain(&self, name: &str) -> Option<Chain> {
        self.reasons.contains_key(name).then(|| {
            Chain::follow(name, |name| match self.reasons.get(name) {
                Some(Reason::Needed { by, .. }) => Some(by),
                Some(Reason::Requested) | None => None,
            })
        })
    }
}

impl Chain {
    fn follow<'a>(name: &'a str, needed_by: impl Fn(&str) -> Option<&'a str>) -> Self {
        let mut chain = vec![name.to_owned()];
        let mut at = name;
        while let Some(by) = needed_by(at) {
            chain.push(by.to_owned());
            at = by;
        }
        chain.reverse();
        Self(chain)
    }
}

/// Why there is no closure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClosureError {
    #[error("there is no package `{name}` for {arch} in {suites}{}", .meant.as_ref().map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default())]
    Unknown {
        name: String,
        arch: Arch,
        suites: String,
        meant: Option<String>,
    },
    #[error("there is no `{name}` for {arch}; there is {}", .there.join(", "))]
    OtherArch {
        name: String,
        arch: Arch,
        /// As in `libc6 2.36-9 for arm64`.
        there: Vec<String>,
    },
    #[error("`{request}` names no package: {error}")]
    Version {
        request: String,
        error: VersionError,
    },
    #[error("`{request}` names no package: use `NAME` or `NAME=VERSION`")]
    Name { request: String },
    #[error("there is no version {wanted} of {name}; there is {}", .there.join(", "))]
    NoVersion {
        name: String,
        wanted: String,
        there: Vec<String>,
    },
    #[error("{name} is asked for twice, as {first} and as {second}")]
    Twice {
        name: String,
        first: String,
        second: String,
    },
    #[error(
        "{name} is asked for and left out at once: take it out of `packages` or out of `exclude`"
    )]
    Excluded { name: String },
    /// Nothing meets a relation. `there` are packages and versions that come near.
    #[error("{chain} needs `{relation}`, and there is {}", if .there.is_empty() { "nothing of that name".to_owned() } else { format!("only {}", .there.join(", ")) })]
    Unsatisfiable {
        chain: Chain,
        relation: String,
        there: Vec<String>,
    },
    #[error("{chain} needs `{relation}`, but {other} brings {name} {version}")]
    Clash {
        chain: Chain,
        relation: String,
        other: Chain,
        name: String,
        version: String,
    },
    /// `field` is `Conflicts` or `Breaks`.
    #[error(
        "two packages do not go together: {first} says `{field}: {relation}`, which is {second}"
    )]
    Conflict {
        first: Chain,
        field: &'static str,
        relation: String,
        second: Chain,
    },
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Finds the packages that a request needs, by `Depends` and `Pre-Depends` alone: no recommendations, and no essential
/// packages that nobody names.
///
/// Of each package the highest version is taken that its relations allow. Of alternatives, one that is there already; then
/// one that is left out, as that counts as present; then the first that leads to no conflict.
///
/// # Errors
/// [`ClosureError`]: if several ways fail, the one that the preferred way meets.
pub fn resolve(index: &Index, request: &Request<'_>) -> Result<Closure, ClosureError> {
    solve::resolve(index, request)
}

#[cfg(test)]
mod tests;
