//! The commit point, and giving up.

use super::{Host, HostError};
use crate::pure::generation::Record;

/// Confirms the activation: idempotent.
pub fn confirm(host: &Host, token: &str) -> Result<Record, HostError> {
    let _ = (host, token);
    Err(HostError::refused("not built yet", None))
}

/// Gives the activation up: the host goes back, apart from this process. Its events are followed from the byte that this
/// gives: `edge::host::events::follow(paths, from, …)`.
pub fn abandon(host: &Host, token: &str, why: &str) -> Result<u64, HostError> {
    let _ = (host, token, why);
    Err(HostError::refused("not built yet", None))
}
