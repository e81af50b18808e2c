use std::fmt;
use std::str::FromStr;

use crate::pure::name::ManifestDigest;

/// The registry that a reference without a host means (Docker's convention, in `distribution/reference`).
pub const DOCKER: &str = "docker.io";
/// Where that registry answers.
pub const DOCKER_API: &str = "registry-1.docker.io";
/// What its credentials are kept under in Docker's configuration.
pub const DOCKER_LOGIN: &str = "https://index.docker.io/v1/";
/// Before a name of one part, in that registry.
const OFFICIAL: &str = "library";
const LATEST: &str = "latest";
/// Of a repository's name with its host (Docker's bound).
const LONGEST: usize = 255;
const LONGEST_TAG: usize = 128;

/// A repository in a registry: `docker.io/library/postgres`.
///
/// Invariant: host and path are complete, Docker's defaults written out; the path is a name of the OCI distribution specification
/// ("Pulling manifests").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    host: String,
    path: String,
}

/// A repository, and which image in it: `postgres`, `ghcr.example/team/app:1.2`, `app@sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    pub repository: Repository,
    tag: Option<String>,
    pub digest: Option<ManifestDigest>,
}

/// A text that is no reference.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no reference of an image: {reason}", text.escape_debug())]
pub struct ReferenceError {
    text: String,
    reason: &'static str,
}

fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |end: Option<&u8>| end.is_some_and(|byte| is_alphanumeric(*byte));
    ends(bytes.first())
        && ends(bytes.last())
        && bytes
            .split(|byte| is_alphanumeric(*byte))
            .all(|between| match between {
                b"" | b"." | b"_" | b"__" => true,
                dashes => dashes.iter().all(|byte| *byte == b'-'),
            })
}

/// A name or an address, with a port or without.
fn is_host(text: &str) -> bool {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => (
                "ipv6",
                port.strip_prefix(':').or((!port.is_empty()).then_some("")),
            ),
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (text, None),
        },
    };
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let ends = |end: Option<&u8>| end.is_some_and(u8::is_ascii_alphanumeric);
        ends(bytes.first())
            && ends(bytes.last())
            && bytes
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
    };
    name.split('.').all(is_label)
        && port.is_none_or(|port| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
        })
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= LONGEST_TAG
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || b".-".contains(&byte))
}

fn repository(text: &str) -> Result<Repository, &'static str> {
    // What stands before the first `/` is a host if it cannot be part of a name, or is `localhost`.
    let is_host_like = |first: &str| first == "localhost" || first.contains(['.', ':', '[']);
    let (host, path) = match text.split_once('/') {
        Some((first, rest)) if is_host_like(first) => (first.to_ascii_lowercase(), rest),
        _ => (DOCKER.to_owned(), text),
    };
    let host = match host.as_str() {
        "index.docker.io" | DOCKER_API => DOCKER.to_owned(),
        _ => host,
    };
    if !is_host(&host) {
        return Err("before the first `/` stands no host");
    }
    if path.is_empty() || !path.split('/').all(is_component) {
        return Err(
            "the name of a repository has parts of lower-case letters and digits, with `.`, `_`, `__` or dashes between them, \
             separated by `/`",
        );
    }
    let path = match (host.as_str(), path.contains('/')) {
        (DOCKER, false) => format!("{OFFICIAL}/{path}"),
        _ => path.to_owned(),
    };
    if host.len() + 1 + path.len() > LONGEST {
        return Err("it is longer than 255 characters");
    }
    Ok(Repository { host, path })
}

impl Repository {
    /// The registry as people name it: `docker.io`, `registry.example:5000`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where the registry answers.
    pub fn api_host(&self) -> &str {
        match self.host.as_str() {
            DOCKER => DOCKER_API,
            host => host,
        }
    }

    /// The name within the registry.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        repository(text).map_err(|reason| ReferenceError {
            text: text.to_owned(),
            reason,
        })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)
    }
}

impl Reference {
    /// The tag that was written, `latest` if there was neither tag nor digest.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let refuse = |reason| ReferenceError {
            text: text.to_owned(),
            reason,
        };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.parse();
                let digest = digest.map_err(|_| {
                    refuse(
                        "after `@` stands a digest: `sha256:` and 64 lower-case hexadecimal digits",
                    )
                })?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        // The `:` of a port stands before the last `/`.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => {
                if !is_tag(tag) {
                    return Err(refuse(
                        "a tag has at most 128 letters, digits, `_`, `.` and `-`, and begins with none of the last two",
                    ));
                }
                (name, Some(tag.to_owned()))
            }
            _ => (rest, None),
        };
        let tag = match (tag, &digest) {
            (None, None) => Some(LATEST.to_owned()),
            (tag, _) => tag,
        };
        Ok(Self {
            repository: repository(name).map_err(refuse)?,
            tag,
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = self.tag() {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn writes_out_what_docker_leaves_out() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (text, whole) in [
            ("postgres", "docker.io/library/postgres:latest"),
            ("postgres:16", "docker.io/library/postgres:16"),
            ("team/app", "docker.io/team/app:latest"),
            ("docker.io/postgres", "docker.io/library/postgres:latest"),
            (
                "index.docker.io/postgres",
                "docker.io/library/postgres:latest",
            ),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("registry.example/a/b/c:1", "registry.example/a/b/c:1"),
            ("Registry.Example/a", "registry.example/a:latest"),
            ("[::1]:5000/app:1", "[::1]:5000/app:1"),
            ("a__b/c-d.e---f", "docker.io/a__b/c-d.e---f:latest"),
            (
                &format!("app@{digest}"),
                &format!("docker.io/library/app@{digest}"),
            ),
            (
                &format!("app:1@{digest}"),
                &format!("docker.io/library/app:1@{digest}"),
            ),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), whole);
            assert_eq!(whole.parse::<Reference>().unwrap(), reference);
        }
        let repository: Repository = "postgres".parse().unwrap();
        assert_eq!(repository.api_host(), "registry-1.docker.io");
        assert_eq!(repository.path(), "library/postgres");
    }

    #[test]
    fn refuses_what_is_none() {
        let long = "a".repeat(300);
        let tag = format!("app:{}", "a".repeat(129));
        for text in [
            "",
            "/",
            "/app",
            "app/",
            "a//b",
            "APP",
            "a/B",
            "app:",
            "app:-x",
            "app:a b",
            "app:ä",
            "app@",
            "app@sha256:00",
            "../x",
            "a/../b",
            "registry.example/",
            "https://registry.example/app",
            "user:pass@registry.example/app",
            "registry.example:99999/app",
            "registry.example:x/app",
            "-a",
            "a-",
            "a._b",
            "a___b",
            "app\n",
            &long,
            &tag,
            "[::1/app",
            "[]/app",
            "a.example/x?y",
            "a.example/x#y",
            "a.example/x%2e",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
    }
}
