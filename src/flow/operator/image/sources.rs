//! What a recipe's pin names is in the store: fetched if it is not, and kept from being collected.

use std::collections::BTreeMap;
use std::path::Path;

use crate::edge::debian::{Debian, SourceError};
use crate::edge::http::{Download, Http, HttpError};
use crate::edge::python::{Python, PythonError, Report};
use crate::edge::store::{RefChange, Store, StoreError, Trust};
use crate::flow::progress::Progress;
use crate::pure::config::sources::PackageSources;
use crate::pure::images::python::{Target, TargetError};
use crate::pure::name::{Arch, ImageName};
use crate::pure::oci::manifest::encode_artifact;
use crate::pure::oci::{Link, ManifestError, RefName, media};
use crate::pure::pins::{BuildPin, PackagePin, SuitePin, WheelPin};

/// The artifact that names the sources of an image.
pub const ARTIFACT: &str = "application/vnd.forge.sources.v1+json";
/// A .deb.
pub const PACKAGE: &str = "application/vnd.debian.binary-package";
/// A wheel.
pub const WHEEL: &str = "application/vnd.forge.python.wheel.v1+zip";
/// The package whose version is that of glibc.
const LIBC: &str = "libc6";

/// Why the sources of an image are not in the store.
#[derive(Debug, thiserror::Error)]
pub enum EnsureError {
    #[error(transparent)]
    Debian(#[from] SourceError),
    #[error(transparent)]
    Python(#[from] PythonError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("{image}: {source}")]
    Target {
        image: ImageName,
        source: TargetError,
    },
    #[error(
        "{image} has wheels, and neither `{LIBC}` nor a version of Python that they could be for"
    )]
    NoInterpreter { image: ImageName },
    #[error(
        "{missing} is not in the store, and nothing is fetched with --offline: run `forge fetch`"
    )]
    Offline { missing: String },
    #[error("`{0}` is no name that the store could keep the sources under")]
    Name(String),
}

/// What is wanted, and for which image.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    pub project: &'a str,
    pub image: &'a ImageName,
    pub arch: Arch,
    pub build: &'a BuildPin,
    /// Of the lock: when each suite was locked.
    pub suites: &'a BTreeMap<String, SuitePin>,
    /// Of the recipe, as in `3.11`, if it has wheels.
    pub python: Option<&'a str>,
}

/// Where it may come from.
#[derive(Clone, Copy, Debug)]
pub struct Supply<'a> {
    pub sources: &'a PackageSources,
    /// The project's folder.
    pub root: &'a Path,
    pub http: &'a Http,
    pub offline: bool,
    /// Downloads at once.
    pub jobs: usize,
}

/// Fetches what the store lacks, and names all of it `PROJECT/sources/IMAGE/ARCH`. If nothing is lacking, nobody is asked anything.
///
/// # Errors
/// [`EnsureError`]. What was fetched before is in the store, and the next run goes on from there.
pub fn ensure(
    store: &dyn Store,
    from: Supply<'_>,
    wanted: Wanted<'_>,
    progress: &dyn Progress,
) -> Result<(), EnsureError> {
    let packages = missing(&wanted.build.packages, |pin| {
        store.has(pin.digest, pin.size)
    })?;
    let wheels = missing(&wanted.build.wheels, |pin| store.has(pin.digest, pin.size))?;
    if from.offline {
        let package = packages.first().map(|pin| file_name(pin).to_owned());
        if let Some(missing) = package.or(wheels.first().map(|pin| pin.file.clone())) {
            return Err(EnsureError::Offline { missing });
        }
    }
    if !packages.is_empty() {
        fetch_packages(store, from, wanted, &packages, progress)?;
    }
    if !wheels.is_empty() {
        let target = target(wanted)?;
        let bytes = wheels.iter().map(|pin| pin.size).sum();
        progress.begin("fetch wheels", wheels.len(), bytes);
        let python = Python::new(from.sources.python.clone());
        let advance = |bytes| progress.advance(bytes);
        let done = |file: &str| progress.done(file);
        let report: Report<'_> = (&advance, &done);
        python.fetch(store, from.http, &wheels, &target, from.jobs, report)?;
    }
    keep(store, wanted)
}

fn missing<T>(
    pins: &[T],
    has: impl Fn(&T) -> Result<bool, StoreError>,
) -> Result<Vec<&T>, StoreError> {
    let mut missing = Vec::new();
    for pin in pins {
        if !has(pin)? {
            missing.push(pin);
        }
    }
    Ok(missing)
}

