//! The machine's own apt: where it fetches from, and how. Read, never changed.
//!
//! `apt-config` (apt 1.1 or later) says where its files are and what it is configured to; without it, `/etc/apt` is looked at, and a
//! machine without apt has no sources.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::program::{self, ProgramError};
use crate::pure::images::debian::sources_list::{self, Entry, Login, Place, SourcesError};

/// Files larger than this are no configuration.
const LARGEST: u64 = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

/// Why the configuration of apt cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AptError {
    #[error("apt's configuration: cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("apt's configuration: {}: it is larger than {LARGEST} bytes, or no UTF-8 text", .0.display())]
    Text(PathBuf),
    #[error(
        "apt's configuration: {0}; mend it, or name mirrors in forge.toml: `[sources.debian] mirrors`"
    )]
    Sources(#[from] SourcesError),
    #[error(transparent)]
    Program(#[from] ProgramError),
}

/// A proxy that apt uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// `http` or `https`: of the mirror.
    pub scheme: String,
    /// The mirror's host; none for every one.
    pub host: Option<String>,
    /// None for a direct connection.
    pub url: Option<String>,
}

/// What the machine's apt is configured to.
#[derive(Clone, Debug, Default)]
pub struct Apt {
    /// In apt's order, with what each URI means.
    entries: Vec<(Entry, Vec<Place>)>,
    logins: Vec<Login>,
    /// Those for one host first.
    pub proxies: Vec<Proxy>,
    /// PEM files with certificates that mirrors are checked against.
    pub certificates: Vec<PathBuf>,
}

/// Where apt keeps what it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AptFiles {
    pub list: PathBuf,
    pub parts: PathBuf,
    pub auth: PathBuf,
    pub auth_parts: PathBuf,
}

impl Default for AptFiles {
    fn default() -> Self {
        let etc = Path::new("/etc/apt");
        Self {
            list: etc.join("sources.list"),
            parts: etc.join("sources.list.d"),
            auth: etc.join("auth.conf"),
            auth_parts: etc.join("auth.conf.d"),
        }
    }
}

impl Apt {
    /// The apt of this machine.
    ///
    /// # Errors
    /// [`AptError`] if what is there cannot be read; that nothing is there is no error.
    pub fn of_machine() -> Result<Self, AptError> {
        let shell = [
            ("LIST", "Dir::Etc::sourcelist/f"),
            ("PARTS", "Dir::Etc::sourceparts/d"),
            ("AUTH", "Dir::Etc::netrc/f"),
            ("AUTH_PARTS", "Dir::Etc::netrcparts/d"),
        ];
        let mut arguments = vec!["shell"];
        arguments.extend(shell.iter().flat_map(|(name, key)| [*name, *key]));
        let (files, settings) = match program::run("apt-config", &arguments, PATIENCE)? {
            None => (AptFiles::default(), BTreeMap::new()),
            Some(places) => {
                let dump = program::run("apt-config", &["dump", "--format", "%F %v%n"], PATIENCE)?;
                (
                    files_of(&places),
                    settings_of(dump.as_deref().unwrap_or_default()),
                )
            }
        };
        Self::read(&files, &settings)
    }

