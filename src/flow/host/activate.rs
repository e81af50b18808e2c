//! An activation.

use std::time::Duration;

use super::tell::Tell;
use super::{Host, HostError};
use crate::pure::name::BlobDigest;
use crate::pure::protocol::Ending;

/// Begins an activation apart from this process; its events are followed with `edge::host::events::follow`. Gives its token.
pub fn start(
    host: &Host,
    to: u64,
    plan: BlobDigest,
    deadline: Duration,
    by: &str,
) -> Result<String, HostError> {
    let _ = (host, to, plan, deadline, by);
    Err(HostError::refused("not built yet", None))
}

/// True while an activation, or the way back from one, is at work: for `edge::host::events::follow`.
pub fn runs(host: &Host) -> bool {
    let _ = host;
    false
}

/// What the unit of the activation does.
pub fn run(host: &Host, tell: &dyn Tell) -> Ending {
    let _ = (host, tell);
    Ending::Refused {
        step: "request".to_owned(),
        why: "not built yet".to_owned(),
    }
}
