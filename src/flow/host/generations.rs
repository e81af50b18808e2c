//! The generations of a host.

use super::{Host, HostError};
use crate::pure::generation::{Record, Target};
use crate::pure::name::{BlobDigest, BundleDigest};

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

/// The current generation; none where forge has never been.
pub fn current(host: &Host) -> Result<Option<Record>, HostError> {
    let _ = host;
    Err(HostError::refused("not built yet", None))
}

pub fn all(host: &Host) -> Result<Vec<Record>, HostError> {
    let _ = host;
    Err(HostError::refused("not built yet", None))
}

pub fn record(host: &Host, number: u64) -> Result<Record, HostError> {
    let _ = (host, number);
    Err(HostError::refused("not built yet", None))
}

pub fn target_of(host: &Host, record: &Record) -> Result<Target, HostError> {
    let _ = (host, record);
    Err(HostError::refused("not built yet", None))
}

pub fn create(host: &Host, new: New) -> Result<Record, HostError> {
    let _ = (host, new);
    Err(HostError::refused("not built yet", None))
}

pub fn last_confirmed_before(host: &Host, number: u64) -> Result<Option<Record>, HostError> {
    let _ = (host, number);
    Err(HostError::refused("not built yet", None))
}

pub fn failed_before(host: &Host, bundle: BundleDigest) -> Result<Option<String>, HostError> {
    let _ = (host, bundle);
    Err(HostError::refused("not built yet", None))
}
