//! The packages that a search may choose from, each read once.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::pure::name::Arch;

use super::super::index::{Index, IndexError, Package, is_provided};
use super::super::relation::{Alternatives, Relation};
use super::super::version::Version;

/// How many relations may be remembered for the choice of versions.
const MOST_LESSONS: usize = 100;

/// A package with its relations read.
#[derive(Debug)]
pub(super) struct Candidate<'i> {
    pub(super) package: Package<'i>,
    pub(super) needs: Vec<Alternatives<'i>>,
    pub(super) provides: Vec<Alternatives<'i>>,
    /// With the name of the field.
    pub(super) against: Vec<(&'static str, Relation<'i>)>,
}

impl<'i> Candidate<'i> {
    pub(super) fn name(&self) -> &'i str {
        self.package.name()
    }

    pub(super) fn version(&self) -> Version<'i> {
        self.package.version()
    }

    pub(super) fn meets(&self, relation: &Relation<'_>) -> bool {
        self.package.satisfies(relation) || is_provided(&self.provides, relation)
    }
}

/// Versions of packages, the highest of each first.
pub(super) type Versions<'i> = Rc<[Rc<Candidate<'i>>]>;

/// The packages of an index for one architecture.
pub(super) struct Candidates<'i> {
    pub(super) index: &'i Index,
    pub(super) arch: Arch,
    known: BTreeMap<&'i str, Versions<'i>>,
    providers: BTreeMap<&'i str, Versions<'i>>,
    /// What the chosen versions of a package should meet, as far as one can.
    lessons: BTreeMap<&'i str, Vec<Relation<'i>>>,
}

impl<'i> Candidates<'i> {
    pub(super) fn new(index: &'i Index, arch: Arch) -> Self {
        Self {
            index,
            arch,
            known: BTreeMap::new(),
            providers: BTreeMap::new(),
            lessons: BTreeMap::new(),
        }
    }

    /// All versions of a package for the architecture, the highest first.
    pub(super) fn versions(&mut self, name: &str) -> Result<Versions<'i>, IndexError> {
        if let Some(known) = self.known.get(name) {
            return Ok(known.clone());
        }
        let mut all: Vec<Rc<Candidate<'i>>> = Vec::new();
        for package in self.index.packages(name)? {
            // The same version of a later suite.
            let known = all.iter().any(|other| other.version() == package.version());
            if is_for(&package, self.arch) && !known {
                all.push(Rc::new(read(package)?));
            }
        }
        let all: Rc<[_]> = all.into();
        if let Some(first) = all.first() {
            self.known.insert(first.name(), all.clone());
        }
        Ok(all)
    }

    /// All versions of packages that provide a name.
    pub(super) fn providers(&mut self, name: &'i str) -> Result<Versions<'i>, IndexError> {
        if let Some(known) = self.providers.get(name) {
            return Ok(known.clone());
        }
        let mut names: Vec<&str> = Vec::new();
        for package in self.index.providers(name)? {
            if is_for(&package, self.arch) {
                names.push(package.name());
            }
        }
        names.dedup();
        let mut all = Vec::new();
        for provider in names {
            for candidate in self.versions(provider)?.iter() {
                let provides = |relation: &Relation<'_>| relation.name == name;
                if candidate.provides.iter().flatten().any(provides) {
                    all.push(candidate.clone());
                }
            }
        }
        let all: Rc<[_]> = all.into();
        self.providers.insert(name, all.clone());
        Ok(all)
    }

    /// The highest version that meets a relation, if possible one that meets what was learnt too.
    pub(super) fn best(
        &self,
        versions: &[Rc<Candidate<'i>>],
        relation: &Relation<'i>,
    ) -> Option<Rc<Candidate<'i>>> {
        self.best_of(versions, |candidate| candidate.meets(relation))
    }

    /// The highest version that is good, if possible one that meets what was learnt too.
    pub(super) fn best_of(
        &self,
        versions: &[Rc<Candidate<'i>>],
        is_good: impl Fn(&Candidate<'i>) -> bool,
    ) -> Option<Rc<Candidate<'i>>> {
        let fits = |candidate: &&Rc<Candidate<'i>>| {
            let lessons = self.lessons.get(candidate.name());
            lessons
                .into_iter()
                .flatten()
                .all(|lesson| candidate.package.satisfies(lesson))
        };
        let good = || versions.iter().filter(|candidate| is_good(candidate));
        good().find(fits).or_else(|| good().next()).cloned()
    }

    /// Remembers a relation for the choice of versions; false if that is nothing new.
    pub(super) fn learn(&mut self, lesson: Relation<'i>) -> bool {
        let count: usize = self.lessons.values().map(Vec::len).sum();
        let lessons = self.lessons.entry(lesson.name).or_default();
        if count >= MOST_LESSONS || lessons.contains(&lesson) {
            return false;
        }
        lessons.push(lesson);
        true
    }
}

fn is_for(package: &Package<'_>, arch: Arch) -> bool {
    package.arch() == "all" || package.arch() == arch.as_str()
}

fn read(package: Package<'_>) -> Result<Candidate<'_>, IndexError> {
    let mut needs = package.relations("Pre-Depends")?;
    needs.extend(package.relations("Depends")?);
    let mut against = Vec::new();
    for field in ["Conflicts", "Breaks"] {
        for relation in package.relations(field)?.into_iter().flatten() {
            against.push((field, relation));
        }
    }
    Ok(Candidate {
        needs,
        provides: package.relations("Provides")?,
        against,
        package,
    })
}
