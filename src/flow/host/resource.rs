//! A kind of thing that a host is made of.

use std::fmt::Debug;

use super::tell::Tell;
use super::{Host, HostError};
use crate::pure::generation::{Change, Target};

/// Where the host is to go, and where it may come from.
#[derive(Clone, Copy, Debug)]
pub struct Way<'a> {
    pub want: &'a Target,
    /// Everything that may have been applied and is no longer wanted: the current generation and, on the way back from a failure,
    /// the one that failed.
    pub before: &'a [&'a Target],
}

/// Converges one kind of thing. `apply` does exactly what `plan` says, so that a plan that is empty is drift-free, and an apply after an
/// apply does nothing.
pub trait Resource: Debug + Send + Sync {
    /// What this step is called in events and errors.
    fn step(&self) -> &'static str;

    /// What would be changed: from the real state of the host, and changing nothing. Asked beside the other resources, in a thread of its
    /// own.
    ///
    /// # Errors
    /// [`HostError`] if the host cannot be asked.
    fn plan(&self, host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError>;

    /// Does it, idempotently: asks again, and makes what differs equal. Each change is told once it is done. May be killed at any
    /// point, and run again then, towards this target or another.
    ///
    /// # Errors
    /// [`HostError`]; what was done before it stays done, and has been told.
    fn apply(&self, host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError>;
}
