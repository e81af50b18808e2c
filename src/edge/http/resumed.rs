use std::fmt;
use std::io::{self, Read};

use super::exchange::{ATTEMPTS, pause};
use super::{Answer, Clock, HttpError, shown};

/// A connection that carried this much since it was made is a good one: the count of failures begins anew.
const GOOD: u64 = 1 << 20;

/// Asks for a file, with these headers beside the usual ones.
pub(crate) type Ask<'a> = dyn Fn(&[(&'static str, String)]) -> Result<Answer, HttpError> + 'a;

/// The content of a file of known size, over as many connections as it takes.
///
/// A connection that breaks is followed by another one with `Range` (RFC 9110, section 14.2) and, if the server gave a strong
/// `ETag`, `If-Range`. A server that answers with the whole file is read from the beginning, and what is known already left out.
/// Guarantee: exactly `size` bytes or an error, which is a [`HttpError`] within the [`io::Error`]. Their digest is for the
/// reader to check.
pub(crate) struct Resumed<'a> {
    ask: &'a Ask<'a>,
    clock: &'a dyn Clock,
    size: u64,
    at: u64,
    body: Option<Box<dyn Read + 'a>>,
    /// Where the bytes come from, for messages.
    url: String,
    etag: Option<String>,
    /// A body whose end is marked: if it ends early, nothing was lost on the way.
    marked: bool,
    breaks: u32,
    begun_at: u64,
    broke: String,
    ended: bool,
}

impl fmt::Debug for Resumed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumed")
            .field("url", &self.url)
            .field("size", &self.size)
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl<'a> Resumed<'a> {
    /// The file that `ask` asks for, which is at `url` and has this size.
    pub(crate) fn new(url: String, size: u64, clock: &'a dyn Clock, ask: &'a Ask<'a>) -> Self {
        Self {
            ask,
            clock,
            size,
            at: 0,
            body: None,
            url,
            etag: None,
            marked: false,
            breaks: 0,
            begun_at: 0,
            broke: String::new(),
            ended: false,
        }
    }

    fn other(&self, reason: String) -> HttpError {
        HttpError::NotAsNamed {
            url: self.url.clone(),
            reason,
        }
    }

    fn connect(&mut self) -> Result<(), HttpError> {
        let mut headers = Vec::new();
        if self.at > 0 {
            headers.push(("range", format!("bytes={}-", self.at)));
            if let Some(etag) = &self.etag {
                headers.push(("if-range", etag.clone()));
            }
        }
        let answer = (self.ask)(&headers)?;
        self.url = shown(&answer.url);
        let begins_at = match answer.status {
            200 => 0,
            206 if self.at > 0 => self.at,
            _ => return Err(answer.into_error(self.clock)),
        };
        if begins_at > 0 {
            self.check_range(answer.header("content-range"))?;
        }
        let length = answer.length();
        if let Some(length) = length
            && begins_at + length != self.size
        {
            return Err(self.other(format!(
                "{} bytes, where {} were announced",
                begins_at + length,
                self.size
            )));
        }
        let etag = answer.header("etag").filter(|etag| !etag.starts_with("W/"));
        let etag = etag.map(str::to_owned);
        if self.at > 0 && self.etag != etag && self.etag.is_some() && etag.is_some() {
            return Err(self.other("it changed while it was being fetched".to_owned()));
        }
        self.etag = etag.or(self.etag.take());
        self.marked = answer.header("transfer-encoding").is_some();
        self.begun_at = self.at;
        let mut body: Box<dyn Read + 'a> = Box::new(answer.into_reader());
        if begins_at < self.at {
            let known = self.at - begins_at;
            // If it breaks here, it is met as a break by the next read, at the same place.
            let skipped = io::copy(&mut (&mut body).take(known), &mut io::sink());
            match skipped {
                Ok(skipped) if skipped == known => {}
                Ok(_) => return self.broken("it ended early".to_owned()),
                Err(error) => return self.broken(error.to_string()),
            }
        }
        self.body = Some(body);
        Ok(())
    }

    /// `Content-Range: bytes FIRST-LAST/SIZE` (RFC 9110, section 14.4).
    fn check_range(&self, header: Option<&str>) -> Result<(), HttpError> {
        let parse = |text: &str| -> Option<(u64, u64, Option<u64>)> {
            let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
            let (first, last) = range.split_once('-')?;
            let size = match size {
                "*" => None,
                size => Some(size.parse().ok()?),
            };
            Some((first.parse().ok()?, last.parse().ok()?, size))
        };
        match header.and_then(parse) {
            Some((first, last, size))
                if first == self.at
                    && last.checked_add(1) == Some(self.size)
                    && size.is_none_or(|size| size == self.size) =>
            {
                Ok(())
            }
            _ => Err(self.other(format!(
                "the range `{}`, where {}-{}/{} was asked for",
                header.unwrap_or_default().escape_debug(),
                self.at,
                self.size - 1,
                self.size
            ))),
        }
    }

    /// Waits before the next connection, or gives up.
    fn broken(&mut self, why: String) -> Result<(), HttpError> {
        self.body = None;
        if self.at - self.begun_at >= GOOD {
            self.breaks = 0;
        }
        self.breaks += 1;
        self.broke = why;
        if self.breaks >= ATTEMPTS {
            return Err(HttpError::Unreachable {
                url: self.url.clone(),
                reason: format!(
                    "the connection broke {} times, last after {} of {} bytes: {}",
                    self.breaks, self.at, self.size, self.broke
                ),
            });
        }
        self.clock.sleep(pause(self.breaks));
        Ok(())
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize, HttpError> {
        loop {
            if self.ended || (self.at == self.size && self.body.is_none() && self.at > 0) {
                return Ok(0);
            }
            let Some(body) = &mut self.body else {
                self.connect()?;
                continue;
            };
            let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX);
            // At the end, one byte more is asked for: there must be none.
            let most = buffer.len().min(left.max(1));
            match body.read(&mut buffer[..most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It is whole, and its digest will be checked: how the connection ended is no matter.
                Err(_) if left == 0 => self.ended = true,
                Err(error) => self.broken(error.to_string())?,
                Ok(0) if left == 0 => self.ended = true,
                Ok(_) if left == 0 => {
                    self.body = None;
                    return Err(HttpError::TooLong {
                        url: self.url.clone(),
                        limit: self.size,
                    });
                }
                Ok(0) if self.marked => {
                    return Err(self.other(format!(
                        "{} bytes, where {} were announced",
                        self.at, self.size
                    )));
                }
                Ok(0) => self.broken("it ended early".to_owned())?,
                Ok(count) => {
                    self.at += count as u64;
                    return Ok(count);
                }
            }
        }
    }
}

impl Read for Resumed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        self.next(buffer).map_err(io::Error::other)
    }
}
