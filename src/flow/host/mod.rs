//! The host's side: what the agent does, told with pure values and ports; it evaluates no project.

pub mod activate;
pub mod confirm;
pub mod converge;
mod error;
pub mod fetch;
pub mod files;
pub mod firewall;
pub mod generations;
pub mod groups;
pub mod images;
pub mod lockout;
pub mod networks;
pub mod packages;
pub mod preflight;
pub mod probes;
pub mod receive;
pub mod recover;
pub mod resource;
pub mod secrets;
pub mod serve;
pub mod services;
pub mod stage;
pub mod sysctls;
pub mod tell;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]
mod tests;
pub mod units;
pub mod users;
pub mod volumes;
pub mod works;

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
