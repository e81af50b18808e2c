//! The agent's side of the conversation (`docs/format/protocol.md`): the laptop asks, the host answers, in order.
//!
//! Owns: which question may come when, what is in memory between two of them, and the lease while the laptop prepares an activation.
//!
//! Invariants: a question out of its order is refused, and changes nothing. What is offered stays in memory until the laptop says
//! that it is to be kept. A conversation that ends, whenever and however it does, leaves no lease of it behind; an activation that was
//! started goes on, and keeps others away by itself.

mod activation;
mod ask;
mod gc;
mod held;
mod line;
pub mod live;
mod offer;
pub mod parts;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests;
mod transfer;
mod verify;

use std::io::{Read, Write};

use self::line::{Incoming, Outgoing};
use self::offer::Offered;
use self::parts::{Environment, Machine, Receiving};
use super::{Host, HostError};
use crate::edge::host::lease::LeaseError;
use crate::edge::host::state::StateError;
use crate::pure::generation::{Journal, Phase, Record, Target};
use crate::pure::protocol::frame::{self, FrameError, FrameKind};
use crate::pure::protocol::{Hello, Purpose, Reply, Request, VERSION, Welcome};

/// The name that keeps a bundle in the host's store until it has a generation.
pub const OFFERED: &str = "offered";

/// Answers a laptop, until the connection ends.
///
/// # Errors
/// [`FrameError`] if the connection breaks, or something comes that is no message of forge. The host is then as after an end in good order.
pub fn serve(
    host: &Host,
    reader: Box<dyn Read + Send>,
    writer: &mut (dyn Write + Send),
    environment: &dyn Environment,
) -> Result<(), FrameError> {
    let incoming = Incoming::of(reader);
    let out = Outgoing::to(writer);
    let hello = match incoming.next().and_then(message::<Hello>) {
        Ok(hello) => hello,
        // Who says nothing at all asks nothing.
        Err(FrameError::Ended) => return Ok(()),
        Err(error) => return refuse_and_end(&out, error),
    };
    let welcome = match welcome(host, environment) {
        Ok(welcome) => welcome,
        Err(error) => {
            return out.reply(&failure("welcome", false, &error));
        }
    };
    out.message(&welcome)?;
    // The laptop sees it in the welcome, and sends the agent that speaks its version.
    if hello.protocol != VERSION {
        return Ok(());
    }
    let mut conversation = Conversation {
        host,
        environment,
        incoming,
        out,
        hello,
        journal: welcome.journal,
        offered: None,
        pending: offer::Pending::default(),
        fetched: Vec::new(),
        receiving: None,
        owed: 0,
        lease: Holds::Nothing,
    };
    let ended = conversation.run();
    conversation.leave();
    match ended {
        Err(FrameError::Ended) => Ok(()),
        other => other,
    }
}

/// Says that nothing can be answered: the host's own folders cannot be used.
pub fn cannot(writer: &mut dyn Write, why: &str) {
    let _ = frame::send(
        writer,
        &Reply::Failed {
            step: "welcome".to_owned(),
            why: why.to_owned(),
            touched: false,
        },
    );
}

fn welcome(host: &Host, environment: &dyn Environment) -> Result<Welcome, HostError> {
    let Machine {
        agent,
        hostname,
        arch,
        system,
        time,
        free: _,
        uptime: _,
    } = environment.machine(host)?;
    Ok(Welcome {
        protocol: VERSION,
        forge: env!("CARGO_PKG_VERSION").to_owned(),
        agent,
        hostname,
        arch,
        system,
        time,
        current: environment.current(host)?,
        journal: environment.journal(host)?,
        lease: environment.lease(host)?,
    })
}

fn message<T: serde::de::DeserializeOwned>(frame: line::Frame) -> Result<T, FrameError> {
    let (kind, bytes) = frame;
    frame::decode(kind, &bytes)
}

/// What is not understood ends the conversation, and is said.
fn refuse_and_end(out: &Outgoing<'_>, error: FrameError) -> Result<(), FrameError> {
    let hint = match &error {
        FrameError::Ended | FrameError::Io(_) => return Err(error),
        FrameError::Message(_) => Some(
            "the laptop's forge and the host's agent do not speak the same protocol; run the same version of forge",
        ),
        FrameError::Alien(_) | FrameError::TooLarge(_) => None,
    };
    // Perhaps nobody hears it.
    let _ = out.reply(&Reply::Refused {
        why: error.to_string(),
        hint: hint.map(ToOwned::to_owned),
    });
    Err(error)
}

/// Whether this conversation has the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Nothing,
    Lease,
    /// It has it, and an activation was started: nothing else is to be changed by this conversation.
    Given,
}

/// Why a question has no answer.
#[derive(Debug)]
enum Fault {
    /// It is said to the laptop, and the conversation goes on.
    Host(HostError),
    /// The conversation is over.
    Line(FrameError),
}

