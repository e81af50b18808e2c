//! Whether a port of another machine accepts connections, seen from here.

use std::net::{IpAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// The port: asks from outside.
pub trait Reach: std::fmt::Debug + Send + Sync {
    /// True if something accepts; none if that cannot be said of this host from here, because it is this machine or has no address.
    fn accepts(&self, host: &str, port: u16) -> Option<bool>;
}

/// The network of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// As long as an answer is waited for: what a firewall drops is never answered.
    pub limit: Duration,
}

impl Reach for Network {
    fn accepts(&self, host: &str, port: u16) -> Option<bool> {
        let addresses: Vec<_> = (host, port).to_socket_addrs().ok()?.collect();
        // Of this machine the loopback interface is asked, which no firewall closes.
        if addresses.is_empty() || addresses.iter().any(|address| is_own(address.ip())) {
            return None;
        }
        Some(
            addresses
                .iter()
                .any(|address| TcpStream::connect_timeout(address, self.limit).is_ok()),
        )
    }
}

fn is_own(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified()
}

/// The double: these are open.
#[derive(Clone, Debug, Default)]
pub struct FixedReach(pub Vec<u16>);

impl Reach for FixedReach {
    fn accepts(&self, _: &str, port: u16) -> Option<bool> {
        Some(self.0.contains(&port))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn of_this_machine_nothing_is_said() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = Network {
            limit: Duration::from_secs(5),
        };
        assert_eq!(network.accepts("127.0.0.1", port), None);
        assert_eq!(network.accepts("name.invalid", port), None);
    }
}
