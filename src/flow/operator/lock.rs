//! Images to pins: what a project's lock must hold, what of it is missing or stale, and how that is resolved.
//!
//! All or nothing: if one image cannot be resolved, every failure is reported and the lock stays as it is, so that it never
//! holds half of what was asked for.

mod resolve;
mod state;
mod world;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;

use super::evaluate::Opened;
use crate::flow::progress::Progress;
use crate::pure::config::image::{Debian, Image, Python};
use crate::pure::name::{Arch, BlobDigest, HostName, ImageName, ManifestDigest};
use crate::pure::pins::{self, Changes, PackagePin, Pins, SuitePin, WheelPin};
use crate::pure::text::{Diagnostics, Severity, codes};

pub use state::{State, state};
pub use world::World;

/// Why the world has no answer.
pub type ResolveError = Box<dyn Error + Send + Sync>;

/// The world that images are resolved against: registries, package indexes, and the builder.
pub trait Resolver {
    /// What a tag points to now: the index where there is one, else the manifest.
    fn registry(&self, repository: &str, tag: &str) -> Result<ManifestDigest, ResolveError>;

    /// The packages that a recipe needs above those that the images below it have, dependencies first.
    fn debian(
        &self,
        image: &Image,
        recipe: &Debian,
        arch: Arch,
        below: &[PackagePin],
    ) -> Result<Packages, ResolveError>;

    /// The wheels for a file of requirements, by name. `packages` are all packages of the image, for its interpreter and libc.
    fn wheels(
        &self,
        image: &Image,
        recipe: &Python,
        requirements: &[u8],
        arch: Arch,
        packages: &[PackagePin],
    ) -> Result<Vec<WheelPin>, ResolveError>;

    /// Builds the image for one architecture.
    fn build(&self, wanted: &ToBuild<'_>) -> Result<Built, ResolveError>;
}

/// What a set of suites offers for a recipe.
#[derive(Clone, Debug, Default)]
pub struct Packages {
    pub packages: Vec<PackagePin>,
    /// Of the suites that were asked.
    pub suites: BTreeMap<String, SuitePin>,
}

/// An image to build.
#[derive(Clone, Copy, Debug)]
pub struct ToBuild<'a> {
    pub opened: &'a Opened,
    pub image: &'a Image,
    pub arch: Arch,
    /// Those of the recipe itself.
    pub packages: &'a [PackagePin],
    pub wheels: &'a [WheelPin],
    /// As far as they are resolved: of the images that this one continues, and of the suites.
    pub pins: &'a Pins,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    pub digest: ManifestDigest,
    /// All of them, those of the base first.
    pub layers: Vec<BlobDigest>,
}

/// What to lock.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// These images and those that they continue; none: all that the project has or uses.
    pub images: BTreeSet<ImageName>,
    /// Also those whose pins are fresh.
    pub update: bool,
}

/// Why the lock stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The mistakes are in the diagnostics of what was opened.
    #[error("the project has mistakes")]
    Mistakes,
    #[error("there is no image `{name}`")]
    Unknown { name: ImageName },
    #[error("{} of the images could not be resolved", .0.len())]
    Unresolved(Vec<Failure>),
}

/// An image that could not be resolved.
#[derive(Debug)]
pub struct Failure {
    pub image: ImageName,
    pub error: ResolveError,
}

/// The new lock.
#[derive(Debug)]
pub struct Locked {
    pub changes: Changes,
    /// The lock to write; none if the one that is there says all this already.
    pub text: Option<String>,
    /// The images that were looked at.
    pub images: BTreeSet<ImageName>,
}

/// An image of the lock's that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub image: ImageName,
    pub state: State,
}

/// What is missing or stale, of these images or of all; nothing is asked of the world.
///
/// # Errors
/// [`LockError::Mistakes`], [`LockError::Unknown`].
pub fn check(opened: &mut Opened, images: &BTreeSet<ImageName>) -> Result<Vec<Finding>, LockError> {
    let wanted = wanted(opened, images)?;
    let findings = wanted
        .into_iter()
        .map(|image| Finding {
            state: state(opened, &opened.pins, &image),
            image,
        })
        .filter(|finding| finding.state != State::Fresh)
        .collect();
    Ok(findings)
}

