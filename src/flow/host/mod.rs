//! The host's side: what the agent does, told with pure values and ports; it evaluates no project.

mod error;
pub mod files;
pub mod firewall;
pub mod resource;
pub mod secrets;
pub mod tell;

pub use error::HostError;

use crate::edge::host::paths::Paths;
use crate::edge::store::DiskStore;

/// The host that the agent runs on.
#[derive(Debug)]
pub struct Host {
    pub paths: Paths,
    /// `/var/lib/forge/store`.
    pub store: DiskStore,
}
