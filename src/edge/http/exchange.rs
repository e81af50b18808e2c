//! One request, to its final answer: redirects followed, what may pass tried again.

use std::io::{self, Read};
use std::time::Duration;

use base64ct::{Base64, Encoding};
use jiff::fmt::rfc2822;
use ureq::http::header::{AUTHORIZATION, LOCATION, PROXY_AUTHORIZATION, RETRY_AFTER};
use ureq::http::{self, HeaderMap, HeaderName, HeaderValue, Method, Uri};
use ureq::{AsSendBody, Body, RequestExt, SendBody};
use url::Url;

use super::agents::{ANSWER, STALL, bare};
use super::{Clock, Http, HttpError};

/// How often something is tried.
pub(crate) const ATTEMPTS: u32 = 6;
/// Before the second attempt; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A server that wants more patience than this gets none: its answer is told.
const LONGEST_PATIENCE: Duration = Duration::from_secs(120);
const REDIRECTS: usize = 10;
/// Whoever sends less than this on average, in bytes per second, is taken for stuck.
const SLOWEST: u64 = 1024;
const GRACE: Duration = Duration::from_secs(300);

/// What is asked for.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<(&'a str, String)>,
    pub(crate) content: Content<'a>,
    /// How many bytes may come: the time limit grows with them.
    pub(crate) awaited: u64,
    /// False for what must not be sent twice: then a broken connection is an error.
    pub(crate) again: bool,
}

impl<'a> Request<'a> {
    pub(crate) fn get(url: Url, headers: Vec<(&'a str, String)>) -> Self {
        Self {
            method: Method::GET,
            url,
            headers,
            content: Content::None,
            awaited: 0,
            again: true,
        }
    }
}

/// What is sent.
pub(crate) enum Content<'a> {
    None,
    Bytes(&'a [u8]),
    /// Opened for each attempt.
    Stream {
        size: u64,
        open: &'a dyn Fn() -> io::Result<Box<dyn Read + 'a>>,
    },
}

/// The answer of a server, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Where it came from in the end.
    pub(crate) url: Url,
    body: Body,
}

impl Answer {
    /// A header, if it is there once or more and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) fn length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    pub(crate) fn into_reader(self) -> impl Read + 'static {
        self.body.into_reader()
    }

    /// All of it, at most `limit` bytes. The inner error is a connection that broke.
    pub(crate) fn read(self, limit: u64) -> Result<Result<Vec<u8>, io::Error>, HttpError> {
        let url = shown(&self.url);
        let too_long = |url| Err(HttpError::TooLong { url, limit });
        if self.length().is_some_and(|length| length > limit) {
            return too_long(url);
        }
        let mut bytes = Vec::new();
        let mut reader = self.body.into_reader().take(limit + 1);
        if let Err(error) = reader.read_to_end(&mut bytes) {
            return Ok(Err(error));
        }
        if bytes.len() as u64 > limit {
            return too_long(url);
        }
        Ok(Ok(bytes))
    }

    /// The error that this answer is, with the server's words.
    pub(crate) fn into_error(self, clock: &dyn Clock) -> HttpError {
        let code = http::StatusCode::from_u16(self.status);
        let words = code.ok().and_then(|code| code.canonical_reason());
        let mut reason = words.unwrap_or_default().to_owned();
        if let Some(wait) = self.retry_after(clock) {
            reason.push_str(&format!(
                "; it wants to be asked again in {} s",
                wait.as_secs()
            ));
        }
        HttpError::Status {
            url: shown(&self.url),
            status: self.status,
            reason,
        }
    }

    /// What the server asks for (RFC 9110, section 10.2.3): seconds, or a date.
    pub(crate) fn retry_after(&self, clock: &dyn Clock) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let then = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        let now = jiff::Timestamp::try_from(clock.now()).ok()?;
        Some(Duration::try_from(then.duration_since(now)).unwrap_or_default())
    }
}

/// A URL as it may be shown: without password, and without the query, in which storage services put signatures.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for URLs that cannot have any.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}

/// True if the same request may be answered otherwise a little later.
fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 425 | 429)
        || (500..600).contains(&status) && !matches!(status, 501 | 505)
}

/// Before attempt number `attempt`, which is at least 1.
pub(crate) fn pause(attempt: u32) -> Duration {
    let factor = 1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

/// Why there was no answer.
enum Failure {
    /// It may go better the next time.
    Passing(HttpError),
    Final(HttpError),
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Self::Final(error)
    }
}

