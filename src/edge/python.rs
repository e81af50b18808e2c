//! Python wheels: from the indexes that the project names, else through the machine's own pip (22 or later) with its configuration.
//!
//! Guarantee: what comes from here has a digest that the requirements, or the lock, name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use url::Url;

use super::http::{Download, Http, HttpError};
use super::program::{self, ProgramError};
use super::store::{Store, StoreError, Trust};
use crate::pure::config::sources::PythonSource;
use crate::pure::images::python::{
    ChooseError, IndexedFile, Requirement, SimpleError, Target, WheelName, choose, simple_index,
};
use crate::pure::name::BlobDigest;
use crate::pure::pins::WheelPin;

/// How long pip may take: it fetches everything, and wheels are up to gigabytes.
const PATIENCE: Duration = Duration::from_secs(1800);
/// A file whose size no index states is held in memory while it is fetched; no more than this.
const LARGEST_UNSIZED: u64 = 512 << 20;
/// Questions to an index at once.
const JOBS: usize = 8;

/// Why wheels could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Choose(Vec<ChooseError>),
    #[error("`{url}` cannot be an index: {why}; mend it in forge.toml, `[sources.python] indexes`")]
    Index { url: String, why: String },
    #[error("{url}: {source}")]
    Page { url: String, source: SimpleError },
    #[error("{name} is in no index:{}", .tried.iter().map(|line| format!("\n  {line}")).collect::<String>())]
    NoProject { name: String, tried: Vec<String> },
    #[error(
        "no python3 is here whose pip could fetch {0}: install it, or write an index into forge.toml, `[sources.python] indexes`"
    )]
    NoPip(String),
    #[error("pip has fetched no wheel of {name} {version} that fits {target}")]
    NotFetched {
        name: String,
        version: String,
        target: String,
    },
    #[error("{file} has the digest {found}, which is none of those that were asked for")]
    OtherDigest { file: String, found: BlobDigest },
    #[error(
        "{file} is gone from every index: `forge lock --update` with the image's name moves the pin to what is there now"
    )]
    Gone { file: String },
    #[error("cannot keep wheels in {}: {source}", path.display())]
    Disk { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Whom to tell of bytes, and of files that are done.
pub type Report<'a> = (&'a (dyn Fn(u64) + Sync), &'a (dyn Fn(&str) + Sync));

/// Where wheels come from.
#[derive(Clone, Debug, Default)]
pub struct Python {
    source: PythonSource,
}

impl Python {
    pub fn new(source: PythonSource) -> Self {
        Self { source }
    }

    /// Which files the requirements take on this target, by name. What had to be fetched to know it is in the store.
    ///
    /// # Errors
    /// [`PythonError`].
    pub fn resolve(
        &self,
        store: &dyn Store,
        http: &Http,
        requirements: &[Requirement],
        target: &Target,
    ) -> Result<Vec<WheelPin>, PythonError> {
        if requirements.is_empty() {
            return Ok(Vec::new());
        }
        let mut pins = if self.source.indexes.is_empty() {
            let lines = requirements.iter().map(|it| Line {
                name: &it.name,
                version: it.version.to_string(),
                hashes: it.hashes.iter().copied().collect(),
            });
            let fetched = pip_download(store, &lines.collect::<Vec<_>>(), target)?;
            let mut pins = Vec::new();
            for requirement in requirements {
                let fits = |(wheel, _): &&(WheelName, WheelPin)| {
                    wheel.name() == requirement.name && wheel.version() == &requirement.version
                };
                let (_, pin) =
                    fetched
                        .iter()
                        .find(fits)
                        .ok_or_else(|| PythonError::NotFetched {
                            name: requirement.name.clone(),
                            version: requirement.version.to_string(),
                            target: target.describe(),
                        })?;
                if !requirement.hashes.contains(&pin.digest) {
                    return Err(PythonError::OtherDigest {
                        file: pin.file.clone(),
                        found: pin.digest,
                    });
                }
                pins.push(pin.clone());
            }
            pins
        } else {
            self.resolve_by_index(store, http, requirements, target)?
        };
        pins.sort();
        Ok(pins)
    }

    fn resolve_by_index(
        &self,
        store: &dyn Store,
        http: &Http,
        requirements: &[Requirement],
        target: &Target,
    ) -> Result<Vec<WheelPin>, PythonError> {
        let one = |requirement: &Requirement| {
            let mut refused = None;
            for files in self.pages(http, &requirement.name)? {
                match choose(requirement, target, &files) {
                    Ok((wheel, file)) => {
                        return pin_of(store, http, requirement, &wheel, file).map(Ok);
                    }
                    // Of several indexes, the first says why: it is the preferred one.
                    Err(error) => refused = refused.or(Some(error)),
                }
            }
            match refused {
                Some(error) => Ok(Err(error)),
                None => Err(PythonError::NoProject {
                    name: requirement.name.clone(),
                    tried: Vec::new(),
                }),
            }
        };
        let mut pins = Vec::new();
        let mut refused = Vec::new();
        for outcome in in_parallel(requirements, &one) {
            match outcome? {
                Ok(pin) => pins.push(pin),
                Err(error) => refused.push(error),
            }
        }
        if refused.is_empty() {
            Ok(pins)
        } else {
            Err(PythonError::Choose(refused))
        }
    }

    /// The pages of a project in all indexes that have it; one at least.
    fn pages(&self, http: &Http, name: &str) -> Result<Vec<Vec<IndexedFile>>, PythonError> {
        let mut pages = Vec::new();
        let mut tried = Vec::new();
        for index in &self.source.indexes {
            let url = format!("{}/{name}/", index.trim_end_matches('/'));
            match http.document(
                &url,
                &[("Accept", simple_index::ACCEPT)],
                simple_index::LONGEST,
            ) {
                Ok(page) => {
                    let base: Url = page.url.parse().map_err(|_| PythonError::Index {
                        url: index.clone(),
                        why: "it is no URL".to_owned(),
                    })?;
                    let files = simple_index::read(&page.bytes, &base);
                    pages.push(files.map_err(|source| PythonError::Page {
                        url: without_login(&base),
                        source,
                    })?);
                }
                Err(HttpError::Status { url, status, .. }) if matches!(status, 404 | 410) => {
                    tried.push(format!("{url} answered {status}"));
                }
                // That an index is down is no reason to take from the next what it would have given.
                Err(error) => return Err(error.into()),
            }
        }
        if pages.is_empty() {
            let name = name.to_owned();
            return Err(PythonError::NoProject { name, tried });
        }
        Ok(pages)
    }

    /// Fetches pinned wheels into the store.
    ///
    /// # Errors
    /// [`PythonError`].
    pub fn fetch(
        &self,
        store: &dyn Store,
        http: &Http,
        wheels: &[&WheelPin],
        target: &Target,
        jobs: usize,
        report: Report<'_>,
    ) -> Result<(), PythonError> {
        let (advance, done) = report;
        if wheels.is_empty() {
            return Ok(());
        }
        if self.source.indexes.is_empty() {
            let lines = wheels.iter().map(|pin| Line {
                name: &pin.name,
                version: pin.version.clone(),
                hashes: vec![pin.digest],
            });
            pip_download(store, &lines.collect::<Vec<_>>(), target)?;
            for pin in wheels {
                if !store.has(pin.digest, pin.size)? {
                    let file = pin.file.clone();
                    return Err(PythonError::Gone { file });
                }
                advance(pin.size);
                done(&pin.file);
            }
            return Ok(());
        }
        let one = |pin: &&WheelPin| -> Result<Download, PythonError> {
            let mut urls = Vec::new();
            for file in self.pages(http, &pin.name)?.into_iter().flatten() {
                let same = file.digest.is_none_or(|digest| digest == pin.digest);
                if file.name == pin.file && same {
                    urls.push(file.url);
                }
            }
            if urls.is_empty() {
                let file = pin.file.clone();
                return Err(PythonError::Gone { file });
            }
            Ok(Download {
                what: pin.file.clone(),
                digest: pin.digest,
                size: pin.size,
                urls,
            })
        };
        let downloads: Result<Vec<Download>, PythonError> =
            in_parallel(wheels, &one).into_iter().collect();
        let finished = |download: &Download| done(&download.what);
        Ok(http.download_all(store, &downloads?, jobs, advance, &finished)?)
    }
}

fn without_login(url: &Url) -> String {
    let mut url = url.clone();
    // Neither fails where there is a login to take out.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

/// The pin of a file. One whose size or digest the index does not say is fetched.
fn pin_of(
    store: &dyn Store,
    http: &Http,
    requirement: &Requirement,
    wheel: &WheelName,
    file: &IndexedFile,
) -> Result<WheelPin, PythonError> {
    let (digest, size) = match (file.digest, file.size) {
        (Some(digest), Some(size)) => (digest, size),
        _ => {
            let bytes = http.get(&file.url, &[], LARGEST_UNSIZED)?;
            let digest = BlobDigest::of(&bytes);
            if !requirement.hashes.contains(&digest) {
                return Err(PythonError::OtherDigest {
                    file: file.name.clone(),
                    found: digest,
                });
            }
            let mut writer = store.begin(Trust::Size)?;
            writer.put(digest, bytes.len() as u64, &mut &*bytes)?;
            writer.commit(&[])?;
            (digest, bytes.len() as u64)
        }
    };
    Ok(WheelPin {
        name: wheel.name().to_owned(),
        version: wheel.version().to_string(),
        file: wheel.to_string(),
        size,
        digest,
    })
}

/// The outcomes in the order of the items.
fn in_parallel<T: Sync, R: Send>(items: &[T], one: &(impl Fn(&T) -> R + Sync)) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let mut outcomes: BTreeMap<usize, R> = BTreeMap::new();
    std::thread::scope(|scope| {
        let work = || {
            let mut done = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                match items.get(at) {
                    Some(item) => done.push((at, one(item))),
                    None => return done,
                }
            }
        };
        let workers: Vec<_> = (0..JOBS.min(items.len()))
            .map(|_| scope.spawn(work))
            .collect();
        for worker in workers {
            match worker.join() {
                Ok(done) => outcomes.extend(done),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    outcomes.into_values().collect()
}

/// What pip is asked for.
struct Line<'a> {
    name: &'a str,
    version: String,
    hashes: Vec<BlobDigest>,
}

/// Has pip fetch one wheel for each line, and puts them into the store.
fn pip_download(
    store: &dyn Store,
    lines: &[Line<'_>],
    target: &Target,
) -> Result<Vec<(WheelName, WheelPin)>, PythonError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| PythonError::Disk { path, source }
    };
    let place = std::env::temp_dir();
    let folder = tempfile::Builder::new()
        .prefix("forge-wheels-")
        .tempdir()
        .map_err(failed(&place))?;
    let list = folder.path().join("requirements.txt");
    std::fs::write(&list, requirements_for_pip(lines)).map_err(failed(&list))?;
    let wheels = folder.path().join("wheels");
    std::fs::create_dir(&wheels).map_err(failed(&wheels))?;
    let arguments = pip_arguments(target, &list, &wheels);
    let ran = program::run("python3", &arguments, PATIENCE)?;
    if ran.is_none() {
        let names: Vec<&str> = lines.iter().map(|line| line.name).collect();
        return Err(PythonError::NoPip(names.join(", ")));
    }
    let mut fetched = Vec::new();
    let mut writer = store.begin(Trust::Size)?;
    for entry in std::fs::read_dir(&wheels).map_err(failed(&wheels))? {
        let path = entry.map_err(failed(&wheels))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        let Ok(wheel) = name.parse::<WheelName>() else {
            continue;
        };
        let mut file = File::open(&path).map_err(failed(&path))?;
        let (digest, size) = digest_of(&mut file).map_err(failed(&path))?;
        file.rewind().map_err(failed(&path))?;
        writer.put(digest, size, &mut file)?;
        let pin = WheelPin {
            name: wheel.name().to_owned(),
            version: wheel.version().to_string(),
            file: wheel.to_string(),
            size,
            digest,
        };
        fetched.push((wheel, pin));
    }
    writer.commit(&[])?;
    Ok(fetched)
}

fn requirements_for_pip(lines: &[Line<'_>]) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(&format!("{}=={}", line.name, line.version));
        for hash in &line.hashes {
            text.push_str(&format!(" --hash={hash}"));
        }
        text.push('\n');
    }
    text
}

fn pip_arguments(target: &Target, list: &Path, wheels: &Path) -> Vec<String> {
    let mut words: Vec<String> = [
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--no-input",
        "--disable-pip-version-check",
        "--progress-bar=off",
        "--only-binary=:all:",
        "--require-hashes",
        "--implementation=cp",
    ]
    .map(str::to_owned)
    .to_vec();
    words.push(format!("--python-version={}", target.python()));
    words.push(format!("--abi={}", target.interpreter()));
    // pip takes a number for itself alone, so every one that the image's glibc runs is named.
    words.extend(
        target
            .platforms()
            .iter()
            .map(|platform| format!("--platform={platform}")),
    );
    words.push("-r".to_owned());
    words.push(list.display().to_string());
    words.push("-d".to_owned());
    words.push(wheels.display().to_string());
    words
}

fn digest_of(file: &mut File) -> io::Result<(BlobDigest, u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    let mut size = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok((BlobDigest::from_hasher(hasher), size));
        }
        hasher.update(&buffer[..count]);
        size += count as u64;
    }
}
