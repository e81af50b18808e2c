//! Documents and files, from the network or the disk.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};

use url::Url;

use super::exchange::{ATTEMPTS, pause, percent_decode, web_url};
use super::{Download, Http, HttpError, Request, Resumed, shown};
use crate::edge::store::{Put, StoreError, Writing};
use crate::pure::name::BlobDigest;

/// A document, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    pub bytes: Vec<u8>,
    /// Where it came from in the end: what relative links in it are relative to.
    pub url: String,
    /// The `Content-Type`, as the server wrote it.
    pub content_type: Option<String>,
}

/// The path of a `file:` or `copy:` URL (apt's words); nothing for another URL.
fn disk_path(text: &str) -> Option<std::path::PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let rest = text
        .strip_prefix("file:")
        .or_else(|| text.strip_prefix("copy:"))?;
    let path = match rest.strip_prefix("//") {
        // An authority may stand there, and must be this machine.
        Some(rest) => {
            let (host, path) = rest.split_at(rest.find('/')?);
            (host.is_empty() || host == "localhost").then_some(path)?
        }
        None => rest,
    };
    let path = std::ffi::OsString::from_vec(percent_decode(path));
    path.as_encoded_bytes()
        .starts_with(b"/")
        .then(|| path.into())
}

fn disk_error(url: &str, error: &io::Error) -> HttpError {
    match error.kind() {
        io::ErrorKind::NotFound => HttpError::Status {
            url: url.to_owned(),
            status: 404,
            reason: "there is no such file".to_owned(),
        },
        _ => HttpError::Unreachable {
            url: url.to_owned(),
            reason: error.to_string(),
        },
    }
}

fn open_disk(url: &str, path: &std::path::Path) -> Result<File, HttpError> {
    let refuse = |error| disk_error(url, &error);
    let file = File::open(path).map_err(refuse)?;
    if !file.metadata().map_err(refuse)?.is_file() {
        return Err(HttpError::Unreachable {
            url: url.to_owned(),
            reason: "it is no regular file".to_owned(),
        });
    }
    Ok(file)
}

impl Http {
    /// Gets a document of at most `limit` bytes, with what the server says of it.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn document(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        limit: u64,
    ) -> Result<Document, HttpError> {
        if let Some(path) = disk_path(url) {
            let mut bytes = Vec::new();
            let file = open_disk(url, &path)?;
            let read = file.take(limit + 1).read_to_end(&mut bytes);
            read.map_err(|error| disk_error(url, &error))?;
            if bytes.len() as u64 > limit {
                let url = url.to_owned();
                return Err(HttpError::TooLong { url, limit });
            }
            return Ok(Document {
                bytes,
                url: url.to_owned(),
                content_type: None,
            });
        }
        let headers = headers.iter();
        let headers = headers.map(|(name, value)| (*name, (*value).to_owned()));
        let mut request = Request::get(web_url(url)?, headers.collect());
        request.awaited = limit;
        let mut attempt = 1;
        loop {
            let answer = self.send(&request)?;
            if answer.status != 200 {
                return Err(answer.into_error(self.clock()));
            }
            let (url, content_type) = (answer.url.clone(), answer.header("content-type"));
            let content_type = content_type.map(str::to_owned);
            match answer.read(limit)? {
                Ok(bytes) => {
                    return Ok(Document {
                        bytes,
                        url: url.to_string(),
                        content_type,
                    });
                }
                Err(error) if attempt == ATTEMPTS => {
                    return Err(HttpError::Unreachable {
                        url: shown(&url),
                        reason: error.to_string(),
                    });
                }
                Err(_) => self.clock.sleep(pause(attempt)),
            }
            attempt += 1;
        }
    }

    pub(super) fn fetch_into(
        &self,
        download: &Download,
        to: &mut dyn Writing,
        advance: &dyn Fn(u64),
    ) -> Result<(), HttpError> {
        let Download {
            what,
            digest,
            size,
            urls,
        } = download;
        let mut tried = Vec::new();
        // The second place begins anew: what came before is not told twice.
        let told = Cell::new(0);
        for url in urls {
            let fetched = match disk_path(url) {
                Some(path) => open_disk(url, &path).and_then(|file| {
                    put(
                        to,
                        *digest,
                        *size,
                        &mut Told::new(file, advance, &told),
                        url,
                    )
                }),
                None => web_url(url)
                    .and_then(|url| self.fetch_from(&url, *digest, *size, to, advance, &told)),
            };
            match fetched {
                Ok(Put::Present) => {
                    advance(size.saturating_sub(told.get()));
                    return Ok(());
                }
                Ok(Put::Added | Put::Repaired) => return Ok(()),
                Err(HttpError::Store(error)) => return Err(HttpError::Store(error)),
                Err(error) => tried.push(error),
            }
        }
        Err(HttpError::Nowhere {
            what: what.clone(),
            tried,
        })
    }

    fn fetch_from(
        &self,
        url: &Url,
        digest: BlobDigest,
        size: u64,
        to: &mut dyn Writing,
        advance: &dyn Fn(u64),
        told: &Cell<u64>,
    ) -> Result<Put, HttpError> {
        let ask = |headers: &[(&'static str, String)]| {
            let mut request = Request::get(url.clone(), headers.to_vec());
            request.awaited = size;
            self.send(&request)
        };
        let body = Resumed::new(shown(url), size, self.clock(), &ask);
        let place = shown(url);
        put(
            to,
            digest,
            size,
            &mut Told::new(body, advance, told),
            &place,
        )
    }
}

/// Puts what comes from `url`, and tells its faults from the store's.
pub(crate) fn put(
    to: &mut dyn Writing,
    digest: BlobDigest,
    size: u64,
    content: &mut dyn Read,
    url: &str,
) -> Result<Put, HttpError> {
    to.put(digest, size, content).map_err(|error| match error {
        StoreError::Source { source, .. } => match source.downcast::<HttpError>() {
            Ok(error) => error,
            Err(source) => disk_error(url, &source),
        },
        StoreError::NotAsNamed {
            expected,
            expected_size,
            found,
            found_size,
            more,
        } => HttpError::NotAsNamed {
            url: url.to_owned(),
            reason: if more || found_size != expected_size {
                let more = if more { "more than " } else { "" };
                format!("{more}{found_size} bytes, where {expected_size} were announced")
            } else {
                format!("their digest is {found}, where {expected} was announced")
            },
        },
        other => HttpError::Store(other),
    })
}

/// Tells how far a reader has come, beyond what was told before.
pub(crate) struct Told<'a, R> {
    inner: R,
    advance: &'a dyn Fn(u64),
    told: &'a Cell<u64>,
    at: u64,
}

impl<'a, R> Told<'a, R> {
    pub(crate) fn new(inner: R, advance: &'a dyn Fn(u64), told: &'a Cell<u64>) -> Self {
        Self {
            inner,
            advance,
            told,
            at: 0,
        }
    }
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.at += count as u64;
        if self.at > self.told.get() {
            (self.advance)(self.at - self.told.get());
            self.told.set(self.at);
        }
        Ok(count)
    }
}
