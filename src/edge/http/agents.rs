use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Proxy};
use url::Url;

use super::proxies::{Proxies, ProxyRule};
use super::resolver::Resolved;
use super::{HttpError, shown};

/// As many connections to one host as anybody works with in parallel.
const IDLE: usize = 32;
/// To find the host, connect and agree on keys.
const CONNECT: Duration = Duration::from_secs(30);
/// Without a single byte.
const STALL: Duration = Duration::from_secs(60);
/// From the end of a request to the answer: a registry that takes a large blob hashes it first.
const ANSWER: Duration = Duration::from_secs(300);

/// A pool of connections for each proxy, and one without.
#[derive(Debug)]
pub(super) struct Agents {
    extra_roots: Vec<Certificate<'static>>,
    roots: OnceLock<RootCerts>,
    proxies: Proxies,
    resolver: Resolved,
    made: Mutex<BTreeMap<Option<String>, Agent>>,
}

/// How a URL is reached.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) agent: Agent,
    /// A proxy that is asked for plain HTTP in its own words (RFC 9112, section 3.2.2). TLS goes through a tunnel, which the agent
    /// builds.
    pub(super) proxy: Option<Url>,
}

impl Agents {
    pub(super) fn new(extra_roots: &[PathBuf], rules: Vec<ProxyRule>) -> Result<Self, HttpError> {
        let mut certificates = Vec::new();
        for path in extra_roots {
            let refuse = |reason: String| HttpError::Certificates {
                path: path.clone(),
                reason,
            };
            let bytes = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
            let before = certificates.len();
            for item in parse_pem(&bytes) {
                if let PemItem::Certificate(certificate) =
                    item.map_err(|error| refuse(error.to_string()))?
                {
                    certificates.push(certificate);
                }
            }
            if certificates.len() == before {
                return Err(refuse("there is no PEM certificate in it".to_owned()));
            }
        }
        Ok(Self {
            extra_roots: certificates,
            roots: OnceLock::new(),
            proxies: Proxies::from_environment(rules),
            resolver: Resolved::default(),
            made: Mutex::default(),
        })
    }

    /// How this URL is reached.
    pub(super) fn way_to(&self, url: &Url) -> Result<Way, HttpError> {
        let Some(text) = self.proxies.of(url) else {
            return Ok(Way {
                agent: self.agent(None)?,
                proxy: None,
            });
        };
        let text = match text.contains("://") {
            true => text.to_owned(),
            false => format!("http://{text}"),
        };
        let refuse = || HttpError::Unreachable {
            url: shown(url),
            reason: "the proxy on the way is none that forge can use: give it as http://HOST:PORT"
                .to_owned(),
        };
        let proxy: Url = text.parse().map_err(|_| refuse())?;
        if !matches!(proxy.scheme(), "http" | "https") || proxy.host_str().is_none() {
            return Err(refuse());
        }
        if url.scheme() == "http" {
            return Ok(Way {
                agent: self.agent(None)?,
                proxy: Some(proxy),
            });
        }
        Ok(Way {
            agent: self.agent(Some(&text))?,
            proxy: None,
        })
    }

    /// Lets the next request look the host of this URL up again.
    pub(super) fn forget(&self, uri: &Uri) {
        self.resolver.forget(uri);
    }

    fn agent(&self, proxy: Option<&str>) -> Result<Agent, HttpError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let key = proxy.map(str::to_owned);
        if let Some(agent) = made.get(&key) {
            return Ok(agent.clone());
        }
        let proxy = proxy.map(Proxy::new).transpose();
        let proxy = proxy.map_err(|error| HttpError::Unreachable {
            url: "the proxy".to_owned(),
            reason: error.to_string(),
        })?;
        let tls = TlsConfig::builder().root_certs(self.roots()).build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(proxy)
            .http_status_as_error(false)
            // Followed by hand, so that no credential goes astray.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("forge/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .max_idle_connections(4 * IDLE)
            .max_idle_connections_per_host(IDLE)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(STALL))
            .timeout_per_write(Some(STALL))
            .timeout_recv_response(Some(ANSWER))
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), self.resolver.clone());
        made.insert(key, agent.clone());
        Ok(agent)
    }

    fn roots(&self) -> RootCerts {
        let load = || {
            // A machine without certificates can still fetch what needs no TLS; what does says so.
            let native = rustls_native_certs::load_native_certs().certs;
            let native = native
                .iter()
                .map(|der| Certificate::from_der(der).to_owned());
            let all: Vec<_> = native.chain(self.extra_roots.iter().cloned()).collect();
            RootCerts::new_with_certs(&all)
        };
        self.roots.get_or_init(load).clone()
    }
}
