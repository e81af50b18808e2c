//! What registries give.

use std::cell::{Cell, RefCell};
use std::io;

use ureq::http::Method;

use super::auth::PULL;
use super::endpoint::Endpoint;
use super::error::refused;
use super::{LARGEST_MANIFEST, Registry, RegistryError};
use crate::edge::http::{ATTEMPTS, Answer, HttpError, Request, Resumed, Told, pause, put, shown};
use crate::edge::store::{Put, Writing};
use crate::pure::name::{BlobDigest, ManifestDigest};
use crate::pure::oci::{Link, Repository, received};

/// A manifest or index, checked against the digest that it was asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub link: Link,
    pub bytes: Vec<u8>,
}

/// A manifest as it came.
struct Raw {
    bytes: Vec<u8>,
    content_type: Option<String>,
    /// What the registry says its digest is.
    digest: Option<String>,
}

impl Registry {
    /// Tries the places of a repository in order.
    fn each<T>(
        &self,
        repository: &Repository,
        what: &str,
        mut ask: impl FnMut(&Endpoint) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut tried = Vec::new();
        for endpoint in self.endpoints(repository)? {
            match ask(&endpoint) {
                Ok(found) => return Ok(found),
                Err(RegistryError::Store(error)) => return Err(RegistryError::Store(error)),
                Err(error) => tried.push(error),
            }
        }
        match (tried.len(), tried.pop()) {
            (1, Some(only)) => Err(only),
            (_, last) => {
                tried.extend(last);
                let what = what.to_owned();
                Err(RegistryError::Nowhere { what, tried })
            }
        }
    }

    fn ask_manifest(
        &self,
        endpoint: &Endpoint,
        method: Method,
        which: &str,
    ) -> Result<Answer, RegistryError> {
        let url = endpoint.url(&format!("manifests/{which}"))?;
        let mut request = Request::get(url, vec![("accept", received::ACCEPTED.join(", "))]);
        request.method = method;
        request.awaited = LARGEST_MANIFEST;
        self.ask(endpoint, PULL, request)
    }

    fn raw(&self, endpoint: &Endpoint, which: &str, what: &str) -> Result<Raw, RegistryError> {
        let mut attempt = 1;
        loop {
            let answer = self.ask_manifest(endpoint, Method::GET, which)?;
            if answer.status != 200 {
                return Err(self.refused(answer, endpoint, what));
            }
            let header = |name: &str| answer.header(name).map(str::to_owned);
            let (content_type, digest) = (header("content-type"), header("docker-content-digest"));
            let url = shown(&answer.url);
            match answer.read(LARGEST_MANIFEST)? {
                Ok(bytes) => {
                    return Ok(Raw {
                        bytes,
                        content_type,
                        digest,
                    });
                }
                Err(error) if attempt == ATTEMPTS => {
                    let reason = error.to_string();
                    return Err(HttpError::Unreachable { url, reason }.into());
                }
                Err(_) => self.http.clock().sleep(pause(attempt)),
            }
            attempt += 1;
        }
    }

    pub(super) fn refused(&self, answer: Answer, endpoint: &Endpoint, what: &str) -> RegistryError {
        let login = match endpoint.login.contains("://") {
            // Docker's own: `docker login` without a name.
            true => "",
            false => &endpoint.login,
        };
        refused(answer, self.http.clock(), &endpoint.host, login, what)
    }

