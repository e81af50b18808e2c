//! The two directions of a conversation.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::flow::host::tell::Tell;
use crate::pure::protocol::frame::{self, FrameError, FrameKind};
use crate::pure::protocol::{Event, Reply};

/// A frame, as it came.
pub(super) type Frame = (FrameKind, Vec<u8>);
type Came = Result<Frame, FrameError>;

/// What the laptop sends. A thread of its own reads it, so that a command in a container has its input while its output is sent; at most
/// two frames wait in memory.
#[derive(Debug)]
pub(super) struct Incoming {
    frames: Arc<Mutex<Receiver<Came>>>,
}

impl Incoming {
    pub(super) fn of(mut reader: Box<dyn Read + Send>) -> Self {
        let (to, frames): (SyncSender<Came>, _) = sync_channel(1);
        // Not joined: it may wait for the laptop when the conversation is over, and ends with the process.
        std::thread::spawn(move || {
            loop {
                let came = frame::read(&mut *reader);
                let over = came.is_err();
                if to.send(came).is_err() || over {
                    return;
                }
            }
        });
        Self {
            frames: Arc::new(Mutex::new(frames)),
        }
    }

    pub(super) fn next(&self) -> Came {
        next(&self.frames)
    }

    /// The data that follows, until an empty frame or the end of the connection.
    pub(super) fn data(&self) -> DataReader {
        DataReader {
            frames: Arc::clone(&self.frames),
            rest: io::Cursor::default(),
            over: false,
        }
    }
}

fn next(frames: &Mutex<Receiver<Came>>) -> Came {
    let frames = frames.lock().unwrap_or_else(PoisonError::into_inner);
    frames.recv().unwrap_or(Err(FrameError::Ended))
}

/// Frames of data, read as bytes.
#[derive(Debug)]
pub(super) struct DataReader {
    frames: Arc<Mutex<Receiver<Came>>>,
    rest: io::Cursor<Vec<u8>>,
    over: bool,
}

impl Read for DataReader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = self.rest.read(to)?;
            if got > 0 || to.is_empty() || self.over {
                return Ok(got);
            }
            match next(&self.frames) {
                Ok((FrameKind::Data, bytes)) if !bytes.is_empty() => {
                    self.rest = io::Cursor::new(bytes);
                }
                // A laptop that is gone says nothing more: for who reads that is the end.
                Ok((FrameKind::Data, _)) | Err(_) => self.over = true,
                Ok(_) => {
                    self.over = true;
                    return Err(io::Error::other("a message came where bytes were due"));
                }
            }
        }
    }
}

/// What the laptop is sent, by several threads.
pub(super) struct Outgoing<'a> {
    to: Mutex<&'a mut (dyn Write + Send)>,
    broken: AtomicBool,
}

impl std::fmt::Debug for Outgoing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing")
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

impl<'a> Outgoing<'a> {
    pub(super) fn to(writer: &'a mut (dyn Write + Send)) -> Self {
        Self {
            to: Mutex::new(writer),
            broken: AtomicBool::new(false),
        }
    }

    pub(super) fn message(&self, message: &impl serde::Serialize) -> Result<(), FrameError> {
        self.with(|to| frame::send(to, message))
    }

    pub(super) fn reply(&self, reply: &Reply) -> Result<(), FrameError> {
        self.message(reply)
    }

    fn data(&self, bytes: &[u8]) -> Result<(), FrameError> {
        self.with(|to| {
            frame::send_data(to, bytes)?;
            Ok(to.flush()?)
        })
    }

    fn with(
        &self,
        write: impl FnOnce(&mut dyn Write) -> Result<(), FrameError>,
    ) -> Result<(), FrameError> {
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        let done = write(&mut **to);
        if matches!(done, Err(FrameError::Io(_))) {
            self.broken.store(true, Ordering::SeqCst);
        }
        done
    }

    /// True if the laptop is not there any more.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// Bytes written to it become frames of data, each with this byte before them if there is one.
    pub(super) fn stream(&self, mark: Option<u8>) -> DataWriter<'_, 'a> {
        DataWriter { out: self, mark }
    }
}

/// A laptop that is gone is told nothing; the work goes on.
impl Tell for Outgoing<'_> {
    fn tell(&self, event: Event) {
        if !self.is_broken() {
            // An event that is lost is lost: the reply tells how it ended.
            let _ = self.reply(&Reply::Event { event });
        }
    }
}

/// Bytes on their way to the laptop.
#[derive(Debug)]
pub(super) struct DataWriter<'o, 'a> {
    out: &'o Outgoing<'a>,
    mark: Option<u8>,
}

/// The payload of one frame.
const CHUNK: usize = 64 << 10;

impl Write for DataWriter<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = &bytes[..bytes.len().min(CHUNK)];
        // An empty frame means the end.
        if taken.is_empty() {
            return Ok(0);
        }
        let payload: Vec<u8> = self
            .mark
            .iter()
            .copied()
            .chain(taken.iter().copied())
            .collect();
        self.out.data(&payload).map_err(|error| match error {
            FrameError::Io(error) => error,
            other => io::Error::other(other),
        })?;
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
