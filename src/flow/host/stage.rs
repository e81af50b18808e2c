//! Everything that is done before the first change.

use super::tell::Tell;
use super::{Host, HostError};
use crate::pure::generation::Target;

/// Why this host must not be activated to this target at all, each with its mend: another system or architecture, no space, a clock that
/// is wrong.
pub fn refusals(host: &Host, want: &Target) -> Result<Vec<String>, HostError> {
    let _ = (host, want);
    Err(HostError::refused("not built yet", None))
}

pub fn stage(host: &Host, want: &Target, tell: &dyn Tell) -> Result<(), HostError> {
    let _ = (host, want, tell);
    Err(HostError::refused("not built yet", None))
}
