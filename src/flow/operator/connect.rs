//! A conversation with the agent of a host: found or installed, started as root, and greeted.

mod counted;
mod error;
mod halves;
mod root;

use std::fmt;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::edge::ssh::{
    AgentProgram, Agents, Channel, Ending, Exit, NO_AGENT, Remote, RemoteCommand, SshError, Sudo,
    arch_of_machine, local,
};
use crate::pure::name::Arch;
use crate::pure::protocol::frame::{self, FrameError, FrameKind};
use crate::pure::protocol::{Event, Hello, Operator, Purpose, Reply, Request, VERSION, Welcome};

use counted::Counted;
pub use error::ConnectError;
pub use halves::{Listening, Speaking};
pub use root::BecomeRoot;
use root::{refused_by_sudo, wants_password};

/// What a conversation is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    pub agents: &'a Agents,
    /// The host's architecture, if it is known; else that of the laptop is tried first.
    pub arch: Option<Arch>,
    pub operator: &'a Operator,
    pub purpose: Purpose,
    pub root: &'a BecomeRoot,
    /// Sent behind the greeting without waiting for the welcome, which saves a round trip: the first [`Connection::answer`] is
    /// for it.
    pub ahead: Option<&'a Request>,
}

/// A conversation with an agent that has said welcome.
pub struct Connection {
    reader: BufReader<Counted<Box<dyn Read + Send>>>,
    /// None when the conversation is over.
    writer: Option<BufWriter<Counted<Box<dyn Write + Send>>>>,
    ending: Option<Ending>,
    welcome: Welcome,
    place: String,
    installed: bool,
    before: u64,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.place)
    }
}

/// Why an agent did not say welcome.
enum Start {
    Welcome(Box<Connection>),
    NoAgent { machine: String },
    WantsPassword,
}

impl Connection {
    /// Opens a conversation over a new connection. The greeting follows the command as soon as the host's window opens: nothing
    /// is asked before, and an agent that is there costs no round trip more.
    ///
    /// # Errors
    /// [`ConnectError`]; the host is as it was, but for an agent that may have been installed.
    pub fn open(remote: &dyn Remote, opening: &Opening<'_>) -> Result<Self, ConnectError> {
        remote.hang_up();
        let place = remote.describe();
        let mut program = opening.agents.find(opening.arch)?;
        let mut sent = 0;
        loop {
            let channel =
                remote.start(&RemoteCommand::serve(program.digest, opening.root.way()))?;
            match greet(channel, opening, &place)? {
                Start::Welcome(mut connection) => {
                    if connection.welcome.agent == program.digest || sent > 0 {
                        connection.installed = sent > 0;
                        connection.before = sent;
                        connection.check_version()?;
                        return Ok(*connection);
                    }
                    // Damaged since it was installed: it is replaced.
                    drop(connection);
                    sent = install(remote, &program, opening.root.way())?;
                }
                Start::WantsPassword => match opening.root.way() {
                    Sudo::Password(_) => return Err(ConnectError::SudoWrong { place }),
                    Sudo::Quiet | Sudo::Never => opening.root.ask(remote)?,
                },
                Start::NoAgent { machine } => {
                    let Some(arch) = arch_of_machine(&machine) else {
                        return Err(ConnectError::Machine { place, machine });
                    };
                    if arch != program.arch {
                        program = opening.agents.find(Some(arch))?;
                    } else if sent > 0 {
                        return Err(ConnectError::Install {
                            place,
                            code: 0,
                            said: "it was, and is gone again".to_owned(),
                        });
                    } else {
                        sent = install(remote, &program, opening.root.way())?;
                    }
                }
            }
        }
    }

