use jiff::Timestamp;

use crate::edge::http::{Answer, Clock, HttpError, shown};
use crate::edge::store::StoreError;
use crate::pure::oci::ManifestError;
use crate::pure::oci::manifest::harmless;
use crate::pure::oci::received::ReceivedError;

/// Why a registry did not give or take something.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("{host} wants to know who asks for {what}{}: run `docker login {login}`", in_brackets(.words))]
    Unauthorized {
        host: String,
        what: String,
        login: String,
        words: String,
    },
    #[error("{host} does not allow {what}{}: ask its owner, or `docker login {login}` as someone who may", in_brackets(.words))]
    Denied {
        host: String,
        what: String,
        login: String,
        words: String,
    },
    #[error("{host} has no {what}{}: the repository or the tag does not exist, or is hidden from who is not logged in", in_brackets(.words))]
    Missing {
        host: String,
        what: String,
        words: String,
    },
    #[error(
        "{host} answers no more requests for now{}{}{}; whoever is logged in (`docker login {login}`) may ask more often, and a mirror spares the \
         requests", in_brackets(.words), .limit.as_ref().map(|it| format!("; it allows {it}")).unwrap_or_default(), .until.as_ref().map(|it| format!("; try again after {it}")).unwrap_or_default()
    )]
    Limited {
        host: String,
        login: String,
        words: String,
        /// As in `100 requests in 6 h`.
        limit: Option<String>,
        /// In UTC, RFC 3339.
        until: Option<String>,
    },
    #[error("{url} answered {status}{}", in_brackets(.words))]
    Refused {
        url: String,
        status: u16,
        words: String,
    },
    #[error("{host} sent something else for {what}: its digest is {found}")]
    NotAsNamed {
        host: String,
        what: String,
        found: String,
    },
    #[error("{what}: {source}")]
    Received { what: String, source: ReceivedError },
    #[error("{what}: {reason}")]
    Malformed { what: String, reason: String },
    #[error(
        "{0} is to be asked without TLS, which nobody has allowed: write `plain_http = true` below `[sources.registry.\"{0}\"]` in forge.toml, or \
         use https"
    )]
    PlainHttp(String),
    #[error("the credentials for {host} cannot be had: {reason}")]
    Credentials { host: String, reason: String },
    #[error("{what} cannot be compressed on the way: {reason}")]
    Compress { what: String, reason: String },
    /// Neither the mirrors nor the registry.
    #[error("{what} is nowhere to be had:{}", .tried.iter().map(|error| format!("\n  {error}")).collect::<String>())]
    Nowhere {
        what: String,
        tried: Vec<RegistryError>,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

fn in_brackets(words: &str) -> String {
    match words.is_empty() {
        true => String::new(),
        false => format!(" ({words})"),
    }
}

/// The bytes of an error's body that are looked at, and the characters of it that are shown.
const LARGEST_BODY: u64 = 64 << 10;
const LONGEST_WORDS: usize = 400;

/// The words of a registry's error (distribution specification, "Error Codes"), made fit for a terminal; nothing if the body is no such.
pub(crate) fn error_words(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Body {
        #[serde(default)]
        errors: Vec<One>,
    }
    #[derive(serde::Deserialize)]
    struct One {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(Body { errors }) = serde_json::from_slice::<Body>(body) else {
        return String::new();
    };
    let one = |One { code, message }: One| match (code.is_empty(), message.is_empty()) {
        (_, true) => code,
        (true, false) => message,
        (false, false) => format!("{code}: {message}"),
    };
    let all: Vec<String> = errors.into_iter().take(5).map(one).collect();
    let all = all.join("; ");
    match all.char_indices().nth(LONGEST_WORDS) {
        Some((end, _)) => format!("{}…", harmless(&all[..end])),
        None => harmless(&all),
    }
}

/// When the server lets somebody ask again, as far as it says: the standard's word, and those of registries.
fn until(answer: &Answer, clock: &dyn Clock) -> Option<String> {
    let now = Timestamp::try_from(clock.now()).ok()?;
    let number = |name: &str| -> Option<i64> {
        let text = answer.header(name)?;
        text.split([',', ';']).next()?.trim().parse().ok()
    };
    let second = match answer.retry_after(clock) {
        Some(wait) => now
            .as_second()
            .checked_add(i64::try_from(wait.as_secs()).ok()?)?,
        None => {
            let names = ["x-ratelimit-reset", "ratelimit-reset", "x-retry-after"];
            let number = names.into_iter().find_map(number)?;
            // A time of the clock, or seconds from now.
            match number > 1_000_000_000 {
                true => number,
                false => now.as_second().checked_add(number)?,
            }
        }
    };
    Some(Timestamp::from_second(second).ok()?.to_string())
}

/// `100;w=21600`: requests, and seconds of the window.
fn limit(answer: &Answer) -> Option<String> {
    let (count, window) = answer.header("ratelimit-limit")?.split_once(";w=")?;
    let (count, window): (u64, u64) = (count.trim().parse().ok()?, window.trim().parse().ok()?);
    let window = match window {
        window if window % 3600 == 0 => format!("{} h", window / 3600),
        window => format!("{window} s"),
    };
    Some(format!("{count} requests in {window}"))
}

/// The error that an answer is.
pub(super) fn refused(
    answer: Answer,
    clock: &dyn Clock,
    host: &str,
    login: &str,
    what: &str,
) -> RegistryError {
    let (host, login, what) = (host.to_owned(), login.to_owned(), what.to_owned());
    let (status, url) = (answer.status, shown(&answer.url));
    let (until, limit) = (until(&answer, clock), limit(&answer));
    let body = answer.read(LARGEST_BODY).ok().and_then(Result::ok);
    let words = error_words(&body.unwrap_or_default());
    match status {
        401 => RegistryError::Unauthorized {
            host,
            what,
            login,
            words,
        },
        403 => RegistryError::Denied {
            host,
            what,
            login,
            words,
        },
        404 => RegistryError::Missing { host, what, words },
        429 => RegistryError::Limited {
            host,
            login,
            words,
            limit,
            until,
        },
        _ => RegistryError::Refused { url, status, words },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_registry_are_bounded_and_harmless() {
        let words = |text: &str| error_words(text.as_bytes());
        assert_eq!(
            words(r#"{"errors":[{"code":"DENIED","message":"no"},{"code":"X"},{"message":"y"}]}"#),
            "DENIED: no; X; y"
        );
        assert_eq!(words("<html>"), "");
        assert_eq!(words(r#"{"errors":7}"#), "");
        let words = words(&format!(
            r#"{{"errors":[{{"code":"\u001b[2J\u202e","message":"{}"}}]}}"#,
            "x".repeat(10_000)
        ));
        assert!(words.starts_with("\\u{1b}[2J\\u{202e}: xxx"), "{words}");
        assert!(words.chars().count() < LONGEST_WORDS + 20);
    }
}