impl<E: Into<HostError>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Host(error.into())
    }
}

impl Fault {
    fn refused(why: impl Into<String>, hint: Option<&str>) -> Self {
        Self::Host(HostError::refused(why, hint))
    }
}

/// What goes on after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Question,
    End,
}

#[derive(Debug)]
struct Conversation<'a> {
    host: &'a Host,
    environment: &'a dyn Environment,
    incoming: Incoming,
    out: Outgoing<'a>,
    hello: Hello,
    /// As it was when the conversation began.
    journal: Option<Journal>,
    offered: Option<Offered>,
    pending: offer::Pending,
    /// Images that were fetched for the offered bundle.
    fetched: Vec<crate::pure::bundle::Embedded>,
    receiving: Option<Box<dyn Receiving + 'a>>,
    /// Bytes of a parcel that was refused, which come all the same.
    owed: u64,
    lease: Holds,
}

impl Conversation<'_> {
    fn run(&mut self) -> Result<(), FrameError> {
        loop {
            let (kind, bytes) = match self.incoming.next() {
                Ok(frame) => frame,
                Err(error) => return refuse_and_end(&self.out, error),
            };
            if kind == FrameKind::Data && self.owed >= bytes.len() as u64 && !bytes.is_empty() {
                self.owed -= bytes.len() as u64;
                continue;
            }
            self.owed = 0;
            let request: Request = match frame::decode(kind, &bytes) {
                Ok(request) => request,
                Err(error) => return refuse_and_end(&self.out, error),
            };
            drop(bytes);
            let (step, touches) = about(&request);
            let next = match request {
                Request::Exec { .. } | Request::Logs { follow: true, .. } => Next::End,
                _ => Next::Question,
            };
            let reply = match self.answer(request) {
                Ok(reply) => reply,
                Err(Fault::Line(error)) => return Err(error),
                Err(Fault::Host(error)) => failure(step, touches, &error),
            };
            self.out.reply(&reply)?;
            if next == Next::End {
                return Ok(());
            }
        }
    }

    /// At the end, whatever it was.
    fn leave(&mut self) {
        // What has arrived whole need not come again.
        let _ = self.settle();
        if self.lease != Holds::Nothing {
            // An activation that was started needs it no more: its unit and its journal keep others away. If it cannot be given back: its holder is not there any more in a moment, and the next one takes it over.
            let _ = self.environment.release_lease(self.host);
        }
    }

    fn answer(&mut self, request: Request) -> Result<Reply, Fault> {
        if !matches!(request, Request::Parcel { .. }) {
            self.settle()?;
        }
        if changes(&request) && self.hello.purpose != Purpose::Change {
            return Err(Fault::refused(
                "this conversation was opened to ask, not to change anything",
                None,
            ));
        }
        match request {
            Request::Offer(offer) => self.offer(offer),
            Request::Lock { what } => self.lock(&what),
            Request::Parcel { parcel, from } => self.parcel(&parcel, from),
            Request::Fetch {
                images,
                credentials,
                plain_http,
                mirrors,
            } => self.fetch(parts::FetchOrder {
                images,
                credentials,
                plain_http,
                mirrors,
            }),
            Request::Keep => self.keep(),
            Request::Activate {
                plan,
                deadline,
                retry,
            } => self.activate(plan, deadline, retry),
            Request::PlanRollback { to } => self.plan_rollback(to),
            Request::Rollback { to, plan, deadline } => self.rollback(to, plan, deadline),
            Request::Attach => self.attach(),
            Request::Confirm { token } => self.confirm(&token),
            Request::Abandon { token, why } => self.abandon(&token, &why),
            Request::Status => self.status(),
            Request::History => self.history(),
            Request::Gc { keep, dry_run } => self.gc(keep, dry_run),
            Request::Verify => self.verify(),
            Request::Logs {
                service,
                tail,
                follow,
                since,
            } => self.logs(&parts::LogOrder {
                service,
                tail,
                follow,
                since,
            }),
            Request::Exec {
                service,
                command,
                user,
            } => self.exec(&parts::ExecOrder {
                service,
                command,
                user,
            }),
            Request::Unlock { force } => {
                self.environment.unlock(self.host, force)?;
                Ok(Reply::Done)
            }
            Request::Bundle { generation } => self.bundle(generation),
        }
    }

    fn lock(&mut self, what: &str) -> Result<Reply, Fault> {
        match self.lease {
            Holds::Lease => return Ok(Reply::Done),
            Holds::Given => {
                return Err(Fault::refused(
                    "an activation was started in this conversation",
                    Some("`forge attach` shows how it goes on"),
                ));
            }
            Holds::Nothing => {}
        }
        let by = self.hello.operator.name.clone();
        self.environment.take_lease(self.host, &by, what)?;
        self.lease = Holds::Lease;
        Ok(Reply::Done)
    }

    /// Refuses what is only for who has the lease.
    fn must_hold(&self, what: &str) -> Result<(), Fault> {
        match self.lease {
            Holds::Lease => Ok(()),
            Holds::Nothing => Err(Fault::refused(
                format!("{what} is only for who has locked the host"),
                None,
            )),
            Holds::Given => Err(Fault::refused(
                format!("{what} is refused: an activation was started in this conversation"),
                Some("`forge attach` shows how it goes on"),
            )),
        }
    }

    /// Makes what has arrived durable.
    fn settle(&mut self) -> Result<(), HostError> {
        match self.receiving.take() {
            Some(mut receiving) => receiving.commit(),
            None => Ok(()),
        }
    }

    /// The current generation, and what it says.
    fn current(&self) -> Result<(Option<Record>, Target), HostError> {
        let current = self.environment.current(self.host)?;
        let target = match &current {
            Some(record) => self.environment.target_of(self.host, record)?,
            None => Target::nothing(),
        };
        Ok((current, target))
    }

    /// The record of a generation that a person has named.
    fn record(&self, number: u64) -> Result<Record, Fault> {
        let records = self.environment.records(self.host)?;
        records
            .into_iter()
            .find(|record| record.number == number)
            .ok_or_else(|| {
                Fault::refused(
                    format!("there is no generation {number} on this host"),
                    Some("`forge history` lists them"),
                )
            })
    }
}

