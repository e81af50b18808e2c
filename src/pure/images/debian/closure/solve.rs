//! The search. What has one way only is followed first; where there are several, the first that works is taken, and where one
//! leads nowhere, the search goes back to the last choice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use crate::pure::text::did_you_mean;

use super::super::control::is_package_name;
use super::super::index::{Index, IndexError, Package};
use super::super::relation::{Relation, display_alternatives};
use super::super::version::Version;
use super::candidates::{Candidate, Candidates};
use super::order::dependencies_first;
use super::state::{Chosen, Clause, Failure, State, chain, install, meeting};
use super::{Closure, ClosureError, Cut, Reason, Request};

/// How often the search may go back before the first failure is final: it bounds what a hostile index costs.
const MOST_RETREATS: usize = 500;

/// A choice that may be revised: what was known before, and the other ways.
struct Choice<'i> {
    before: State<'i>,
    clause: Clause<'i>,
    others: VecDeque<Rc<Candidate<'i>>>,
}

struct Search<'i, 'r> {
    request: &'r Request<'r>,
    requested: BTreeSet<&'i str>,
    all: Candidates<'i>,
}

pub(super) fn resolve(index: &Index, request: &Request<'_>) -> Result<Closure, ClosureError> {
    let mut search = Search {
        request,
        requested: BTreeSet::new(),
        all: Candidates::new(index, request.arch),
    };
    let wanted = search.wanted()?;
    let mut first = None;
    loop {
        match search.attempt(&wanted) {
            Ok(state) => return search.close(&state),
            Err(failure) => {
                let learnt = failure
                    .lesson
                    .is_some_and(|lesson| search.all.learn(*lesson));
                let first = first.get_or_insert(*failure.error);
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
            let Some(name) = self.all.versions(name)?.first().map(|first| first.name()) else {
                return Err(self.unknown(name)?);
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

    fn unknown(&self, name: &str) -> Result<ClosureError, IndexError> {
        let others = self.all.index.packages(name)?;
        if !others.is_empty() {
            let show = |package: &Package<'_>| {
                format!("{name} {} for {}", package.version(), package.arch())
            };
            return Ok(ClosureError::OtherArch {
                name: name.to_owned(),
                arch: self.request.arch,
                there: others.iter().map(show).collect(),
            });
        }
        let mut suites: Vec<&str> = self.all.index.suites().collect();
        suites.dedup();
        Ok(ClosureError::Unknown {
            name: name.to_owned(),
            arch: self.request.arch,
            suites: suites.join(", "),
            meant: did_you_mean(name, self.all.index.names()).map(str::to_owned),
        })
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
                let [relation] = clause.alternatives() else {
                    state.open.push_back(clause);
                    continue;
                };
                let name = relation.name;
                let ways = self.ways(state, &clause)?;
                match ways.front() {
                    None => return Err(self.failure(state, &clause)?),
                    Some(way) if ways.len() == 1 => install(state, way.clone(), Some(clause))?,
                    // The package itself is what is meant, and not another that provides its name.
                    Some(way) if way.name() == name => return Ok(Some((clause, ways))),
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
                let providers = self.all.providers(relation.name)?;
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
            let named = self.all.versions(relation.name)?;
            if let Some(best) = self.all.best(&named, &relation) {
                ways.push_back(best);
            }
            let providers = self.all.providers(relation.name)?;
            let mut at = 0;
            // All versions of one provider stand together.
            while let Some(first) = providers.get(at) {
                let versions = providers.get(at..).unwrap_or_default();
                let count = versions.partition_point(|other| other.name() == first.name());
                at += count;
                let versions = versions.get(..count).unwrap_or_default();
                ways.extend(self.all.best(versions, &relation));
            }
        }
        let mut seen = BTreeSet::new();
        ways.retain(|way| !state.chosen.contains_key(way.name()) && seen.insert(way.name()));
        Ok(ways)
    }

    /// The package that is requested: of the version that is, or of the highest, if possible one that meets what was learnt.
    fn requested_candidate(
        &mut self,
        name: &str,
        version: Option<&str>,
    ) -> Result<Rc<Candidate<'i>>, ClosureError> {
        let versions = self.all.versions(name)?;
        let wanted = version.and_then(|version| Version::parse(version).ok());
        let is_good =
            |candidate: &Candidate<'i>| wanted.is_none_or(|wanted| candidate.version() == wanted);
        self.all
            .best_of(&versions, is_good)
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
            for candidate in self.all.versions(relation.name)?.iter() {
                there.push(format!("{} {}", candidate.name(), candidate.version()));
            }
            for candidate in self.all.providers(relation.name)?.iter() {
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
            let versions = self.all.versions(wanted.name)?;
            return Ok(Failure {
                error: Box::new(ClosureError::Clash {
                    chain,
                    relation,
                    other: super::state::chain(state, wanted.name),
                    name: wanted.name.to_owned(),
                    version: chosen.candidate.version().to_string(),
                }),
                lesson: self
                    .all
                    .best(&versions, wanted)
                    .map(|_| Box::new(wanted.clone())),
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
