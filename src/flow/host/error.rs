//! Why something on a host could not be done: which step, of what, and why.

use crate::edge::disk::DiskError;
use crate::edge::host::engine::EngineError;
use crate::edge::host::lease::LeaseError;
use crate::edge::host::own_units::UnitsError;
use crate::edge::host::state::StateError;
use crate::edge::program::ProgramError;
use crate::edge::store::StoreError;
use crate::pure::bundle::OpenError;
use crate::pure::generation::Kind;
use crate::pure::generation::from_bundle::TargetError;

/// Says the operation and its subject: decisions to go back are made on its kind.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error(transparent)]
    Units(#[from] UnitsError),
    #[error(transparent)]
    Bundle(Box<OpenError<StoreError>>),
    /// The answer is no, and nothing was changed.
    #[error("{why}")]
    Refused { why: String, hint: Option<String> },
    /// A thing of the host is not what it must be, or cannot be made so.
    #[error("{kind} {name}: {why}")]
    Thing {
        kind: Kind,
        name: String,
        why: String,
    },
    /// A service did not become healthy, or ended. `log` is the end of what it wrote.
    #[error("service {service}: {why}")]
    Service {
        service: String,
        why: String,
        log: String,
    },
    #[error("the preflight check {check} of service {service} failed: {why}")]
    Check {
        check: String,
        service: String,
        why: String,
    },
    #[error("the probe {probe} did not come true: {why}")]
    Probe { probe: String, why: String },
}

impl From<OpenError<StoreError>> for HostError {
    fn from(error: OpenError<StoreError>) -> Self {
        Self::Bundle(Box::new(error))
    }
}

impl HostError {
    pub fn thing(kind: Kind, name: impl Into<String>, why: impl ToString) -> Self {
        Self::Thing {
            kind,
            name: name.into(),
            why: why.to_string(),
        }
    }

    pub fn refused(why: impl Into<String>, hint: Option<&str>) -> Self {
        Self::Refused {
            why: why.into(),
            hint: hint.map(ToOwned::to_owned),
        }
    }
}
