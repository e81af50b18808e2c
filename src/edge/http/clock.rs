use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// What waits between two attempts, and knows the time that `Retry-After` and tokens speak of.
pub trait Clock: Debug + Send + Sync {
    fn now(&self) -> SystemTime;

    fn sleep(&self, time: Duration);
}

/// The machine's.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// The double: it never waits. Its time stands still but for what was slept.
#[derive(Debug)]
pub struct Impatient {
    begin: SystemTime,
    slept: Mutex<Vec<Duration>>,
}

impl Impatient {
    /// Begins at this time.
    pub fn at(begin: SystemTime) -> Self {
        Self {
            begin,
            slept: Mutex::default(),
        }
    }

    /// What it was asked to wait, in order.
    pub fn slept(&self) -> Vec<Duration> {
        let slept = self.slept.lock();
        slept.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Clock for Impatient {
    fn now(&self) -> SystemTime {
        self.begin + self.slept().iter().sum::<Duration>()
    }

    fn sleep(&self, time: Duration) {
        let slept = self.slept.lock();
        slept.unwrap_or_else(PoisonError::into_inner).push(time);
    }
}
