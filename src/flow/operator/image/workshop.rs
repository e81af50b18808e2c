//! What a build takes its packages and wheels from: the store, and behind it the mirrors that this machine and the project know.

use std::collections::BTreeMap;
use std::path::Path;

use super::assemble::{Failure, Ingredients, Made, Spool};
use super::layers::package_layers;
use super::sources::{self, Supply, Wanted};
use super::wheels::wheel_layers;
use crate::edge::http::Http;
use crate::edge::store::{Memo, Store, spool};
use crate::flow::progress::Progress;
use crate::pure::config::image::Python;
use crate::pure::config::sources::PackageSources;
use crate::pure::images::rules::Prune;
use crate::pure::name::{Arch, ImageName, ManifestDigest};
use crate::pure::pins::{BuildPin, PackagePin, SuitePin, WheelPin};

/// Downloads at once.
const DOWNLOADS: usize = 8;
/// What a build keeps of its own files in memory before it takes a file on the disk.
const SPOOL: usize = 8 << 20;

/// Everything that building needs of the world.
#[derive(Clone, Copy, Debug)]
pub struct Workshop<'a> {
    pub store: &'a dyn Store,
    pub memo: &'a dyn Memo,
    pub sources: &'a PackageSources,
    /// The project's folder.
    pub root: &'a Path,
    /// The project's name.
    pub project: &'a str,
    pub http: &'a Http,
    pub progress: &'a dyn Progress,
    /// Nothing is fetched: what the store has must do.
    pub offline: bool,
    /// Packages unpacked at once.
    pub jobs: usize,
}

/// A workshop for one image.
#[derive(Clone, Copy, Debug)]
pub struct Bench<'a> {
    pub workshop: Workshop<'a>,
    pub image: &'a ImageName,
    pub arch: Arch,
    /// Of the lock: when each suite was locked.
    pub suites: &'a BTreeMap<String, SuitePin>,
    /// Of the recipe, as in `3.11`, if it has wheels.
    pub python: Option<&'a str>,
}

impl<'a> Workshop<'a> {
    /// Where sources may come from.
    pub fn supply(&self) -> Supply<'a> {
        Supply {
            sources: self.sources,
            root: self.root,
            http: self.http,
            offline: self.offline,
            jobs: DOWNLOADS,
        }
    }
}

impl Bench<'_> {
    /// Sees to it that the store has what an image is built from, and keeps it.
    ///
    /// # Errors
    /// [`sources::EnsureError`].
    pub fn fetch(&self, image: &ImageName, build: &BuildPin) -> Result<(), sources::EnsureError> {
        let wanted = Wanted {
            project: self.workshop.project,
            image,
            arch: self.arch,
            build,
            suites: self.suites,
            python: self.python,
        };
        sources::ensure(
            self.workshop.store,
            self.workshop.supply(),
            wanted,
            self.workshop.progress,
        )
    }
}

/// Packages and wheels as a build: its outcome is not known yet.
pub fn unbuilt(packages: &[PackagePin], wheels: &[WheelPin]) -> BuildPin {
    BuildPin {
        digest: ManifestDigest::of([]),
        layers: Vec::new(),
        packages: packages.to_vec(),
        wheels: wheels.to_vec(),
    }
}

impl Ingredients for Bench<'_> {
    fn ensure(
        &self,
        image: &ImageName,
        packages: &[PackagePin],
        wheels: &[WheelPin],
    ) -> Result<(), Failure> {
        Ok(self.fetch(image, &unbuilt(packages, wheels))?)
    }

    fn packages(&self, pins: &[PackagePin], prune: &Prune) -> Result<Vec<Made>, Failure> {
        let Workshop {
            store,
            memo,
            jobs,
            progress,
            ..
        } = self.workshop;
        let made = package_layers(store, memo, pins, prune, jobs, progress)?;
        Ok(made
            .into_iter()
            .map(|made| Made {
                layer: made.layer,
                facts: made.facts,
            })
            .collect())
    }

    fn wheels(
        &self,
        pins: &[WheelPin],
        python: &Python,
        _: &[PackagePin],
    ) -> Result<Vec<Made>, Failure> {
        let Workshop {
            store,
            memo,
            progress,
            ..
        } = self.workshop;
        let made = wheel_layers(store, memo, pins, &python.version, progress)?;
        Ok(made
            .into_iter()
            .map(|made| Made {
                layer: made.layer,
                facts: made.facts,
            })
            .collect())
    }

    fn spool(&self) -> std::io::Result<Box<dyn Spool>> {
        Ok(Box::new(spool(SPOOL)))
    }
}
