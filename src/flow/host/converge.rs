//! Plan and convergence: the same resources, asked what they would do, and told to do it.

use super::files::{AptFiles, Files};
use super::firewall::Firewall;
use super::groups::Groups;
use super::images::Images;
use super::networks::Networks;
use super::packages::Packages;
use super::resource::{Resource, Way};
use super::secrets::Secrets;
use super::services::Services;
use super::sysctls::Sysctls;
use super::tell::Tell;
use super::units::{Units, UnitsGone};
use super::users::Users;
use super::volumes::Volumes;
use super::works::Works;
use super::{Host, HostError, volumes};
use crate::edge::host::sshd;
use crate::pure::generation::{Change, Plan, Record, Target};

/// Before this step a preflight check may have to run that could not run earlier.
pub(super) const SERVICES: &str = "services";
/// Docker's chains are there only once it runs: this step is done once more at the end.
const FIREWALL: &str = "firewall";

/// What a host is made of, in the order in which it is converged: files below /etc/apt, packages, groups, users, units that
/// go, files, secrets, sysctls, volumes, units, firewall, networks, images, services.
pub fn resources() -> Vec<Box<dyn Resource>> {
    vec![
        Box::new(AptFiles::new(&sshd::validate)),
        Box::new(Packages),
        Box::new(Groups),
        Box::new(Users),
        // Before their files go.
        Box::new(UnitsGone),
        Box::new(Files::new(&sshd::validate)),
        Box::new(Secrets),
        Box::new(Sysctls),
        Box::new(Volumes),
        Box::new(Units),
        Box::new(Firewall),
        Box::new(Networks),
        Box::new(Images),
        Box::new(Services),
    ]
}

/// What would be done to bring the host from `before`, which is `current`, to `want`.
///
/// # Errors
/// [`HostError`] if the host cannot be asked, or if both are the host as it was found.
pub fn plan(
    host: &Host,
    current: Option<&Record>,
    before: &Target,
    want: &Target,
) -> Result<Plan, HostError> {
    plan_with(&resources(), host, current, before, want)
}

pub(super) fn plan_with(
    resources: &[Box<dyn Resource>],
    host: &Host,
    current: Option<&Record>,
    before: &Target,
    want: &Target,
) -> Result<Plan, HostError> {
    let Some(name) = want.host.clone().or_else(|| before.host.clone()) else {
        return Err(HostError::refused(
            "forge has put nothing on this host: there is nothing to take away",
            None,
        ));
    };
    let way = Way {
        want,
        before: &[before],
    };
    Ok(Plan {
        host: name,
        from: current.map_or(0, |record| record.number),
        from_bundle: current.and_then(|record| record.bundle),
        to_bundle: want.bundle,
        changes: changes(resources, host, way)?,
        notes: notes(host, way)?,
    })
}

/// Asks all at once, because each waits for programs; the changes are in the order of the resources.
fn changes(
    resources: &[Box<dyn Resource>],
    host: &Host,
    way: Way<'_>,
) -> Result<Vec<Change>, HostError> {
    let plans: Vec<Result<Vec<Change>, HostError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = resources
            .iter()
            .map(|resource| {
                (
                    resource.step(),
                    scope.spawn(move || resource.plan(host, way)),
                )
            })
            .collect();
        threads
            .into_iter()
            .map(|(step, thread)| {
                thread.join().unwrap_or_else(|_| {
                    Err(HostError::refused(
                        format!("{step}: the plan could not be made"),
                        None,
                    ))
                })
            })
            .collect()
    });
    let mut all = Vec::new();
    for plan in plans {
        all.extend(plan?);
    }
    Ok(all)
}

/// What stays behind.
fn notes(host: &Host, way: Way<'_>) -> Result<Vec<String>, HostError> {
    let mut notes = volumes::notes(host, way)?;
    let packages: Vec<&str> = way
        .before
        .iter()
        .flat_map(|before| before.packages.difference(&way.want.packages))
        .map(String::as_str)
        .collect();
    if !packages.is_empty() {
        notes.push(format!(
            "packages that are no longer declared stay installed: {}",
            packages.join(", ")
        ));
    }
    Ok(notes)
}

/// A step that failed.
#[derive(Debug)]
pub struct Failure {
    pub step: String,
    pub error: HostError,
}

impl Failure {
    pub(super) fn at(step: &str) -> impl FnOnce(HostError) -> Self {
        let step = step.to_owned();
        move |error| Self { step, error }
    }
}

/// Converges everything, in order, to the first failure.
///
/// # Errors
/// [`Failure`]; what was done before it stays done.
pub fn apply(host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), Failure> {
    apply_with(&resources(), host, way, tell, &mut |_| Ok(()))
}

pub(super) fn apply_with(
    resources: &[Box<dyn Resource>],
    host: &Host,
    way: Way<'_>,
    tell: &dyn Tell,
    before: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for resource in in_order(resources) {
        before(resource.step())?;
        tell.step(resource.step());
        resource
            .apply(host, way, tell)
            .map_err(Failure::at(resource.step()))?;
    }
    Ok(())
}

/// The resources, and those that are to be converged once more.
fn in_order(resources: &[Box<dyn Resource>]) -> impl Iterator<Item = &dyn Resource> {
    let again = resources
        .iter()
        .filter(|resource| resource.step() == FIREWALL);
    resources.iter().chain(again).map(AsRef::as_ref)
}

/// Converges as much as can be, whatever fails, and says what is not as it is to be then.
pub(super) fn apply_all_with(
    works: &Works,
    host: &Host,
    way: Way<'_>,
    tell: &dyn Tell,
) -> Vec<String> {
    let mut left = Vec::new();
    for resource in in_order(&works.resources) {
        tell.step(resource.step());
        if let Err(error) = resource.apply(host, way, tell) {
            tell.warn(format!("{}: {error}", resource.step()));
            left.push(format!("{}: {error}", resource.step()));
        }
    }
    // What runs is asked, not remembered.
    for resource in &works.resources {
        match resource.plan(host, way) {
            Ok(changes) => left.extend(
                changes
                    .iter()
                    .map(|change| format!("{} {}: {}", change.kind, change.name, change.why)),
            ),
            Err(error) => left.push(format!("{}: {error}", resource.step())),
        }
    }
    left
}
