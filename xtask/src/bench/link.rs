//! A link with a length and a width, as a TCP proxy on loopback: what passes is counted, delayed by half the round trip, and let
//! through at the link's rate.
//!
//! It does not model loss or a slow start: the rate is there from the first byte. One round trip passes before a connection
//! is open, as with TCP.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) round_trip: Duration,
    /// Bytes in a second, in each direction.
    pub(crate) rate: Option<f64>,
}

pub(crate) const LOOPBACK: Shape = Shape {
    round_trip: Duration::ZERO,
    rate: None,
};
/// 40 ms and 50 Mbit/s.
pub(crate) const FAR: Shape = Shape {
    round_trip: Duration::from_millis(40),
    rate: Some(50e6 / 8.0),
};
/// So long that the work beside the round trips is small.
pub(crate) const LONG: Shape = Shape {
    round_trip: Duration::from_millis(1000),
    rate: None,
};

/// So much is read at once.
const PIECE: usize = 16 << 10;
/// Pieces on their way in one direction: more than fit on the link.
const PIECES: usize = 32;
/// What a thread that was woken late may make up for.
const BURST: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

#[derive(Debug)]
struct Shared {
    shape: Shape,
    to: u16,
    begin: Instant,
    is_over: AtomicBool,
    bytes: [AtomicU64; 2],
    /// When the link has sent all that it was given, in each direction.
    free: [Mutex<Instant>; 2],
    /// Who spoke last, and how often the near side began to speak after the far side had.
    last: AtomicU8,
    turns: AtomicU64,
    /// When so many bytes had arrived on the far side.
    arrived: Mutex<Vec<(Duration, u64)>>,
}

/// What has passed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passed {
    pub(crate) up: u64,
    pub(crate) down: u64,
    /// How often the near side spoke after the far side had.
    pub(crate) turns: u64,
}

/// Open until it is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

impl Link {
    /// A link to a port of this machine.
    pub(crate) fn open(shape: Shape, to: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("opening a link")?;
        let port = listener.local_addr()?.port();
        let now = Instant::now();
        let shared = Arc::new(Shared {
            shape,
            to,
            begin: now,
            is_over: AtomicBool::new(false),
            bytes: [AtomicU64::new(0), AtomicU64::new(0)],
            free: [Mutex::new(now), Mutex::new(now)],
            last: AtomicU8::new(u8::MAX),
            turns: AtomicU64::new(0),
            arrived: Mutex::new(Vec::new()),
        });
        let all = shared.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if all.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let one = all.clone();
                thread::spawn(move || one.carry(&near));
            }
        });
        Ok(Self { port, shared })
    }

    /// Since it was opened or asked last.
    pub(crate) fn take(&self) -> Passed {
        let of = |way: Way| self.shared.bytes[way as usize].swap(0, Ordering::Relaxed);
        self.shared.last.store(u8::MAX, Ordering::Relaxed);
        Passed {
            up: of(Way::Up),
            down: of(Way::Down),
            turns: self.shared.turns.swap(0, Ordering::Relaxed),
        }
    }

    /// Bytes that have arrived on the far side, ever.
    pub(crate) fn arrived(&self) -> u64 {
        let arrived = self.shared.arrived.lock();
        let arrived = arrived.unwrap_or_else(PoisonError::into_inner);
        arrived.last().map_or(0, |(_, bytes)| *bytes)
    }

    /// The time that the far side needed to get these bytes, counted from the first time that anything was there.
    pub(crate) fn time_between(&self, from: u64, to: u64) -> Option<Duration> {
        let arrived = self.shared.arrived.lock();
        let arrived = arrived.unwrap_or_else(PoisonError::into_inner);
        let at = |bytes: u64| {
            let found = arrived.iter().find(|(_, there)| *there >= bytes);
            found.map(|(time, _)| *time)
        };
        at(to)?.checked_sub(at(from)?)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // So that the listener notices; if nobody listens any more, that is as well.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn carry(self: &Arc<Self>, near: &TcpStream) {
        sleep(self.shape.round_trip);
        let Ok(far) = TcpStream::connect(("127.0.0.1", self.to)) else {
            return;
        };
        thread::scope(|scope| {
            for (way, from, to) in [(Way::Up, near, &far), (Way::Down, &far, near)] {
                from.set_nodelay(true).ok();
                let (give, take) = sync_channel(PIECES);
                scope.spawn(move || self.send(way, from, &give));
                scope.spawn(move || self.deliver(way, &take, to));
            }
        });
    }

    fn send(&self, way: Way, mut from: &TcpStream, to: &SyncSender<(Instant, Vec<u8>)>) {
        let mut buffer = vec![0; PIECE];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            self.count(way, count);
            let gone = self.pass(way, count);
            sleep(gone.saturating_duration_since(Instant::now()));
            let piece = buffer[..count].to_vec();
            if to.send((gone + self.shape.round_trip / 2, piece)).is_err() {
                return;
            }
        }
    }

    fn count(&self, way: Way, count: usize) {
        self.bytes[way as usize].fetch_add(count as u64, Ordering::Relaxed);
        let last = self.last.swap(way as u8, Ordering::Relaxed);
        if way == Way::Up && last != way as u8 {
            self.turns.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// When the link has sent so many bytes more.
    fn pass(&self, way: Way, count: usize) -> Instant {
        let now = Instant::now();
        let Some(rate) = self.shape.rate else {
            return now;
        };
        let mut free = self.free[way as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let begin = (*free).max(now.checked_sub(BURST).unwrap_or(now));
        *free = begin + Duration::from_secs_f64(count as f64 / rate);
        *free
    }

    fn deliver(&self, way: Way, from: &Receiver<(Instant, Vec<u8>)>, mut to: &TcpStream) {
        while let Ok((when, piece)) = from.recv() {
            sleep(when.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
            if way == Way::Up {
                let mut arrived = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
                let before = arrived.last().map_or(0, |(_, bytes)| *bytes);
                arrived.push((self.begin.elapsed(), before + piece.len() as u64));
            }
        }
        // One side may go on speaking after the other has ended.
        let _ = to.shutdown(Shutdown::Write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut from = stream.try_clone().unwrap();
                thread::spawn(move || std::io::copy(&mut from, &mut stream));
            }
        });
        port
    }

    #[test]
    fn what_passes_arrives_whole_and_is_counted() {
        let shape = Shape {
            round_trip: Duration::from_millis(2),
            rate: Some(100e6),
        };
        let link = Link::open(shape, echo()).unwrap();
        let mut stream = TcpStream::connect(("127.0.0.1", link.port)).unwrap();
        let sent: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
        stream.write_all(&sent).unwrap();
        let mut back = vec![0; sent.len()];
        stream.read_exact(&mut back).unwrap();
        assert!(back == sent);
        let passed = link.take();
        assert_eq!((passed.up, passed.down), (100_000, 100_000));
        assert!(passed.turns >= 1, "{passed:?}");
        assert_eq!(link.arrived(), 100_000);
        assert!(link.time_between(1, 100_000).is_some());
        assert_eq!(link.take().up, 0);
    }

    #[test]
    fn an_answer_takes_a_round_trip_at_least() {
        let shape = Shape {
            round_trip: Duration::from_millis(30),
            rate: None,
        };
        let link = Link::open(shape, echo()).unwrap();
        let begin = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", link.port)).unwrap();
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        // That of the connection, and that of the byte.
        assert!(begin.elapsed() >= Duration::from_millis(60));
    }
}
