//! Plain HTTP by a proxy: the request names the whole URL (RFC 9112, section 3.2.2, "absolute-form").
//!
//! Why not a tunnel, which the library builds: proxies that cache packages, and most others, allow tunnels to port 443 alone.

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

use super::resolver::Resolved;

/// Finds the proxy, whatever host is asked for.
#[derive(Debug)]
pub(super) struct ToProxy {
    pub(super) proxy: Uri,
    pub(super) resolver: Resolved,
}

impl Resolver for ToProxy {
    fn resolve(
        &self,
        _: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        self.resolver.resolve(&self.proxy, config, timeout)
    }
}

/// Turns `GET /path` into `GET http://host/path` on connections that lead to a proxy.
#[derive(Debug)]
pub(super) struct AbsoluteForm;

impl Connector<Box<dyn Transport>> for AbsoluteForm {
    type Out = Box<dyn Transport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<Box<dyn Transport>>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(inner) = chained else {
            return Ok(None);
        };
        let authority = details.uri.authority();
        let authority = authority.ok_or_else(|| Error::BadUri("no host".to_owned()))?;
        Ok(Some(Box::new(Absolute {
            inner,
            origin: format!("http://{authority}").into_bytes(),
            begins: true,
        })))
    }
}

/// A connection to a proxy. It is used for one origin alone, because the pool keeps connections by origin.
#[derive(Debug)]
struct Absolute {
    inner: Box<dyn Transport>,
    origin: Vec<u8>,
    /// True if what is sent next is the head of a request: nothing was sent since the last answer.
    begins: bool,
}

impl Transport for Absolute {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let mut amount = amount;
        if self.begins && amount > 0 {
            self.begins = false;
            let output = self.inner.buffers().output();
            // The method, and the space behind it.
            let at = output[..amount].windows(2).position(|pair| pair == b" /");
            let at = at.ok_or_else(|| Error::BadUri("no path".to_owned()))? + 1;
            let longer = amount + self.origin.len();
            if longer > output.len() {
                return Err(Error::BadUri("it is too long".to_owned()));
            }
            output.copy_within(at..amount, at + self.origin.len());
            output[at..at + self.origin.len()].copy_from_slice(&self.origin);
            amount = longer;
        }
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.begins = true;
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}
