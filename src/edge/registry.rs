//! Registries: images and bundles pulled and pushed (OCI distribution specification 1.1).
//!
//! Guarantees: what is pulled is asked for by digest and checked against it while it comes; a tag is only ever turned into a digest. A
//! registry is spoken to without TLS only where the project says so (`plain_http`). Credentials go to the registry that they are for and to
//! the token server that it names, and stand in no message.
//!
//! Why not an existing crate: they are asynchronous, hold whole layers in memory, or verify nothing; what is needed is a handful of
//! requests.

mod auth;
mod credentials;
mod endpoint;
mod error;
mod pull;
mod push;
mod tokens;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

pub use crate::edge::packing::Compression;
pub(crate) use auth::challenges;
pub use credentials::{Credential, Credentials, DockerCredentials, FixedCredentials};
pub use error::RegistryError;
pub(crate) use error::error_words;
pub use pull::Received;
pub use push::Pushed;

use crate::edge::http::Http;
use crate::pure::config::sources::RegistrySource;
use crate::pure::oci::reference::{DOCKER, DOCKER_LOGIN};
use crate::pure::protocol::Secretive;
use tokens::Tokens;

/// The largest manifest that registries must take (distribution specification, "Pushing Manifests").
pub(crate) const LARGEST_MANIFEST: u64 = 4 << 20;

/// A client for every registry. Cheap to clone; the clones share connections and tokens.
#[derive(Clone)]
pub struct Registry {
    http: Http,
    sources: Arc<BTreeMap<String, RegistrySource>>,
    credentials: Arc<dyn Credentials>,
    tokens: Arc<Tokens>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("sources", &self.sources)
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// `sources` says of each registry, by its host, which mirrors it has and whether it does without TLS.
    pub fn new(
        http: Http,
        sources: BTreeMap<String, RegistrySource>,
        credentials: Arc<dyn Credentials>,
    ) -> Self {
        Self {
            http,
            sources: Arc::new(sources),
            credentials,
            tokens: Arc::default(),
        }
    }

    /// A client that knows the world only by what it was sent: registry → mirrors, the registries that speak HTTP without TLS, and
    /// registry → (user, password).
    pub fn told(
        http: Http,
        mirrors: &BTreeMap<String, Vec<String>>,
        plain_http: &BTreeSet<String>,
        logins: &BTreeMap<String, (String, Secretive)>,
    ) -> Self {
        let hosts: BTreeSet<&String> = mirrors.keys().chain(plain_http).collect();
        let source = |host: &String| RegistrySource {
            mirrors: mirrors.get(host).cloned().unwrap_or_default(),
            plain_http: plain_http.contains(host),
        };
        let sources = hosts.into_iter().map(|host| (host.clone(), source(host)));
        let login = |(host, (user, password)): (&String, &(String, Secretive))| {
            let credential = Credential::Password {
                user: user.clone(),
                password: password.0.clone().into(),
            };
            let login = match host.as_str() {
                DOCKER => DOCKER_LOGIN,
                other => other,
            };
            (login.to_owned(), credential)
        };
        let credentials = FixedCredentials(logins.iter().map(login).collect());
        Self::new(http, sources.collect(), Arc::new(credentials))
    }
}
