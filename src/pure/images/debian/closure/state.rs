//! What a search has chosen so far, and why.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::super::index::IndexError;
use super::super::relation::Relation;
use super::candidates::Candidate;
use super::{Chain, ClosureError};

/// Something that must hold: one of the alternatives at `at` of what a package needs.
#[derive(Clone, Debug)]
pub(super) struct Clause<'i> {
    pub(super) of: Rc<Candidate<'i>>,
    pub(super) at: usize,
}

impl<'i> Clause<'i> {
    pub(super) fn alternatives(&self) -> &[Relation<'i>] {
        self.of.needs.get(self.at).map_or(&[], Vec::as_slice)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Chosen<'i> {
    pub(super) candidate: Rc<Candidate<'i>>,
    /// The package that needs it and what that says; nothing if it is requested.
    pub(super) needed: Option<Clause<'i>>,
}

/// How far the search has come.
#[derive(Clone, Debug, Default)]
pub(super) struct State<'i> {
    pub(super) chosen: BTreeMap<&'i str, Chosen<'i>>,
    /// Who of the chosen provides a name.
    pub(super) provided: BTreeMap<&'i str, BTreeSet<&'i str>>,
    /// Who of the chosen says something against a name.
    pub(super) against: BTreeMap<&'i str, BTreeSet<&'i str>>,
    pub(super) cut: BTreeMap<&'i str, &'i str>,
    pub(super) queue: VecDeque<Clause<'i>>,
    /// What can be met in several ways.
    pub(super) open: VecDeque<Clause<'i>>,
}

/// Why a way leads nowhere.
pub(super) struct Failure<'i> {
    pub(super) error: Box<ClosureError>,
    /// The relation that another version of its package would meet.
    pub(super) lesson: Option<Box<Relation<'i>>>,
}

impl From<IndexError> for Failure<'_> {
    fn from(error: IndexError) -> Self {
        ClosureError::from(error).into()
    }
}

impl From<ClosureError> for Failure<'_> {
    fn from(error: ClosureError) -> Self {
        Self {
            error: Box::new(error),
            lesson: None,
        }
    }
}

/// The chosen packages that meet a relation.
pub(super) fn meeting<'s, 'i>(
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
pub(super) fn chain<'i>(state: &State<'i>, name: &'i str) -> Chain {
    Chain::follow(name, |name| {
        let needed = state.chosen.get(name)?.needed.as_ref()?;
        Some(needed.of.name())
    })
}

/// Adds a package, whose name is not yet there, with everything that it needs still to be seen to.
pub(super) fn install<'i>(
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
pub(super) fn check_conflicts<'i>(
    state: &State<'i>,
    new: &Rc<Candidate<'i>>,
) -> Result<(), ClosureError> {
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