/// As [`Url`] parses it, if it can be asked over the network.
pub(super) fn web_url(text: &str) -> Result<Url, HttpError> {
    match text.parse::<Url>() {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(url) => Err(HttpError::Url(shown(&url))),
        // It may hold a password.
        Err(_) => Err(HttpError::Url(
            text.rsplit_once('@')
                .map_or(text, |(_, rest)| rest)
                .to_owned(),
        )),
    }
}

impl Http {
    /// Sends a request, and again while the answer may pass. The last answer is given back, whatever its status.
    pub(crate) fn send(&self, request: &Request<'_>) -> Result<Answer, HttpError> {
        let attempts = if request.again { ATTEMPTS } else { 1 };
        let mut attempt = 1;
        loop {
            let wait = match self.follow(request) {
                Ok(answer) if !may_pass(answer.status) || attempt == attempts => return Ok(answer),
                Ok(answer) => match answer.retry_after(&*self.clock) {
                    Some(wait) if wait > LONGEST_PATIENCE => return Ok(answer),
                    Some(wait) => wait.max(pause(attempt)),
                    None => pause(attempt),
                },
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(error)) if attempt == attempts => return Err(error),
                Err(Failure::Passing(_)) => pause(attempt),
            };
            self.clock.sleep(wait);
            attempt += 1;
        }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    fn follow(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let mut url = request.url.clone();
        let mut same_host = true;
        for _ in 0..=REDIRECTS {
            let answer = self.once(request, &url, same_host)?;
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            let next = next(request, &answer)?;
            // For good: a way back does not make the host in between trusted.
            same_host &= next.origin() == url.origin();
            url = next;
        }
        Err(Failure::Final(HttpError::Redirect {
            url: shown(&request.url),
            reason: format!("more than {REDIRECTS} times"),
        }))
    }

    /// One exchange with one server.
    fn once(&self, request: &Request<'_>, url: &Url, same_host: bool) -> Result<Answer, Failure> {
        let way = self.agents.way_to(url)?;
        let uri: Uri = bare(url)
            .as_str()
            .parse()
            .map_err(|_| HttpError::Url(shown(url)))?;
        let mut builder = http::Request::builder()
            .method(request.method.clone())
            .uri(uri);
        if let Some(headers) = builder.headers_mut() {
            *headers = headers_of(request, url, same_host)?;
            if let Some(proxy) = &way.proxy
                && let Some(value) = basic(proxy)
            {
                headers.insert(PROXY_AUTHORIZATION, value);
            }
        }
        let limit = GRACE + Duration::from_secs(request.awaited / SLOWEST);
        let malformed = |error: http::Error| HttpError::Unreachable {
            url: shown(url),
            reason: error.to_string(),
        };
        let answer = match &request.content {
            Content::None => {
                let sent = builder.body(()).map_err(malformed)?;
                run(&way.agent, sent, limit)
            }
            Content::Bytes(bytes) => {
                let sent = builder.body(*bytes).map_err(malformed)?;
                run(&way.agent, sent, limit)
            }
            Content::Stream { size, open } => {
                let mut reader = open().map_err(|error| HttpError::Unreachable {
                    url: shown(url),
                    reason: format!("what was to be sent cannot be read: {error}"),
                })?;
                let sent = builder
                    .header("content-length", *size)
                    .body(SendBody::from_reader(&mut *reader))
                    .map_err(malformed)?;
                run(
                    &way.agent,
                    sent,
                    limit + Duration::from_secs(size / SLOWEST),
                )
            }
        };
        match answer {
            Ok(answer) => {
                let (parts, body) = answer.into_parts();
                Ok(Answer {
                    status: parts.status.as_u16(),
                    headers: parts.headers,
                    url: url.clone(),
                    body,
                })
            }
            Err(error) => {
                self.agents.forget(way.proxy.as_ref().unwrap_or(url));
                Err(failure(url, error))
            }
        }
    }
}

fn run(
    agent: &ureq::Agent,
    request: http::Request<impl AsSendBody>,
    limit: Duration,
) -> Result<http::Response<Body>, ureq::Error> {
    // A registry that has taken a large blob may hash it before it answers.
    let silence = match *request.method() {
        Method::GET | Method::HEAD => STALL,
        _ => ANSWER,
    };
    request
        .with_agent(agent)
        .configure()
        .timeout_per_read(Some(silence))
        .timeout_send_body(Some(limit))
        .timeout_recv_body(Some(limit))
        .run()
}

