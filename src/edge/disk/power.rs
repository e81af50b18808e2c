//! Faults on request: a meter that every write goes through.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What a write costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    MakeFolder,
    Create,
    Write,
    SyncFile,
    Rename,
    SyncFolder,
    Remove,
}

impl Step {
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::MakeFolder => "make the folder",
            Self::Create => "create",
            Self::Write => "write",
            Self::SyncFile | Self::SyncFolder => "sync",
            Self::Rename => "rename",
            Self::Remove => "remove",
        }
    }
}

/// The power supply of a [`Folder`](super::Folder): by default endless.
///
/// A test cuts it after the n-th step. From then on every change fails, also those that would clean up, as in a real power cut;
/// so that a test which opens the folder again sees what a machine sees after its restart (but for what was never synced, which is
/// still there: the order of syncs is what [`Self::steps`] is for).
#[derive(Clone, Debug, Default)]
pub struct Power(Option<Arc<Meter>>);

#[derive(Debug)]
struct Meter {
    left: Mutex<usize>,
    steps: Mutex<Vec<(Step, PathBuf)>>,
}

impl Power {
    /// Enough for this many steps.
    pub fn for_steps(count: usize) -> Self {
        Self(Some(Arc::new(Meter {
            left: Mutex::new(count),
            steps: Mutex::default(),
        })))
    }

    /// The steps that were taken, in order; none for endless power, which counts nothing.
    pub fn steps(&self) -> Vec<(Step, PathBuf)> {
        let steps = |meter: &Arc<Meter>| {
            let steps = meter.steps.lock().unwrap_or_else(PoisonError::into_inner);
            steps.clone()
        };
        self.0.as_ref().map(steps).unwrap_or_default()
    }

    pub(super) fn spend(&self, step: Step, path: &Path) -> io::Result<()> {
        let Some(meter) = &self.0 else {
            return Ok(());
        };
        let mut left = meter.left.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left
            .checked_sub(1)
            .ok_or_else(|| io::Error::other("the power was cut"))?;
        let mut steps = meter.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.push((step, path.to_owned()));
        Ok(())
    }
}
