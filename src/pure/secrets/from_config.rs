//! `hosts/NAME.secrets.toml`: who may read the secrets of a host, and one ciphertext per value.

use std::collections::{BTreeMap, BTreeSet};

use super::mask::mask;
use super::recipient::Recipient;
use super::sealed::Sealed;
use crate::pure::config::node::{self, Node, NodeKind, Table};
use crate::pure::name::SecretName;
use crate::pure::text::{Diagnostic, Diagnostics, SourceId, Sources, Span, codes};

/// The version of the format that this program reads and writes.
pub const VERSION: i64 = 1;

const KEYS: [&str; 3] = ["version", "recipients", "secrets"];

/// A recipient and where it is named.
#[derive(Clone, Debug)]
pub struct Listed {
    pub at: Span,
    pub recipient: Recipient,
}

/// A ciphertext and where its key stands (a label on the value itself would mark a screenful).
#[derive(Clone, Debug)]
pub struct Value {
    pub at: Span,
    pub sealed: Sealed,
}

/// A secrets file, read. What was wrong in it has been reported, and is left out here.
#[derive(Clone, Debug, Default)]
pub struct SecretsFile {
    path: String,
    recipients: BTreeMap<String, Listed>,
    recipients_at: Option<Span>,
    /// False if an entry of `[recipients]` could not be read, so that it is not known to whom values should be encrypted.
    recipients_known: bool,
    values: BTreeMap<SecretName, Value>,
    unreadable: BTreeSet<SecretName>,
}

impl SecretsFile {
    /// Reads a secrets file and reports everything that is wrong with it; `None` if nothing of it can be trusted.
    ///
    /// Adds the text to `sources` itself, masked: a value that somebody wrote in clear must not be quoted in a report. For the
    /// same reason the text must not be added elsewhere.
    pub fn read(
        sources: &mut Sources,
        path: &str,
        text: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let shown = sources.add(path, mask(text));
        // Parsed as it is, in a set of sources of its own; then every place is moved over to the masked text.
        let mut own = Sources::default();
        let id = own.add(path, text);
        let mut found = Diagnostics::default();
        let file = node::parse(&own, id, &mut found)
            .and_then(|table| Reader { shown, path }.file(&table, &mut found));
        for diagnostic in found.iter() {
            let mut diagnostic = diagnostic.clone();
            for label in diagnostic.primary.iter_mut().chain(&mut diagnostic.others) {
                label.span = Span::new(shown, label.span.range());
            }
            diagnostics.push(diagnostic);
        }
        file
    }

    /// Its path in the project.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// By name, ascending.
    pub fn recipients(&self) -> impl Iterator<Item = (&str, &Recipient)> {
        self.recipients
            .iter()
            .map(|(name, listed)| (name.as_str(), &listed.recipient))
    }

    /// The same, with their places.
    pub fn listed(&self) -> &BTreeMap<String, Listed> {
        &self.recipients
    }

    /// Where `[recipients]` stands.
    pub fn recipients_at(&self) -> Option<Span> {
        self.recipients_at
    }

    /// Whether every entry of `[recipients]` could be read.
    pub fn recipients_known(&self) -> bool {
        self.recipients_known
    }

    pub fn values(&self) -> &BTreeMap<SecretName, Value> {
        &self.values
    }

    pub fn get(&self, name: &SecretName) -> Option<&Sealed> {
        self.values.get(name).map(|value| &value.sealed)
    }

    /// Whether there is an entry of this name whose value is no ciphertext.
    pub fn is_unreadable(&self, name: &SecretName) -> bool {
        self.unreadable.contains(name)
    }

    pub fn unreadable(&self) -> impl Iterator<Item = &SecretName> {
        self.unreadable.iter()
    }

    /// The name under which a key is among the recipients.
    pub fn name_of(&self, key: &Recipient) -> Option<&str> {
        self.recipients()
            .find(|(_, recipient)| *recipient == key)
            .map(|(name, _)| name)
    }
}

struct Reader<'a> {
    shown: SourceId,
    path: &'a str,
}