/// Where a redirect leads, if it may be followed.
fn next(request: &Request<'_>, answer: &Answer) -> Result<Url, HttpError> {
    let refuse = |reason: String| HttpError::Redirect {
        url: shown(&answer.url),
        reason,
    };
    let target = answer
        .headers
        .get(LOCATION)
        .and_then(|target| target.to_str().ok())
        .ok_or_else(|| refuse("to nowhere: it names no location".to_owned()))?;
    let next = answer
        .url
        .join(target)
        .map_err(|_| refuse("to what is no URL".to_owned()))?;
    match (answer.url.scheme(), next.scheme()) {
        ("https" | "http", "https") | ("http", "http") => {}
        ("https", "http") => {
            return Err(refuse(format!(
                "to {}, which is without TLS: refused",
                shown(&next)
            )));
        }
        _ => return Err(refuse(format!("to {}: refused", shown(&next)))),
    }
    let reads = matches!(request.method, Method::GET | Method::HEAD);
    if !reads && !matches!(answer.status, 307 | 308) {
        return Err(refuse(format!(
            "a {} with {}, which would make it another request: refused",
            request.method, answer.status
        )));
    }
    Ok(next)
}

fn headers_of(request: &Request<'_>, url: &Url, same_host: bool) -> Result<HeaderMap, HttpError> {
    let mut headers = HeaderMap::new();
    let named = same_host.then(|| basic(&request.url)).flatten();
    if let Some(value) = basic(url).or(named) {
        headers.insert(AUTHORIZATION, value);
    }
    for (name, value) in &request.headers {
        let refuse = |what: &str| HttpError::Unreachable {
            url: shown(url),
            reason: format!(
                "the {what} of the header `{name}` holds characters that are not allowed"
            ),
        };
        let name = HeaderName::try_from(*name).map_err(|_| refuse("name"))?;
        let secret = name == AUTHORIZATION || name.as_str() == "cookie";
        if secret && !same_host {
            continue;
        }
        let mut value = HeaderValue::try_from(value).map_err(|_| refuse("value"))?;
        value.set_sensitive(secret);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// The credentials in a URL (RFC 7617), as apt and pip allow them.
fn basic(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decode = |text: &str| percent_decode(text);
    let mut pair = decode(url.username());
    pair.push(b':');
    pair.extend(decode(url.password().unwrap_or_default()));
    let mut value =
        HeaderValue::try_from(format!("Basic {}", Base64::encode_string(&pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// `%41` to `A`; what is no such triple stays.
pub(super) fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes.get(at + 1..at + 3);
        let byte = digits.filter(|_| bytes[at] == b'%').and_then(|digits| {
            let mut byte = [0];
            hex::decode_to_slice(digits, &mut byte).ok()?;
            Some(byte[0])
        });
        decoded.push(byte.unwrap_or(bytes[at]));
        at += if byte.is_some() { 3 } else { 1 };
    }
    decoded
}

fn failure(url: &Url, error: ureq::Error) -> Failure {
    let (reason, passing) = match &error {
        // How rustls says that it refuses the server.
        ureq::Error::Io(inner) if inner.kind() == io::ErrorKind::InvalidData => (
            format!(
                "{inner}; if the server's certificate is signed by an authority of your own, name its PEM file in SSL_CERT_FILE"
            ),
            false,
        ),
        ureq::Error::Io(inner) => (inner.to_string(), true),
        ureq::Error::Timeout(what) => (format!("it took too long ({what})"), true),
        ureq::Error::HostNotFound => ("there is no such host".to_owned(), true),
        ureq::Error::ConnectionFailed => ("no connection".to_owned(), true),
        ureq::Error::ConnectProxyFailed(reason) => {
            (format!("the proxy on the way refuses: {reason}"), false)
        }
        ureq::Error::Protocol(inner) => (format!("that is not HTTP: {inner}"), false),
        other => (other.to_string(), false),
    };
    let error = HttpError::Unreachable {
        url: shown(url),
        reason,
    };
    if passing {
        Failure::Passing(error)
    } else {
        Failure::Final(error)
    }
}
