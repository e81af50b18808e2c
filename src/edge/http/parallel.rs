//! Many files at once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{Download, Http, HttpError};
use crate::edge::store::{Store, StoreError, Trust, Writing};

/// A writer commits after so many files or bytes: what a killed process loses is at most that, for each worker.
const BATCH_FILES: usize = 32;
const BATCH_BYTES: u64 = 64 << 20;

impl Http {
    /// Fetches files into a store, at most `jobs` at once. `advance` is told of each file's bytes, those that were there too; `done` of each
    /// file that is whole, before it is committed.
    ///
    /// # Errors
    /// Of the first file in the given order that failed, whatever failed first. What was complete before is in the store, so
    /// that the next run goes on from there.
    pub fn download_all(
        &self,
        store: &dyn Store,
        downloads: &[Download],
        jobs: usize,
        advance: &(dyn Fn(u64) + Sync),
        done: &(dyn Fn(&Download) + Sync),
    ) -> Result<(), HttpError> {
        let fetch = |download: &Download, to: &mut dyn Writing| {
            self.download(download, to, &|bytes| advance(bytes))?;
            done(download);
            Ok(())
        };
        let there = |download: &Download| {
            advance(download.size);
            done(download);
        };
        fill(store, downloads, jobs, &there, &fetch)
    }
}

/// Fills a store from any source: `fetch` for what is missing, `there` for what is not.
pub(crate) fn fill<E: From<StoreError> + Send>(
    store: &dyn Store,
    downloads: &[Download],
    jobs: usize,
    there: &(dyn Fn(&Download) + Sync),
    fetch: &(dyn Fn(&Download, &mut dyn Writing) -> Result<(), E> + Sync),
) -> Result<(), E> {
    let mut seen = BTreeSet::new();
    let mut missing = Vec::new();
    // Held to the end: what is found here is not collected before the workers are done.
    let guard = store.begin(Trust::Size)?;
    for (at, download) in downloads.iter().enumerate() {
        let twice = !seen.insert((download.digest, download.size));
        if twice || store.has(download.digest, download.size)? {
            there(download);
        } else {
            missing.push((at, download));
        }
    }
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let failed: Mutex<Vec<(usize, E)>> = Mutex::default();
    let fail = |at: usize, error: E| {
        stop.store(true, Ordering::Relaxed);
        let failed = failed.lock();
        failed
            .unwrap_or_else(PoisonError::into_inner)
            .push((at, error));
    };
    let work = || {
        let mut batch: Option<Box<dyn Writing + '_>> = None;
        let (mut files, mut bytes, mut last) = (0, 0, 0);
        // Handed out in order, and each that was handed out is ended: so the first failure is the same in every run.
        while !stop.load(Ordering::Relaxed)
            && let Some((at, download)) = missing.get(next.fetch_add(1, Ordering::Relaxed))
        {
            last = *at;
            let mut writer = match batch.take() {
                Some(writer) => writer,
                None => match store.begin(Trust::Size) {
                    Ok(writer) => writer,
                    Err(error) => return fail(*at, error.into()),
                },
            };
            match fetch(download, &mut *writer) {
                Ok(()) => {
                    files += 1;
                    bytes += download.size;
                }
                Err(error) => fail(*at, error),
            }
            if files >= BATCH_FILES || bytes >= BATCH_BYTES {
                (files, bytes) = (0, 0);
                if let Err(error) = writer.commit(&[]) {
                    return fail(*at, error.into());
                }
            } else {
                batch = Some(writer);
            }
        }
        if let Some(writer) = batch
            && let Err(error) = writer.commit(&[])
        {
            fail(last, error.into());
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, missing.len().max(1)) {
            scope.spawn(work);
        }
    });
    drop(guard);
    let mut failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.sort_by_key(|(at, _)| *at);
    match failed.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}
