//! Debian's archives: which mirrors are asked for what, and the indexes that come from them.
//!
//! Guarantee: what comes from here was signed by a key of the keyring, is of the suite that was asked for, and has not run out. A mirror
//! that lies or lags is passed over, and named if no other has what is wanted.

mod index;

pub use index::{IndexRequest, SuiteIndex};

use std::path::{Path, PathBuf};

use jiff::civil::DateTime;
use jiff::{Span, Timestamp};
use url::Url;

use super::apt::{Apt, AptError};
use super::http::{Http, HttpError, HttpOptions, ProxyRule};
use super::store::StoreError;
use crate::pure::config::sources::DebianSource;
use crate::pure::images::debian::{IndexError, KeyringError, ReleaseError};
use crate::pure::name::ImageName;
use crate::pure::oci::ManifestError;
use crate::pure::pins::PackagePin;

/// Names the roots of mirrors, between spaces; before those of the project and of apt.
pub const ENVIRONMENT: &str = "FORGE_DEBIAN_MIRRORS";
/// The archive whose suites are called `NAME-security`, on mirrors and on snapshot archives.
const SECURITY: &str = "debian-security";
const MAIN: &str = "debian";
/// How a lock and a snapshot archive write a date.
const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// Why packages or indexes could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(
        "no mirror is known for {suite}/{component}{}: write one into forge.toml, `[sources.debian] mirrors = [\"https://…/debian\"]` \
         (or `[sources.debian.suites.\"{suite}\"] mirrors`), set {ENVIRONMENT}, or add it to apt's sources", ways(.unknown))]
    NoMirror {
        suite: String,
        component: String,
        /// What apt has for it, and forge does not know.
        unknown: Vec<String>,
    },
    #[error("`{url}` cannot be the root of a mirror: {why}")]
    Root { url: String, why: String },
    #[error("`{0}` is no date of a lock: 20260711T101010Z is one")]
    Date(String),
    #[error("the snapshot archive `{0}` has neither `{{archive}}` nor `{{date}}` in it")]
    Snapshot(String),
    #[error("the keyring {}: {why}", path.display())]
    KeyringFile { path: PathBuf, why: String },
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// No mirror has an index that may be believed.
    #[error("no mirror has {suite}:{}", lines(.tried))]
    NoIndex { suite: String, tried: Vec<String> },
    #[error(
        "{what} is not in the store, and nothing is fetched with --offline: run `forge lock` without it once"
    )]
    Offline { what: String },
    #[error(
        "{package} is gone from every source; `forge lock --update {image}` moves the pin to what is there now:{}", lines(.tried))]
    Gone {
        package: String,
        image: ImageName,
        tried: Vec<String>,
    },
    #[error("the {suite} index: {source}")]
    Release { suite: String, source: ReleaseError },
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error(transparent)]
    Apt(#[from] AptError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

fn ways(uris: &[String]) -> String {
    match uris {
        [] => String::new(),
        uris => format!(
            " (apt has {}, which is a way that forge does not know)",
            uris.join(", ")
        ),
    }
}

fn lines(tried: &[String]) -> String {
    let indented = |line: &String| format!("\n  {}", line.replace('\n', "\n  "));
    tried.iter().map(indented).collect()
}

/// Where Debian packages come from: what the environment says, else the project, else the machine's apt; behind them the snapshot
/// archive, where the project names one.
#[derive(Clone, Debug, Default)]
pub struct Debian {
    environment: Vec<String>,
    source: DebianSource,
    apt: Apt,
    /// The project's folder, where keyrings are.
    root: PathBuf,
}

impl Debian {
    /// As this machine and this project say. apt is asked only if neither the environment nor the project names mirrors.
    ///
    /// # Errors
    /// [`AptError`].
    pub fn of_machine(source: DebianSource, root: &Path) -> Result<Self, AptError> {
        let environment: Vec<String> = std::env::var(ENVIRONMENT)
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let apt = if environment.is_empty() && source.mirrors.is_empty() {
            Apt::of_machine()?
        } else {
            Apt::default()
        };
        Ok(Self::new(environment, source, apt, root))
    }

    pub fn new(environment: Vec<String>, source: DebianSource, apt: Apt, root: &Path) -> Self {
        Self {
            environment,
            source,
            apt,
            root: root.to_owned(),
        }
    }

    /// A client with the proxies and certificates that apt has for its mirrors.
    ///
    /// # Errors
    /// [`HttpError::Certificates`].
    pub fn client(&self) -> Result<Http, HttpError> {
        let proxies = self.apt.proxies.iter().map(|proxy| ProxyRule {
            scheme: Some(proxy.scheme.clone()),
            host: proxy.host.clone(),
            proxy: proxy.url.clone(),
        });
        Http::with(HttpOptions {
            extra_roots: self.apt.certificates.clone(),
            proxies: proxies.collect(),
            ..HttpOptions::default()
        })
    }

    /// The roots of the mirrors that have this component of this suite, in order of preference, without the snapshot archive.
    ///
    /// # Errors
    /// [`SourceError::Root`].
    pub fn mirrors(&self, suite: &str, component: &str) -> Result<Vec<String>, SourceError> {
        let own = self.source.suites.get(suite);
        let own = own.map_or(&[][..], |suite| &suite.mirrors);
        let mut roots = Vec::new();
        if !self.environment.is_empty() {
            roots.extend(archive_roots(&self.environment, suite)?);
            for root in own {
                roots.push(checked(root)?);
            }
        } else if !own.is_empty() {
            for root in own {
                roots.push(checked(root)?);
            }
        } else if self.source.mirrors.is_empty() {
            let known = self.apt.mirrors_for(suite, component);
            roots.extend(known.into_iter().map(|url| without_slash(url.as_str())));
        } else {
            roots = archive_roots(&self.source.mirrors, suite)?;
        }
        let mut seen = std::collections::BTreeSet::new();
        roots.retain(|root| seen.insert(root.clone()));
        Ok(roots)
    }

    /// The root of the snapshot archive at this time, if the project names one.
    ///
    /// # Errors
    /// [`SourceError::Snapshot`], [`SourceError::Root`].
    fn snapshot(&self, suite: &str, stamp: &str) -> Result<Option<String>, SourceError> {
        let Some(template) = &self.source.snapshot else {
            return Ok(None);
        };
        if !template.contains("{date}") || !template.contains("{archive}") {
            return Err(SourceError::Snapshot(template.clone()));
        }
        let root = template
            .replace("{archive}", archive_of(suite))
            .replace("{date}", stamp);
        checked(&root).map(Some)
    }

    /// Where the indexes of a suite are asked for, in order of preference: the snapshot archive last, as of now.
    ///
    /// # Errors
    /// [`SourceError::NoMirror`], [`SourceError::Root`], [`SourceError::Snapshot`].
    pub fn index_roots(
        &self,
        suite: &str,
        component: &str,
        now: Timestamp,
    ) -> Result<Vec<String>, SourceError> {
        let mut roots = self.mirrors(suite, component)?;
        roots.extend(self.snapshot(suite, &now.strftime(STAMP).to_string())?);
        self.some(roots, suite, component)
    }

    /// Where a package may be, in order of preference. `date` is that of its suite in the lock: the snapshot archive is asked as of a day
    /// later, because it takes up a release after the release was made.
    ///
    /// # Errors
    /// [`SourceError::NoMirror`], [`SourceError::Root`], [`SourceError::Snapshot`], [`SourceError::Date`].
    pub fn urls(&self, pin: &PackagePin, date: Option<&str>) -> Result<Vec<String>, SourceError> {
        let component = component_of(&pin.path);
        let mut roots = self.mirrors(&pin.suite, component)?;
        if let Some(date) = date
            && self.source.snapshot.is_some()
        {
            let wrong = || SourceError::Date(date.to_owned());
            let parsed = DateTime::strptime(STAMP, date).map_err(|_| wrong())?;
            let later = parsed
                .checked_add(Span::new().days(1))
                .map_err(|_| wrong())?;
            roots.extend(self.snapshot(&pin.suite, &later.strftime(STAMP).to_string())?);
        }
        let roots = self.some(roots, &pin.suite, component)?;
        let path = encoded(&pin.path);
        Ok(roots.iter().map(|root| format!("{root}/{path}")).collect())
    }

    fn some(
        &self,
        roots: Vec<String>,
        suite: &str,
        component: &str,
    ) -> Result<Vec<String>, SourceError> {
        if !roots.is_empty() {
            return Ok(roots);
        }
        Err(SourceError::NoMirror {
            suite: suite.to_owned(),
            component: component.to_owned(),
            unknown: self.apt.unknown_for(suite, component),
        })
    }
}

fn archive_of(suite: &str) -> &'static str {
    if suite.ends_with("-security") {
        SECURITY
    } else {
        MAIN
    }
}

