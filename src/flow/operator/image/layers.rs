//! Packages to layers: each unpacked once in the life of a store, as many at a time as asked for.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::edge::store::{Blob, Memo, Store, StoreError, Trust, Writing, spool};
use crate::flow::progress::Progress;
use crate::pure::images::layer::{DebError, Facts, LayerError, Options, Unpacked, from_deb};
use crate::pure::images::rules::Prune;
use crate::pure::name::BlobDigest;
use crate::pure::oci::{Link, media};
use crate::pure::pins::PackagePin;

/// Changes whenever a package would become another layer, or something else were to be remembered of it.
const VERSION: u32 = 1;

/// More workers would together take more memory than a build may: each takes [`ORDINARY`] and its part of [`SPOOLS`].
const MOST_WORKERS: usize = 8;
/// What a decoder may remember: the largest preset of `xz` that packages use by default takes 9 MiB.
const ORDINARY: u64 = 12 << 20;
/// For the packages that need more, one at a time: `xz -9` takes 65 MiB.
const LARGE: u64 = 96 << 20;
/// What all workers together keep of unpacked packages before they take a file.
const SPOOLS: usize = 64 << 20;
const LARGEST_SPOOL: usize = 16 << 20;

/// A package as a layer, which is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageLayer {
    pub package: PackagePin,
    pub layer: Link,
    pub facts: Facts,
    /// What was changed while it was unpacked, a sentence each.
    pub notes: Vec<String>,
}

/// Why there are no layers.
#[derive(Debug, thiserror::Error)]
pub enum LayersError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Unpack(#[from] DebError),
    #[error("the layer of the package `{package}` cannot be made: {source}")]
    Layer { package: String, source: LayerError },
    #[error("a worker stopped without saying why; this is a mistake in forge")]
    Worker,
}

/// What is remembered of a package.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    layer: BlobDigest,
    size: u64,
    facts: Facts,
    notes: Vec<String>,
}

/// The layers of packages whose .debs are in the store, in the order of the packages. What was unpacked before is only looked up.
///
/// The layers follow from the packages and the rules alone, however many `jobs` there are. A .deb counts only if all of it had the
/// digest of its pin. What was unpacked before an error stays in the store, and the next call goes on from there.
///
/// # Errors
/// [`LayersError`]: that of the first package, in their order, that has one.
pub fn package_layers(
    store: &dyn Store,
    memo: &dyn Memo,
    packages: &[PackagePin],
    prune: &Prune,
    jobs: usize,
    progress: &dyn Progress,
) -> Result<Vec<PackageLayer>, LayersError> {
    let rules = prune.fingerprint();
    let keys: Vec<String> = packages.iter().map(|pin| key(pin, rules)).collect();
    let mut known: BTreeMap<usize, Known> = BTreeMap::new();
    for (at, key) in keys.iter().enumerate() {
        let found = memo.recall(key);
        let found = found.and_then(|value| serde_json::from_value::<Known>(value).ok());
        if let Some(found) = found
            && store.has(found.layer, found.size)?
        {
            known.insert(at, found);
        }
    }

    let mut todo: Vec<usize> = (0..packages.len())
        .filter(|at| !known.contains_key(at))
        .collect();
    if !todo.is_empty() {
        // The largest first: otherwise everybody waits for it in the end.
        todo.sort_by_key(|at| (Reverse(packages[*at].size), *at));
        let bytes = todo.iter().map(|at| packages[*at].size).sum();
        progress.begin("unpack packages", todo.len(), bytes);
        let work = Work {
            store,
            packages,
            prune,
            progress,
            todo: &todo,
            next: AtomicUsize::new(0),
            first_failed: AtomicUsize::new(usize::MAX),
            large: Mutex::new(()),
            workers: jobs.clamp(1, MOST_WORKERS).min(todo.len()),
        };
        let (made, failed) = work.run()?;
        for (at, found) in made {
            if let Ok(value) = serde_json::to_value(&found) {
                memo.remember(&keys[at], &value)?;
            }
            known.insert(at, found);
        }
        if let Some(error) = failed {
            return Err(error);
        }
    }

    let layer = |(at, package): (usize, &PackagePin)| {
        let found = known.remove(&at).ok_or(LayersError::Worker)?;
        Ok(PackageLayer {
            package: package.clone(),
            layer: Link {
                media_type: media::LAYER.to_owned(),
                digest: found.layer,
                size: found.size,
                artifact_type: None,
            },
            facts: found.facts,
            notes: found.notes,
        })
    };
    packages.iter().enumerate().map(layer).collect()
}

/// Everything that a layer depends on, and what was checked of the package.
fn key(pin: &PackagePin, rules: BlobDigest) -> String {
    let PackagePin {
        name,
        version,
        arch,
        digest,
        ..
    } = pin;
    format!("deb layer v{VERSION} {digest} {name} {version} {arch} {rules}")
}

struct Work<'a> {
    store: &'a dyn Store,
    packages: &'a [PackagePin],
    prune: &'a Prune,
    progress: &'a dyn Progress,
    /// Places of packages, in the order in which they are taken.
    todo: &'a [usize],
    next: AtomicUsize,
    first_failed: AtomicUsize,
    /// Held by who uses [`LARGE`].
    large: Mutex<()>,
    workers: usize,
}

