//! What registries take.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Read, Seek, Write};

use sha2::{Digest as _, Sha256};
use ureq::http::Method;
use url::Url;

use super::auth::PUSH;
use super::endpoint::Endpoint;
use super::pull::Kept;
use super::{LARGEST_MANIFEST, Registry, RegistryError};
use crate::edge::http::{ATTEMPTS, Answer, Content, HttpError, Request, Told, pause};
use crate::edge::packing::Compression;
use crate::edge::store::{Store, StoreError};
use crate::pure::name::BlobDigest;
use crate::pure::oci::manifest::parse_index;
use crate::pure::oci::rewrite::add_referrer;
use crate::pure::oci::{Link, Repository, media, received};

/// What became of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The repository had it.
    Present,
    /// The registry took it from another of its repositories.
    Mounted,
    Sent,
}

type Open<'a> = dyn Fn() -> Result<Box<dyn Read + 'a>, StoreError> + 'a;

impl Registry {
    /// Sends a blob of a store, unless the repository has it. `mount` is a repository of the same registry that may have it.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn push_blob(
        &self,
        repository: &Repository,
        link: &Link,
        store: &dyn Store,
        mount: Option<&Repository>,
        advance: &dyn Fn(u64),
    ) -> Result<Pushed, RegistryError> {
        let open =
            || -> Result<Box<dyn Read>, StoreError> { Ok(Box::new(store.open(link.digest)?)) };
        self.push_content(repository, link, mount, &open, advance)
    }

    /// Packs a layer of a store on the way. Gives back what it is then; `advance` is told of the bytes before packing.
    ///
    /// # Errors
    /// [`RegistryError::Compress`] if the layer's media type has no such packing; [`RegistryError`].
    pub fn push_compressed(
        &self,
        repository: &Repository,
        link: &Link,
        store: &dyn Store,
        how: Compression,
        advance: &dyn Fn(u64),
    ) -> Result<(Link, Pushed), RegistryError> {
        let refuse = |reason: String| RegistryError::Compress {
            what: format!("layer {}", link.digest),
            reason,
        };
        let Some(media_type) = how.of(&link.media_type) else {
            return Err(refuse(format!(
                "there is no such packing of `{}`",
                link.media_type
            )));
        };
        let (file, digest, size) = pack(store, link.digest, how, advance)?;
        let packed = Link {
            media_type: media_type.to_owned(),
            digest,
            size,
            artifact_type: None,
        };
        let open = || -> Result<Box<dyn Read>, StoreError> {
            let broken = |source| StoreError::Source { digest, source };
            let mut file = file.try_clone().map_err(broken)?;
            file.rewind().map_err(broken)?;
            Ok(Box::new(file))
        };
        let pushed = self.push_content(repository, &packed, None, &open, &|_| {})?;
        Ok((packed, pushed))
    }

    fn push_content(
        &self,
        repository: &Repository,
        link: &Link,
        mount: Option<&Repository>,
        open: &Open<'_>,
        advance: &dyn Fn(u64),
    ) -> Result<Pushed, RegistryError> {
        let endpoint = self.origin(repository)?;
        let what = format!("to push to {repository}");
        let told = Cell::new(0);
        let mut attempt = 1;
        loop {
            match self.push_once(&endpoint, link, mount, open, &what, advance, &told) {
                Ok(pushed) => {
                    advance(link.size.saturating_sub(told.get()));
                    return Ok(pushed);
                }
                Err(error) if attempt < ATTEMPTS && may_pass(&error) => {
                    self.http.clock().sleep(pause(attempt));
                }
                Err(error) => return Err(error),
            }
            attempt += 1;
        }
    }

    /// One upload, from the question whether it is needed (distribution specification, "Pushing a blob monolithically", POST then PUT).
    #[allow(clippy::too_many_arguments)]
    fn push_once(
        &self,
        endpoint: &Endpoint,
        link: &Link,
        mount: Option<&Repository>,
        open: &Open<'_>,
        what: &str,
        advance: &dyn Fn(u64),
        told: &Cell<u64>,
    ) -> Result<Pushed, RegistryError> {
        let mut request =
            Request::get(endpoint.url(&format!("blobs/{}", link.digest))?, Vec::new());
        request.method = Method::HEAD;
        let answer = self.ask(endpoint, PUSH, request)?;
        if answer.status == 200 && answer.length().is_none_or(|length| length == link.size) {
            return Ok(Pushed::Present);
        }
        let mut url = endpoint.url("blobs/uploads/")?;
        if let Some(from) = mount {
            url.query_pairs_mut()
                .append_pair("mount", &link.digest.to_string())
                .append_pair("from", from.path());
        }
        let mut request = Request::get(url, Vec::new());
        request.method = Method::POST;
        request.content = Content::Bytes(&[]);
        let answer = self.ask(endpoint, PUSH, request)?;
        match answer.status {
            201 if mount.is_some() => return Ok(Pushed::Mounted),
            202 => {}
            _ => return Err(self.refused(answer, endpoint, what)),
        }
        let mut url = location(endpoint, &answer)?;
        url.query_pairs_mut()
            .append_pair("digest", &link.digest.to_string());
        let failed = RefCell::new(None);
        let stream = || -> io::Result<Box<dyn Read + '_>> {
            let inner = Kept {
                inner: open().map_err(io::Error::other)?,
                error: &failed,
            };
            Ok(Box::new(Told::new(inner, advance, told)))
        };
        let kind = ("content-type", "application/octet-stream".to_owned());
        let mut request = Request::get(url, vec![kind]);
        request.method = Method::PUT;
        request.content = Content::Stream {
            size: link.size,
            open: &stream,
        };
        request.again = false;
        let answer = self.ask(endpoint, PUSH, request);
        if let Some(source) = failed.take() {
            // The store's fault, not the network's.
            let digest = link.digest;
            return Err(StoreError::Source { digest, source }.into());
        }
        let answer = answer?;
        match answer.status {
            201 => Ok(Pushed::Sent),
            _ => Err(self.refused(answer, endpoint, what)),
        }
    }

    /// Puts a manifest or index under its digest, or under a tag. Everything that it refers to must be there. True if the registry
    /// has taken note of its subject.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn push_manifest(
        &self,
        repository: &Repository,
        tag: Option<&str>,
        link: &Link,
        bytes: &[u8],
    ) -> Result<bool, RegistryError> {
        let endpoint = self.origin(repository)?;
        let digest = link.digest.to_string();
        let url = endpoint.url(&format!("manifests/{}", tag.unwrap_or(&digest)))?;
        let mut request = Request::get(url, vec![("content-type", link.media_type.clone())]);
        request.method = Method::PUT;
        request.content = Content::Bytes(bytes);
        let answer = self.ask(&endpoint, PUSH, request)?;
        if !matches!(answer.status, 200..=202) {
            return Err(self.refused(answer, &endpoint, &format!("to push to {repository}")));
        }
        match answer.header("docker-content-digest") {
            Some(said) if said.starts_with("sha256:") && said != digest => {
                Err(RegistryError::NotAsNamed {
                    host: endpoint.host.clone(),
                    what: format!("{repository}@{digest}, which was pushed"),
                    found: said.escape_debug().to_string(),
                })
            }
            _ => Ok(answer.header("oci-subject").is_some()),
        }
    }

    /// Takes note of a referrer where the registry does not (distribution specification, "Referrers Tag Schema"): an index under a tag that is
    /// made of the subject's digest.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn push_referrers_tag(
        &self,
        repository: &Repository,
        subject: BlobDigest,
        link: &Link,
        bytes: &[u8],
    ) -> Result<(), RegistryError> {
        let endpoint = self.origin(repository)?;
        let tag = subject.to_string().replace(':', "-");
        let url = endpoint.url(&format!("manifests/{tag}"))?;
        let accept = received::ACCEPTED.join(", ");
        let answer = self.ask(&endpoint, PUSH, Request::get(url, vec![("accept", accept)]))?;
        let known = match answer.status {
            404 => None,
            200 => {
                let bytes = answer.read(LARGEST_MANIFEST)?.map_err(|error| {
                    let url = endpoint.base.to_string();
                    let reason = error.to_string();
                    HttpError::Unreachable { url, reason }
                })?;
                parse_index(&bytes)?;
                Some(bytes)
            }
            _ => return Err(self.refused(answer, &endpoint, &format!("to push to {repository}"))),
        };
        if let Some(index) = add_referrer(known.as_deref(), link, bytes)? {
            let link = Link::to(media::INDEX, &index);
            self.push_manifest(repository, Some(&tag), &link, &index)?;
        }
        Ok(())
    }
}

