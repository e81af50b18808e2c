//! The search. What has one way only is followed first; where there are several, the first that works is taken, and where one
//! leads nowhere, the search goes back to the last choice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use crate::pure::name::Arch;
use crate::pure::text::did_you_mean;

use super::super::control::is_package_name;
use super::super::index::{Index, IndexError, Package, is_provided};
use super::super::relation::{Alternatives, Relation, display_alternatives};
use super::super::version::Version;
use super::order::dependencies_first;
use super::{Chain, Closure, ClosureError, Cut, Reason, Request};

/// How often the search may go back before the first failure is final. Debian's own packages need it a few times at most.
const MOST_RETREATS: usize = 500;
/// How many relations may be remembered for the choice of versions.
const MOST_LESSONS: usize = 100;

/// A package with its relations read.
#[derive(Debug)]
struct Candidate<'i> {
    package: Package<'i>,
    needs: Vec<Alternatives<'i>>,
    provides: Vec<Alternatives<'i>>,
    /// With the name of the field.
    against: Vec<(&'static str, Relation<'i>)>,
}

impl<'i> Candidate<'i> {
    fn name(&self) -> &'i str {
        self.package.name()
    }

    fn version(&self) -> Version<'i> {
        self.package.version()
    }

    fn meets(&self, relation: &Relation<'_>) -> bool {
        self.package.satisfies(relation) || is_provided(&self.provides, relation)
    }
}

/// Something that must hold: one of the alternatives at `at` of what a package needs.
#[derive(Clone, Debug)]
struct Clause<'i> {
    of: Rc<Candidate<'i>>,
    at: usize,
}

impl<'i> Clause<'i> {
    fn alternatives(&self) -> &[Relation<'i>] {
        self.of.needs.get(self.at).map_or(&[], Vec::as_slice)
    }
}

#[derive(Clone, Debug)]
struct Chosen<'i> {
    candidate: Rc<Candidate<'i>>,
    /// The package that needs it and what that says; nothing if it is requested.
    needed: Option<Clause<'i>>,
}

/// How far the search has come.
#[derive(Clone, Debug, Default)]
struct State<'i> {
    chosen: BTreeMap<&'i str, Chosen<'i>>,
    /// Who of the chosen provides a name.
    provided: BTreeMap<&'i str, BTreeSet<&'i str>>,
    /// Who of the chosen says something against a name.
    against: BTreeMap<&'i str, BTreeSet<&'i str>>,
    cut: BTreeMap<&'i str, &'i str>,
    queue: VecDeque<Clause<'i>>,
    /// What can be met in several ways.
    open: VecDeque<Clause<'i>>,
}

/// A choice that may be revised: what was known before, and the other ways.
struct Choice<'i> {
    before: State<'i>,
    clause: Clause<'i>,
    others: VecDeque<Rc<Candidate<'i>>>,
}

/// Why a way leads nowhere.
struct Failure<'i> {
    error: ClosureError,
    /// The relation that another version of its package would meet.
    lesson: Option<Relation<'i>>,
}

impl From<IndexError> for Failure<'_> {
    fn from(error: IndexError) -> Self {
        ClosureError::from(error).into()
    }
}

impl From<ClosureError> for Failure<'_> {
    fn from(error: ClosureError) -> Self {
        Self {
            error,
            lesson: None,
        }
    }
}

struct Search<'i, 'r> {
    index: &'i Index,
    request: &'r Request<'r>,
    requested: BTreeSet<&'i str>,
    known: BTreeMap<&'i str, Rc<[Rc<Candidate<'i>>]>>,
    providers: BTreeMap<&'i str, Rc<[Rc<Candidate<'i>>]>>,
    /// What the chosen versions of a package should meet, as far as one can.
    lessons: BTreeMap<&'i str, Vec<Relation<'i>>>,
}

pub(super) fn resolve(index: &Index, request: &Request<'_>) -> Result<Closure, ClosureError> {
    let mut search = Search {
        index,
        request,
        requested: BTreeSet::new(),
        known: BTreeMap::new(),
        providers: BTreeMap::new(),
        lessons: BTreeMap::new(),
    };
    let wanted = search.wanted()?;
    let mut first = None;
    loop {
        match search.attempt(&wanted) {
            Ok(state) => return search.close(&state),
            Err(failure) => {
                let learnt = failure.lesson.is_some_and(|lesson| search.learn(lesson));
                let first = first.get_or_insert(failure.error);
                if !learnt {
                    return Err(first.clone());
                }
            }
        }
    }
}

