//! `[sources]` of `forge.toml`.

use std::collections::BTreeMap;

use url::Url;

use super::language::Language;
use super::section_table;
use crate::pure::config::decode::decode_fields;
use crate::pure::config::node::Entry;
use crate::pure::config::project::ProjectText;
use crate::pure::config::sources::{
    DebianSource, PackageSources, PythonSource, RegistrySource, SuiteSource,
};
use crate::pure::config::value::{Data, Value};
use crate::pure::text::{Diagnostic, Diagnostics, codes};

/// Where the files with keys of a project lie.
pub const KEYRINGS: &str = "keyrings";

/// Reads the section. What is wrong in it is reported and left out.
pub(super) fn read(
    entry: &Entry,
    text: &ProjectText,
    language: &Language,
    diagnostics: &mut Diagnostics,
) -> PackageSources {
    let fields = section_table("sources", entry, diagnostics).and_then(|table| {
        decode_fields(
            table,
            &language.shape("sources"),
            entry.value.span,
            "[sources]",
            diagnostics,
        )
    });
    let Some(fields) = fields else {
        return PackageSources::default();
    };
    let mut reader = Reader { text, diagnostics };
    let all = Value::new(entry.value.span, Data::Map(fields));
    PackageSources {
        debian: all
            .get("debian")
            .map(|value| reader.debian(value))
            .unwrap_or_default(),
        python: PythonSource {
            indexes: all
                .get("python")
                .map(|value| reader.urls(value, "indexes"))
                .unwrap_or_default(),
        },
        registries: entries(&all, "registry")
            .map(|(host, value)| {
                reader.registry_host(host, value);
                let source = RegistrySource {
                    mirrors: reader.urls(value, "mirrors"),
                    plain_http: value.flag("plain_http"),
                };
                (host.clone(), source)
            })
            .collect(),
    }
}

fn entries<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    value
        .get(key)
        .and_then(Value::as_map)
        .into_iter()
        .flat_map(BTreeMap::iter)
}

struct Reader<'a> {
    text: &'a ProjectText,
    diagnostics: &'a mut Diagnostics,
}

