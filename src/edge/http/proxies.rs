use std::env;
use std::net::IpAddr;

use ipnet::IpNet;
use url::Url;

/// Which proxy leads to which servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyRule {
    /// `http` or `https`; none for both.
    pub scheme: Option<String>,
    /// Of the server; none for every one.
    pub host: Option<String>,
    /// The proxy's URL; none for a direct connection.
    pub proxy: Option<String>,
}

/// The rules, and behind them what the environment says.
#[derive(Clone, Debug, Default)]
pub(super) struct Proxies {
    pub(super) rules: Vec<ProxyRule>,
    pub(super) http: Option<String>,
    pub(super) https: Option<String>,
    /// Hosts, domains and networks that are reached directly.
    pub(super) except: Vec<String>,
}

impl Proxies {
    pub(super) fn from_environment(rules: Vec<ProxyRule>) -> Self {
        let read = |name: &str| {
            let value = env::var(name).or_else(|_| env::var(name.to_uppercase()));
            value.ok().filter(|value| !value.is_empty())
        };
        let all = read("all_proxy");
        Self {
            rules,
            http: read("http_proxy").or_else(|| all.clone()),
            https: read("https_proxy").or(all),
            except: read("no_proxy")
                .unwrap_or_default()
                .split([',', ' '])
                .filter(|entry| !entry.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }

    /// The proxy on the way to this URL.
    pub(super) fn of(&self, url: &Url) -> Option<&str> {
        let host = url.host_str().unwrap_or_default();
        let fits = |rule: &&ProxyRule| {
            rule.scheme.as_deref().is_none_or(|it| it == url.scheme())
                && rule.host.as_deref().is_none_or(|it| it == host)
        };
        if let Some(rule) = self.rules.iter().find(fits) {
            return rule.proxy.as_deref();
        }
        let port = url.port_or_known_default();
        if self
            .except
            .iter()
            .any(|entry| is_excepted(entry, host, port))
        {
            return None;
        }
        match url.scheme() {
            "https" => self.https.as_deref(),
            _ => self.http.as_deref(),
        }
    }
}

/// The rules of `no_proxy` that curl, Python and Go agree on: `*`, a host, a domain with all that is in it, an address, a network; each but the
/// network may name a port.
fn is_excepted(entry: &str, host: &str, port: Option<u16>) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if entry == "*" {
        return true;
    }
    let address: Option<IpAddr> = host.parse().ok();
    if let Ok(network) = entry.parse::<IpNet>() {
        return address.is_some_and(|address| network.contains(&address));
    }
    if let Ok(wanted) = entry.parse::<IpAddr>() {
        return address == Some(wanted);
    }
    let (name, wanted) = match entry.rsplit_once(':') {
        Some((name, digits)) => (name, digits.parse().ok()),
        None => (entry, None),
    };
    if wanted.is_some() && wanted != port {
        return false;
    }
    let name = name.trim_start_matches("*.").trim_start_matches('.');
    let (name, host) = (name.to_ascii_lowercase(), host.to_ascii_lowercase());
    host == name
        || host
            .strip_suffix(&name)
            .is_some_and(|rest| rest.ends_with('.'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_decides_then_the_environment() {
        let rule = |scheme: Option<&str>, host: Option<&str>, proxy: Option<&str>| ProxyRule {
            scheme: scheme.map(str::to_owned),
            host: host.map(str::to_owned),
            proxy: proxy.map(str::to_owned),
        };
        let proxies = Proxies {
            rules: vec![
                rule(Some("http"), Some("near.example"), None),
                rule(Some("http"), None, Some("http://apt.example:3142")),
            ],
            http: Some("http://plain.example".to_owned()),
            https: Some("http://tls.example".to_owned()),
            except: vec!["internal.example".to_owned(), "10.0.0.0/8".to_owned()],
        };
        let of = |url: &str| proxies.of(&url.parse().unwrap()).map(str::to_owned);
        assert_eq!(of("http://near.example/x"), None);
        assert_eq!(
            of("http://far.example/x").as_deref(),
            Some("http://apt.example:3142")
        );
        assert_eq!(
            of("https://far.example/x").as_deref(),
            Some("http://tls.example")
        );
        assert_eq!(of("https://a.internal.example/x"), None);
        assert_eq!(of("https://10.1.2.3/x"), None);
    }

    #[test]
    fn exceptions_are_hosts_domains_and_networks() {
        for (entry, host, fits) in [
            ("*", "a.example", true),
            ("a.example", "a.example", true),
            ("a.example", "b.a.example", true),
            (".a.example", "b.a.example", true),
            ("*.a.example", "b.a.example", true),
            ("a.example", "ba.example", false),
            ("A.Example", "a.example", true),
            ("a.example:443", "a.example", true),
            ("a.example:80", "a.example", false),
            ("192.0.2.0/24", "192.0.2.9", true),
            ("192.0.2.0/24", "192.0.3.9", false),
            ("::1", "[::1]", true),
            ("fd00::/8", "[fd00::1]", true),
        ] {
            assert_eq!(is_excepted(entry, host, Some(443)), fits, "{entry} {host}");
        }
    }
}