/// Resolves what is missing or stale, and with `update` the rest of what is asked for too. `shipped` are the pins that come with
/// forge for the images of its catalogue: they are taken before anybody is asked, but for an update.
///
/// # Errors
/// [`LockError`]; nothing of the result is to be used then.
pub fn lock(
    opened: &mut Opened,
    shipped: &Pins,
    request: &Request,
    resolver: &dyn Resolver,
    progress: &dyn Progress,
) -> Result<Locked, LockError> {
    let wanted = wanted(opened, &request.images)?;
    // Nothing may be lost of an image that was not asked for.
    let lost = opened
        .pins
        .broken
        .iter()
        .any(|name| !wanted.iter().any(|image| image.as_str() == name));
    if lost {
        return Err(LockError::Mistakes);
    }
    let new = resolve::resolve(opened, shipped, &wanted, request.update, resolver, progress)
        .map_err(LockError::Unresolved)?;
    let changes = pins::diff(&opened.pins, &new);
    let has_unused = opened
        .diagnostics
        .iter()
        .any(|diagnostic| diagnostic.code == codes::UNUSED_PIN);
    let text = pins::to_text(&new);
    let same = changes.images.is_empty()
        && new.suites == opened.pins.suites
        && opened.pins.broken.is_empty()
        && !(has_unused && request.images.is_empty());
    Ok(Locked {
        changes,
        text: (!same).then_some(text),
        images: wanted,
    })
}

/// The images to lock: those named, or the project's own and those that its hosts use; with all that they continue.
fn wanted(
    opened: &mut Opened,
    named: &BTreeSet<ImageName>,
) -> Result<BTreeSet<ImageName>, LockError> {
    if opened.pins.incomplete || has_mistakes_elsewhere(opened) {
        return Err(LockError::Mistakes);
    }
    let mut wanted: BTreeSet<ImageName> = BTreeSet::new();
    if named.is_empty() {
        let own = opened.project.images.keys().filter(|name| {
            opened
                .text
                .get(&format!("images/{name}/image.toml"))
                .is_some_and(|file| !file.embedded)
        });
        wanted.extend(own.cloned());
        wanted.extend(used(opened)?);
    }
    for name in named {
        if !opened.project.images.contains_key(name) {
            return Err(LockError::Unknown { name: name.clone() });
        }
        wanted.insert(name.clone());
    }
    Ok(with_bases(opened, wanted))
}

/// These images and all that they continue.
pub fn with_bases(opened: &Opened, mut images: BTreeSet<ImageName>) -> BTreeSet<ImageName> {
    let mut next: Vec<ImageName> = images.iter().cloned().collect();
    while let Some(name) = next.pop() {
        let base = opened
            .project
            .images
            .get(&name)
            .and_then(Image::recipe)
            .and_then(|recipe| recipe.base.as_ref());
        if let Some((base, _)) = base
            && images.insert(base.clone())
        {
            next.push(base.clone());
        }
    }
    images
}

/// The images that the services of all hosts use, whatever the lock holds.
fn used(opened: &mut Opened) -> Result<BTreeSet<ImageName>, LockError> {
    let hosts: Vec<HostName> = opened
        .text
        .hosts()
        .filter_map(|name| name.parse().ok())
        .collect();
    let mut judged = opened.clone();
    judged.diagnostics = Diagnostics::default();
    judged.pins = state::stand_ins(&opened.project);
    let mut used = BTreeSet::new();
    let mut fine = true;
    for host in &hosts {
        match judged.evaluate_to_check(host) {
            Some(evaluated) => used.extend(evaluated.system.images.into_keys()),
            None => fine = false,
        }
    }
    if fine {
        return Ok(used);
    }
    opened.sources = judged.sources;
    opened.diagnostics.extend(judged.diagnostics);
    Err(LockError::Mistakes)
}

/// Whether something is wrong besides the entries of the lock, which are about to be written anew.
fn has_mistakes_elsewhere(opened: &Opened) -> bool {
    opened.diagnostics.iter().any(|diagnostic| {
        let in_lock = diagnostic
            .primary
            .as_ref()
            .is_some_and(|label| opened.sources.get(label.span.source).path == pins::LOCK);
        diagnostic.severity == Severity::Error && !in_lock
    })
}
