//! `[sources]` of `forge.toml`: where packages and images are fetched from.

use std::collections::BTreeMap;

/// What a project says of its sources; what it does not say is the machine's business.
#[derive(Clone, Debug, Default)]
pub struct PackageSources {
    pub debian: DebianSource,
    pub python: PythonSource,
    /// By the registry's host, as in `docker.io`.
    pub registries: BTreeMap<String, RegistrySource>,
}

#[derive(Clone, Debug, Default)]
pub struct DebianSource {
    /// Roots of mirrors in order of preference, as in `https://HOST/debian`. None: those of the machine's apt.
    pub mirrors: Vec<String>,
    /// Where old packages are, after all mirrors: `{archive}` is `debian` or `debian-security`, `{date}` as in `20260711T000000Z`.
    pub snapshot: Option<String>,
    /// A file of the project with the OpenPGP keys that sign the suites, instead of the distribution's.
    pub keyring: Option<String>,
    /// Suites that are kept elsewhere, by name.
    pub suites: BTreeMap<String, SuiteSource>,
}

#[derive(Clone, Debug, Default)]
pub struct SuiteSource {
    pub mirrors: Vec<String>,
    pub keyring: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct PythonSource {
    /// Roots of indexes (PEP 503), as in `https://HOST/simple`. None: the machine's pip and its configuration.
    pub indexes: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct RegistrySource {
    /// Asked in order before the registry itself, as in `https://HOST` or `https://HOST/prefix`.
    pub mirrors: Vec<String>,
    /// True if this registry speaks HTTP without TLS.
    pub plain_http: bool,
}
