//! Debian packages. What is no longer declared stays: something else may need it by now.

use super::resource::{Resource, Way};
use super::tell::Tell;
use super::{Host, HostError};
use crate::edge::host::{apt, dpkg};
use crate::pure::generation::things::packages::{self, Have};
use crate::pure::generation::{Change, Kind};

/// Installs what is missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Packages;

fn have(host: &Host) -> Result<Have, HostError> {
    dpkg::have(&host.paths)?.ok_or_else(|| {
        HostError::refused(
            "the host has no dpkg-query: it is neither Debian nor Ubuntu",
            None,
        )
    })
}

fn planned(host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError> {
    if way.want.packages.is_empty() {
        return Ok(Vec::new());
    }
    let odd = way
        .want
        .packages
        .iter()
        .find(|name| !packages::is_name(name));
    if let Some(odd) = odd {
        return Err(HostError::thing(
            Kind::Package,
            odd,
            "apt would not take this for the name of a package",
        ));
    }
    Ok(packages::plan(&way.want.packages, &have(host)?))
}

/// Those that no archive has, after a look into newer lists if there may be any.
fn known(host: &Host, names: &[&str], tell: &dyn Tell) -> Result<(), HostError> {
    let mut fetched = String::new();
    let mut updated = false;
    if apt::lists_are_old(&host.paths) {
        fetched = update(tell)?;
        updated = true;
    }
    let mut unknown = packages::unknown(names, &apt::policy(names)?);
    if !unknown.is_empty() && !updated {
        fetched = update(tell)?;
        unknown = packages::unknown(names, &apt::policy(names)?);
    }
    let Some(first) = unknown.first() else {
        return Ok(());
    };
    let failures: Vec<&str> = fetched
        .lines()
        .filter(|line| {
            ["Err:", "E:", "W:"]
                .iter()
                .any(|sign| line.starts_with(sign))
        })
        .take(5)
        .collect();
    let others = match unknown.len() {
        1 => String::new(),
        _ => format!(" (nor {})", unknown.get(1..).unwrap_or_default().join(", ")),
    };
    let mut why = format!("no package archive of this host has it{others}; see /etc/apt");
    if !failures.is_empty() {
        why.push_str(&format!(
            ". Not every archive could be asked:\n  {}",
            failures.join("\n  ")
        ));
    }
    Err(HostError::thing(Kind::Package, *first, why))
}

fn update(tell: &dyn Tell) -> Result<String, HostError> {
    tell.say("fetching the lists of the package archives");
    Ok(apt::update()?)
}

impl Resource for Packages {
    fn step(&self) -> &'static str {
        "packages"
    }

    fn plan(&self, host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError> {
        planned(host, way)
    }

    fn apply(&self, host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
        let changes = planned(host, way)?;
        if changes.is_empty() {
            return Ok(());
        }
        if !host.paths.is_real() {
            return Err(HostError::refused(
                "packages are installed on a real host alone",
                None,
            ));
        }
        if dpkg::was_stopped(&host.paths) || !have(host)?.interrupted.is_empty() {
            tell.say("completing an installation that was interrupted");
            dpkg::configure()?;
        }
        let names: Vec<&str> = changes.iter().map(|change| change.name.as_str()).collect();
        known(host, &names, tell)?;
        match apt::install(&names) {
            Ok(()) => {}
            Err(error) if packages::lists_may_be_old(&error.to_string()) => {
                update(tell)?;
                apt::install(&names)?;
            }
            Err(error) => return Err(error.into()),
        }
        if let Some(left) = planned(host, way)?.first() {
            return Err(HostError::thing(
                Kind::Package,
                &left.name,
                "apt says that it has installed it, and dpkg that it is not installed",
            ));
        }
        for change in &changes {
            tell.changed(change);
        }
        Ok(())
    }
}
