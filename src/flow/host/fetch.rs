//! Substitution: the host fetches pinned images from their registries itself, by digest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::tell::Tell;
use crate::edge::http::Http;
use crate::edge::registry::Registry;
use crate::edge::store::Store;
use crate::flow::progress::Progress;
use crate::flow::pull::pull;
use crate::pure::bundle::Embedded;
use crate::pure::generation::Fetch;
use crate::pure::name::{Arch, ImageName};
use crate::pure::oci::Repository;
use crate::pure::protocol::{Event, Secretive};

/// Images at once, and blobs of each at once.
const IMAGES: usize = 2;
const BLOBS: usize = 3;
/// Progress is told after so many bytes.
const TOLD_AFTER: u64 = 4 << 20;

/// How the registries are reached: what the laptop has sent.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// Registry → (user, password).
    pub credentials: &'a BTreeMap<String, (String, Secretive)>,
    /// Registries that speak HTTP without TLS.
    pub plain_http: &'a BTreeSet<String>,
    /// Registry → mirrors, asked before it.
    pub mirrors: &'a BTreeMap<String, Vec<String>>,
}

/// What became of the images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// In the store, whole; nothing points to them yet.
    pub images: BTreeMap<ImageName, Embedded>,
    /// Why they could not be had: the laptop sends them.
    pub failed: BTreeMap<ImageName, String>,
}

/// Fetches images into the store. That one cannot be had stops no other one; what was complete of it stays, so that the next time goes on
/// from there. What has another digest than its pin is refused.
pub fn fetch(
    http: &Http,
    sources: Sources<'_>,
    store: &dyn Store,
    images: &[Fetch],
    arch: Arch,
    tell: &dyn Tell,
) -> Fetched {
    let registry = Registry::told(
        http.clone(),
        sources.mirrors,
        sources.plain_http,
        sources.credentials,
    );
    let next = AtomicUsize::new(0);
    let all: Mutex<Fetched> = Mutex::default();
    let work = || {
        while let Some(image) = images.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = one(&registry, store, image, arch, tell);
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(embedded) => drop(all.images.insert(image.image.clone(), embedded)),
                Err(why) => drop(all.failed.insert(image.image.clone(), why)),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..IMAGES.min(images.len()) {
            scope.spawn(work);
        }
    });
    all.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn one(
    registry: &Registry,
    store: &dyn Store,
    image: &Fetch,
    arch: Arch,
    tell: &dyn Tell,
) -> Result<Embedded, String> {
    let repository: Repository = image
        .repository
        .parse()
        .map_err(|error| format!("`{}`: {error}", image.repository.escape_debug()))?;
    let told = Told {
        tell,
        what: image.image.to_string(),
        state: Mutex::default(),
    };
    let link = pull(
        registry,
        store,
        &repository,
        image.digest,
        arch,
        BLOBS,
        &told,
    )
    .map_err(|error| error.to_string())?;
    told.end();
    Ok(Embedded {
        pinned: image.digest,
        manifest: link,
    })
}

/// Tells the laptop how far an image is.
#[derive(Debug)]
struct Told<'a> {
    tell: &'a dyn Tell,
    what: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    done: u64,
    of: u64,
    told: u64,
}

impl Told<'_> {
    fn say(&self, state: &State) {
        self.tell.tell(Event::Progress {
            done: state.done.min(state.of),
            of: state.of,
            what: self.what.clone(),
        });
    }

    fn end(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done = state.of;
        self.say(&state);
    }
}

impl Progress for Told<'_> {
    fn begin(&self, _: &str, _: usize, bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State {
            of: bytes,
            ..State::default()
        };
        self.say(&state);
    }

    fn advance(&self, bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.done += bytes;
        if state.done - state.told >= TOLD_AFTER {
            state.told = state.done;
            self.say(&state);
        }
    }

    fn done(&self, _: &str) {}
}