    /// The digest that a tag points to now: of an image manifest or an index.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn resolve(
        &self,
        repository: &Repository,
        tag: &str,
    ) -> Result<ManifestDigest, RegistryError> {
        let what = format!("{repository}:{tag}");
        self.each(repository, &what, |endpoint| {
            let answer = self.ask_manifest(endpoint, Method::HEAD, tag)?;
            let digest = answer.header("docker-content-digest");
            match (answer.status, digest.map(str::parse)) {
                (200, Some(Ok(digest))) => Ok(digest),
                // A registry need not answer HEAD, or name the digest: then it is computed. A refusal has words only here, too.
                _ => {
                    let raw = self.raw(endpoint, tag, &what)?;
                    let digest = ManifestDigest::of(&raw.bytes);
                    agree(endpoint, &what, &raw, digest)?;
                    let link = received::link(raw.content_type.as_deref(), &raw.bytes);
                    link.map_err(|source| RegistryError::Received {
                        what: what.clone(),
                        source,
                    })?;
                    Ok(digest)
                }
            }
        })
    }

    /// A manifest or index by its digest, which is that of its bytes.
    ///
    /// # Errors
    /// [`RegistryError::NotAsNamed`], [`RegistryError::Received`] and others.
    pub fn manifest(
        &self,
        repository: &Repository,
        digest: ManifestDigest,
    ) -> Result<Received, RegistryError> {
        let what = format!("{repository}@{digest}");
        self.each(repository, &what, |endpoint| {
            let raw = self.raw(endpoint, &digest.to_string(), &what)?;
            let found = ManifestDigest::of(&raw.bytes);
            if found != digest {
                return Err(RegistryError::NotAsNamed {
                    host: endpoint.host.clone(),
                    what: what.clone(),
                    found: found.to_string(),
                });
            }
            agree(endpoint, &what, &raw, digest)?;
            let link = received::link(raw.content_type.as_deref(), &raw.bytes);
            let link = link.map_err(|source| RegistryError::Received {
                what: what.clone(),
                source,
            })?;
            Ok(Received {
                link,
                bytes: raw.bytes,
            })
        })
    }

    /// Puts a blob into a store, resumed and checked. `advance` is told of each byte once.
    ///
    /// # Errors
    /// [`RegistryError`]; then nothing was put.
    pub fn blob(
        &self,
        repository: &Repository,
        digest: BlobDigest,
        size: u64,
        to: &mut dyn Writing,
        advance: &dyn Fn(u64),
    ) -> Result<(), RegistryError> {
        let what = format!("blob {digest} of {repository}");
        let told = Cell::new(0);
        self.each(repository, &what, |endpoint| {
            let url = endpoint.url(&format!("blobs/{digest}"))?;
            // What the registry said, where the reader can only say that something failed.
            let said = RefCell::new(None);
            let ask = |headers: &[(&'static str, String)]| {
                let mut request = Request::get(url.clone(), headers.to_vec());
                request.awaited = size;
                let error = match self.ask(endpoint, PULL, request) {
                    Ok(answer) if matches!(answer.status, 200 | 206) => return Ok(answer),
                    Ok(answer) => self.refused(answer, endpoint, &what),
                    Err(RegistryError::Http(error)) => return Err(error),
                    Err(error) => error,
                };
                said.replace(Some(error));
                Err(HttpError::Unreachable {
                    url: shown(&url),
                    reason: "the registry refuses".to_owned(),
                })
            };
            let body = Resumed::new(shown(&url), size, self.http.clock(), &ask);
            let mut body = Told::new(body, advance, &told);
            let result = put(to, digest, size, &mut body, &shown(&url));
            drop(body);
            match (result, said.take()) {
                (Ok(Put::Present), _) => {
                    advance(size.saturating_sub(told.get()));
                    Ok(())
                }
                (Ok(Put::Added | Put::Repaired), _) => Ok(()),
                (Err(_), Some(said)) => Err(said),
                (Err(HttpError::Store(error)), None) => Err(RegistryError::Store(error)),
                (Err(error), None) => Err(error.into()),
            }
        })
    }
}

/// What the registry says of the digest is believed in nothing, but must not be wrong.
fn agree(
    endpoint: &Endpoint,
    what: &str,
    raw: &Raw,
    found: ManifestDigest,
) -> Result<(), RegistryError> {
    let said = raw
        .digest
        .as_deref()
        .filter(|said| said.starts_with("sha256:"));
    match said {
        Some(said) if said != found.to_string() => Err(RegistryError::NotAsNamed {
            host: endpoint.host.clone(),
            what: format!("{what}, which it calls {}", said.escape_debug()),
            found: found.to_string(),
        }),
        _ => Ok(()),
    }
}

/// Keeps the first error of a reader, which HTTP only knows as "cannot be sent".
pub(super) struct Kept<'a, R> {
    pub(super) inner: R,
    pub(super) error: &'a RefCell<Option<io::Error>>,
}

impl<R: io::Read> io::Read for Kept<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let kind = error.kind();
            self.error.replace(Some(error));
            io::Error::new(kind, "what was to be sent cannot be read")
        })
    }
}
