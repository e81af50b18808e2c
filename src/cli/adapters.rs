//! The adapters of `edge` as the flows want them.

use super::error::CliError;
use super::reach::{Place, Way};
use crate::flow::operator::deploy::conversation::{Connect, Conversation, TalkError};
use crate::pure::protocol::{Operator, Purpose};

/// A host over SSH.
pub(crate) fn remote(
    place: &Place,
    _way: &Way,
    _operator: &Operator,
) -> Result<Box<dyn Connect>, CliError> {
    let port = place
        .port
        .map(|port| format!(":{port}"))
        .unwrap_or_default();
    Ok(Box::new(NotYet {
        place: format!("{}@{}{port}", place.user, place.address),
        address: Some(place.address.clone()),
    }))
}

/// The agent of this machine.
pub(crate) fn local(_operator: &Operator) -> Result<Box<dyn Connect>, CliError> {
    Ok(Box::new(NotYet {
        place: "this machine".to_owned(),
        address: None,
    }))
}

#[derive(Debug)]
struct NotYet {
    place: String,
    address: Option<String>,
}

impl Connect for NotYet {
    fn open(&self, _: Purpose) -> Result<Box<dyn Conversation + '_>, TalkError> {
        Err(TalkError::Closed {
            why: format!("{} cannot be reached: this forge has no SSH", self.place),
            hints: Vec::new(),
        })
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }
}
