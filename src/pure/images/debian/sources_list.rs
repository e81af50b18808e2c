//! Where apt fetches packages from: `sources.list` in its two formats, and the netrc-like `auth.conf` (sources.list(5),
//! apt_auth.conf(5)).
//!
//! What a machine's apt is told of a source (its keys, whether to trust it, which architectures to ask for) is not followed: forge has
//! a keyring of its own, and builds for other architectures. Only where the mirrors are is taken from here.

use url::Url;

/// A source of packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The file and the line, from 1.
    pub place: (String, usize),
    /// As they are written.
    pub uris: Vec<String>,
    /// As in `bookworm`; those that end in `/` are flat repositories, which are no mirrors of a suite.
    pub suites: Vec<String>,
    pub components: Vec<String>,
    pub signed_by: Vec<String>,
    /// Empty for all.
    pub architectures: Vec<String>,
    pub trusted: bool,
}

/// A line that apt would refuse.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: {why}")]
pub struct SourcesError {
    pub file: String,
    /// From 1.
    pub line: usize,
    pub why: &'static str,
}

/// How many lines and words are looked at, at most: more is nobody's configuration.
const MOST: usize = 10_000;

/// Reads the one-line format (`NAME.list`): entries that are for binary packages.
///
/// # Errors
/// [`SourcesError`] for the first line that apt would refuse.
pub fn read_list(file: &str, text: &str) -> Result<Vec<Entry>, SourcesError> {
    let mut entries = Vec::new();
    for (index, line) in text.lines().take(MOST).enumerate() {
        let place = (file.to_owned(), index + 1);
        let line = line.split('#').next().unwrap_or_default();
        let refuse = |why| SourcesError {
            file: file.to_owned(),
            line: index + 1,
            why,
        };
        let words = words(line).map_err(refuse)?;
        let Some((kind, mut rest)) = words.split_first() else {
            continue;
        };
        let is_binary = match kind.as_str() {
            "deb" => true,
            "deb-src" => false,
            _ => return Err(refuse("it begins with neither `deb` nor `deb-src`")),
        };
        let mut options = Vec::new();
        if let Some((first, after)) = rest.split_first()
            && let Some(inside) = first.strip_prefix('[')
        {
            let inside = inside.strip_suffix(']').unwrap_or(inside);
            options = inside.split_whitespace().map(str::to_owned).collect();
            rest = after;
        }
        let [uri, suite, components @ ..] = rest else {
            return Err(refuse("it has no URI and suite"));
        };
        if components.is_empty() && !suite.ends_with('/') {
            return Err(refuse("it has no component"));
        }
        if !is_binary {
            continue;
        }
        let mut entry = Entry {
            place,
            uris: vec![uri.clone()],
            suites: vec![suite.clone()],
            components: components.to_vec(),
            signed_by: Vec::new(),
            architectures: Vec::new(),
            trusted: false,
        };
        for option in options {
            let (name, value) = option
                .split_once('=')
                .ok_or_else(|| refuse("an option is not NAME=VALUE"))?;
            // `arch+=` and `arch-=` change what is the default; they restrict nothing that matters here.
            set(&mut entry, name, value.split(','));
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// The words of a line: between spaces; what is in brackets, or in quotation marks, is one.
fn words(line: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let end = if rest.starts_with('[') {
            1 + rest.find(']').ok_or("`[` is not closed")?
        } else {
            let mut quoted = false;
            let mut ends = |c: char| {
                quoted ^= c == '"';
                c.is_whitespace() && !quoted
            };
            let end = rest.find(&mut ends).unwrap_or(rest.len());
            if quoted {
                return Err("a quotation mark is not closed");
            }
            end
        };
        words.push(rest[..end].replace('"', ""));
        rest = rest[end..].trim_start();
    }
    Ok(words)
}

/// What both formats say in their own way; names of options are not case-sensitive in stanzas, and small in brackets.
fn set<'a>(entry: &mut Entry, name: &str, values: impl Iterator<Item = &'a str>) {
    let mut values = values.filter(|value| !value.is_empty()).map(str::to_owned);
    match name.to_ascii_lowercase().as_str() {
        "signed-by" => entry.signed_by = values.collect(),
        "arch" | "architectures" => entry.architectures = values.collect(),
        "trusted" => entry.trusted = values.next().is_some_and(|value| is_yes(&value)),
        _ => {}
    }
}

fn is_yes(value: &str) -> bool {
    let yes = ["yes", "true", "with", "on", "enable", "1"];
    yes.contains(&value.trim().to_ascii_lowercase().as_str())
}

fn is_no(value: &str) -> bool {
    let no = ["no", "false", "without", "off", "disable", "0"];
    no.contains(&value.trim().to_ascii_lowercase().as_str())
}

/// Reads the deb822 format (`NAME.sources`): entries that are enabled and for binary packages.
///
/// # Errors
/// [`SourcesError`] for the first stanza that apt would refuse.
pub fn read_sources(file: &str, text: &str) -> Result<Vec<Entry>, SourcesError> {
    let mut entries = Vec::new();
    let mut stanza: Vec<(usize, String, String)> = Vec::new();
    for (index, line) in text.lines().take(MOST).chain([""]).enumerate() {
        let refuse = |why| SourcesError {
            file: file.to_owned(),
            line: index + 1,
            why,
        };
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            if !stanza.is_empty() {
                entries.extend(from_stanza(file, &stanza)?);
                stanza.clear();
            }
        } else if line.starts_with([' ', '\t']) {
            let (_, _, value) = stanza
                .last_mut()
                .ok_or_else(|| refuse("it continues nothing"))?;
            value.push('\n');
            value.push_str(line.trim());
        } else {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| refuse("it is not NAME: VALUE"))?;
            let name = name.trim().to_ascii_lowercase();
            if stanza.iter().any(|(_, known, _)| *known == name) {
                return Err(refuse("the field is there twice"));
            }
            stanza.push((index + 1, name, value.trim().to_owned()));
        }
    }
    Ok(entries)
}

