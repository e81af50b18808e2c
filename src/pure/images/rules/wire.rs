//! The table as it is written, checked when it is read.

use serde::{Deserialize, Deserializer};

use super::Pattern;
use super::prune::PatternError;
use crate::pure::images::layer::{ImagePath, PathError};
use crate::pure::name::Arch;

/// Why a table of rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error("the table of rules cannot be read: {0}")]
    Parse(#[from] toml::de::Error),
    #[error("the table of rules: {0}")]
    Pattern(#[from] PatternError),
    #[error("the table of rules: {0}")]
    Path(#[from] PathError),
    /// A row without a reason, or one that can never apply.
    #[error("the table of rules: the row of {0} says nothing")]
    Empty(String),
    #[error(
        "the table of rules: the folder {path} belongs to `{owner}`, for whom there is no account"
    )]
    Owner { path: String, owner: String },
    #[error("the table of rules: two accounts have the name `{user}` or the number {id}")]
    Account { user: String, id: u32 },
}

/// The table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    #[serde(rename = "drop_package")]
    pub(super) drop_packages: Vec<DropRule>,
    #[serde(rename = "prune")]
    pub(super) prunes: Vec<PruneRule>,
    #[serde(rename = "account")]
    pub(super) accounts: Vec<Account>,
    #[serde(rename = "directory")]
    pub(super) directories: Vec<DirectoryRule>,
    #[serde(rename = "link")]
    pub(super) links: Vec<LinkRule>,
    #[serde(rename = "bundle")]
    pub(super) bundles: Vec<Bundle>,
    #[serde(rename = "release")]
    pub(super) releases: Vec<Release>,
}

/// Packages that are left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DropRule {
    pub(super) names: Vec<String>,
    pub(super) reason: String,
}

/// Paths that are left out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PruneRule {
    pub(super) paths: Vec<String>,
    #[serde(default)]
    pub(super) keep: Vec<String>,
    pub(super) reason: String,
}

/// A user and the group of the same name and number.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    pub packages: Vec<String>,
    pub user: String,
    pub id: u32,
    pub home: String,
    pub reason: String,
}

/// Folders that belong to an [`Account`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryRule {
    pub packages: Vec<String>,
    pub paths: Vec<String>,
    /// The name of an account of the table, or `root`.
    pub owner: String,
    #[serde(deserialize_with = "octal")]
    pub mode: u32,
    pub reason: String,
}

/// Links of several names in one folder.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkRule {
    pub packages: Vec<String>,
    pub names: Vec<String>,
    pub folder: String,
    /// A file for one name, a folder that holds files of these names for several.
    pub target: String,
    pub reason: String,
}

/// A file that is other files, one after the other in the order of their paths.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    pub packages: Vec<String>,
    /// A [`Pattern`].
    pub from: String,
    pub path: String,
    pub reason: String,
}

/// The number of a release of Debian.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    pub codename: String,
    pub version: String,
    pub reason: String,
}

fn octal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let text = String::deserialize(deserializer)?;
    let mode = u32::from_str_radix(&text, 8).ok();
    mode.filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no mode in octal")))
}

impl LinkRule {
    /// The paths and targets for one of the rule's packages.
    pub(super) fn of(&self, package: &str, arch: Arch) -> Vec<super::MadeLink> {
        let version = package.rsplit('-').next().unwrap_or_default();
        let fill = |text: &str| {
            text.replace("{version}", version)
                .replace("{multiarch}", arch.multiarch())
        };
        let (folder, target) = (fill(&self.folder), fill(&self.target));
        let to = |name: &String| match self.names.len() {
            1 => target.clone(),
            _ => format!("{target}/{name}"),
        };
        self.names
            .iter()
            .map(|name| (format!("{folder}/{name}"), to(name)))
            .collect()
    }
}

impl Rules {
    /// Reads a table.
    ///
    /// # Errors
    /// [`RulesError`] if it says something that can never apply.
    pub fn parse(text: &str) -> Result<Self, RulesError> {
        let rules: Self = toml::from_str(text)?;
        rules.check()?;
        Ok(rules)
    }

    fn check(&self) -> Result<(), RulesError> {
        for rule in &self.drop_packages {
            said(rule.names.first(), &rule.names, &rule.reason)?;
        }
        for rule in &self.prunes {
            said(rule.paths.first(), &rule.paths, &rule.reason)?;
            for text in rule.paths.iter().chain(&rule.keep) {
                text.parse::<Pattern>()?;
            }
        }
        for (at, rule) in self.accounts.iter().enumerate() {
            said(Some(&rule.user), &rule.packages, &rule.reason)?;
            rule.home.parse::<ImagePath>()?;
            let same = |other: &Account| other.user == rule.user || other.id == rule.id;
            if self.accounts[..at].iter().any(same) {
                return Err(RulesError::Account {
                    user: rule.user.clone(),
                    id: rule.id,
                });
            }
        }
        for rule in &self.directories {
            said(rule.paths.first(), &rule.packages, &rule.reason)?;
            said(rule.paths.first(), &rule.paths, &rule.reason)?;
            for path in &rule.paths {
                path.parse::<ImagePath>()?;
                if rule.owner != "root" && self.account(&rule.owner).is_none() {
                    return Err(RulesError::Owner {
                        path: path.clone(),
                        owner: rule.owner.clone(),
                    });
                }
            }
        }
        for rule in &self.links {
            said(rule.names.first(), &rule.packages, &rule.reason)?;
            said(rule.names.first(), &rule.names, &rule.reason)?;
            for name in &rule.names {
                format!("{}/{name}", rule.folder).parse::<ImagePath>()?;
            }
        }
        for rule in &self.bundles {
            said(Some(&rule.path), &rule.packages, &rule.reason)?;
            rule.from.parse::<Pattern>()?;
            rule.path.parse::<ImagePath>()?;
        }
        for rule in &self.releases {
            said(
                Some(&rule.codename),
                std::slice::from_ref(&rule.version),
                &rule.reason,
            )?;
        }
        Ok(())
    }
}

fn said(row: Option<&String>, applies_to: &[String], reason: &str) -> Result<(), RulesError> {
    let empty = |text: &str| text.trim().is_empty();
    if empty(reason) || applies_to.is_empty() || applies_to.iter().any(|text| empty(text)) {
        let row = row.cloned().unwrap_or_else(|| "no name".to_owned());
        return Err(RulesError::Empty(row));
    }
    Ok(())
}
