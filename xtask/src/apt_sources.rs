//! The package sources that the machine's apt is configured with, in both of apt's formats.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::process;

/// One archive of the machine's apt configuration.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Archive {
    uri: String,
    /// A keyring's path, or in a deb822 file the key itself, which is kept as it stands.
    signed_by: Option<String>,
}

impl Archive {
    /// As a deb822 source of another suite of the same archive.
    pub(crate) fn stanza(&self, suite: &str) -> String {
        let mut stanza = format!(
            "Types: deb\nURIs: {}\nSuites: {suite}\nComponents: main\n",
            self.uri
        );
        if let Some(key) = &self.signed_by {
            stanza.push_str(&format!("Signed-By: {key}\n"));
        }
        stanza
    }
}

/// Every configuration file of sources, with its content.
fn configured() -> Result<Vec<(PathBuf, String)>> {
    let said = process::text(Command::new("apt-config").args([
        "shell",
        "list",
        "Dir::Etc::sourcelist/f",
        "parts",
        "Dir::Etc::sourceparts/d",
    ]))?;
    let place = |name: &str| {
        let value = said.lines().find_map(|line| {
            line.strip_prefix(name)?
                .strip_prefix("='")?
                .strip_suffix('\'')
        });
        value.map(PathBuf::from)
    };
    let mut files: Vec<PathBuf> = place("list").into_iter().collect();
    if let Some(parts) = place("parts").and_then(|parts| fs::read_dir(parts).ok()) {
        let mut parts: Vec<PathBuf> = parts.flatten().map(|entry| entry.path()).collect();
        parts.sort();
        files.extend(parts.into_iter().filter(|path| {
            path.extension()
                .is_some_and(|e| e == "list" || e == "sources")
        }));
    }
    Ok(files
        .into_iter()
        .filter_map(|path| fs::read_to_string(&path).ok().map(|text| (path, text)))
        .collect())
}

/// See [`archives`], of this machine.
pub(crate) fn debian_archives(codename: &str) -> Result<Vec<Archive>> {
    Ok(archives(&configured()?, codename))
}

/// The archives that carry `main` of a release under its plain name: Debian's own, and perhaps one of somebody else, which
/// then turns out not to have the package.
fn archives(sources: &[(PathBuf, String)], codename: &str) -> Vec<Archive> {
    let mut found = Vec::new();
    for (path, text) in sources {
        let deb822 = path
            .extension()
            .is_some_and(|extension| extension == "sources");
        let entries = if deb822 {
            deb822_entries(text)
        } else {
            one_line_entries(text)
        };
        for entry in entries {
            let suite = entry
                .suites
                .iter()
                .any(|suite| suite == codename || suite == "stable" || suite == "oldstable");
            if suite && entry.components.iter().any(|component| component == "main") {
                found.extend(entry.uris.into_iter().map(|uri| Archive {
                    uri,
                    signed_by: entry.signed_by.clone(),
                }));
            }
        }
    }
    // An archive may be listed once for each suite.
    let mut distinct: Vec<Archive> = Vec::new();
    for archive in found {
        if !distinct.contains(&archive) {
            distinct.push(archive);
        }
    }
    distinct
}

#[derive(Debug, Default)]
struct Entry {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn deb822_entries(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for stanza in text.split("\n\n") {
        let mut fields: Vec<(String, String)> = Vec::new();
        for line in stanza.lines().filter(|line| !line.starts_with('#')) {
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = fields.last_mut() {
                    value.push('\n');
                    value.push_str(line);
                }
            } else if let Some((name, value)) = line.split_once(':') {
                fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        let field = |name: &str| {
            fields
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.as_str())
        };
        let off = field("enabled").is_some_and(|value| matches!(value, "no" | "false" | "0"));
        if off
            || !words(field("types").unwrap_or_default())
                .iter()
                .any(|kind| kind == "deb")
        {
            continue;
        }
        entries.push(Entry {
            uris: words(field("uris").unwrap_or_default()),
            suites: words(field("suites").unwrap_or_default()),
            components: words(field("components").unwrap_or_default()),
            signed_by: field("signed-by").map(str::to_owned),
        });
    }
    entries
}

fn one_line_entries(text: &str) -> Vec<Entry> {
    let entry = |line: &str| {
        let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
        // Not `deb-src`, nor a word that only begins like it.
        if !rest.starts_with([' ', '\t', '[']) {
            return None;
        }
        let (options, rest) = match rest.trim_start().strip_prefix('[') {
            Some(bracket) => bracket.split_once(']')?,
            None => ("", rest),
        };
        let mut rest = rest.split_whitespace().map(str::to_owned);
        Some(Entry {
            uris: vec![rest.next()?],
            suites: vec![rest.next()?],
            components: rest.collect(),
            signed_by: options
                .split_whitespace()
                .find_map(|o| o.strip_prefix("signed-by="))
                .map(str::to_owned),
        })
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, text: &str) -> Vec<Archive> {
        archives(&[(PathBuf::from(name), text.to_owned())], "bookworm")
    }

    fn archive(uri: &str, signed_by: Option<&str>) -> Archive {
        Archive {
            uri: uri.into(),
            signed_by: signed_by.map(str::to_owned),
        }
    }

    #[test]
    fn deb822_sources_are_read() {
        let text = "Types: deb\n# a comment\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n\
            Components: main\nSigned-By: /keys/debian.gpg\n\n\
            Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\nComponents: main\n\n\
            Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\n\n\
            Types: deb-src\nURIs: http://sources.example/debian\nSuites: bookworm\nComponents: main\n";
        assert_eq!(
            of("debian.sources", text),
            [archive(
                "http://mirror.example/debian",
                Some("/keys/debian.gpg")
            )]
        );
    }

    #[test]
    fn a_key_within_the_file_is_kept_as_it_stands() {
        let text = "Types: deb\nURIs: http://m.example/\nSuites: stable\nComponents: main\nSigned-By:\n -----BEGIN\n .\n abc\n";
        let [archive] = &of("x.sources", text)[..] else {
            panic!("one archive")
        };
        assert!(
            archive
                .stanza("trixie")
                .ends_with("Signed-By: \n -----BEGIN\n .\n abc\n"),
            "{}",
            archive.stanza("trixie")
        );
    }

    #[test]
    fn one_line_sources_are_read() {
        let text = "# deb http://commented.example/ bookworm main\n\
            deb http://mirror.example/debian bookworm main contrib # trailing\n\
            deb http://mirror.example/debian bookworm-updates main\n\
            deb-src http://mirror.example/debian bookworm main\n\
            deb [arch=amd64 signed-by=/keys/other.gpg] https://other.example/linux bookworm stable\n\
            deb [ signed-by=/keys/third.gpg arch=amd64 ] https://third.example bookworm main\n";
        let expected = [
            archive("http://mirror.example/debian", None),
            archive("https://third.example", Some("/keys/third.gpg")),
        ];
        assert_eq!(of("sources.list", text), expected);
    }
}