/// The component that a path of the pool names: `pool/main/…`, and `pool/updates/main/…` of the security archive.
fn component_of(path: &str) -> &str {
    let mut parts = path.split('/').skip(1);
    match parts.next() {
        Some("updates") => parts.next(),
        part => part,
    }
    .unwrap_or_default()
}

/// Mirrors keep the security suites beside the others, under a root of their own.
fn archive_roots(roots: &[String], suite: &str) -> Result<Vec<String>, SourceError> {
    let wanted = archive_of(suite);
    let mut found = Vec::new();
    for root in roots {
        let root = checked(root)?;
        let (above, last) = root.rsplit_once('/').unwrap_or(("", &root));
        match (wanted, last) {
            (SECURITY, SECURITY) => found.push(root),
            (SECURITY, MAIN) => found.push(format!("{above}/{SECURITY}")),
            (SECURITY, _) | (_, SECURITY) => {}
            _ => found.push(root),
        }
    }
    Ok(found)
}

/// A root without the slash at its end.
fn checked(root: &str) -> Result<String, SourceError> {
    let refuse = |why: &str| SourceError::Root {
        // It may hold a password.
        url: root.rsplit('@').next().unwrap_or_default().to_owned(),
        why: why.to_owned(),
    };
    let url: Url = root.parse().map_err(|_| refuse("it is no URL"))?;
    if !matches!(url.scheme(), "http" | "https" | "file" | "copy") {
        return Err(refuse(
            "it begins with none of https:, http:, file: and copy:",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refuse("it has a `?` or a `#` in it"));
    }
    Ok(without_slash(url.as_str()))
}

fn without_slash(url: &str) -> String {
    url.trim_end_matches('/').to_owned()
}

/// A path of the pool as a path of a URL: versions hold `+`, which some servers take for a space, and `~`.
fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
#[path = "debian/tests.rs"]
mod tests;
