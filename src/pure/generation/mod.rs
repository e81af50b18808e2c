//! What the host does: the target that a bundle describes, the plan of changes, records of generations, the journal and
//! the machine of activation.
//!
//! Owns: the reading of an evaluated system on the host (`docs/format/system.md`), the formats of `record.json` and `journal.json`
//! (`docs/format/generation.md`), and every decision about which generation a host is to be at.
//!
//! Invariant: nothing here knows how a host is asked or changed; what is decided here is decided from values alone, so that it is
//! tested without a host.

pub mod blocks;
pub mod from_bundle;
mod journal;
pub mod machine;
pub mod managed;
pub mod placeholders;
mod plan;
mod record;
mod target;
pub mod text_diff;
pub mod things;

pub use journal::{Journal, Phase};
pub use plan::{Action, Change, Fetch, Kind, Plan};
pub use record::{Outcome, Record};
pub use target::{
    Check, Group, Hole, Mode, Network, Owner, Place, Probe, Service, ServicePort, Target,
    TargetFile, TargetSecret, Unit, User, Volume, content_root, sealed_root,
};