    /// A conversation with the agent of this machine.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn local(
        program: &Path,
        operator: &Operator,
        purpose: Purpose,
        ahead: Option<&Request>,
    ) -> Result<Self, ConnectError> {
        let place = "this machine".to_owned();
        let hello = hello(operator, purpose);
        match greet_with(local(program)?, &hello, ahead, &place)? {
            Start::Welcome(connection) => {
                connection.check_version()?;
                Ok(*connection)
            }
            Start::NoAgent { .. } | Start::WantsPassword => Err(ConnectError::Crashed {
                place,
                code: 127,
                said: String::new(),
            }),
        }
    }

    fn check_version(&self) -> Result<(), ConnectError> {
        if self.welcome.protocol == VERSION {
            return Ok(());
        }
        Err(ConnectError::Version {
            place: self.place.clone(),
            theirs: self.welcome.protocol,
            forge: self.welcome.forge.clone(),
        })
    }

    /// What the agent said first.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// The host, as a person would name it.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// True if the agent had to be sent.
    pub fn installed(&self) -> bool {
        self.installed
    }

    /// Bytes given to SSH, the agent included if it was sent.
    pub fn bytes_sent(&self) -> u64 {
        self.before
            + self
                .writer
                .as_ref()
                .map_or(0, |writer| writer.get_ref().count)
    }

    /// Bytes taken from SSH.
    pub fn bytes_received(&self) -> u64 {
        self.reader.get_ref().count
    }

    /// Asks, and gives the answer; what happens before it goes to `on_event`.
    ///
    /// # Errors
    /// [`ConnectError::Lost`], [`ConnectError::Crashed`], [`ConnectError::Frame`]. The conversation is over then.
    pub fn ask(
        &mut self,
        request: &Request,
        on_event: &mut dyn FnMut(Event),
    ) -> Result<Reply, ConnectError> {
        self.send(request)?;
        self.answer(on_event)
    }

    /// Asks without waiting for the answer: of requests in a row, [`Connection::answer`] gives the answers in the same order.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub fn send(&mut self, request: &Request) -> Result<(), ConnectError> {
        let sent = self.with_writer(|writer| frame::send(writer, request));
        sent.map_err(|error| self.ended(error))
    }

    /// The next answer.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub fn answer(&mut self, on_event: &mut dyn FnMut(Event)) -> Result<Reply, ConnectError> {
        loop {
            match frame::receive(&mut self.reader) {
                Ok(Reply::Event { event }) => on_event(event),
                Ok(reply) => return Ok(reply),
                Err(error) => return Err(self.ended(error)),
            }
        }
    }

    /// Sends bytes that a request announced. They go out with the next request, or with [`Connection::flush`].
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub fn send_data(&mut self, bytes: &[u8]) -> Result<(), ConnectError> {
        let sent = self.with_writer(|writer| frame::send_data(writer, bytes));
        sent.map_err(|error| self.ended(error))
    }

    /// Sends what is held back.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub fn flush(&mut self) -> Result<(), ConnectError> {
        let sent = self.with_writer(|writer| Ok(writer.flush()?));
        sent.map_err(|error| self.ended(error))
    }

    /// The next frame: bytes, or the answer that ends them.
    ///
    /// # Errors
    /// As [`Connection::ask`].
    pub fn read_data(&mut self) -> Result<Data, ConnectError> {
        let read = frame::read(&mut self.reader).and_then(|(kind, payload)| match kind {
            FrameKind::Data => Ok(Data::Bytes(payload)),
            kind => frame::decode(kind, &payload).map(|reply| Data::Reply(Box::new(reply))),
        });
        read.map_err(|error| self.ended(error))
    }

    /// The two halves, so that one thread can listen while another sends. Neither can tell the end of the agent from that of the connection:
    /// both are [`ConnectError::Lost`].
    pub fn halves(&mut self) -> (Speaking<'_>, Listening<'_>) {
        let speaking = Speaking {
            writer: self.writer.as_mut(),
            place: &self.place,
        };
        let listening = Listening {
            reader: &mut self.reader,
            place: &self.place,
        };
        (speaking, listening)
    }

    fn with_writer<T>(
        &mut self,
        what: impl FnOnce(&mut dyn Write) -> Result<T, FrameError>,
    ) -> Result<T, FrameError> {
        match &mut self.writer {
            Some(writer) => what(writer),
            None => Err(FrameError::Ended),
        }
    }

    /// Ends the conversation: the agent did, or the connection. Which of the two?
    fn ended(&mut self, error: FrameError) -> ConnectError {
        let place = self.place.clone();
        if let FrameError::Alien(_) | FrameError::TooLarge(_) | FrameError::Message(_) = error {
            return ConnectError::Frame {
                place,
                why: error.to_string(),
            };
        }
        // What could not be written any more is of no use to anyone.
        // What went is counted also when nothing goes any more.
        self.before = self.bytes_sent();
        drop(self.writer.take().map(BufWriter::into_parts));
        let Some(ending) = self.ending.take() else {
            return ConnectError::Lost {
                place,
                why: error.to_string(),
            };
        };
        // It may still say why.
        let _ = io::copy(&mut self.reader, &mut io::sink());
        match ending.wait() {
            Ok(Exit { code, stderr }) => ConnectError::Crashed {
                place,
                code,
                said: stderr,
            },
            Err(SshError::Lost { why, .. } | SshError::OpenSsh { text: why, .. }) => {
                ConnectError::Lost { place, why }
            }
            Err(other) => ConnectError::Lost {
                place,
                why: other.to_string(),
            },
        }
    }

    /// Ends the conversation in peace.
    ///
    /// # Errors
    /// [`ConnectError::Crashed`] if the agent does not end as it should; [`ConnectError::Lost`].
    pub fn close(mut self) -> Result<(), ConnectError> {
        self.flush()?;
        match self.ended(FrameError::Ended) {
            ConnectError::Crashed { code: 0, .. } => Ok(()),
            other => Err(other),
        }
    }
}

/// What comes when bytes are due.
#[derive(Debug)]
pub enum Data {
    Bytes(Vec<u8>),
    Reply(Box<Reply>),
}

fn hello(operator: &Operator, purpose: Purpose) -> Hello {
    Hello {
        protocol: VERSION,
        forge: env!("CARGO_PKG_VERSION").to_owned(),
        operator: operator.clone(),
        purpose,
    }
}

fn greet(channel: Channel, opening: &Opening<'_>, place: &str) -> Result<Start, ConnectError> {
    let hello = hello(opening.operator, opening.purpose);
    greet_with(channel, &hello, opening.ahead, place)
}

