//! The world as this machine reaches it: mirrors and their indexes, registries, the builder.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Built, Packages, ResolveError, Resolver, ToBuild};
use crate::edge::clock::Clock;
use crate::edge::debian::{Debian as Archive, IndexRequest};
use crate::edge::python::Python as Wheels;
use crate::edge::registry::Registry;
use crate::flow::operator::image::build::{self, Request as BuildRequest};
use crate::flow::operator::image::sources::{self, Wanted};
use crate::flow::operator::image::workshop::{Bench, Workshop, unbuilt};
use crate::pure::config::image::{Debian, Image, Python};
use crate::pure::images::debian::{Index, Request, resolve};
use crate::pure::images::python::requirements;
use crate::pure::images::rules::Rules;
use crate::pure::name::{Arch, ManifestDigest};
use crate::pure::oci::Repository;
use crate::pure::pins::{PackagePin, SuitePin, WheelPin};

/// Suites, components and architecture: what decides an index.
type Key = (Vec<String>, Vec<String>, Arch);
/// Of several suites together, and when each was made.
type Indexed = (Index, BTreeMap<String, SuitePin>);

/// The resolver that asks mirrors and registries, and builds.
#[derive(Debug)]
pub struct World<'a> {
    pub workshop: Workshop<'a>,
    pub registry: &'a Registry,
    pub clock: &'a dyn Clock,
    /// What was read in this run.
    indexes: Mutex<BTreeMap<Key, Arc<Indexed>>>,
}

impl<'a> World<'a> {
    pub fn new(workshop: Workshop<'a>, registry: &'a Registry, clock: &'a dyn Clock) -> Self {
        Self {
            workshop,
            registry,
            clock,
            indexes: Mutex::default(),
        }
    }

    fn index(&self, recipe: &Debian, arch: Arch) -> Result<Arc<Indexed>, ResolveError> {
        let key = (recipe.suites.clone(), recipe.components.clone(), arch);
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = indexes.get(&key) {
            return Ok(known.clone());
        }
        let Workshop {
            sources,
            root,
            store,
            offline,
            ..
        } = self.workshop;
        let archive = Archive::of_machine(sources.debian.clone(), root)?;
        let http = archive.client()?;
        let (mut all, mut dates) = (Vec::new(), BTreeMap::new());
        for suite in &recipe.suites {
            let wanted = IndexRequest {
                suite,
                components: &recipe.components,
                arch,
                offline,
            };
            let found = archive.index(store, &http, self.clock, wanted)?;
            dates.insert(suite.clone(), SuitePin { date: found.date });
            all.push(found.index);
        }
        let indexed = Arc::new((Index::merge(all), dates));
        indexes.insert(key, indexed.clone());
        Ok(indexed)
    }
}

impl Resolver for World<'_> {
    fn registry(&self, repository: &str, tag: &str) -> Result<ManifestDigest, ResolveError> {
        if self.workshop.offline {
            return Err(format!(
                "where {repository}:{tag} points to only its registry knows, and `--offline` forbids to ask"
            )
            .into());
        }
        let repository: Repository = repository.parse()?;
        Ok(self.registry.resolve(&repository, tag)?)
    }

    fn debian(
        &self,
        _: &Image,
        recipe: &Debian,
        arch: Arch,
        below: &[PackagePin],
    ) -> Result<Packages, ResolveError> {
        let indexed = self.index(recipe, arch)?;
        let (index, dates) = &*indexed;
        let rules = Rules::embedded()?;
        let mut exclude: BTreeSet<String> = recipe.exclude.clone();
        // What an image below has is there.
        exclude.extend(below.iter().map(|pin| pin.name.clone()));
        let packages = recipe.packages.iter().map(|(name, _)| name.clone());
        let closure = resolve(
            index,
            &Request {
                arch,
                packages: packages.collect(),
                exclude,
                dropped: &|name| rules.drops_for(recipe, name).is_some(),
            },
        )?;
        Ok(Packages {
            packages: closure.packages,
            suites: dates.clone(),
        })
    }

    fn wheels(
        &self,
        image: &Image,
        recipe: &Python,
        text: &[u8],
        arch: Arch,
        packages: &[PackagePin],
    ) -> Result<Vec<WheelPin>, ResolveError> {
        let build = unbuilt(packages, &[]);
        let target = sources::target(Wanted {
            project: self.workshop.project,
            image: &image.name,
            arch,
            build: &build,
            suites: &BTreeMap::new(),
            python: Some(&recipe.version),
        })?;
        let text = std::str::from_utf8(text)?;
        let wanted = requirements::read(text, &target).map_err(|mistakes| {
            let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
            format!("{}: {}", recipe.requirements, lines.join("\n  "))
        })?;
        let Workshop {
            sources,
            store,
            http,
            ..
        } = self.workshop;
        let wheels = Wheels::new(sources.python.clone());
        Ok(wheels.resolve(store, http, &wanted, &target)?)
    }

    fn build(&self, wanted: &ToBuild<'_>) -> Result<Built, ResolveError> {
        let recipe = wanted.image.recipe();
        let python = recipe.and_then(|recipe| recipe.python.as_ref());
        let bench = Bench {
            workshop: self.workshop,
            image: &wanted.image.name,
            arch: wanted.arch,
            suites: &wanted.pins.suites,
            python: python.map(|python| python.version.as_str()),
        };
        let unbuilt = unbuilt(wanted.packages, wanted.wheels);
        let request = BuildRequest {
            project: &wanted.opened.project,
            text: &wanted.opened.text,
            pins: wanted.pins,
            image: &wanted.image.name,
            arch: wanted.arch,
            build: &unbuilt,
            is_locked: false,
        };
        let built = build::build(
            self.workshop.store,
            &request,
            &bench,
            self.workshop.progress,
        )?;
        Ok(Built {
            digest: built.digest,
            layers: built.layers,
        })
    }
}
