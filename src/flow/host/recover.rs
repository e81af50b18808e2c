//! The way back.

use super::tell::Tell;
use super::{Host, HostError};
use crate::pure::protocol::Ending;

/// Does what is to be done with an unfinished activation, if there is one; none if nothing is unfinished, or if it has time left.
pub fn recover(
    host: &Host,
    boot: bool,
    why: Option<&str>,
    tell: &dyn Tell,
) -> Result<Option<Ending>, HostError> {
    let _ = (host, boot, why, tell);
    Err(HostError::refused("not built yet", None))
}

/// Takes a host as it is that could not go back whole (`forge unlock --force`): the journal goes, and the next plan starts from what
/// is there. Only if nothing is at work.
pub fn accept(host: &Host) -> Result<bool, HostError> {
    let _ = host;
    Err(HostError::refused("not built yet", None))
}

/// True if there is anything to recover.
pub fn is_wanted(host: &Host, boot: bool) -> Result<bool, HostError> {
    let _ = (host, boot);
    Err(HostError::refused("not built yet", None))
}
