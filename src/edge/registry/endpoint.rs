use url::Url;

use super::{Registry, RegistryError};
use crate::pure::oci::Repository;
use crate::pure::oci::reference::{DOCKER, DOCKER_LOGIN};

/// A place where a repository is: a mirror, or the registry itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Scheme and host.
    pub(super) base: Url,
    /// With the mirror's prefix.
    pub(super) path: String,
    /// For people, and for tokens.
    pub(super) host: String,
    /// What its credentials are kept under.
    pub(super) login: String,
    /// True if this place does without TLS, and its token server may.
    pub(super) plain: bool,
}

impl Endpoint {
    /// `/v2/NAME/REST`.
    pub(super) fn url(&self, rest: &str) -> Result<Url, RegistryError> {
        let url = self.base.join(&format!("/v2/{}/{rest}", self.path));
        url.map_err(|_| RegistryError::Malformed {
            what: self.host.clone(),
            reason: "it makes no URL".to_owned(),
        })
    }
}

impl Registry {
    /// Where this repository is, in the order in which it is asked.
    pub(super) fn endpoints(
        &self,
        repository: &Repository,
    ) -> Result<Vec<Endpoint>, RegistryError> {
        let mirrors = self.sources.get(repository.host());
        let mirrors = mirrors.map(|source| source.mirrors.as_slice());
        mirrors
            .unwrap_or_default()
            .iter()
            .map(|mirror| self.mirror(mirror, repository))
            .chain([self.origin(repository)])
            .collect()
    }

    fn is_plain(&self, host: &str) -> bool {
        self.sources
            .get(host)
            .is_some_and(|source| source.plain_http)
    }

    /// The registry itself.
    pub(super) fn origin(&self, repository: &Repository) -> Result<Endpoint, RegistryError> {
        let host = repository.host();
        let plain = self.is_plain(host);
        let scheme = if plain { "http" } else { "https" };
        let base = format!("{scheme}://{}", repository.api_host()).parse();
        Ok(Endpoint {
            base: base.map_err(|_| RegistryError::Malformed {
                what: repository.to_string(),
                reason: "its host makes no URL".to_owned(),
            })?,
            path: repository.path().to_owned(),
            host: host.to_owned(),
            login: match host {
                DOCKER => DOCKER_LOGIN.to_owned(),
                host => host.to_owned(),
            },
            plain,
        })
    }

    /// `https://HOST/PREFIX` has the repository as `PREFIX/NAME`: what proxies for several registries do.
    fn mirror(&self, mirror: &str, repository: &Repository) -> Result<Endpoint, RegistryError> {
        let refuse = |reason: &str| RegistryError::Malformed {
            what: format!("a mirror of {}", repository.host()),
            reason: reason.to_owned(),
        };
        let url: Url = mirror
            .parse()
            .map_err(|_| refuse("it is no URL: write https://HOST or https://HOST/PREFIX"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse(
                "credentials do not belong in a URL: use `docker login`",
            ));
        }
        let name = url
            .host_str()
            .ok_or_else(|| refuse("its URL has no host"))?;
        let host = match url.port() {
            Some(port) => format!("{name}:{port}"),
            None => name.to_owned(),
        };
        let plain = match url.scheme() {
            "https" => false,
            "http" if self.is_plain(&host) || self.is_plain(repository.host()) => true,
            "http" => return Err(RegistryError::PlainHttp(host)),
            _ => return Err(refuse("its URL is neither https nor http")),
        };
        let path = match url.path().trim_matches('/') {
            "" => repository.path().to_owned(),
            prefix => format!("{prefix}/{}", repository.path()),
        };
        let base = url.join("/").map_err(|_| refuse("it makes no URL"))?;
        Ok(Endpoint {
            base,
            path,
            login: host.clone(),
            host,
            plain,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::super::FixedCredentials;
    use super::*;
    use crate::edge::http::Http;
    use crate::pure::config::sources::RegistrySource;

    fn urls(host: &str, sources: &[(&str, &[&str], bool)]) -> Result<Vec<String>, RegistryError> {
        let source = |(host, mirrors, plain_http): &(&str, &[&str], bool)| {
            let mirrors = mirrors.iter().map(|mirror| (*mirror).to_owned()).collect();
            let plain_http = *plain_http;
            (
                (*host).to_owned(),
                RegistrySource {
                    mirrors,
                    plain_http,
                },
            )
        };
        let sources: BTreeMap<_, _> = sources.iter().map(source).collect();
        let none = Arc::new(FixedCredentials::default());
        let registry = Registry::new(Http::new().unwrap(), sources, none);
        let endpoints = registry.endpoints(&format!("{host}/a/b").parse().unwrap())?;
        let urls = endpoints
            .iter()
            .map(|it| it.url("tags/list").unwrap().to_string());
        Ok(urls.collect())
    }

    #[test]
    fn mirrors_come_first_and_plain_text_only_where_it_is_declared() {
        assert_eq!(
            urls(
                "docker.io",
                &[(
                    "docker.io",
                    &["https://m.example", "https://n.example:8443/hub/"],
                    false
                )]
            )
            .unwrap(),
            [
                "https://m.example/v2/a/b/tags/list",
                "https://n.example:8443/v2/hub/a/b/tags/list",
                "https://registry-1.docker.io/v2/a/b/tags/list",
            ]
        );
        assert_eq!(
            urls("localhost:5000", &[]).unwrap(),
            ["https://localhost:5000/v2/a/b/tags/list"]
        );
        assert_eq!(
            urls("localhost:5000", &[("localhost:5000", &[], true)]).unwrap(),
            ["http://localhost:5000/v2/a/b/tags/list"]
        );
        let near: (&str, &[&str], bool) = ("docker.io", &["http://near:5000"], false);
        assert!(
            matches!(urls("docker.io", &[near]), Err(RegistryError::PlainHttp(host)) if host == "near:5000")
        );
        assert_eq!(
            urls("docker.io", &[near, ("near:5000", &[], true)]).unwrap(),
            [
                "http://near:5000/v2/a/b/tags/list",
                "https://registry-1.docker.io/v2/a/b/tags/list",
            ]
        );
        for bad in ["near", "ftp://near", "https://user:pass@near"] {
            assert!(
                urls("docker.io", &[("docker.io", &[bad], true)]).is_err(),
                "{bad}"
            );
        }
    }
}
