//! A channel of SSH as blocking streams.

use std::any::Any;
use std::future::Future;
use std::io::{self, Read, Write};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use russh::client::Msg;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::{End, Exit, SshError};

/// The runtime of one [`super::Native`]: it goes without waiting for anything.
#[derive(Debug)]
pub(super) struct Engine(Option<Runtime>);

impl Engine {
    pub(super) fn start() -> io::Result<Self> {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("ssh")
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
    }

    pub(super) fn handle(&self) -> io::Result<&Handle> {
        self.0
            .as_ref()
            .map(Runtime::handle)
            .ok_or_else(|| io::Error::other("the connection is closed"))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// As much of what a command says is kept.
const TAIL: usize = 8 << 10;
/// Messages from the host that nobody has read yet. More than the window holds, so that the connection itself never waits for a reader.
const UNREAD: usize = 4096;

#[derive(Debug, Default)]
struct Outcome {
    code: Option<i32>,
    stderr: Vec<u8>,
    /// The host closed the channel: it was not lost.
    closed: bool,
    /// The host would not run it.
    refused: bool,
}

/// What all parts of a channel share.
struct Shared {
    engine: Arc<Engine>,
    /// The connection: it lives as long as one of its channels.
    _session: Arc<dyn Any + Send + Sync>,
    place: String,
    outcome: Arc<Mutex<Outcome>>,
    /// True when the channel has ended.
    over: watch::Receiver<bool>,
    limit: Duration,
}

impl Shared {
    fn lost(&self) -> io::Error {
        io::Error::new(
            io::ErrorKind::ConnectionReset,
            format!("the connection to {} was lost", self.place),
        )
    }

    fn closed(&self) -> bool {
        self.outcome.lock().is_ok_and(|outcome| outcome.closed)
    }
}

/// Splits a channel. `first_byte`: how long the first byte may take; without, forever.
pub(super) fn split(
    engine: Arc<Engine>,
    session: Arc<dyn Any + Send + Sync>,
    place: String,
    channel: russh::Channel<Msg>,
    limit: Duration,
    first_byte: bool,
) -> io::Result<super::Channel> {
    let (read, write) = channel.split();
    let (data, received) = mpsc::channel(UNREAD);
    let (ended, over) = watch::channel(false);
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    engine
        .handle()?
        .spawn(pump(read, data, ended, outcome.clone()));
    let shared = Arc::new(Shared {
        engine,
        _session: session,
        place,
        outcome,
        over,
        limit,
    });
    Ok(super::Channel::new(
        Reader {
            received,
            rest: Default::default(),
            first_byte,
            shared: shared.clone(),
        },
        Writer {
            write: Some(write),
            shared: shared.clone(),
        },
        Ending(shared),
    ))
}

async fn pump(
    mut read: ChannelReadHalf,
    data: mpsc::Sender<Vec<u8>>,
    ended: watch::Sender<bool>,
    outcome: Arc<Mutex<Outcome>>,
) {
    let mut data = Some(data);
    while let Some(message) = read.wait().await {
        let note = |change: &dyn Fn(&mut Outcome)| {
            if let Ok(mut outcome) = outcome.lock() {
                change(&mut outcome);
            }
        };
        match message {
            ChannelMsg::Data { data: bytes } => {
                if let Some(to) = &data
                    && to.send(bytes.to_vec()).await.is_err()
                {
                    data = None;
                }
            }
            ChannelMsg::ExtendedData { data: bytes, .. } => note(&|outcome| {
                outcome.stderr.extend_from_slice(&bytes);
                let more = outcome.stderr.len().saturating_sub(TAIL);
                outcome.stderr.drain(..more);
            }),
            ChannelMsg::Eof => {
                note(&|outcome| outcome.closed = true);
                data = None;
            }
            ChannelMsg::ExitStatus { exit_status } => {
                note(&|outcome| outcome.code = Some(exit_status.cast_signed()));
            }
            ChannelMsg::ExitSignal {
                signal_name,
                error_message,
                ..
            } => note(&|outcome| {
                outcome.code = Some(128);
                outcome.stderr.extend_from_slice(
                    format!("\nended by signal {signal_name:?} {error_message}").as_bytes(),
                );
            }),
            ChannelMsg::Failure => note(&|outcome| outcome.refused = true),
            ChannelMsg::Close => {
                note(&|outcome| outcome.closed = true);
                break;
            }
            _ => {}
        }
    }
    drop(data);
    // Nobody may wait any more.
    let _ = ended.send(true);
}

struct Reader {
    received: mpsc::Receiver<Vec<u8>>,
    rest: io::Cursor<Vec<u8>>,
    first_byte: bool,
    shared: Arc<Shared>,
}

impl Read for Reader {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        loop {
            let count = self.rest.read(to)?;
            if count > 0 {
                return Ok(count);
            }
            let next = if self.first_byte {
                let limit = self.shared.limit;
                let received = &mut self.received;
                self.shared
                    .engine
                    .handle()?
                    .block_on(async { timeout(limit, received.recv()).await })
                    .map_err(|_| {
                        io::Error::new(
                            io::ErrorKind::TimedOut,
                            format!(
                                "{} did not answer within {} s",
                                self.shared.place,
                                limit.as_secs_f32()
                            ),
                        )
                    })?
            } else {
                self.received.blocking_recv()
            };
            self.first_byte = false;
            match next {
                Some(bytes) => self.rest = io::Cursor::new(bytes),
                None if self.shared.closed() => return Ok(0),
                None => return Err(self.shared.lost()),
            }
        }
    }
}

struct Writer {
    write: Option<ChannelWriteHalf<Msg>>,
    shared: Arc<Shared>,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(write) = &self.write else {
            return Err(self.shared.lost());
        };
        let mut over = self.shared.over.clone();
        let sent = self.shared.engine.handle()?.block_on(async {
            // The window may be shut for good when the host is gone.
            either(
                write.data_bytes(bytes.to_vec()),
                over.wait_for(|over| *over),
            )
            .await
        });
        match sent {
            Either::First(Ok(())) => Ok(bytes.len()),
            _ if self.shared.closed() => Err(io::ErrorKind::BrokenPipe.into()),
            _ => Err(self.shared.lost()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(write) = self.write.take()
            && let Ok(handle) = self.shared.engine.handle()
        {
            handle.spawn(async move {
                // Gone already is as good.
                let _ = write.eof().await;
            });
        }
    }
}

struct Ending(Arc<Shared>);

impl End for Ending {
    fn wait(self: Box<Self>) -> Result<Exit, SshError> {
        let shared = self.0;
        let lost = |why: String| SshError::Lost {
            place: shared.place.clone(),
            why,
        };
        let mut over = shared.over.clone();
        let limit = shared.limit;
        let waited = shared
            .engine
            .handle()
            .map_err(|error| lost(error.to_string()))?
            .block_on(async { timeout(limit, over.wait_for(|over| *over)).await.is_ok() });
        let outcome = shared
            .outcome
            .lock()
            .map_err(|error| lost(error.to_string()))?;
        let stderr = String::from_utf8_lossy(&outcome.stderr).into_owned();
        if outcome.refused {
            return Err(SshError::Protocol {
                place: shared.place.clone(),
                step: "running a command",
                why: "the host refuses it".to_owned(),
            });
        }
        match outcome.code {
            Some(code) => Ok(Exit { code, stderr }),
            None if !waited => Err(SshError::TooLong {
                place: shared.place.clone(),
                step: "the end of the command",
                limit,
            }),
            None => Err(lost(stderr)),
        }
    }
}

enum Either<A, B> {
    First(A),
    Second(#[allow(dead_code)] B),
}

/// Whichever is there first.
async fn either<A: Future, B: Future>(first: A, second: B) -> Either<A::Output, B::Output> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    std::future::poll_fn(|context| {
        if let Poll::Ready(output) = first.as_mut().poll(context) {
            return Poll::Ready(Either::First(output));
        }
        second.as_mut().poll(context).map(Either::Second)
    })
    .await
}