impl Reader<'_> {
    fn here(&self, span: Span) -> Span {
        Span::new(self.shown, span.range())
    }

    fn file(&self, table: &Table, diagnostics: &mut Diagnostics) -> Option<SecretsFile> {
        let version = table.get("version");
        match version.map(|entry| (&entry.value.kind, entry.value.span)) {
            Some((NodeKind::Int(VERSION), _)) => {}
            Some((NodeKind::Int(other), span)) => {
                diagnostics.push(
                    Diagnostic::error(
                        codes::UNSUPPORTED_VERSION,
                        format!("the format of this secrets file is version {other}"),
                    )
                    .at(span, format!("this forge knows version {VERSION}"))
                    .help("use the forge that wrote it, or a newer one"),
                );
                // Whatever else is strange in it may be right in that version.
                return None;
            }
            Some((_, span)) => {
                diagnostics.push(
                    Diagnostic::error(codes::WRONG_TYPE, "`version` is no whole number")
                        .at(span, format!("write `version = {VERSION}`")),
                );
            }
            None => {
                diagnostics.push(
                    Diagnostic::error(
                        codes::MISSING_KEY,
                        format!("{} has no `version`", self.path),
                    )
                    .at(Span::new(self.shown, 0..0), "`version` is missing here")
                    .help(format!("write `version = {VERSION}` as its first line")),
                );
            }
        }
        for (key, entry) in table.iter().filter(|(key, _)| !KEYS.contains(key)) {
            diagnostics.push(
                Diagnostic::error(
                    codes::UNKNOWN_KEY,
                    format!("unknown key `{key}` in a secrets file"),
                )
                .at(entry.key, "")
                .suggest(key, KEYS),
            );
        }
        let mut file = SecretsFile {
            path: self.path.to_owned(),
            recipients_known: true,
            ..SecretsFile::default()
        };
        match table.get("recipients") {
            Some(entry) => match entry.value.as_table() {
                Some(table) => {
                    file.recipients_at = Some(self.here(entry.key));
                    self.recipients(table, entry.key, &mut file, diagnostics);
                }
                None => {
                    file.recipients_known = false;
                    diagnostics.push(not_a_table("recipients", &entry.value));
                }
            },
            None => {
                file.recipients_known = false;
                diagnostics.push(
                    Diagnostic::error(
                        codes::MISSING_KEY,
                        format!("{} has no `[recipients]`", self.path),
                    )
                    .at(
                        Span::new(self.shown, 0..0),
                        "`[recipients]` is missing here",
                    )
                    .help("name who may read the secrets: `alice = \"ssh-ed25519 AAAA…\"`"),
                );
            }
        }
        // A file that was just made has no secrets yet.
        if let Some(entry) = table.get("secrets") {
            match entry.value.as_table() {
                Some(table) => self.values(table, &mut file, diagnostics),
                None => diagnostics.push(not_a_table("secrets", &entry.value)),
            }
        }
        Some(file)
    }

    fn recipients(
        &self,
        table: &Table,
        at: Span,
        file: &mut SecretsFile,
        diagnostics: &mut Diagnostics,
    ) {
        if table.is_empty() {
            file.recipients_known = false;
            diagnostics.push(
                Diagnostic::error(codes::MISSING_KEY, "`[recipients]` names nobody")
                    .at(at, "a secret for nobody could never be read")
                    .help("add one: `alice = \"ssh-ed25519 AAAA…\"`"),
            );
        }
        for (name, entry) in table.iter() {
            if name.is_empty() || name.chars().any(char::is_control) {
                diagnostics.push(
                    Diagnostic::error(codes::BAD_NAME, "a recipient has no printable name")
                        .at(entry.key, "")
                        .help("name the person or the machine that the key belongs to"),
                );
            }
            let parsed = match entry.value.as_str() {
                Some(text) => text.parse::<Recipient>(),
                None => {
                    file.recipients_known = false;
                    diagnostics.push(
                        Diagnostic::error(
                            codes::WRONG_TYPE,
                            format!("the recipient `{name}` is {}", entry.value.type_name()),
                        )
                        .at(entry.key, "a public key in quotes is wanted"),
                    );
                    continue;
                }
            };
            match parsed {
                Ok(recipient) => {
                    if let Some((other, listed)) = file
                        .recipients
                        .iter()
                        .find(|(_, listed)| listed.recipient == recipient)
                    {
                        diagnostics.push(
                            Diagnostic::error(
                                codes::DUPLICATE,
                                format!("`{other}` and `{name}` are the same key"),
                            )
                            .at(entry.key, "named again here")
                            .also(Span::new(entry.key.source, listed.at.range()), "named here")
                            .help("remove one of them"),
                        );
                        continue;
                    }
                    let at = self.here(entry.key);
                    file.recipients
                        .insert(name.to_owned(), Listed { at, recipient });
                }
                Err(error) => {
                    file.recipients_known = false;
                    diagnostics.push(
                        Diagnostic::error(
                            codes::BAD_RECIPIENT,
                            format!("`{name}` is no recipient: {error}"),
                        )
                        .at(entry.key, "")
                        .help(
                            "write the whole line of a `.pub` file of type ssh-ed25519 or \
                             ssh-rsa, or an age public key",
                        ),
                    );
                }
            }
        }
    }

    fn values(&self, table: &Table, file: &mut SecretsFile, diagnostics: &mut Diagnostics) {
        let host = host_of(self.path);
        for (key, entry) in table.iter() {
            let name = match key.parse::<SecretName>() {
                Ok(name) => name,
                Err(error) => {
                    diagnostics.push(
                        Diagnostic::error(codes::BAD_NAME, error.message())
                            .at(entry.key, "")
                            .help(error.rule()),
                    );
                    continue;
                }
            };
            let reason = match entry.value.as_str() {
                Some(text) => match Sealed::parse(text) {
                    Ok(sealed) => {
                        let at = self.here(entry.key);
                        file.values.insert(name, Value { at, sealed });
                        continue;
                    }
                    Err(error) => error.to_string(),
                },
                None => format!("this is {}", entry.value.type_name()),
            };
            diagnostics.push(
                Diagnostic::error(
                    codes::BAD_CIPHERTEXT,
                    format!("the value of `{name}` is not encrypted, or damaged: {reason}"),
                )
                .at(entry.key, "")
                .help(format!("encrypt it: forge secret set {host} {name}"))
                .help("a value that was written here in clear is in the history of the project: change it where it is used"),
            );
            file.unreadable.insert(name);
        }
    }
}

fn not_a_table(key: &str, value: &Node) -> Diagnostic {
    Diagnostic::error(
        codes::WRONG_TYPE,
        format!("`{key}` is {}", value.type_name()),
    )
    .at(value.span, format!("a table is wanted: `[{key}]`"))
}

/// The host that a secrets file belongs to, for the commands in help texts.
fn host_of(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.strip_suffix(".secrets.toml").unwrap_or("HOST")
}
