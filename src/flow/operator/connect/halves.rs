//! The two directions of a conversation, each for a thread of its own.

use std::fmt;
use std::io::{BufReader, BufWriter, Read, Write};

use super::{ConnectError, Counted, Data};
use crate::pure::protocol::Request;
use crate::pure::protocol::frame::{self, FrameError, FrameKind};

/// Half of a [`Connection`]: it sends.
pub struct Speaking<'a> {
    pub(super) writer: Option<&'a mut BufWriter<Counted<Box<dyn Write + Send>>>>,
    pub(super) place: &'a str,
}

/// Half of a [`Connection`]: it listens.
pub struct Listening<'a> {
    pub(super) reader: &'a mut BufReader<Counted<Box<dyn Read + Send>>>,
    pub(super) place: &'a str,
}

impl fmt::Debug for Speaking<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Speaking({})", self.place)
    }
}

impl fmt::Debug for Listening<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listening({})", self.place)
    }
}

fn lost(place: &str, error: &FrameError) -> ConnectError {
    ConnectError::Lost {
        place: place.to_owned(),
        why: error.to_string(),
    }
}

impl Speaking<'_> {
    fn write(
        &mut self,
        what: impl FnOnce(&mut dyn Write) -> Result<(), FrameError>,
    ) -> Result<(), ConnectError> {
        let written = match &mut self.writer {
            Some(writer) => what(writer),
            None => Err(FrameError::Ended),
        };
        written.map_err(|error| lost(self.place, &error))
    }

    /// # Errors
    /// [`ConnectError::Lost`].
    pub fn send(&mut self, request: &Request) -> Result<(), ConnectError> {
        self.write(|writer| frame::send(writer, request))
    }

    /// # Errors
    /// [`ConnectError::Lost`].
    pub fn send_data(&mut self, bytes: &[u8]) -> Result<(), ConnectError> {
        self.write(|writer| frame::send_data(writer, bytes))
    }

    /// # Errors
    /// [`ConnectError::Lost`].
    pub fn flush(&mut self) -> Result<(), ConnectError> {
        self.write(|writer| Ok(writer.flush()?))
    }
}

impl Listening<'_> {
    /// The next frame: bytes, or an answer.
    ///
    /// # Errors
    /// [`ConnectError::Lost`].
    pub fn read_data(&mut self) -> Result<Data, ConnectError> {
        frame::read(&mut *self.reader)
            .and_then(|(kind, payload)| match kind {
                FrameKind::Data => Ok(Data::Bytes(payload)),
                kind => frame::decode(kind, &payload).map(|reply| Data::Reply(Box::new(reply))),
            })
            .map_err(|error| lost(self.place, &error))
    }
}