fn from_stanza(
    file: &str,
    stanza: &[(usize, String, String)],
) -> Result<Option<Entry>, SourcesError> {
    let line = stanza.first().map_or(1, |(line, ..)| *line);
    let get = |name: &str| {
        let field = stanza.iter().find(|(_, known, _)| known == name);
        field.map(|(_, _, value)| value.as_str())
    };
    let list = |name: &str| -> Vec<String> {
        let value = get(name).unwrap_or_default();
        value.split_whitespace().map(str::to_owned).collect()
    };
    let refuse = |why| SourcesError {
        file: file.to_owned(),
        line,
        why,
    };
    if get("enabled").is_some_and(is_no) {
        return Ok(None);
    }
    let types = list("types");
    if types.is_empty() {
        return Err(refuse("the source has no `Types`"));
    }
    if !types.iter().any(|kind| kind == "deb") {
        return Ok(None);
    }
    let mut entry = Entry {
        place: (file.to_owned(), line),
        uris: list("uris"),
        suites: list("suites"),
        components: list("components"),
        signed_by: Vec::new(),
        architectures: list("architectures"),
        trusted: get("trusted").is_some_and(is_yes),
    };
    // A key may stand there itself; that is no file's name.
    let signed_by = get("signed-by").unwrap_or_default();
    if !signed_by.contains("BEGIN PGP") {
        set(&mut entry, "signed-by", signed_by.split([',', ' ', '\n']));
    }
    if entry.uris.is_empty() {
        return Err(refuse("the source has no `URIs`"));
    }
    if entry.suites.is_empty() {
        return Err(refuse("the source has no `Suites`"));
    }
    if entry.components.is_empty() && entry.suites.iter().any(|suite| !suite.ends_with('/')) {
        return Err(refuse("the source has no `Components`"));
    }
    Ok(Some(entry))
}

/// Where a URI leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The root of a mirror: `http`, `https`, `file` or `copy`.
    Mirror(Url),
    /// A file with the URIs of mirrors.
    List(String),
    /// Nothing that can be fetched without a person: a disc.
    Disc,
    /// A way that forge does not know.
    Unknown(String),
}

/// What a URI of an entry means. `mirror+file:` is a list on this machine; other lists and ways (`mirror:`, `tor+http:`, `ssh:`) are not
/// known.
pub fn place(uri: &str) -> Place {
    let unknown = || Place::Unknown(uri.to_owned());
    // apt takes `file:/x` and `file:///x` for the same, as the URL standard does.
    match Url::parse(uri) {
        Ok(url) => match url.scheme() {
            "http" | "https" | "file" | "copy" => Place::Mirror(url),
            "cdrom" => Place::Disc,
            "mirror+file" => Place::List(url.path().to_owned()),
            _ => unknown(),
        },
        Err(_) if uri.starts_with("cdrom:") => Place::Disc,
        Err(_) => unknown(),
    }
}