impl Reader<'_> {
    fn debian(&mut self, value: &Value) -> DebianSource {
        let suites = entries(value, "suites")
            .map(|(name, suite)| {
                let source = SuiteSource {
                    mirrors: self.urls(suite, "mirrors"),
                    keyring: self.keyring(suite),
                };
                (name.clone(), source)
            })
            .collect();
        DebianSource {
            mirrors: self.urls(value, "mirrors"),
            snapshot: value
                .get("snapshot")
                .and_then(|snapshot| self.template(snapshot)),
            keyring: self.keyring(value),
            suites,
        }
    }

    fn urls(&mut self, value: &Value, key: &str) -> Vec<String> {
        value
            .list(key)
            .iter()
            .filter_map(|item| {
                let text = item.as_str()?;
                self.is_url(item, text).then(|| text.to_owned())
            })
            .collect()
    }

    /// A URL with places for an archive and a date.
    fn template(&mut self, value: &Value) -> Option<String> {
        let text = value.as_str()?;
        let filled = text
            .replace("{archive}", "debian")
            .replace("{date}", "20260711T000000Z");
        if filled.contains(['{', '}']) {
            self.refuse(
                value,
                text,
                "the places to fill in are `{archive}` and `{date}`",
            );
            return None;
        }
        self.is_url(value, &filled).then(|| text.to_owned())
    }

    /// Whether it names a place and nobody's password.
    fn is_url(&mut self, value: &Value, text: &str) -> bool {
        let shown = value.as_str().unwrap_or(text);
        let Ok(url) = Url::parse(text) else {
            self.refuse(
                value,
                shown,
                "write it like \"https://mirror.example.com/debian\"",
            );
            return false;
        };
        if !url.username().is_empty() || url.password().is_some() {
            self.diagnostics.push(
                Diagnostic::error(codes::BAD_VALUE, "a URL with a user or a password")
                    .at(value.at, "")
                    .veil()
                    .help("leave them out here: the project is shared. What apt, pip and docker are configured with is used"),
            );
            return false;
        }
        if url.query().is_some() || url.fragment().is_some() {
            self.refuse(value, shown, "leave out what begins with `?` or `#`");
            return false;
        }
        true
    }

    fn refuse(&mut self, value: &Value, text: &str, help: &str) {
        self.diagnostics.push(
            Diagnostic::error(
                codes::BAD_VALUE,
                format!("`{text}` is no place to fetch from"),
            )
            .at(value.at, "")
            .help(help),
        );
    }

    fn keyring(&mut self, value: &Value) -> Option<String> {
        let keyring = value.get("keyring")?;
        let path = keyring.as_str()?;
        if self.text.get(path).is_some() && path.starts_with(&format!("{KEYRINGS}/")) {
            return Some(path.to_owned());
        }
        let known = self
            .text
            .files
            .keys()
            .map(String::as_str)
            .filter(|path| path.starts_with(&format!("{KEYRINGS}/")));
        self.diagnostics.push(
            Diagnostic::error(
                codes::MISSING_FILE,
                format!("there is no keyring `{path}`"),
            )
            .at(keyring.at, "named here")
            .suggest(path, known)
            .help(format!(
                "put the keys into a file in `{KEYRINGS}/`, and name it from the project's folder on"
            )),
        );
        None
    }

    fn registry_host(&mut self, host: &str, value: &Value) {
        let fine = Url::parse(&format!("https://{host}/")).is_ok_and(|url| {
            let port = url.port().map(|port| format!(":{port}"));
            let shown = format!(
                "{}{}",
                url.host_str().unwrap_or_default(),
                port.unwrap_or_default()
            );
            shown == host
        });
        if !fine {
            self.diagnostics.push(
                Diagnostic::error(codes::BAD_VALUE, format!("`{host}` is no registry"))
                    .at(value.at, "")
                    .help("write its host as `repository` of an image has it, as in `[sources.registry.\"docker.io\"]`"),
            );
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::pure::config::from_text::project;
    use crate::pure::config::project::TextFile;
    use crate::pure::text::Sources;

    fn sources(text: &str) -> (PackageSources, Vec<String>) {
        let mut project = ProjectText::default();
        for (path, content) in [
            ("forge.toml", format!("[project]\nname = 'a'\n{text}")),
            ("keyrings/own.gpg", "x".to_owned()),
        ] {
            let file = TextFile {
                bytes: Cow::Owned(content.into_bytes()),
                embedded: false,
            };
            project.files.insert(path.to_owned(), file);
        }
        let mut diagnostics = Diagnostics::default();
        let project = project::read(&project, &mut Sources::default(), &mut diagnostics);
        let said = diagnostics
            .iter()
            .map(|diagnostic| format!("{} {}", diagnostic.code, diagnostic.message))
            .collect();
        (project.sources, said)
    }

    #[test]
    fn everything_is_read() {
        let (sources, said) = sources(
            r#"
[sources.debian]
mirrors = ["https://mirror.example.com/debian", "file:///srv/debian"]
snapshot = "https://archive.example.com/{archive}/{date}"
keyring = "keyrings/own.gpg"
suites.own = { mirrors = ["http://own.example.com:8080"], keyring = "keyrings/own.gpg" }
[sources.python]
indexes = ["https://index.example.com/simple"]
[sources.registry."registry.example.com:5000"]
mirrors = ["https://mirror.example.com/prefix"]
plain_http = true
"#,
        );
        assert!(said.is_empty(), "{said:?}");
        assert_eq!(sources.debian.mirrors.len(), 2);
        assert!(sources.debian.snapshot.unwrap().contains("{date}"));
        assert_eq!(
            sources.debian.suites["own"].keyring.as_deref(),
            Some("keyrings/own.gpg")
        );
        assert_eq!(sources.python.indexes, ["https://index.example.com/simple"]);
        assert!(sources.registries["registry.example.com:5000"].plain_http);
    }

    #[test]
    fn nothing_is_said_of_what_is_not_there() {
        let (sources, said) = sources("");
        assert!(said.is_empty() && sources.debian.mirrors.is_empty());
        let (_, said) = self::sources("[sources.debian]\n");
        assert!(said.is_empty(), "{said:?}");
    }

    #[test]
    fn places_that_are_none_are_refused() {
        for (text, code) in [
            ("[sources.debian]\nmirrors = ['ftp://a.example']", "F0004"),
            ("[sources.debian]\nmirrors = ['https://']", "F0004"),
            (
                "[sources.debian]\nmirrors = ['https://u:p@a.example']",
                "F0004",
            ),
            (
                "[sources.debian]\nmirrors = ['https://a.example/?b']",
                "F0004",
            ),
            ("[sources.debian]\nsnapshot = 'https://a.example/'", "F0004"),
            (
                "[sources.debian]\nsnapshot = 'https://a.example/{date}/{time}'",
                "F0004",
            ),
            ("[sources.debian]\nkeyring = 'keyrings/no.gpg'", "F0007"),
            ("[sources.debian]\nkeyring = 'forge.toml'", "F0007"),
            ("[sources.debian]\nmirror = []", "F0002"),
            ("[sources.registry.'a/b']\n", "F0004"),
            ("[sources.registry.'u@a']\n", "F0004"),
            ("[sources]\npython = 1", "F0003"),
        ] {
            let (_, said) = sources(text);
            assert_eq!(said.len(), 1, "{text}: {said:?}");
            assert!(said[0].starts_with(code), "{text}: {said:?}");
            assert!(!said[0].contains("u:p@"), "{said:?}");
        }
    }
}