/// Packages by their places.
type ByPlace<T> = Vec<(usize, T)>;

/// What one worker did; its layers are not in the store yet.
struct Shift<'a> {
    writer: Box<dyn Writing + 'a>,
    made: ByPlace<Known>,
    failed: ByPlace<LayersError>,
}

impl<'a> Work<'a> {
    /// What was made, all of it in the store, and the first error.
    fn run(&self) -> Result<(ByPlace<Known>, Option<LayersError>), LayersError> {
        let shifts: Vec<Result<Shift<'a>, LayersError>> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.workers)
                .map(|_| scope.spawn(|| self.shift()))
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or(Err(LayersError::Worker)))
                .collect()
        });
        let (mut made, mut failed) = (Vec::new(), Vec::new());
        for shift in shifts {
            let shift = shift?;
            failed.extend(shift.failed);
            // Once per worker, when all have ended: the first sync is of everything that they wrote.
            shift.writer.commit(&[])?;
            made.extend(shift.made);
        }
        failed.sort_by_key(|(at, _)| *at);
        Ok((made, failed.into_iter().next().map(|(_, error)| error)))
    }

    fn shift(&self) -> Result<Shift<'a>, LayersError> {
        let mut shift = Shift {
            writer: self.store.begin(Trust::Size)?,
            made: Vec::new(),
            failed: Vec::new(),
        };
        while let Some(at) = self.todo.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            // Those before a package that failed are tried still: one of them may be the first that fails.
            if *at > self.first_failed.load(Ordering::Relaxed) {
                continue;
            }
            let package = &self.packages[*at];
            match self.package(package, shift.writer.as_mut()) {
                Ok(known) => {
                    self.progress.done(&package.name);
                    shift.made.push((*at, known));
                }
                Err(error) => {
                    self.first_failed.fetch_min(*at, Ordering::Relaxed);
                    shift.failed.push((*at, error));
                }
            }
        }
        Ok(shift)
    }

    fn package(&self, pin: &PackagePin, writer: &mut dyn Writing) -> Result<Known, LayersError> {
        let mut told = 0;
        match self.attempt(pin, writer, ORDINARY, &mut told) {
            Err(LayersError::Unpack(error)) if error.why.is_memory() => {
                let _alone = self.large.lock().unwrap_or_else(PoisonError::into_inner);
                self.attempt(pin, writer, LARGE, &mut told)
            }
            done => done,
        }
    }

    fn attempt(
        &self,
        pin: &PackagePin,
        writer: &mut dyn Writing,
        memory: u64,
        told: &mut u64,
    ) -> Result<Known, LayersError> {
        let mut spool = spool((SPOOLS / self.workers).min(LARGEST_SPOOL));
        let mut source = Watched {
            blob: self.store.open(pin.digest)?,
            failed: None,
            seen: 0,
            told,
            progress: self.progress,
        };
        let allowed_special = BTreeSet::new();
        let options = Options {
            prune: self.prune,
            allowed_special: &allowed_special,
            memory,
        };
        let unpacked = from_deb(&mut source, pin, options, &mut spool);
        let Unpacked { tree, notes } = source.judge(unpacked)?;

        let mut facts = Facts::default();
        let mut failed = None;
        let created = writer.create(&mut |out| match tree.write(&mut spool, out) {
            Ok(found) => {
                facts = found;
                Ok(())
            }
            Err(error) => {
                let told = io::Error::other(error.to_string());
                failed = Some(error);
                Err(told)
            }
        });
        match (created, failed) {
            (Ok((layer, size, _)), _) => Ok(Known {
                layer,
                size,
                facts,
                notes,
            }),
            (Err(StoreError::Made(_)), Some(source)) => Err(LayersError::Layer {
                package: pin.name.clone(),
                source,
            }),
            (Err(error), _) => Err(error.into()),
        }
    }
}

/// The .deb, whose errors are the store's, whatever is made of them on the way.
struct Watched<'a> {
    blob: Blob,
    failed: Option<io::Error>,
    seen: u64,
    /// Of an attempt before, too.
    told: &'a mut u64,
    progress: &'a dyn Progress,
}

impl Watched<'_> {
    /// Whether the .deb was what its pin says comes before what was found in it.
    fn judge(mut self, unpacked: Result<Unpacked, DebError>) -> Result<Unpacked, LayersError> {
        if let (Err(error), None) = (&unpacked, &self.failed) {
            let again = error.why.is_memory();
            if !again && let Err(error) = io::copy(&mut self.blob, &mut io::sink()) {
                self.failed = Some(error);
            }
        }
        match self.failed {
            Some(error) => Err(self.blob.error(error).into()),
            None => Ok(unpacked?),
        }
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.blob.read(buffer) {
            Ok(count) => {
                self.seen += count as u64;
                let new = self.seen.saturating_sub(*self.told);
                if new > 0 {
                    *self.told = self.seen;
                    self.progress.advance(new);
                }
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                self.failed = Some(error);
                Err(told)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
