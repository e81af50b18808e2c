//! An image or a bundle from a store into a registry: what is referred to before what refers to it, so that nobody ever sees half of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::edge::registry::{Compression, Registry, RegistryError};
use crate::edge::store::{Store, StoreError, Trust};
use crate::flow::progress::Progress;
use crate::pure::name::BlobDigest;
use crate::pure::oci::manifest::children;
use crate::pure::oci::{Link, Repository, media, rewrite};

/// What is pushed, and how.
#[derive(Clone, Debug)]
pub struct Push<'a> {
    pub repository: &'a Repository,
    /// An image's manifest or index, or what a bundle's name points to.
    pub root: &'a Link,
    /// Names to give it. None: it is reached by its digest alone.
    pub tags: &'a [String],
    /// Packs the layers of images. Their manifests are others then, with other digests.
    pub compress: Option<Compression>,
    /// What the store has that speaks of the root (SBOMs, signatures) goes with it.
    pub referrers: bool,
    /// A repository of the same registry that may have some of the layers.
    pub mount: Option<&'a Repository>,
    pub jobs: usize,
}

/// Pushes, and gives back what the repository has now: the root itself, or if layers were packed, another one.
///
/// # Errors
/// [`RegistryError::Compress`] if a bundle's layers were to be packed: the bundle names its images by their digests, which must stay.
/// [`RegistryError`]; what was sent before stays there, and is not sent again.
pub fn push(
    registry: &Registry,
    store: &dyn Store,
    what: &Push<'_>,
    progress: &dyn Progress,
) -> Result<Link, RegistryError> {
    let Push {
        repository,
        root,
        tags,
        compress,
        referrers,
        mount,
        jobs,
    } = what;
    let kind = root.artifact_type.as_deref();
    if compress.is_some() && kind.and_then(media::system_version).is_some() {
        return Err(RegistryError::Compress {
            what: format!("bundle {}", root.digest),
            reason: "it names its images by digests, which must stay as they are".to_owned(),
        });
    }
    // A writer that writes nothing: what is read here is not collected meanwhile.
    let guard = store.begin(Trust::Size)?;
    let mut graph = Graph::default();
    graph.add(store, root)?;
    let of_root = graph.manifests.len();
    if *referrers {
        for link in referrers_of(store, root.digest)? {
            graph.add(store, &link)?;
        }
    }
    let packs = |link: &Link| compress.filter(|how| how.of(&link.media_type).is_some());
    let bytes = graph.blobs.iter().map(|link| link.size).sum();
    progress.begin(&format!("push {repository}"), graph.blobs.len(), bytes);
    let advance = |bytes| progress.advance(bytes);
    let sent = in_parallel(&graph.blobs, *jobs, &|link: &Link| {
        let new = match packs(link) {
            Some(how) => {
                let packed = registry.push_compressed(repository, link, store, how, &advance)?;
                Some((link.digest, packed.0))
            }
            None => {
                registry.push_blob(repository, link, store, *mount, &advance)?;
                None
            }
        };
        progress.done(&link.digest.to_string());
        Ok::<_, RegistryError>(new)
    })?;
    let mut new: BTreeMap<BlobDigest, Link> = sent.into_iter().flatten().collect();
    let mut pushed = (*root).clone();
    for (at, (link, bytes)) in graph.manifests.iter().enumerate() {
        let (link, bytes) = match rewrite::with_links(bytes, &new)? {
            Some(changed) if !new.is_empty() => {
                let mut changed_link = Link::to(&link.media_type, &changed);
                changed_link.artifact_type.clone_from(&link.artifact_type);
                new.insert(link.digest, changed_link.clone());
                (changed_link, changed)
            }
            _ => (link.clone(), bytes.clone()),
        };
        let noted = if at + 1 == of_root {
            pushed = link.clone();
            let mut noted = registry.push_manifest(repository, None, &link, &bytes)?;
            for tag in *tags {
                noted |= registry.push_manifest(repository, Some(tag), &link, &bytes)?;
            }
            noted
        } else {
            registry.push_manifest(repository, None, &link, &bytes)?
        };
        if let Some(subject) = rewrite::subject(&bytes)
            && !noted
        {
            registry.push_referrers_tag(repository, subject, &link, &bytes)?;
        }
    }
    drop(guard);
    Ok(pushed)
}

/// What a manifest leads to.
#[derive(Debug, Default)]
struct Graph {
    /// Children first.
    manifests: Vec<(Link, Vec<u8>)>,
    blobs: Vec<Link>,
    seen: BTreeSet<BlobDigest>,
}

impl Graph {
    fn add(&mut self, store: &dyn Store, link: &Link) -> Result<(), RegistryError> {
        if !self.seen.insert(link.digest) {
            return Ok(());
        }
        if !link.has_children() {
            self.blobs.push(link.clone());
            return Ok(());
        }
        let bytes = store.read(link.digest)?;
        let children = children(&link.media_type, &bytes);
        let children = children.map_err(|source| StoreError::Manifest {
            digest: link.digest,
            source,
        })?;
        for child in &children {
            self.add(store, child)?;
        }
        self.manifests.push((link.clone(), bytes));
        Ok(())
    }
}

/// The manifests of a store that speak of this one: entries, and what stands in indexes that are entries.
fn referrers_of(store: &dyn Store, subject: BlobDigest) -> Result<Vec<Link>, RegistryError> {
    let mut found = BTreeSet::new();
    for entry in store.entries()? {
        let mut graph = Graph::default();
        graph.add(store, &entry.link)?;
        for (link, bytes) in graph.manifests {
            if rewrite::subject(&bytes) == Some(subject) {
                found.insert(link);
            }
        }
    }
    Ok(found.into_iter().collect())
}

/// Does the same with each, at most `jobs` at once; the results are in the items' order. The error is that of the first item in this order
/// that failed.
fn in_parallel<I: Sync, T: Send, E: Send>(
    items: &[I],
    jobs: usize,
    each: &(dyn Fn(&I) -> Result<T, E> + Sync),
) -> Result<Vec<T>, E> {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let results: Mutex<Vec<(usize, Result<T, E>)>> = Mutex::default();
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return };
            let result = each(item);
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            let results = results.lock();
            results
                .unwrap_or_else(PoisonError::into_inner)
                .push((at, result));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}
