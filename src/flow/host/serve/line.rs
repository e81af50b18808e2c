//! The two directions of a conversation.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::flow::host::tell::Tell;
use crate::pure::protocol::frame::{self, FrameError, FrameKind};
use crate::pure::protocol::{Event, Reply};

/// A frame, as it came.
pub(super) type Frame = (FrameKind, Vec<u8>);
type Came = Result<Frame, FrameError>;

/// When so many bytes wait to be taken, no further frame is read, and then the laptop waits too. The link stays busy for as long as it takes to
/// send them, while a layer is unpacked.
const AHEAD: usize = 16 << 20;

/// What the laptop sends. A thread of its own reads it: ahead of who takes it, and so that a command in a container has its input while
/// its output is sent.
#[derive(Debug)]
pub(super) struct Incoming {
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    frames: VecDeque<Came>,
    bytes: usize,
    /// Nothing more comes.
    ended: bool,
    /// Nothing more is taken.
    left: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False if no more is wanted.
    fn give(&self, came: Came) -> bool {
        let mut waiting = self.lock();
        match &came {
            Ok((_, bytes)) => waiting.bytes += bytes.len(),
            Err(_) => waiting.ended = true,
        }
        waiting.frames.push_back(came);
        self.changed.notify_all();
        let full = |waiting: &mut Waiting| waiting.bytes >= AHEAD && !waiting.left;
        let waiting = self.changed.wait_while(waiting, full);
        let waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        !waiting.ended && !waiting.left
    }

    fn take(&self) -> Came {
        let nothing =
            |waiting: &mut Waiting| waiting.frames.is_empty() && !waiting.ended && !waiting.left;
        let waiting = self.changed.wait_while(self.lock(), nothing);
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        let Some(came) = waiting.frames.pop_front() else {
            return Err(FrameError::Ended);
        };
        if let Ok((_, bytes)) = &came {
            waiting.bytes -= bytes.len();
        }
        self.changed.notify_all();
        came
    }
}

impl Incoming {
    pub(super) fn of(mut reader: Box<dyn Read + Send>) -> Self {
        let queue = Arc::new(Queue::default());
        let to = Arc::clone(&queue);
        // Not joined: it may wait for the laptop when the conversation is over, and ends with the process.
        std::thread::spawn(move || while to.give(frame::read(&mut *reader)) {});
        Self { queue }
    }

    pub(super) fn next(&self) -> Came {
        self.queue.take()
    }

    /// The data that follows, until an empty frame or the end of the connection.
    pub(super) fn data(&self) -> DataReader {
        DataReader {
            queue: Arc::clone(&self.queue),
            rest: io::Cursor::default(),
            over: false,
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.queue.lock().left = true;
        self.queue.changed.notify_all();
    }
}

/// Frames of data, read as bytes.
#[derive(Debug)]
pub(super) struct DataReader {
    queue: Arc<Queue>,
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
            match self.queue.take() {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const FRAME: usize = 1 << 20;
    const COUNT: usize = 40;

    /// Bytes, and how many of them were read.
    struct Counting(io::Cursor<Vec<u8>>, Arc<AtomicUsize>);

    impl Read for Counting {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read(to)?;
            self.1.fetch_add(count, Ordering::SeqCst);
            Ok(count)
        }
    }

    #[test]
    fn frames_are_read_ahead_of_who_takes_them_and_not_without_bound() {
        let mut sent = Vec::new();
        for number in 0..COUNT {
            frame::send_data(&mut sent, &vec![number as u8; FRAME]).unwrap();
        }
        let read = Arc::new(AtomicUsize::new(0));
        let incoming = Incoming::of(Box::new(Counting(io::Cursor::new(sent), read.clone())));
        while read.load(Ordering::SeqCst) < AHEAD {
            std::thread::yield_now();
        }
        for taken in 0..COUNT {
            let ahead = read.load(Ordering::SeqCst) - taken * frame::data_frame_size(FRAME);
            assert!(ahead <= AHEAD + 2 * FRAME, "{ahead} bytes at {taken}");
            let (kind, bytes) = incoming.next().unwrap();
            assert_eq!((kind, bytes.len()), (FrameKind::Data, FRAME));
            assert!(bytes.iter().all(|byte| *byte == taken as u8));
        }
        for _ in 0..2 {
            assert!(matches!(incoming.next(), Err(FrameError::Ended)));
        }
    }

    #[test]
    fn an_end_and_a_breach_are_met_after_what_came_before() {
        let mut sent = Vec::new();
        frame::send_data(&mut sent, b"whole").unwrap();
        sent.extend([b'D', 0, 0, 0, 9, b'c', b'u', b't']);
        let incoming = Incoming::of(Box::new(io::Cursor::new(sent)));
        assert_eq!(incoming.next().unwrap().1, b"whole");
        assert!(matches!(incoming.next(), Err(FrameError::Io(_))));
        assert!(matches!(incoming.next(), Err(FrameError::Ended)));
    }
}