/// True of a journal that waits for this token.
fn awaits(journal: Option<&Journal>, token: &str) -> bool {
    journal.is_some_and(|journal| {
        journal.token == token && journal.phase == Phase::AwaitingConfirmation
    })
}

/// What a request is called in an error, and whether it may have done something when it fails.
const fn about(request: &Request) -> (&'static str, bool) {
    match request {
        Request::Offer(_) => ("offer", false),
        Request::Lock { .. } => ("lock", false),
        Request::Parcel { .. } => ("receive", false),
        Request::Fetch { .. } => ("fetch", false),
        Request::Keep => ("keep", false),
        Request::Activate { .. } => ("activate", true),
        Request::PlanRollback { .. } => ("plan", false),
        Request::Rollback { .. } => ("rollback", true),
        Request::Attach => ("attach", false),
        Request::Confirm { .. } => ("confirm", true),
        Request::Abandon { .. } => ("abandon", true),
        Request::Status => ("status", false),
        Request::History => ("history", false),
        Request::Gc { .. } => ("gc", true),
        Request::Verify => ("verify", false),
        Request::Logs { .. } => ("logs", false),
        Request::Exec { .. } => ("exec", true),
        Request::Unlock { .. } => ("unlock", false),
        Request::Bundle { .. } => ("bundle", false),
    }
}

/// What a conversation that only asks may not say.
const fn changes(request: &Request) -> bool {
    match request {
        Request::Lock { .. }
        | Request::Parcel { .. }
        | Request::Fetch { .. }
        | Request::Keep
        | Request::Activate { .. }
        | Request::Rollback { .. }
        | Request::Confirm { .. }
        | Request::Abandon { .. }
        | Request::Exec { .. }
        | Request::Unlock { .. } => true,
        Request::Gc { dry_run, .. } => !*dry_run,
        Request::Offer(_)
        | Request::PlanRollback { .. }
        | Request::Attach
        | Request::Status
        | Request::History
        | Request::Verify
        | Request::Logs { .. }
        | Request::Bundle { .. } => false,
    }
}

/// An error, said to the laptop. What is no failure of anything, but an answer, is a refusal.
fn failure(step: &str, touched: bool, error: &HostError) -> Reply {
    let refused = |hint: &str| Reply::Refused {
        why: error.to_string(),
        hint: Some(hint.to_owned()),
    };
    match error {
        HostError::Refused { why, hint } => Reply::Refused {
            why: why.clone(),
            hint: hint.clone(),
        },
        HostError::Lease(LeaseError::Held(_)) => {
            refused("wait for it to end; `forge unlock` gives up a lease whose holder is gone")
        }
        HostError::Lease(LeaseError::Unfinished { .. }) => {
            refused("`forge status` says how far it is")
        }
        HostError::State(StateError::NoGeneration(_)) => refused("`forge history` lists them"),
        HostError::Bundle(_) => refused(
            "the host's store does not have this generation whole; `forge verify` says what is wrong",
        ),
        HostError::Service { log, .. } if !log.is_empty() => Reply::Failed {
            step: step.to_owned(),
            why: format!("{error}\n{}", log.trim_end()),
            touched,
        },
        other => Reply::Failed {
            step: step.to_owned(),
            why: other.to_string(),
            touched,
        },
    }
}