/// The URIs in a list of mirrors (apt-transport-mirror(1)): one in each line, before a tab and what is said of it; those of a
/// lower `priority:` first.
pub fn read_mirror_list(text: &str) -> Vec<String> {
    let mut uris = Vec::new();
    for line in text.lines().take(MOST) {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        if let Some(uri) = words.next() {
            let priority = words
                .find_map(|word| word.strip_prefix("priority:")?.parse::<u64>().ok())
                .unwrap_or(u64::MAX);
            uris.push((priority, uri.to_owned()));
        }
    }
    uris.sort_by_key(|(priority, _)| *priority);
    uris.into_iter().map(|(_, uri)| uri).collect()
}

impl Entry {
    /// Whether a mirror of this entry has this component of this suite.
    pub fn serves(&self, suite: &str, component: &str) -> bool {
        self.suites.iter().any(|it| it == suite) && self.components.iter().any(|it| it == component)
    }
}

/// Who one is at a server.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// `http` or `https`, if it holds for one alone. Without one, apt sends it over TLS alone, and so does forge.
    pub scheme: Option<String>,
    pub host: String,
    pub port: Option<u16>,
    /// What the path begins with; empty for every path.
    pub path: String,
    pub user: String,
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("host", &self.host)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Reads `auth.conf`: `machine HOST login NAME password WORD`, in any number of lines. What cannot be understood is passed over: it is
/// apt's, and a message would quote a password.
pub fn read_auth(text: &str) -> Vec<Login> {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let mut words = lines.flat_map(str::split_whitespace).take(MOST);
    let mut logins: Vec<Login> = Vec::new();
    while let Some(word) = words.next() {
        match (word, logins.last_mut()) {
            ("machine", _) => logins.extend(words.next().and_then(machine)),
            ("login", Some(login)) => login.user = words.next().unwrap_or_default().to_owned(),
            ("password", Some(login)) => {
                login.password = words.next().unwrap_or_default().to_owned();
            }
            _ => {}
        }
    }
    logins.retain(|login| !login.user.is_empty());
    logins
}

fn machine(text: &str) -> Option<Login> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme.to_owned()), rest),
        None => (None, text),
    };
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (host, None),
    };
    Some(Login {
        scheme,
        host: host.to_ascii_lowercase(),
        port,
        path: path.to_owned(),
        user: String::new(),
        password: String::new(),
    })
}