    /// Reads these files; `settings` are apt's by their names, as in `Acquire::http::Proxy`.
    ///
    /// # Errors
    /// [`AptError`].
    pub fn read(files: &AptFiles, settings: &BTreeMap<String, String>) -> Result<Self, AptError> {
        let mut apt = Self::from_settings(settings);
        let mut lists: Vec<PathBuf> = vec![files.list.clone()];
        lists.extend(names_in(&files.parts)?);
        for path in lists {
            let shown = path.display().to_string();
            let read = match path.extension().and_then(OsStr::to_str) {
                Some("sources") => sources_list::read_sources,
                Some("list") => sources_list::read_list,
                _ => continue,
            };
            if let Some(text) = text_of(&path)? {
                for entry in read(&shown, &text)? {
                    let places = places_of(&entry)?;
                    apt.entries.push((entry, places));
                }
            }
        }
        // Readable by root alone, as a rule: then apt's passwords are not ours either.
        let auths = std::iter::once(files.auth.clone()).chain(names_in(&files.auth_parts)?);
        for path in auths {
            if path == files.auth || path.extension().is_some_and(|end| end == "conf") {
                match text_of(&path) {
                    Ok(text) => apt
                        .logins
                        .extend(sources_list::read_auth(&text.unwrap_or_default())),
                    Err(AptError::Read { source, .. })
                        if source.kind() == io::ErrorKind::PermissionDenied => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(apt)
    }

    fn from_settings(settings: &BTreeMap<String, String>) -> Self {
        let mut apt = Self::default();
        for (name, value) in settings.iter().filter(|(_, value)| !value.is_empty()) {
            let parts: Vec<&str> = name.split("::").collect();
            let (scheme, rest) = match parts.as_slice() {
                ["acquire", scheme @ ("http" | "https"), rest @ ..] => (*scheme, rest),
                _ => continue,
            };
            let host = match rest {
                ["proxy"] => None,
                ["proxy", host] => Some((*host).to_owned()),
                ["cainfo"] | [_, "cainfo"] => {
                    let path = PathBuf::from(value);
                    if !apt.certificates.contains(&path) {
                        apt.certificates.push(path);
                    }
                    continue;
                }
                _ => continue,
            };
            let direct = value.eq_ignore_ascii_case("DIRECT") || value == "false";
            apt.proxies.push(Proxy {
                scheme: scheme.to_owned(),
                host,
                url: (!direct).then(|| value.clone()),
            });
        }
        // apt goes to TLS mirrors through the proxy for plain ones, unless it is told another.
        let (own, general): (Vec<Proxy>, Vec<Proxy>) = apt
            .proxies
            .iter()
            .cloned()
            .partition(|proxy| proxy.scheme == "https");
        let overruled = |proxy: &Proxy| {
            let same = |it: &Proxy| it.host == proxy.host || it.host.is_none();
            own.iter().any(same)
        };
        for proxy in general.into_iter().filter(|proxy| !overruled(proxy)) {
            apt.proxies.push(Proxy {
                scheme: "https".to_owned(),
                ..proxy
            });
        }
        apt.proxies.sort_by_key(|proxy| proxy.host.is_none());
        apt
    }

    /// The roots of the mirrors that have this component of this suite, in apt's order. A login that apt has for one stands in its URL.
    pub fn mirrors_for(&self, suite: &str, component: &str) -> Vec<Url> {
        let mut mirrors: Vec<Url> = Vec::new();
        for (entry, places) in &self.entries {
            if !entry.serves(suite, component) {
                continue;
            }
            for place in places {
                if let Place::Mirror(url) = place {
                    let url = self.with_login(url.clone());
                    if !mirrors.contains(&url) {
                        mirrors.push(url);
                    }
                }
            }
        }
        mirrors
    }

    /// URIs that serve this suite in a way that forge does not know.
    pub fn unknown_for(&self, suite: &str, component: &str) -> Vec<String> {
        let serving = self
            .entries
            .iter()
            .filter(|(entry, _)| entry.serves(suite, component));
        let places = serving.flat_map(|(_, places)| places);
        let unknown = places.filter_map(|place| match place {
            Place::Unknown(uri) => Some(uri.clone()),
            _ => None,
        });
        unknown.collect()
    }

    fn with_login(&self, mut url: Url) -> Url {
        if url.username().is_empty()
            && let Some(login) = self.logins.iter().find(|login| login.fits(&url))
        {
            // Neither can fail for a URL with a host, and without one no login fits.
            let _ = url.set_username(&login.user);
            let _ = url.set_password(Some(&login.password));
        }
        url
    }
}

/// What the URIs of an entry mean, with lists of mirrors read.
fn places_of(entry: &Entry) -> Result<Vec<Place>, AptError> {
    let mut places = Vec::new();
    for uri in &entry.uris {
        match sources_list::place(uri) {
            Place::List(path) => {
                let text = text_of(Path::new(&path))?.unwrap_or_default();
                let mirrors = sources_list::read_mirror_list(&text);
                places.extend(mirrors.iter().map(|uri| sources_list::place(uri)));
            }
            place => places.push(place),
        }
    }
    Ok(places)
}

/// The files of a folder by name; none if it is not there.
fn names_in(folder: &Path) -> Result<Vec<PathBuf>, AptError> {
    let failed = |source: io::Error| AptError::Read {
        path: folder.to_owned(),
        source,
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::PermissionDenied
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(failed(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        // Hidden files are of editors and of package managers.
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or(".");
        if !name.starts_with('.') {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn text_of(path: &Path) -> Result<Option<String>, AptError> {
    let failed = |source| AptError::Read {
        path: path.to_owned(),
        source,
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(meta) if !meta.is_file() => return Ok(None),
        Ok(meta) if meta.len() > LARGEST => return Err(AptError::Text(path.to_owned())),
        Ok(_) => {}
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    let text = String::from_utf8(bytes).map_err(|_| AptError::Text(path.to_owned()))?;
    Ok(Some(text))
}

/// What `apt-config shell` prints: `NAME='VALUE'`, quoted for a shell.
fn files_of(shell: &str) -> AptFiles {
    let mut files = AptFiles::default();
    for word in shlex::split(shell).unwrap_or_default() {
        if let Some((name, value)) = word.split_once('=')
            && !value.is_empty()
        {
            let value = PathBuf::from(value);
            match name {
                "LIST" => files.list = value,
                "PARTS" => files.parts = value,
                "AUTH" => files.auth = value,
                "AUTH_PARTS" => files.auth_parts = value,
                _ => {}
            }
        }
    }
    files
}

/// What `apt-config dump --format '%F %v%n'` prints: names in small letters, which apt takes for the same.
fn settings_of(dump: &str) -> BTreeMap<String, String> {
    let lines = dump.lines().filter_map(|line| line.split_once(' '));
    lines
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    fn files(folder: &Path) -> AptFiles {
        AptFiles {
            list: folder.join("sources.list"),
            parts: folder.join("sources.list.d"),
            auth: folder.join("auth.conf"),
            auth_parts: folder.join("auth.conf.d"),
        }
    }

    fn urls(apt: &Apt, suite: &str) -> Vec<String> {
        let mirrors = apt.mirrors_for(suite, "main").into_iter();
        mirrors.map(String::from).collect()
    }

    #[test]
    fn mirrors_are_those_that_have_the_suite() {
        let folder = tempfile::tempdir().unwrap();
        let list = write(
            folder.path(),
            "mirrors.txt",
            "https://listed.example.com/debian\n",
        );
        write(
            folder.path(),
            "sources.list",
            "deb https://one.example.com/debian bookworm main\ndeb cdrom:[x]/ bookworm main\n",
        );
        let more = format!(
            "deb mirror+file:{} bookworm main\ndeb tor+http://x.onion bookworm main\n",
            list.display()
        );
        write(folder.path(), "sources.list.d/b.list", &more);
        write(
            folder.path(),
            "sources.list.d/a.sources",
            "Types: deb\nURIs: https://two.example.com/debian https://one.example.com/debian\nSuites: bookworm bookworm-updates\nComponents: main\n",
        );
        write(folder.path(), "sources.list.d/c.list.disabled", "nonsense");
        write(folder.path(), "sources.list.d/.hidden.list", "nonsense");
        write(
            folder.path(),
            "auth.conf.d/x.conf",
            "machine two.example.com login me password p@ss\n",
        );
        let apt = Apt::read(&files(folder.path()), &BTreeMap::new()).unwrap();
        assert_eq!(
            urls(&apt, "bookworm"),
            [
                "https://one.example.com/debian",
                "https://me:p%40ss@two.example.com/debian",
                "https://listed.example.com/debian",
            ]
        );
        assert_eq!(urls(&apt, "bookworm-updates").len(), 2);
        assert_eq!(urls(&apt, "bookworm-security").len(), 0);
        assert_eq!(apt.unknown_for("bookworm", "main"), ["tor+http://x.onion"]);
        write(folder.path(), "sources.list.d/d.list", "nonsense\n");
        let error = Apt::read(&files(folder.path()), &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("d.list, line 1"), "{error}");
    }

    #[test]
    fn a_machine_without_apt_has_no_sources() {
        let folder = tempfile::tempdir().unwrap();
        let apt = Apt::read(&files(&folder.path().join("none")), &BTreeMap::new()).unwrap();
        assert_eq!(urls(&apt, "bookworm").len(), 0);
    }

    #[test]
    fn settings_say_proxies_and_certificates() {
        let dump = "Acquire::http::Proxy http://proxy.example.com:3128\nAcquire::http::Proxy::near.example.com DIRECT\n\
                    Acquire::https::CaInfo /etc/ca.pem\nAcquire::https::a.example.com::CaInfo /etc/a.pem\nAcquire::https::Verify-Peer false\n\
                    APT::Architecture amd64\nAcquire::ftp::Proxy \n";
        let apt = Apt::from_settings(&settings_of(dump));
        let shown: Vec<_> = apt
            .proxies
            .iter()
            .map(|it| (it.scheme.as_str(), it.host.as_deref(), it.url.as_deref()))
            .collect();
        let proxy = Some("http://proxy.example.com:3128");
        assert_eq!(
            shown,
            [
                ("http", Some("near.example.com"), None),
                ("https", Some("near.example.com"), None),
                ("http", None, proxy),
                ("https", None, proxy),
            ]
        );
        assert_eq!(
            apt.certificates,
            [Path::new("/etc/a.pem"), Path::new("/etc/ca.pem")]
        );
    }

    #[test]
    fn a_proxy_of_its_own_is_not_overruled() {
        let dump = "Acquire::http::Proxy http://a.example.com\nAcquire::https::Proxy DIRECT\n";
        let apt = Apt::from_settings(&settings_of(dump));
        let https: Vec<_> = apt
            .proxies
            .iter()
            .filter(|it| it.scheme == "https")
            .collect();
        assert_eq!(https.len(), 1);
        assert_eq!(https[0].url, None);
    }

    #[test]
    fn reads_what_apt_config_prints() {
        let files =
            files_of("LIST='/a b/sources.list'\nPARTS='/c/'\nAUTH='/d'\nAUTH_PARTS='/e/'\n");
        assert_eq!(files.list, Path::new("/a b/sources.list"));
        assert_eq!(files.auth_parts, Path::new("/e/"));
    }
}
