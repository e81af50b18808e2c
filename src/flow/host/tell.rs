//! To whom the host says what it does.

use std::fmt::Debug;
use std::sync::Mutex;

use crate::edge::host::events::EventLog;
use crate::pure::generation::Change;
use crate::pure::protocol::Event;

/// Is told about everything that happens; may be called from several threads.
pub trait Tell: Debug + Sync {
    fn tell(&self, event: Event);
}

impl dyn Tell + '_ {
    pub fn step(&self, step: &str) {
        self.tell(Event::Step {
            step: step.to_owned(),
        });
    }

    pub fn changed(&self, change: &Change) {
        self.tell(Event::Changed {
            change: change.clone(),
        });
    }

    pub fn say(&self, text: impl Into<String>) {
        self.tell(Event::Say { text: text.into() });
    }

    pub fn warn(&self, text: impl Into<String>) {
        self.tell(Event::Warn { text: text.into() });
    }
}

/// Whoever follows the stream of the activation is told.
#[derive(Debug)]
pub struct ToLog(pub EventLog);

impl Tell for ToLog {
    fn tell(&self, event: Event) {
        self.0.append(&event);
    }
}

/// Nobody is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Tell for Silent {
    fn tell(&self, _: Event) {}
}

/// Keeps what it is told.
#[derive(Debug, Default)]
pub struct Kept {
    events: Mutex<Vec<Event>>,
}

impl Kept {
    pub fn events(&self) -> Vec<Event> {
        self.events
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}

impl Tell for Kept {
    fn tell(&self, event: Event) {
        self.events
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(event);
    }
}