impl Login {
    /// Whether it is for this URL.
    pub fn fits(&self, url: &Url) -> bool {
        let scheme = match &self.scheme {
            Some(scheme) => url.scheme() == scheme,
            None => url.scheme() == "https",
        };
        let port = self
            .port
            .is_none_or(|port| url.port_or_known_default() == Some(port));
        let path = url.path().strip_prefix(self.path.as_str());
        let below = path.is_some_and(|rest| {
            rest.is_empty()
                || self.path.is_empty()
                || self.path.ends_with('/')
                || rest.starts_with('/')
        });
        scheme && port && url.host_str() == Some(&self.host) && below
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_lines() {
        let text = "# comment\n\n deb https://deb.example.com/debian bookworm main contrib # more\n\
                    deb [signed-by=/k.gpg,/l.gpg arch=amd64,arm64 trusted=yes] http://example.com/d bookworm-updates main\n\
                    deb [ arch=amd64 ] file:/srv/mirror stable main\n\
                    deb-src https://deb.example.com/debian bookworm main\n\
                    #deb https://off.example.com/debian bookworm main\n\
                    deb cdrom:[Debian\\ GNU/Linux]/ bookworm main\n\
                    deb https://flat.example.com/x ./\n";
        let entries = read_list("a.list", text).unwrap();
        let lines: Vec<usize> = entries.iter().map(|entry| entry.place.1).collect();
        assert_eq!(lines, [3, 4, 5, 8, 9]);
        assert_eq!(entries[0].components, ["main", "contrib"]);
        assert!(entries[0].serves("bookworm", "main"));
        assert!(!entries[0].serves("bookworm", "non-free"));
        assert!(!entries[0].serves("bookworm-updates", "main"));
        assert_eq!(entries[1].signed_by, ["/k.gpg", "/l.gpg"]);
        assert_eq!(entries[1].architectures, ["amd64", "arm64"]);
        assert!(entries[1].trusted);
        assert_eq!(entries[2].architectures, ["amd64"]);
        assert!(!entries[4].serves("./", "main"));
        for (bad, why) in [
            ("rpm x y z", "neither"),
            ("deb", "no URI"),
            ("deb https://example.com", "no URI"),
            ("deb https://example.com bookworm", "no component"),
            (
                "deb [arch=amd64 https://example.com bookworm main",
                "not closed",
            ),
            ("deb [arch] https://example.com bookworm main", "NAME=VALUE"),
            ("deb \"https://example.com bookworm main", "not closed"),
        ] {
            let error = read_list("a.list", bad).unwrap_err();
            assert!(error.why.contains(why), "{bad}: {error}");
            assert!(error.to_string().starts_with("a.list, line 1: "));
        }
    }

    #[test]
    fn reads_stanzas() {
        let text = "# comment\nTypes: deb deb-src\nURIs: https://a.example.com/debian\n  https://b.example.com/debian\n\
                    # within\nSuites: bookworm bookworm-updates\nComponents: main\n contrib\nSigned-By: /k.gpg\n\n\n\
                    Enabled: no\nTypes: deb\nURIs: https://off.example.com\nSuites: bookworm\nComponents: main\n\n\
                    types: deb\nuris: https://c.example.com/debian-security\nsuites: bookworm-security\ncomponents: main\nTrusted: yes\n\
                    Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mDMEY\n\n\
                    Types: deb-src\nURIs: https://src.example.com\nSuites: bookworm\nComponents: main\n";
        let entries = read_sources("d.sources", text).unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].uris.len(), 2);
        assert!(entries[0].serves("bookworm-updates", "contrib"));
        assert_eq!(entries[0].signed_by, ["/k.gpg"]);
        assert_eq!(entries[0].place, ("d.sources".to_owned(), 2));
        assert!(entries[1].serves("bookworm-security", "main"));
        assert!(entries[1].trusted);
        assert_eq!(entries[1].signed_by, <[&str; 0]>::default());
        for (bad, line, why) in [
            ("URIs: x\n", 1, "no `Types`"),
            ("Types: deb\nSuites: x\nComponents: main\n", 1, "no `URIs`"),
            (
                "\nTypes: deb\nURIs: x\nComponents: main\n",
                2,
                "no `Suites`",
            ),
            (
                "Types: deb\nURIs: x\nSuites: bookworm\n",
                1,
                "no `Components`",
            ),
            (" x\n", 1, "continues nothing"),
            ("Types: deb\nnonsense\n", 2, "NAME: VALUE"),
            ("Types: deb\nTypes: deb\n", 2, "twice"),
        ] {
            let error = read_sources("d.sources", bad).unwrap_err();
            assert_eq!(
                (error.line, error.why.contains(why)),
                (line, true),
                "{bad}: {error}"
            );
        }
    }

    #[test]
    fn knows_the_ways() {
        let mirror = |text: &str| Place::Mirror(text.parse().unwrap());
        for (uri, place_of_it) in [
            (
                "https://a.example.com/debian/",
                mirror("https://a.example.com/debian/"),
            ),
            ("file:/srv/mirror", mirror("file:///srv/mirror")),
            ("copy:///srv/mirror", mirror("copy:///srv/mirror")),
            (
                "mirror+file:/etc/apt/mirrors.txt",
                Place::List("/etc/apt/mirrors.txt".to_owned()),
            ),
            ("cdrom:[Debian GNU/Linux 12]/", Place::Disc),
            (
                "mirror://example.com/list",
                Place::Unknown("mirror://example.com/list".to_owned()),
            ),
            (
                "tor+http://x.onion",
                Place::Unknown("tor+http://x.onion".to_owned()),
            ),
            ("nonsense", Place::Unknown("nonsense".to_owned())),
        ] {
            assert_eq!(place(uri), place_of_it, "{uri}");
        }
        let list = "https://b.example.com/debian\tpriority:2\n# x\nhttps://a.example.com/debian priority:1\nfile:/c\n";
        assert_eq!(
            read_mirror_list(list),
            [
                "https://a.example.com/debian",
                "https://b.example.com/debian",
                "file:/c"
            ]
        );
    }

    #[test]
    fn logins_are_for_their_servers_alone() {
        let logins = read_auth(
            "# machine x login a password b\nmachine deb.example.com login me password secret\n\
             machine http://plain.example.com:8080/debian\nlogin you\npassword word\nmachine lonely.example.com\n",
        );
        assert_eq!(logins.len(), 2);
        assert!(!format!("{logins:?}").contains("secret"));
        let fits = |index: usize, url: &str| logins[index].fits(&url.parse().unwrap());
        assert!(fits(0, "https://deb.example.com/debian"));
        assert!(!fits(0, "http://deb.example.com/debian"));
        assert!(!fits(0, "https://other.example.com/debian"));
        assert!(fits(1, "http://plain.example.com:8080/debian/dists"));
        assert!(!fits(1, "http://plain.example.com:8080/debian-security"));
        assert!(!fits(1, "http://plain.example.com/debian"));
    }
}
