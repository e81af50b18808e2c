//! The generations of a host: records on its disk, and bundles in its store that they keep there.

use super::works::Works;
use super::{Host, HostError};
use crate::edge::host::state::{State, StateError};
use crate::edge::store::{RefChange, Store, Trust, find_bundle, open_bundle};
use crate::pure::generation::{Outcome, Record, Target, from_bundle};
use crate::pure::name::{BlobDigest, BundleDigest};
use crate::pure::oci::RefName;

/// The name in the host's store of a bundle that was received and is no generation yet.
pub const OFFERED: &str = "offered";

/// What a new generation is made of.
#[derive(Clone, Debug)]
pub struct New {
    pub bundle: BundleDigest,
    /// The program that activates it and returns to it: the one that runs, which must be in its place
    /// (`edge::host::machine_facts::keep_own_program`).
    pub agent: BlobDigest,
    /// As in `anna@laptop`.
    pub by: String,
    pub revision: Option<String>,
}

/// The name that keeps the bundle and the images of a generation in the host's store.
///
/// # Errors
/// None that happens: every such text is a name.
pub fn ref_name(number: u64) -> Result<RefName, HostError> {
    name(&format!("generation-{number}"))
}

fn name(text: &str) -> Result<RefName, HostError> {
    text.parse::<RefName>()
        .map_err(|error| HostError::refused(error.to_string(), None))
}

/// The current generation; none where forge has never been.
///
/// # Errors
/// [`HostError::State`], also if what is current has no record.
pub fn current(host: &Host) -> Result<Option<Record>, HostError> {
    let state = State::open(&host.paths)?;
    match state.current()? {
        Some(number) => record(host, number).map(Some),
        None => Ok(None),
    }
}

/// All generations, ascending.
///
/// # Errors
/// [`HostError::State`].
pub fn all(host: &Host) -> Result<Vec<Record>, HostError> {
    Ok(State::open(&host.paths)?.records()?)
}

/// # Errors
/// [`StateError::NoGeneration`].
pub fn record(host: &Host, number: u64) -> Result<Record, HostError> {
    let record = State::open(&host.paths)?.record(number)?;
    Ok(record.ok_or(StateError::NoGeneration(number))?)
}

/// What a host is to be at a generation: from its bundle in the host's store, every byte checked.
///
/// # Errors
/// [`HostError::Bundle`] if the store does not have it whole, [`HostError::Target`].
pub fn target_of(host: &Host, record: &Record) -> Result<Target, HostError> {
    match record.bundle {
        None => Ok(Target::nothing()),
        Some(bundle) => Ok(from_bundle::target(&open_bundle(&host.store, bundle)?)?),
    }
}

/// The target of the generation of this number.
///
/// # Errors
/// As [`record`] and [`target_of`].
pub fn target(host: &Host, number: u64) -> Result<Target, HostError> {
    target_of(host, &record(host, number)?)
}

/// Makes a generation, unconfirmed, of a bundle that is in the host's store under some name: [`OFFERED`], or that of another
/// generation. Its bundle and its images are kept from now on. On a host where forge has never been, generation 0 is made
/// first, and made current.
///
/// # Errors
/// [`HostError::Refused`] if no name keeps the bundle, or if the program is not in its place. What a crash leaves of it is no generation.
pub fn create(host: &Host, new: New) -> Result<Record, HostError> {
    create_at(host, new, Works::of(host).now())
}

pub(super) fn create_at(host: &Host, new: New, now: i64) -> Result<Record, HostError> {
    let state = State::open(&host.paths)?;
    if host.paths.is_real() && !state.has_program(new.agent)? {
        return Err(HostError::refused(
            format!(
                "the program of the new generation ({}) is not on this host",
                new.agent
            ),
            Some("deploy again: it is sent first"),
        ));
    }
    if state.current()?.is_none() {
        state.create(&Record {
            version: Record::VERSION,
            number: 0,
            bundle: None,
            agent: new.agent,
            created: now,
            by: new.by.clone(),
            revision: None,
            outcome: Outcome::Confirmed { at: now },
        })?;
        state.commit(0)?;
    }
    let record = Record {
        version: Record::VERSION,
        number: state.next_number()?,
        bundle: Some(new.bundle),
        agent: new.agent,
        created: now,
        by: new.by,
        revision: new.revision,
        outcome: Outcome::Unconfirmed,
    };
    // The name first: a generation whose bundle is collected could not be returned to.
    keep(host, new.bundle, record.number)?;
    state.create(&record)?;
    Ok(record)
}

fn keep(host: &Host, bundle: BundleDigest, number: u64) -> Result<(), HostError> {
    let store: &dyn Store = &host.store;
    let names = store.refs()?;
    let offered = name(OFFERED)?;
    // What was just received names images that an older generation of the same bundle may lack.
    let candidates = names
        .get_key_value(&offered)
        .into_iter()
        .chain(names.iter().rev());
    for (name, link) in candidates {
        if find_bundle(store, name)? == Some(bundle) {
            let change = RefChange::Set(ref_name(number)?, link.clone());
            store.begin(Trust::Size)?.commit(&[change])?;
            return Ok(());
        }
    }
    Err(HostError::refused(
        format!("the bundle {bundle} is not on this host"),
        Some("deploy it: it is sent, and then it is activated"),
    ))
}

/// The generation to which a rollback goes if none is named: the last one below `number` that was confirmed. Generation 0 is
/// none: forge is taken out only by name.
///
/// # Errors
/// [`HostError::State`].
pub fn last_confirmed_before(host: &Host, number: u64) -> Result<Option<Record>, HostError> {
    Ok(all(host)?
        .into_iter()
        .rev()
        .find(|record| record.number < number && record.number > 0 && record.is_confirmed()))
}

/// How the last activation of this bundle failed, if it did: what has failed is activated again only if that is asked for.
///
/// # Errors
/// [`HostError::State`].
pub fn failed_before(host: &Host, bundle: BundleDigest) -> Result<Option<String>, HostError> {
    let last = all(host)?
        .into_iter()
        .rev()
        .find(|record| record.bundle == Some(bundle) && record.outcome != Outcome::Unconfirmed);
    Ok(match last {
        Some(Record {
            number,
            outcome: Outcome::Failed { step, why, .. },
            ..
        }) => Some(format!("generation {number} failed at {step}: {why}")),
        _ => None,
    })
}