impl<'i> Search<'i, '_> {
    /// The packages that are requested, with the version if one is.
    fn wanted(&mut self) -> Result<Vec<(&'i str, Option<String>)>, ClosureError> {
        let mut all: BTreeMap<&'i str, Option<String>> = BTreeMap::new();
        for request in &self.request.packages {
            let (name, version) = match request.split_once('=') {
                Some((name, version)) => (name.trim(), Some(version.trim())),
                None => (request.trim(), None),
            };
            if !is_package_name(name) {
                return Err(ClosureError::Name {
                    request: request.clone(),
                });
            }
            if let Some(version) = version {
                Version::parse(version).map_err(|error| ClosureError::Version {
                    request: request.clone(),
                    error,
                })?;
            }
            if self.request.exclude.contains(name) {
                return Err(ClosureError::Excluded {
                    name: name.to_owned(),
                });
            }
            let Some(name) = self.candidates(name)?.first().map(|first| first.name()) else {
                return Err(self.unknown(name));
            };
            let version = version.map(str::to_owned);
            match all.get(name) {
                None => {
                    all.insert(name, version);
                }
                Some(known) if *known == version => {}
                Some(known) => {
                    let show = |version: &Option<String>| {
                        version.clone().unwrap_or_else(|| "the newest".to_owned())
                    };
                    return Err(ClosureError::Twice {
                        name: name.to_owned(),
                        first: show(known),
                        second: show(&version),
                    });
                }
            }
        }
        self.requested = all.keys().copied().collect();
        Ok(all.into_iter().collect())
    }

    fn unknown(&self, name: &str) -> ClosureError {
        let mut suites: Vec<&str> = self.index.suites().collect();
        suites.dedup();
        ClosureError::Unknown {
            name: name.to_owned(),
            arch: self.request.arch,
            suites: suites.join(", "),
            meant: did_you_mean(name, self.index.names()).map(str::to_owned),
        }
    }

    /// Remembers a relation for the choice of versions; false if that is nothing new.
    fn learn(&mut self, lesson: Relation<'i>) -> bool {
        let count: usize = self.lessons.values().map(Vec::len).sum();
        let lessons = self.lessons.entry(lesson.name).or_default();
        if count >= MOST_LESSONS || lessons.contains(&lesson) {
            return false;
        }
        lessons.push(lesson);
        true
    }

    /// One search from the beginning.
    fn attempt(&mut self, wanted: &[(&'i str, Option<String>)]) -> Result<State<'i>, Failure<'i>> {
        let mut state = State::default();
        for (name, version) in wanted {
            let candidate = self.requested_candidate(name, version.as_deref())?;
            install(&mut state, candidate, None)?;
        }
        let mut choices: Vec<Choice<'i>> = Vec::new();
        let mut first: Option<Failure<'i>> = None;
        let mut retreats = 0;
        loop {
            let step = match self.follow(&mut state) {
                Ok(None) => return Ok(state),
                Ok(Some((clause, mut ways))) => {
                    let way = ways.pop_front();
                    if !ways.is_empty() {
                        choices.push(Choice {
                            before: state.clone(),
                            clause: clause.clone(),
                            others: ways,
                        });
                    }
                    match way {
                        Some(way) => install(&mut state, way, Some(clause)),
                        None => Ok(()),
                    }
                }
                Err(failure) => Err(failure),
            };
            let Err(mut failure) = step else {
                continue;
            };
            // Back to the last choice that has another way, and on along that.
            loop {
                first.get_or_insert(failure);
                retreats += 1;
                let way = choices.last_mut().and_then(|choice| {
                    let way = choice.others.pop_front()?;
                    Some((way, choice.clause.clone(), choice.before.clone()))
                });
                if choices
                    .last()
                    .is_some_and(|choice| choice.others.is_empty())
                {
                    choices.pop();
                }
                match way {
                    Some((way, clause, before)) if retreats <= MOST_RETREATS => {
                        state = before;
                        match install(&mut state, way, Some(clause)) {
                            Ok(()) => break,
                            Err(next) => failure = next,
                        }
                    }
                    _ => return first.map_or(Ok(state), Err),
                }
            }
        }
    }

    /// Follows everything that has one way only. Nothing if all is met; else the first choice there is, and its ways.
    #[allow(clippy::type_complexity)]
    fn follow(
        &mut self,
        state: &mut State<'i>,
    ) -> Result<Option<(Clause<'i>, VecDeque<Rc<Candidate<'i>>>)>, Failure<'i>> {
        loop {
            while let Some(clause) = state.queue.pop_front() {
                if self.is_met(state, &clause)? {
                    continue;
                }
                if clause.alternatives().len() > 1 {
                    state.open.push_back(clause);
                    continue;
                }
                let mut ways = self.ways(state, &clause)?;
                match ways.pop_front() {
                    None => return Err(self.failure(state, &clause)?),
                    Some(way) if ways.is_empty() => install(state, way, Some(clause))?,
                    Some(_) => state.open.push_back(clause),
                }
            }
            let Some(clause) = state.open.pop_front() else {
                return Ok(None);
            };
            if self.is_met(state, &clause)? {
                continue;
            }
            let ways = self.ways(state, &clause)?;
            if ways.is_empty() {
                return Err(self.failure(state, &clause)?);
            }
            return Ok(Some((clause, ways)));
        }
    }

    /// The relations of a clause that hold for the architecture.
    fn applicable<'c>(
        &self,
        clause: &'c Clause<'i>,
    ) -> impl Iterator<Item = &'c Relation<'i>> + use<'c, 'i> {
        let arch = self.request.arch;
        clause
            .alternatives()
            .iter()
            .filter(move |relation| relation.applies_to(arch.as_str()))
    }

    /// Whether a clause says nothing here, is met by what is chosen, or by something that is left out and taken for present.
    fn is_met(&mut self, state: &mut State<'i>, clause: &Clause<'i>) -> Result<bool, IndexError> {
        let relations: Vec<&Relation<'i>> = self.applicable(clause).collect();
        if relations.is_empty() {
            return Ok(true);
        }
        if relations
            .iter()
            .any(|relation| self.is_of_arch(relation) && meeting(state, relation).next().is_some())
        {
            return Ok(true);
        }
        for relation in relations {
            let cut = if self.is_cut(relation.name) {
                Some(relation.name)
            } else {
                let providers = self.providers(relation.name)?;
                providers
                    .iter()
                    .filter(|provider| provider.meets(relation))
                    .map(|provider| provider.name())
                    .find(|name| self.is_cut(name))
            };
            if let Some(name) = cut {
                state.cut.entry(name).or_insert(clause.of.name());
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn is_cut(&self, name: &str) -> bool {
        !self.requested.contains(name)
            && (self.request.exclude.contains(name) || (self.request.dropped)(name))
    }

    /// Whether a relation's qualifier lets it be met here: all packages of an image are of one architecture.
    fn is_of_arch(&self, relation: &Relation<'_>) -> bool {
        relation.qualifier.is_none_or(|word| {
            matches!(word, "any" | "native") || word == self.request.arch.as_str()
        })
    }

    /// The packages that meet a clause and could be chosen, the preferred first.
    fn ways(
        &mut self,
        state: &State<'i>,
        clause: &Clause<'i>,
    ) -> Result<VecDeque<Rc<Candidate<'i>>>, IndexError> {
        let mut ways: VecDeque<Rc<Candidate<'i>>> = VecDeque::new();
        let relations: Vec<Relation<'i>> = self
            .applicable(clause)
            .filter(|relation| self.is_of_arch(relation))
            .cloned()
            .collect();
        for relation in relations {
            let named = self.candidates(relation.name)?;
            if let Some(best) = self.best(&named, &relation) {
                ways.push_back(best);
            }
            let providers = self.providers(relation.name)?;
            let mut at = 0;
            // All versions of one provider stand together.
            while let Some(first) = providers.get(at) {
                let versions = providers.get(at..).unwrap_or_default();
                let count = versions.partition_point(|other| other.name() == first.name());
                at += count;
                let versions = versions.get(..count).unwrap_or_default();
                ways.extend(self.best(versions, &relation));
            }
        }
        let mut seen = BTreeSet::new();
        ways.retain(|way| !state.chosen.contains_key(way.name()) && seen.insert(way.name()));
        Ok(ways)
    }

    /// The highest version that meets a relation, if possible one that meets what was learnt too.
    fn best(
        &self,
        versions: &[Rc<Candidate<'i>>],
        relation: &Relation<'i>,
    ) -> Option<Rc<Candidate<'i>>> {
        let fits = |candidate: &&Rc<Candidate<'i>>| {
            let lessons = self.lessons.get(candidate.name());
            lessons.is_none_or(|lessons| {
                lessons
                    .iter()
                    .all(|lesson| candidate.package.satisfies(lesson))
            })
        };
        let good = || {
            versions
                .iter()
                .filter(|candidate| candidate.meets(relation))
        };
        good().find(fits).or_else(|| good().next()).cloned()
    }

    /// The package that is requested: of the version that is, or of the highest, if possible one that meets what was learnt.
    fn requested_candidate(
        &mut self,
        name: &str,
        version: Option<&str>,
    ) -> Result<Rc<Candidate<'i>>, ClosureError> {
        let versions = self.candidates(name)?;
        let wanted = version.and_then(|version| Version::parse(version).ok());
        let good = || {
            versions
                .iter()
                .filter(|candidate| wanted.is_none_or(|wanted| candidate.version() == wanted))
        };
        let lessons = self.lessons.get(name).map_or(&[][..], Vec::as_slice);
        good()
            .find(|candidate| {
                lessons
                    .iter()
                    .all(|lesson| candidate.package.satisfies(lesson))
            })
            .or_else(|| good().next())
            .cloned()
            .ok_or_else(|| ClosureError::NoVersion {
                name: name.to_owned(),
                wanted: version.unwrap_or("at all").to_owned(),
                there: versions
                    .iter()
                    .map(|candidate| candidate.version().to_string())
                    .collect(),
            })
    }

    /// Says why a clause cannot be met.
    fn failure(
        &mut self,
        state: &State<'i>,
        clause: &Clause<'i>,
    ) -> Result<Failure<'i>, IndexError> {
        let chain = chain(state, clause.of.name());
        let relation = display_alternatives(clause.alternatives());
        let relations: Vec<Relation<'i>> = self.applicable(clause).cloned().collect();
        let mut there = Vec::new();
        for relation in &relations {
            for candidate in self.candidates(relation.name)?.iter() {
                there.push(format!("{} {}", candidate.name(), candidate.version()));
            }
            for candidate in self.providers(relation.name)?.iter() {
                there.push(format!(
                    "{} {}, which provides another version",
                    candidate.name(),
                    candidate.version()
                ));
            }
        }
        // Another version is chosen than the one that is wanted here.
        for wanted in &relations {
            let Some(chosen) = state.chosen.get(wanted.name) else {
                continue;
            };
            let versions = self.candidates(wanted.name)?;
            return Ok(Failure {
                error: ClosureError::Clash {
                    chain,
                    relation,
                    other: self::chain(state, wanted.name),
                    name: wanted.name.to_owned(),
                    version: chosen.candidate.version().to_string(),
                },
                lesson: self.best(&versions, wanted).map(|_| wanted.clone()),
            });
        }
        there.dedup();
        Ok(ClosureError::Unsatisfiable {
            chain,
            relation,
            there,
        }
        .into())
    }

    /// All versions of a package for the architecture, the highest first.
    fn candidates(&mut self, name: &str) -> Result<Rc<[Rc<Candidate<'i>>]>, IndexError> {
        if let Some(known) = self.known.get(name) {
            return Ok(known.clone());
        }
        let mut all: Vec<Rc<Candidate<'i>>> = Vec::new();
        for package in self.index.packages(name)? {
            // The same version of a later suite.
            let known = all.iter().any(|other| other.version() == package.version());
            if is_for(&package, self.request.arch) && !known {
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
    fn providers(&mut self, name: &'i str) -> Result<Rc<[Rc<Candidate<'i>>]>, IndexError> {
        if let Some(known) = self.providers.get(name) {
            return Ok(known.clone());
        }
        let mut names: Vec<&str> = Vec::new();
        for package in self.index.providers(name)? {
            if is_for(&package, self.request.arch) {
                names.push(package.name());
            }
        }
        names.dedup();
        let mut all = Vec::new();
        for provider in names {
            for candidate in self.candidates(provider)?.iter() {
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

    /// What a finished search has found.
    fn close(&self, state: &State<'i>) -> Result<Closure, ClosureError> {
        let mut needs: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (name, chosen) in &state.chosen {
            let needed = needs.entry(name).or_default();
            for relation in chosen.candidate.needs.iter().flatten() {
                if relation.applies_to(self.request.arch.as_str()) {
                    needed.extend(meeting(state, relation).filter(|other| other != name));
                }
            }
        }
        let mut packages = Vec::new();
        for name in dependencies_first(&needs) {
            if let Some(chosen) = state.chosen.get(name) {
                packages.push(chosen.candidate.package.pin()?);
            }
        }
        let reason = |chosen: &Chosen<'i>| match &chosen.needed {
            None => Reason::Requested,
            Some(clause) => Reason::Needed {
                by: clause.of.name().to_owned(),
                relation: display_alternatives(clause.alternatives()),
            },
        };
        let cut = |(name, by): (&&str, &&str)| Cut {
            name: (*name).to_owned(),
            needed_by: (*by).to_owned(),
        };
        Ok(Closure {
            packages,
            reasons: state
                .chosen
                .iter()
                .map(|(name, chosen)| ((*name).to_owned(), reason(chosen)))
                .collect(),
            cut: state.cut.iter().map(cut).collect(),
        })
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

/// The chosen packages that meet a relation.
fn meeting<'s, 'i>(
    state: &'s State<'i>,
    relation: &'s Relation<'_>,
) -> impl Iterator<Item = &'i str> + use<'s, 'i> + 's {
    let named = state.chosen.get(relation.name);
    let providers = state.provided.get(relation.name).into_iter().flatten();
    named
        .into_iter()
        .chain(providers.filter_map(|name| state.chosen.get(name)))
        .filter(|chosen| chosen.candidate.meets(relation))
        .map(|chosen| chosen.candidate.name())
}

/// From a requested package to the one named.
fn chain<'i>(state: &State<'i>, name: &'i str) -> Chain {
    Chain::follow(name, |name| {
        let needed = state.chosen.get(name)?.needed.as_ref()?;
        Some(needed.of.name())
    })
}

/// Adds a package, whose name is not yet there, with everything that it needs still to be seen to.
fn install<'i>(
    state: &mut State<'i>,
    candidate: Rc<Candidate<'i>>,
    needed: Option<Clause<'i>>,
) -> Result<(), Failure<'i>> {
    let name = candidate.name();
    state.chosen.insert(
        name,
        Chosen {
            candidate: candidate.clone(),
            needed,
        },
    );
    check_conflicts(state, &candidate)?;
    for provided in candidate.provides.iter().flatten() {
        state
            .provided
            .entry(provided.name)
            .or_default()
            .insert(name);
    }
    for (_, relation) in &candidate.against {
        state.against.entry(relation.name).or_default().insert(name);
    }
    for at in 0..candidate.needs.len() {
        state.queue.push_back(Clause {
            of: candidate.clone(),
            at,
        });
    }
    Ok(())
}

/// Whether a new package and those before it go together. A package is never in its own way (Debian Policy, section 7.4).
fn check_conflicts<'i>(state: &State<'i>, new: &Rc<Candidate<'i>>) -> Result<(), ClosureError> {
    let conflict =
        |by: &'i str, field, relation: &Relation<'i>, with: &'i str| ClosureError::Conflict {
            first: chain(state, by),
            field,
            relation: relation.to_string(),
            second: chain(state, with),
        };
    for (field, relation) in &new.against {
        if let Some(other) = meeting(state, relation).find(|other| *other != new.name()) {
            return Err(conflict(new.name(), field, relation, other));
        }
    }
    let names =
        std::iter::once(new.name()).chain(new.provides.iter().flatten().map(|one| one.name));
    for name in names {
        for other in state.against.get(name).into_iter().flatten() {
            let Some(chosen) = state.chosen.get(other) else {
                continue;
            };
            for (field, relation) in &chosen.candidate.against {
                if *other != new.name() && new.meets(relation) {
                    return Err(conflict(other, field, relation, new.name()));
                }
            }
        }
    }
    Ok(())
}
