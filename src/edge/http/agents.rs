use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::{Connector, DefaultConnector};
use ureq::{Agent, Proxy};
use url::Url;

use super::absolute::{AbsoluteForm, ToProxy};
use super::proxies::{Proxies, ProxyRule};
use super::resolver::Resolved;
use super::{HttpError, shown};

/// As many connections to one host as anybody works with in parallel.
const IDLE: usize = 32;
/// To find the host, connect and agree on keys.
const CONNECT: Duration = Duration::from_secs(30);
/// Without a single byte.
pub(super) const STALL: Duration = Duration::from_secs(60);
/// From the end of a request to the answer: a registry that takes a large blob hashes it first.
pub(super) const ANSWER: Duration = Duration::from_secs(300);

/// A pool of connections for each proxy, and one without.
#[derive(Debug)]
pub(super) struct Agents {
    extra_roots: Vec<Certificate<'static>>,
    roots: OnceLock<RootCerts>,
    proxies: Proxies,
    resolver: Resolved,
    /// By proxy, if there is one, and whether it builds a tunnel.
    made: Mutex<BTreeMap<Option<(bool, String)>, Agent>>,
}

/// How a proxy is used: as a tunnel, or asked for the document.
#[derive(Clone, Copy)]
enum Means<'a> {
    Tunnel(&'a str),
    Asked(&'a Url),
}

/// The URL without credentials and fragment: what is asked for.
pub(super) fn bare(url: &Url) -> Url {
    let mut url = url.clone();
    // Both fail only for URLs that cannot have any.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    url
}

/// How a URL is reached.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) agent: Agent,
    /// A proxy that is asked for plain HTTP, and may want credentials for it. TLS goes through a tunnel, which the agent builds.
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
        let plain = url.scheme() == "http";
        let usable = match proxy.scheme() {
            "http" => true,
            "https" => !plain,
            _ => false,
        };
        if !usable || proxy.host_str().is_none() {
            return Err(refuse());
        }
        if plain {
            return Ok(Way {
                agent: self.agent(Some(Means::Asked(&proxy)))?,
                proxy: Some(proxy),
            });
        }
        Ok(Way {
            agent: self.agent(Some(Means::Tunnel(&text)))?,
            proxy: None,
        })
    }

    /// Lets the next request look the host of this URL up again.
    pub(super) fn forget(&self, url: &Url) {
        if let Ok(uri) = bare(url).as_str().parse::<Uri>() {
            self.resolver.forget(&uri);
        }
    }

    fn agent(&self, means: Option<Means<'_>>) -> Result<Agent, HttpError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let key = means.map(|means| match means {
            Means::Tunnel(proxy) => (true, proxy.to_owned()),
            Means::Asked(proxy) => (false, proxy.to_string()),
        });
        if let Some(agent) = made.get(&key) {
            return Ok(agent.clone());
        }
        let refuse = |reason: String| HttpError::Unreachable {
            url: "the proxy".to_owned(),
            reason,
        };
        let tunnel = match means {
            Some(Means::Tunnel(proxy)) => {
                Some(Proxy::new(proxy).map_err(|error| refuse(error.to_string()))?)
            }
            _ => None,
        };
        let tls = TlsConfig::builder().root_certs(self.roots()).build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(tunnel)
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
            .timeout_per_write(Some(STALL))
            .timeout_recv_response(Some(ANSWER))
            .build();
        let connector = DefaultConnector::default();
        let agent = match means {
            Some(Means::Asked(proxy)) => {
                let host = bare(proxy).as_str().parse();
                let to = ToProxy {
                    proxy: host.map_err(|_| refuse("its URL is none".to_owned()))?,
                    resolver: self.resolver.clone(),
                };
                Agent::with_parts(config, connector.chain(AbsoluteForm), to)
            }
            _ => Agent::with_parts(config, connector, self.resolver.clone()),
        };
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
