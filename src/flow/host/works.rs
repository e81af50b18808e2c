//! What the machine is driven with, so that a test can drive it with doubles.

use super::resource::Resource;
use super::stage::Steps;
use super::{Host, converge, stage};
use crate::edge::clock::{Clock, WallClock};
use crate::edge::host::own_units::{Recorded, Supervisor, Systemd};

/// The resources, steps and ports of an activation.
#[derive(Debug)]
pub struct Works {
    /// In the order in which they are converged.
    pub resources: Vec<Box<dyn Resource>>,
    pub steps: Steps,
    pub supervisor: Box<dyn Supervisor>,
    pub clock: Box<dyn Clock>,
}

impl Works {
    /// Those of a host. Below another root than `/`, systemd is left alone: it is this machine's.
    pub fn of(host: &Host) -> Self {
        let supervisor: Box<dyn Supervisor> = if host.paths.is_real() {
            Box::new(Systemd::new(&host.paths))
        } else {
            Box::new(Recorded::default())
        };
        Self {
            resources: converge::resources(),
            steps: stage::steps(),
            supervisor,
            clock: Box::new(WallClock),
        }
    }

    /// Seconds since 1970.
    pub fn now(&self) -> i64 {
        self.clock.now().as_second()
    }
}