fn fetch_packages(
    store: &dyn Store,
    from: Supply<'_>,
    wanted: Wanted<'_>,
    packages: &[&PackagePin],
    progress: &dyn Progress,
) -> Result<(), EnsureError> {
    let debian =
        Debian::of_machine(from.sources.debian.clone(), from.root).map_err(SourceError::from)?;
    let mut downloads = Vec::new();
    for pin in packages {
        let date = wanted.suites.get(&pin.suite);
        downloads.push(Download {
            what: format!("{} {}", pin.name, pin.version),
            digest: pin.digest,
            size: pin.size,
            urls: debian.urls(pin, date.map(|suite| suite.date.as_str()))?,
        });
    }
    let bytes = downloads.iter().map(|download| download.size).sum();
    progress.begin("fetch packages", downloads.len(), bytes);
    let advance = |bytes| progress.advance(bytes);
    let done = |download: &Download| progress.done(&download.what);
    let http = debian.client()?;
    http.download_all(store, &downloads, from.jobs, &advance, &done)
        .map_err(|error| gone(error, wanted.image))
}

/// What no place has is gone; what some place did not say may be there.
fn gone(error: HttpError, image: &ImageName) -> EnsureError {
    let is_absent = |error: &HttpError| {
        matches!(
            error,
            HttpError::Status {
                status: 404 | 410,
                ..
            }
        )
    };
    match error {
        HttpError::Nowhere { what, tried } if tried.iter().all(is_absent) => SourceError::Gone {
            package: what,
            image: image.clone(),
            tried: tried.iter().map(ToString::to_string).collect(),
        }
        .into(),
        error => error.into(),
    }
}

/// The interpreter that the wheels of a build are for: its libc is the one that is pinned with it.
///
/// # Errors
/// [`EnsureError::NoInterpreter`], [`EnsureError::Target`].
pub fn target(wanted: Wanted<'_>) -> Result<Target, EnsureError> {
    let libc = wanted.build.packages.iter().find(|pin| pin.name == LIBC);
    let (Some(libc), Some(python)) = (libc, wanted.python) else {
        let image = wanted.image.clone();
        return Err(EnsureError::NoInterpreter { image });
    };
    Target::new(python, wanted.arch, &libc.version).map_err(|source| EnsureError::Target {
        image: wanted.image.clone(),
        source,
    })
}

fn file_name(pin: &PackagePin) -> &str {
    pin.path.rsplit('/').next().unwrap_or(&pin.path)
}

/// Names the sources, so that they stay as long as the image is locked.
fn keep(store: &dyn Store, wanted: Wanted<'_>) -> Result<(), EnsureError> {
    let name = ref_name(wanted.project, wanted.image, wanted.arch)?;
    let manifest = encode(wanted.build)?;
    let mut link = Link::to(media::MANIFEST, &manifest);
    link.artifact_type = Some(ARTIFACT.to_owned());
    let mut writer = store.begin(Trust::Size)?;
    let empty = Link::to(media::EMPTY, media::EMPTY_BYTES);
    writer.put(empty.digest, empty.size, &mut &*media::EMPTY_BYTES)?;
    writer.put(link.digest, link.size, &mut &*manifest)?;
    writer.commit(&[RefChange::Set(name, link)])?;
    Ok(())
}

/// Under which name the store keeps the sources of an image.
///
/// # Errors
/// [`EnsureError::Name`].
pub fn ref_name(project: &str, image: &ImageName, arch: Arch) -> Result<RefName, EnsureError> {
    let name = format!("{project}/sources/{image}/{arch}");
    name.parse().map_err(|_| EnsureError::Name(name))
}

fn encode(build: &BuildPin) -> Result<Vec<u8>, ManifestError> {
    let package = |pin: &PackagePin| (PACKAGE, file_name(pin).to_owned(), pin.digest, pin.size);
    let wheel = |pin: &WheelPin| (WHEEL, pin.file.clone(), pin.digest, pin.size);
    let all = build.packages.iter().map(package);
    let all = all.chain(build.wheels.iter().map(wheel));
    let mut layers = Vec::new();
    for (media_type, title, digest, size) in all {
        let link = Link {
            media_type: media_type.to_owned(),
            digest,
            size,
            artifact_type: None,
        };
        layers.push(link.descriptor(&BTreeMap::from([(media::TITLE.to_owned(), title)]))?);
    }
    let config = Link::to(media::EMPTY, media::EMPTY_BYTES).descriptor(&BTreeMap::new())?;
    encode_artifact(ARTIFACT, config, layers)
}
