//! The agent of this machine, without SSH: for the commands on the host itself.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::child::{self, Running};
use super::{Channel, End, Exit, SshError};

/// How long an agent may take to end when its input has.
const LIMIT: Duration = Duration::from_secs(30);

/// Starts `PROGRAM agent serve`.
///
/// # Errors
/// [`SshError::Program`].
pub fn local(program: &Path) -> Result<Channel, SshError> {
    let mut command = Command::new(program);
    command.args(["agent", "serve"]);
    let (reader, writer, child) = child::spawn(command, LIMIT).map_err(SshError::Program)?;
    Ok(Channel::new(reader, writer, Ending(child)))
}

struct Ending(Running);

impl End for Ending {
    fn wait(self: Box<Self>) -> Result<Exit, SshError> {
        self.0.wait("this machine")
    }
}
