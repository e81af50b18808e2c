//! What is left out of packages, and what stands for their maintainer scripts: a table, each row with its reason.
//!
//! Why data and not code: a row can be read, doubted and taken out without knowing the program, and its reason stands beside it.

mod prune;
mod wire;

use std::collections::BTreeSet;

pub use prune::{Pattern, PatternError, Prune};
pub use wire::{Account, Bundle, DirectoryRule, LinkRule, Release, Rules, RulesError};

use crate::pure::config::image::Debian;
use crate::pure::name::{Arch, BlobDigest};

/// The table that comes with forge.
const EMBEDDED: &str = include_str!("rules.toml");

/// A link that a rule makes: its absolute path, and its target.
pub type MadeLink = (String, String);

impl Rules {
    /// The table that comes with forge.
    ///
    /// # Errors
    /// [`RulesError`], which a test excludes.
    pub fn embedded() -> Result<Self, RulesError> {
        Self::parse(EMBEDDED)
    }

    /// The digest of the table: images are stale when it changes.
    pub fn digest() -> BlobDigest {
        BlobDigest::of(EMBEDDED)
    }

    /// Why a package is left out where something only depends on it; nothing if it is not.
    pub fn drops(&self, package: &str) -> Option<&str> {
        self.drop_packages
            .iter()
            .find(|rule| rule.names.iter().any(|name| name == package))
            .map(|rule| rule.reason.as_str())
    }

    /// As [`Self::drops`], after what a recipe says itself: what it names or includes comes in, what it excludes does not.
    pub fn drops_for(&self, recipe: &Debian, package: &str) -> Option<&str> {
        if recipe.exclude.contains(package) {
            return Some("the recipe excludes it");
        }
        let named = recipe.packages.iter().any(|(name, _)| name == package);
        if named || recipe.include.contains(package) {
            return None;
        }
        self.drops(package)
    }

    /// What is left out of the packages of a recipe.
    pub fn prune_for(&self, recipe: &Debian) -> Prune {
        let rules = |of: fn(&wire::PruneRule) -> &Vec<String>| {
            self.prunes.iter().flat_map(of).cloned().collect::<Vec<_>>()
        };
        let (mut drop, mut keep) = (rules(|rule| &rule.paths), rules(|rule| &rule.keep));
        drop.extend(recipe.drop.iter().cloned());
        keep.extend(recipe.keep.iter().cloned());
        Prune::new(drop, keep)
    }

    /// The accounts that these packages need.
    pub fn accounts<'a>(
        &'a self,
        packages: &'a BTreeSet<&str>,
    ) -> impl Iterator<Item = &'a Account> {
        self.accounts.iter().filter(|rule| {
            rule.packages
                .iter()
                .any(|name| packages.contains(name.as_str()))
        })
    }

    /// The account of this name in the table, whichever packages there are.
    pub fn account(&self, user: &str) -> Option<&Account> {
        self.accounts.iter().find(|rule| rule.user == user)
    }

    /// The folders that these packages need.
    pub fn directories<'a>(
        &'a self,
        packages: &'a BTreeSet<&str>,
    ) -> impl Iterator<Item = &'a DirectoryRule> {
        self.directories.iter().filter(|rule| {
            rule.packages
                .iter()
                .any(|name| packages.contains(name.as_str()))
        })
    }

    /// The links that these packages need.
    pub fn links<'a>(
        &'a self,
        packages: &'a BTreeSet<&str>,
        arch: Arch,
    ) -> impl Iterator<Item = MadeLink> + 'a {
        self.links.iter().flat_map(move |rule| {
            let present = rule
                .packages
                .iter()
                .filter(|name| packages.contains(name.as_str()));
            present.flat_map(move |package| rule.of(package, arch))
        })
    }

    /// The release that a suite belongs to, as `bookworm-security` does to `bookworm`.
    pub fn release(&self, suite: &str) -> Option<&Release> {
        let codename = suite.split(['-', '/']).next().unwrap_or_default();
        self.releases.iter().find(|rule| rule.codename == codename)
    }

    /// The files that are put together of files of these packages.
    pub fn bundles<'a>(&'a self, packages: &'a BTreeSet<&str>) -> impl Iterator<Item = &'a Bundle> {
        self.bundles.iter().filter(|rule| {
            rule.packages
                .iter()
                .any(|name| packages.contains(name.as_str()))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
