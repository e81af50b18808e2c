//! Waiting: a port, so that what waits can be tested without waiting.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Waits, and knows how long it has been at it.
pub trait Patience: Debug + Send + Sync {
    /// Returns after that long.
    fn pause(&self, how_long: Duration);

    /// Since some moment that is the same for all questions.
    fn elapsed(&self) -> Duration;
}

/// The machine's clock, which never goes back.
#[derive(Clone, Copy, Debug)]
pub struct Waiting(Instant);

impl Waiting {
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Patience for Waiting {
    fn pause(&self, how_long: Duration) {
        std::thread::sleep(how_long);
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// The double: time passes only while it is waited.
#[derive(Debug, Default)]
pub struct NoWaiting(AtomicU64);

impl Patience for NoWaiting {
    fn pause(&self, how_long: Duration) {
        let millis = u64::try_from(how_long.as_millis()).unwrap_or(u64::MAX);
        self.0.fetch_add(millis, Ordering::Relaxed);
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}