/// True if a whole new upload may go better.
fn may_pass(error: &RegistryError) -> bool {
    match error {
        RegistryError::Http(HttpError::Unreachable { .. }) => true,
        RegistryError::Refused { status, .. } => *status >= 500,
        _ => false,
    }
}

/// Where an upload goes on.
fn location(endpoint: &Endpoint, answer: &Answer) -> Result<Url, RegistryError> {
    let malformed = |reason: &str| RegistryError::Malformed {
        what: format!("the upload to {}", endpoint.host),
        reason: reason.to_owned(),
    };
    let text = answer.header("location");
    let text = text.ok_or_else(|| malformed("the registry does not say where it goes on"))?;
    let url = answer.url.join(text);
    let url = url.map_err(|_| malformed("it is to go on at what is no URL"))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if endpoint.plain => Ok(url),
        _ => Err(malformed("it is to go on without TLS: refused")),
    }
}

/// Writes and hashes.
struct Hashed {
    file: File,
    hasher: Sha256,
    size: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Packs a blob into a nameless temporary file: its digest is not known before.
fn pack(
    store: &dyn Store,
    digest: BlobDigest,
    how: Compression,
    advance: &dyn Fn(u64),
) -> Result<(File, BlobDigest, u64), RegistryError> {
    let told = Cell::new(0);
    let mut blob = Told::new(store.open(digest)?, advance, &told);
    let mut pack = || -> io::Result<Hashed> {
        let to = Hashed {
            file: tempfile::tempfile()?,
            hasher: Sha256::new(),
            size: 0,
        };
        how.pack(&mut blob, to)
    };
    let packed = pack().map_err(|source| StoreError::Source { digest, source })?;
    Ok((
        packed.file,
        BlobDigest::from_hasher(packed.hasher),
        packed.size,
    ))
}
