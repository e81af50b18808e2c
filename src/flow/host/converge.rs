//! Plan and convergence.

use super::resource::{Resource, Way};
use super::tell::Tell;
use super::{Host, HostError};
use crate::pure::generation::{Plan, Record, Target};

pub fn resources() -> Vec<Box<dyn Resource>> {
    Vec::new()
}

/// What would be done to bring the host from `before` to `want`.
pub fn plan(
    host: &Host,
    current: Option<&Record>,
    before: &Target,
    want: &Target,
) -> Result<Plan, HostError> {
    let _ = (host, current, before, want);
    Err(HostError::refused("not built yet", None))
}

pub fn apply(host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
    let _ = (host, way, tell);
    Err(HostError::refused("not built yet", None))
}
