//! Asks the host's own services as their users will: over HTTP through the ingress, and over TCP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::TlsConfig;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

/// Every name is this host.
#[derive(Debug)]
struct Loopback;

impl Resolver for Loopback {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let by_scheme = if uri.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        let port = uri.port_u16().unwrap_or(by_scheme);
        let mut addresses = self.empty();
        addresses.push(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Ok(addresses)
    }
}

/// Fetches a URL from this very host, whatever its name resolves to elsewhere; gives the status. Redirects are followed, to this host too.
///
/// Certificates are not verified: nothing but loopback is spoken to, so nobody can stand between; and what is asked is whether the
/// ingress serves the name, not whether its certificate has come yet or its authority is known here.
///
/// # Errors
/// Why there was no answer.
pub fn status(url: &str, limit: Duration) -> Result<u16, String> {
    let config = Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .proxy(None)
        .tls_config(TlsConfig::builder().disable_verification(true).build())
        .user_agent(concat!("forge/", env!("CARGO_PKG_VERSION")))
        .build();
    let agent = Agent::with_parts(config, DefaultConnector::default(), Loopback);
    match agent.get(url).call() {
        Ok(answer) => Ok(answer.status().as_u16()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether something accepts a connection.
///
/// # Errors
/// Why not.
pub fn accepts(address: IpAddr, port: u16, limit: Duration) -> Result<(), String> {
    TcpStream::connect_timeout(&SocketAddr::new(address, port), limit)
        .map(drop)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn any_name_is_this_host() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 1024];
            let read = stream.read(&mut head).unwrap();
            stream
                .write_all(
                    b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
                )
                .unwrap();
            String::from_utf8_lossy(&head[..read]).into_owned()
        });
        let url = format!("http://status.example.com:{port}/up");
        assert_eq!(status(&url, LIMIT).unwrap(), 404);
        let head = server.join().unwrap().to_lowercase();
        assert!(head.starts_with("get /up http/1.1\r\n"), "{head}");
        assert!(
            head.contains(&format!("host: status.example.com:{port}\r\n")),
            "{head}"
        );
    }

    #[test]
    fn a_closed_port_is_said() {
        let port = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            accepts(Ipv4Addr::LOCALHOST.into(), port, LIMIT).unwrap();
            port
        };
        let why = accepts(Ipv4Addr::LOCALHOST.into(), port, LIMIT).unwrap_err();
        assert!(why.contains("refused"), "{why}");
        status(&format!("https://example.com:{port}/"), LIMIT).unwrap_err();
    }
}
