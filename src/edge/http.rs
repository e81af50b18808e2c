//! HTTP: one pool of connections for everything that forge fetches and pushes.
//!
//! Guarantees: TLS is checked against the machine's certificates; credentials never follow a redirect to another host and stand in no
//! error; no redirect leads from TLS to plain text; every request has a time limit, which grows with what is awaited, so that what
//! moves is never cut off. Retries what may pass (connection lost, 408, 425, 429, 5xx) with back-off and `Retry-After` (RFC 9110,
//! section 10.2.3). Each host's name is looked up once.
//!
//! Why not asynchronous: what is fetched is a list of files by a handful of threads; hashing and the disk are blocking anyway.

mod absolute;
mod agents;
mod clock;
mod exchange;
mod fetch;
mod parallel;
mod proxies;
mod resolver;
mod resumed;

use std::path::PathBuf;
use std::sync::Arc;

use agents::Agents;
pub use clock::{Clock, Impatient, SystemClock};
pub(crate) use exchange::{ATTEMPTS, Answer, Content, Request, pause, shown};
pub use fetch::Document;
pub(crate) use fetch::{Told, put};
pub(crate) use parallel::fill;
pub use proxies::ProxyRule;
pub(crate) use resumed::Resumed;

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

/// Why something was not fetched. No URL in it holds a password or a query.
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
    #[error("{url} redirects {reason}")]
    Redirect { url: String, reason: String },
    #[error("`{0}` is no URL that can be fetched")]
    Url(String),
    /// A file of certificates that was named cannot be used.
    #[error("the certificates in {} cannot be used: {reason}", path.display())]
    Certificates { path: PathBuf, reason: String },
    /// None of the places has it.
    #[error("{what} is nowhere to be had:{}", .tried.iter().map(|error| format!("\n  {error}")).collect::<String>())]
    Nowhere { what: String, tried: Vec<HttpError> },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the machine does not say.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    /// PEM files with certificates to trust beside the machine's.
    pub extra_roots: Vec<PathBuf>,
    /// Asked in order, before the environment; the first that fits decides.
    pub proxies: Vec<ProxyRule>,
    pub clock: Arc<dyn Clock>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            extra_roots: Vec::new(),
            proxies: Vec::new(),
            clock: Arc::new(SystemClock),
        }
    }
}

/// A client. Cheap to clone; the clones share connections and look-ups.
#[derive(Clone, Debug)]
pub struct Http {
    agents: Arc<Agents>,
    clock: Arc<dyn Clock>,
}

impl Http {
    /// A client with the machine's certificates (`SSL_CERT_FILE` and `SSL_CERT_DIR` if they are set) and proxies (`http_proxy`,
    /// `https_proxy`, `all_proxy`, `no_proxy`, in small or capital letters).
    ///
    /// # Errors
    /// None today.
    pub fn new() -> Result<Self, HttpError> {
        Self::with(HttpOptions::default())
    }

    /// A client with more than the machine says. The machine's certificates are read at the first request.
    ///
    /// # Errors
    /// [`HttpError::Certificates`] if a file of `extra_roots` cannot be read or holds none.
    pub fn with(options: HttpOptions) -> Result<Self, HttpError> {
        Ok(Self {
            agents: Arc::new(Agents::new(&options.extra_roots, options.proxies)?),
            clock: options.clock,
        })
    }

    /// Gets a document of at most `limit` bytes. `file:` and `copy:` URLs are read from the disk.
    ///
    /// # Errors
    /// [`HttpError::Status`] for every answer but 200; [`HttpError::TooLong`]; [`HttpError::Unreachable`].
    pub fn get(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        limit: u64,
    ) -> Result<Vec<u8>, HttpError> {
        Ok(self.document(url, headers, limit)?.bytes)
    }

    /// Fetches a file into a store, from the first place that has it; goes on where a broken connection left off. `advance` is told of
    /// bytes as they come, each once, and of all of them if the file was there.
    ///
    /// # Errors
    /// [`HttpError::Nowhere`] with what each place said; [`HttpError::Store`] if the store itself fails.
    pub fn download(
        &self,
        download: &Download,
        to: &mut dyn Writing,
        advance: &dyn Fn(u64),
    ) -> Result<(), HttpError> {
        self.fetch_into(download, to, advance)
    }
}
