//! The adapters of `edge` as the flows want them.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::CliError;
use super::reach::{Client, Place, Way};
use crate::edge::ssh::{
    Agents, Destination, Native, NoAsk, OpenSsh, Remote, Settings, TerminalAsk,
};
use crate::edge::terminal::TerminalPrompt;
use crate::flow::operator::connect::{
    BecomeRoot, ConnectError, Connection, Data, Listening, Opening, Speaking,
};
use crate::flow::operator::deploy::conversation::{
    Connect, Conversation, Hear, Said, Speak, TalkError,
};
use crate::pure::name::Arch;
use crate::pure::protocol::{Operator, Purpose, Request, Welcome};

/// A host over SSH.
pub(crate) fn remote(
    place: &Place,
    way: &Way,
    operator: &Operator,
) -> Result<Box<dyn Connect>, CliError> {
    let destination = Destination {
        name: place.name.to_string(),
        address: place.address.clone(),
        port: place.port,
        user: Some(place.user.clone()),
        host_key: place.host_key.clone(),
    };
    let settings = Settings {
        accept_new_host_key: way.accept_new_host_key,
        identity: way.identity.clone(),
        ..Settings::default()
    };
    let remote: Box<dyn Remote> = match place.client {
        Client::Openssh => Box::new(OpenSsh::new(destination, settings)),
        Client::Russh => {
            let native = if std::io::stderr().is_terminal() {
                Native::new(&destination, settings, TerminalAsk, TerminalPrompt)
            } else {
                Native::new(&destination, settings, NoAsk, TerminalPrompt)
            };
            Box::new(native.map_err(|error| {
                let hint = error.hint();
                let error = CliError::failed(&error);
                match hint {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            })?)
        }
    };
    let agents = Agents::new(way.agent.clone())
        .map_err(|error| CliError::failed(&error).hint(error.hint()))?;
    Ok(Box::new(OverSsh {
        remote,
        agents,
        arch: place.arch,
        operator: operator.clone(),
        root: BecomeRoot::new(TerminalPrompt),
        address: place.address.clone(),
        sent: AtomicU64::new(0),
    }))
}

/// The agent of this machine.
pub(crate) fn local(operator: &Operator) -> Result<Box<dyn Connect>, CliError> {
    Ok(Box::new(OnThisMachine {
        program: std::env::current_exe().map_err(|error| CliError::failed(&error))?,
        operator: operator.clone(),
        sent: AtomicU64::new(0),
    }))
}

#[derive(Debug)]
struct OverSsh {
    remote: Box<dyn Remote>,
    agents: Agents,
    arch: Option<Arch>,
    operator: Operator,
    /// Remembers a password from one connection to the next.
    root: BecomeRoot,
    address: String,
    sent: AtomicU64,
}

impl Connect for OverSsh {
    fn open_asking(
        &self,
        purpose: Purpose,
        ahead: Option<&Request>,
    ) -> Result<Box<dyn Conversation + '_>, TalkError> {
        let opening = Opening {
            agents: &self.agents,
            arch: self.arch,
            operator: &self.operator,
            purpose,
            root: &self.root,
            ahead,
        };
        let connection = Connection::open(&*self.remote, &opening).map_err(closed)?;
        Ok(Box::new(Counted {
            connection,
            total: &self.sent,
        }))
    }

    fn place(&self) -> String {
        self.remote.describe()
    }

    fn address(&self) -> Option<&str> {
        Some(&self.address)
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
struct OnThisMachine {
    program: PathBuf,
    operator: Operator,
    sent: AtomicU64,
}

impl Connect for OnThisMachine {
    fn open_asking(
        &self,
        purpose: Purpose,
        ahead: Option<&Request>,
    ) -> Result<Box<dyn Conversation + '_>, TalkError> {
        let connection = Connection::local(&self.program, &self.operator, purpose, ahead);
        Ok(Box::new(Counted {
            connection: connection.map_err(closed)?,
            total: &self.sent,
        }))
    }

    fn place(&self) -> String {
        "this machine".to_owned()
    }

    fn address(&self) -> Option<&str> {
        None
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

/// Nothing was asked yet.
fn closed(error: ConnectError) -> TalkError {
    TalkError::Closed {
        hints: error.hint().into_iter().collect(),
        why: error.to_string(),
    }
}

/// In the middle: whether the agent ended or the connection did, what was asked may have been done.
fn broken(error: ConnectError) -> TalkError {
    match error {
        ConnectError::Frame { why, .. } => TalkError::Nonsense(why),
        ConnectError::Lost { why, .. } => TalkError::Lost(why),
        error => TalkError::Lost(error.to_string()),
    }
}

fn said(data: Data) -> Said {
    match data {
        Data::Bytes(bytes) => Said::Data(bytes),
        Data::Reply(reply) => Said::Reply(reply),
    }
}

/// A conversation; what was said on it is added up when it is over.
#[derive(Debug)]
struct Counted<'a> {
    connection: Connection,
    total: &'a AtomicU64,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.total
            .fetch_add(self.connection.bytes_sent(), Ordering::Relaxed);
    }
}

impl Speak for Counted<'_> {
    fn send(&mut self, request: &Request) -> Result<(), TalkError> {
        self.connection.send(request).map_err(broken)
    }

    fn send_data(&mut self, bytes: &[u8]) -> Result<(), TalkError> {
        self.connection.send_data(bytes).map_err(broken)
    }

    fn flush(&mut self) -> Result<(), TalkError> {
        self.connection.flush().map_err(broken)
    }
}

impl Hear for Counted<'_> {
    fn next(&mut self) -> Result<Said, TalkError> {
        self.connection.read_data().map(said).map_err(broken)
    }
}

impl Conversation for Counted<'_> {
    fn welcome(&self) -> &Welcome {
        self.connection.welcome()
    }

    fn halves(&mut self) -> (Box<dyn Speak + '_>, Box<dyn Hear + '_>) {
        let (speaking, listening) = self.connection.halves();
        (Box::new(speaking), Box::new(listening))
    }

    fn sent(&self) -> u64 {
        self.connection.bytes_sent()
    }

    fn received(&self) -> u64 {
        self.connection.bytes_received()
    }
}

impl Speak for Speaking<'_> {
    fn send(&mut self, request: &Request) -> Result<(), TalkError> {
        Speaking::send(self, request).map_err(broken)
    }

    fn send_data(&mut self, bytes: &[u8]) -> Result<(), TalkError> {
        Speaking::send_data(self, bytes).map_err(broken)
    }

    fn flush(&mut self) -> Result<(), TalkError> {
        Speaking::flush(self).map_err(broken)
    }
}

impl Hear for Listening<'_> {
    fn next(&mut self) -> Result<Said, TalkError> {
        self.read_data().map(said).map_err(broken)
    }
}
