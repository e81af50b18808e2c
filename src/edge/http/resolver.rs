use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

type Slot = Arc<Mutex<Option<ResolvedSocketAddrs>>>;

/// Looks each host up once, however many threads ask at the same time: on some machines a look-up takes seconds. A look-up that failed is
/// not kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Resolved {
    hosts: Arc<Mutex<BTreeMap<String, Slot>>>,
    inner: Arc<DefaultResolver>,
}

fn key(uri: &Uri) -> Option<String> {
    Some(format!("{}://{}", uri.scheme_str()?, uri.authority()?))
}

impl Resolved {
    /// Lets the next request look this host up again: its addresses may have moved.
    pub(super) fn forget(&self, uri: &Uri) {
        if let Some(key) = key(uri) {
            let hosts = self.hosts.lock();
            hosts.unwrap_or_else(PoisonError::into_inner).remove(&key);
        }
    }
}

impl Resolver for Resolved {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let Some(key) = key(uri) else {
            return self.inner.resolve(uri, config, timeout);
        };
        let slot = {
            let hosts = self.hosts.lock();
            let mut hosts = hosts.unwrap_or_else(PoisonError::into_inner);
            Arc::clone(hosts.entry(key).or_default())
        };
        // Held while it is looked up: who asks for the same host waits for the answer instead of asking again.
        let mut known = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(addresses) = &*known {
            return Ok(addresses.clone());
        }
        let addresses = self.inner.resolve(uri, config, timeout)?;
        *known = Some(addresses.clone());
        Ok(addresses)
    }
}