fn greet_with(
    channel: Channel,
    hello: &Hello,
    ahead: Option<&Request>,
    place: &str,
) -> Result<Start, ConnectError> {
    let (reader, writer, ending) = channel.into_parts();
    let mut reader = BufReader::with_capacity(64 << 10, Counted::new(reader));
    let mut writer = BufWriter::with_capacity(64 << 10, Counted::new(writer));
    // If it cannot be written, the command has ended, and says why.
    let written = frame::send(&mut writer, hello)
        .and_then(|()| ahead.map_or(Ok(()), |request| frame::send(&mut writer, request)));
    let error = match frame::receive::<Welcome>(&mut reader) {
        Ok(welcome) => {
            // What was not sent is not answered. That the agent stopped listening is met again with the answer.
            if let Err(error @ (FrameError::TooLarge(_) | FrameError::Message(_))) = written {
                return Err(ConnectError::Frame {
                    place: place.to_owned(),
                    why: error.to_string(),
                });
            }
            return Ok(Start::Welcome(Box::new(Connection {
                reader,
                writer: Some(writer),
                ending: Some(ending),
                welcome,
                place: place.to_owned(),
                installed: false,
                before: 0,
            })));
        }
        Err(error) => error,
    };
    let place = place.to_owned();
    match &error {
        FrameError::Io(source) if source.kind() == io::ErrorKind::TimedOut => {
            return Err(ConnectError::NoAnswer { place });
        }
        FrameError::Alien(_) | FrameError::TooLarge(_) | FrameError::Message(_) => {
            return Err(ConnectError::Frame {
                place,
                why: error.to_string(),
            });
        }
        FrameError::Ended | FrameError::Io(_) => {}
    }
    drop(writer.into_parts());
    drop(written);
    let exit = ending.wait().map_err(|error| match error {
        SshError::Lost { why, .. } => ConnectError::Lost {
            place: place.clone(),
            why,
        },
        other => other.into(),
    })?;
    classify(place, exit)
}

/// What a start that came to nothing means.
fn classify(place: String, exit: Exit) -> Result<Start, ConnectError> {
    let machine = exit
        .stderr
        .lines()
        .find_map(|line| line.trim().strip_prefix(NO_AGENT));
    if let Some(machine) = machine {
        return Ok(Start::NoAgent {
            machine: machine.trim().to_owned(),
        });
    }
    if wants_password(&exit) {
        return Ok(Start::WantsPassword);
    }
    Err(
        refused_by_sudo(&place, &exit).unwrap_or(ConnectError::Crashed {
            place,
            code: exit.code,
            said: exit.stderr,
        }),
    )
}

/// Sends the agent; gives the bytes that it took.
fn install(remote: &dyn Remote, program: &AgentProgram, sudo: Sudo) -> Result<u64, ConnectError> {
    let channel = remote.start(&RemoteCommand::install(program.digest, sudo))?;
    let (mut reader, writer, ending) = channel.into_parts();
    let mut counted = Counted::new(writer);
    let mut bytes = program.open()?;
    let written = (|| -> io::Result<()> {
        let mut packed = GzEncoder::new(
            BufWriter::with_capacity(256 << 10, &mut counted),
            Compression::default(),
        );
        io::copy(&mut bytes, &mut packed)?;
        packed.finish()?.flush()
    })();
    let sent = counted.count;
    drop(counted);
    let _ = io::copy(&mut reader, &mut io::sink());
    let place = remote.describe();
    let exit = ending.wait().map_err(|error| match error {
        SshError::Lost { why, .. } => ConnectError::Lost {
            place: place.clone(),
            why,
        },
        other => other.into(),
    })?;
    if exit.code == 0 && written.is_ok() {
        return Ok(sent);
    }
    Err(
        refused_by_sudo(&place, &exit).unwrap_or(ConnectError::Install {
            place,
            code: exit.code,
            said: exit.stderr.trim().to_owned(),
        }),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn exit(code: i32, stderr: &str) -> Exit {
        Exit {
            code,
            stderr: stderr.to_owned(),
        }
    }

    #[test]
    fn what_a_start_that_came_to_nothing_means() {
        let start = |code, stderr| classify("h".to_owned(), exit(code, stderr));
        let noise = "a banner\nforge: no agent on aarch64\n";
        assert!(
            matches!(start(127, noise), Ok(Start::NoAgent { machine }) if machine == "aarch64")
        );
        assert!(matches!(
            start(1, "sudo: a password is required\n"),
            Ok(Start::WantsPassword)
        ));
        assert!(matches!(
            start(127, "/bin/sh: 1: exec: sudo: not found\n"),
            Err(ConnectError::NoSudo { .. })
        ));
        assert!(matches!(
            start(1, "anna is not in the sudoers file.\n"),
            Err(ConnectError::SudoRefuses { said, .. }) if said.starts_with("anna")
        ));
        assert!(matches!(
            start(101, "thread panicked"),
            Err(ConnectError::Crashed { code: 101, said, .. }) if said.contains("panicked")
        ));
    }
}
