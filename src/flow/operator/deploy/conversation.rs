//! The ports to a host: a connection that can be opened anew, and what is said on it.

use std::fmt::Debug;

use crate::pure::protocol::{Event, Purpose, Reply, Request, Welcome};

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TalkError {
    /// No conversation came about: nothing was asked of the host.
    #[error("{why}")]
    Closed { why: String, hints: Vec<String> },
    /// It was cut off: what was asked may have been done.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The other side does not speak as it should.
    #[error("the host's answer is not understood: {0}")]
    Nonsense(String),
    /// What is sent could not be had on this side.
    #[error("{0}")]
    Own(String),
}

/// One thing that the host says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Reply(Box<Reply>),
    Data(Vec<u8>),
}

/// The half that asks.
pub trait Speak: Debug + Send {
    /// Sent and on its way when this returns.
    ///
    /// # Errors
    /// [`TalkError::Lost`].
    fn send(&mut self, request: &Request) -> Result<(), TalkError>;

    /// A frame of data; on its way with the next request, or with [`Self::flush`].
    ///
    /// # Errors
    /// [`TalkError::Lost`].
    fn send_data(&mut self, bytes: &[u8]) -> Result<(), TalkError>;

    /// # Errors
    /// [`TalkError::Lost`].
    fn flush(&mut self) -> Result<(), TalkError>;
}

/// The half that listens.
pub trait Hear: Debug + Send {
    /// The next thing that the host says; waits for it.
    ///
    /// # Errors
    /// [`TalkError::Lost`], [`TalkError::Nonsense`].
    fn next(&mut self) -> Result<Said, TalkError>;
}

/// An open connection, greeted. Dropped, it is closed.
pub trait Conversation: Speak + Hear {
    fn welcome(&self) -> &Welcome;

    /// The two halves, so that one thread can listen while another sends.
    fn halves(&mut self) -> (Box<dyn Speak + '_>, Box<dyn Hear + '_>);

    /// Bytes on the wire, so far.
    fn sent(&self) -> u64;

    fn received(&self) -> u64;
}

impl dyn Conversation + '_ {
    /// Asks, and waits for the answer; what happens meanwhile goes to `on_event`.
    ///
    /// # Errors
    /// [`TalkError`].
    pub fn ask(
        &mut self,
        request: &Request,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Reply, TalkError> {
        self.send(request)?;
        self.answer(on_event)
    }

    /// As [`Self::ask`], of what has no events.
    ///
    /// # Errors
    /// [`TalkError`].
    pub fn ask_only(&mut self, request: &Request) -> Result<Reply, TalkError> {
        self.ask(request, &mut |_| ())
    }

    /// The next answer.
    ///
    /// # Errors
    /// [`TalkError`].
    pub fn answer(&mut self, on_event: &mut dyn FnMut(Event)) -> Result<Reply, TalkError> {
        loop {
            match self.next()? {
                Said::Reply(reply) => match *reply {
                    Reply::Event { event } => on_event(event),
                    reply => return Ok(reply),
                },
                Said::Data(bytes) => {
                    return Err(TalkError::Nonsense(format!(
                        "{} bytes came where a message was due",
                        bytes.len()
                    )));
                }
            }
        }
    }
}

/// Opens connections to one host.
pub trait Connect: Debug + Send + Sync {
    /// A connection of its own, greeted.
    ///
    /// # Errors
    /// [`TalkError::Closed`], with what to do about it.
    fn open(&self, purpose: Purpose) -> Result<Box<dyn Conversation + '_>, TalkError> {
        self.open_asking(purpose, None)
    }

    /// As [`Self::open`], with a question that is sent behind the greeting, which saves a round trip: the first answer is for it. It is one that
    /// changes nothing, as it may be asked more than once.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn open_asking(
        &self,
        purpose: Purpose,
        ahead: Option<&Request>,
    ) -> Result<Box<dyn Conversation + '_>, TalkError>;

    /// As in `root@203.0.113.20:22`; for people.
    fn place(&self) -> String;

    /// The address that the host is seen at from outside; none on the host itself.
    fn address(&self) -> Option<&str>;

    /// Bytes that were said to the host on all conversations that are over: messages and data, without what SSH adds.
    fn sent(&self) -> u64;
}

/// An answer that was not due.
pub fn unexpected(reply: &Reply) -> TalkError {
    // Never the whole of it: it may be long.
    let text = format!("{reply:?}");
    let word: String = text.chars().take_while(|c| c.is_alphanumeric()).collect();
    TalkError::Nonsense(format!("`{word}` was not due"))
}
