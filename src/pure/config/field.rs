//! The types of options and of the fields of contributions, and how they are declared in TOML.
//!
//! One language for both, and for the kinds that forge itself knows (`kinds.toml`), so that validation, JSON Schema and the
//! reference have one source.

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;

use super::decode::decode;
use super::node::{Entry, Node, NodeKind, Table};
use super::units::{parse_duration, parse_size};
use super::value::{Data, Value};
use crate::pure::text::{Diagnostic, Diagnostics, Span, codes};

/// What a value must be.
#[derive(Clone, Debug)]
pub enum Type {
    /// One line without control characters.
    String {
        pattern: Option<Regex>,
    },
    /// Lines.
    Text,
    Bool,
    Int(Bounds),
    Port,
    /// Bounds in bytes.
    Size(Bounds),
    /// Bounds in milliseconds.
    Duration(Bounds),
    Domain,
    Email,
    /// An address or a network.
    Cidr,
    /// Absolute and normalised.
    Path,
    /// Relative to the module's folder and normalised.
    LocalPath,
    /// A name as contributions have them.
    Name,
    SshKey,
    Enum(Vec<String>),
    Image,
    /// The name of a contribution of this kind.
    Ref(String),
    List {
        of: Box<Type>,
        count: Bounds,
    },
    Map(Box<Type>),
    Table(Fields),
}

/// Inclusive bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    pub min: Option<i64>,
    pub max: Option<i64>,
}

impl Bounds {
    pub fn contain(self, number: i64) -> bool {
        self.min.is_none_or(|min| number >= min) && self.max.is_none_or(|max| number <= max)
    }
}

/// Whether a value must be given.
#[derive(Clone, Debug)]
pub enum Presence {
    Required,
    Optional,
    Default(Value),
}

/// A declared option or field.
#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    /// Where it is declared.
    pub at: Span,
    pub ty: Type,
    pub presence: Presence,
    pub doc: String,
}

/// Declared fields by name.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    all: BTreeMap<String, Field>,
    /// Names whose declarations could not be understood: nothing can be said of their use.
    broken: BTreeSet<String>,
}

impl Fields {
    pub fn is_broken(&self, name: &str) -> bool {
        self.broken.contains(name)
    }

    pub fn any_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&Field> {
        self.all.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Field> {
        self.all.values()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.keys().map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn insert(&mut self, field: Field) {
        self.all.insert(field.name.clone(), field);
    }

    /// Reads declarations, `name = { type = …, doc = … }` each.
    pub fn parse(table: &Table, diagnostics: &mut Diagnostics) -> Self {
        let mut fields = Self::default();
        for (name, entry) in table.iter() {
            if name.parse::<crate::pure::name::OptionName>().is_err() {
                diagnostics.push(
                    Diagnostic::error(
                        codes::BAD_NAME,
                        format!("`{name}` cannot be the name of an option or field"),
                    )
                    .at(entry.key, "")
                    .help("use a-z, 0-9 and `_`, a letter first, at most 63 characters"),
                );
            }
            match Field::parse(name, entry, diagnostics) {
                Some(field) => fields.insert(field),
                None => {
                    fields.broken.insert(name.to_owned());
                }
            }
        }
        fields
    }
}

impl Type {
    /// As the user writes it in a declaration.
    pub fn word(&self) -> &'static str {
        match self {
            Self::String { .. } => "string",
            Self::Text => "text",
            Self::Bool => "bool",
            Self::Int(_) => "int",
            Self::Port => "port",
            Self::Size(_) => "size",
            Self::Duration(_) => "duration",
            Self::Domain => "domain",
            Self::Email => "email",
            Self::Cidr => "cidr",
            Self::Path => "path",
            Self::LocalPath => "local-path",
            Self::Name => "name",
            Self::SshKey => "ssh-key",
            Self::Enum(_) => "enum",
            Self::Image => "image",
            Self::Ref(_) => "ref",
            Self::List { .. } => "list",
            Self::Map(_) => "map",
            Self::Table(_) => "table",
        }
    }

    /// For sentences: what a value of the type is, with its article.
    pub fn wanted(&self) -> String {
        match self {
            Self::String { .. } | Self::Text => "text in quotes".to_owned(),
            Self::Bool => "`true` or `false`".to_owned(),
            Self::Int(_) => "a whole number".to_owned(),
            Self::Port => "a port number".to_owned(),
            Self::Size(_) => "a size such as \"512MiB\"".to_owned(),
            Self::Duration(_) => "a duration such as \"30s\"".to_owned(),
            Self::Domain => "a domain in quotes".to_owned(),
            Self::Email => "an e-mail address in quotes".to_owned(),
            Self::Cidr => "an address or network such as \"192.0.2.0/24\"".to_owned(),
            Self::Path => "an absolute path in quotes".to_owned(),
            Self::LocalPath => "a path inside the module's folder".to_owned(),
            Self::Name => "a name in quotes".to_owned(),
            Self::SshKey => "an SSH public key in quotes".to_owned(),
            Self::Enum(values) => {
                let values: Vec<String> =
                    values.iter().map(|value| format!("\"{value}\"")).collect();
                format!("one of {}", values.join(", "))
            }
            Self::Image => "the name of an image".to_owned(),
            Self::Ref(kind) => format!("the name of a {kind}"),
            Self::List { of, .. } => format!("a list of {}", of.describe()),
            Self::Map(of) => format!("a table whose values are each {}", of.wanted()),
            Self::Table(_) => "a table".to_owned(),
        }
    }

    /// For tables of options: the type with what it consists of.
    pub fn describe(&self) -> String {
        match self {
            Self::Enum(values) => values.join(" | "),
            Self::Ref(kind) => format!("{kind} name"),
            Self::List { of, .. } => format!("list of {}", of.describe()),
            Self::Map(of) => format!("map of {}", of.describe()),
            other => other.word().to_owned(),
        }
    }
}

/// Every type, as a declaration names it.
pub(super) const WORDS: [&str; 20] = [
    "string",
    "text",
    "bool",
    "int",
    "port",
    "size",
    "duration",
    "domain",
    "email",
    "cidr",
    "path",
    "local-path",
    "name",
    "ssh-key",
    "enum",
    "image",
    "ref",
    "list",
    "map",
    "table",
];

fn types() -> String {
    format!("the types are {}", WORDS.join(", "))
}

/// The keys that a declaration may have, whatever its type.
pub(super) const DECLARATION_KEYS: [&str; 12] = [
    "type", "doc", "default", "optional", "min", "max", "pattern", "values", "of", "to", "fields",
    "example",
];

impl Field {
    fn parse(name: &str, entry: &Entry, diagnostics: &mut Diagnostics) -> Option<Self> {
        let Some(table) = entry.value.as_table() else {
            diagnostics.push(
                Diagnostic::error(
                    codes::WRONG_TYPE,
                    format!("the declaration of `{name}` is {}", entry.value.type_name()),
                )
                .at(entry.value.span, "a table is wanted")
                .help(format!(
                    "write `{name} = {{ type = \"string\", doc = \"…\" }}`"
                )),
            );
            return None;
        };
        let doc = match table.get("doc") {
            Some(doc) => match doc.value.as_str() {
                Some(text) => text.to_owned(),
                None => {
                    diagnostics.push(wrong(name, "doc", &doc.value, "text in quotes"));
                    String::new()
                }
            },
            None => {
                diagnostics.push(
                    Diagnostic::error(codes::MISSING_KEY, format!("`{name}` has no `doc`"))
                        .at(entry.key, "")
                        .help("add `doc = \"…\"`: every option and field says what it is for"),
                );
                String::new()
            }
        };
        let ty = parse_type(name, &entry.value, diagnostics)?;
        let optional = match table.get("optional").map(|entry| &entry.value) {
            None => false,
            Some(node) => match node.kind {
                NodeKind::Bool(value) => value,
                _ => {
                    diagnostics.push(wrong(name, "optional", node, "`true` or `false`"));
                    true
                }
            },
        };
        let presence = match table.get("default") {
            Some(default) if optional => {
                diagnostics.push(
                    Diagnostic::error(
                        codes::BAD_DECLARATION,
                        format!("`{name}` is optional and has a default"),
                    )
                    .at(default.key, "with a default it is never absent")
                    .help("remove `default` or `optional`"),
                );
                Presence::Optional
            }
            Some(default) => {
                let mut found = Diagnostics::default();
                let value = decode(&default.value, &ty, name, &mut found);
                for diagnostic in found.iter() {
                    let mut diagnostic = diagnostic.clone();
                    diagnostic.code = codes::BAD_DEFAULT;
                    diagnostic.message =
                        format!("in the default of `{name}`: {}", diagnostic.message);
                    diagnostics.push(diagnostic);
                }
                Presence::Default(value.unwrap_or(Value::new(default.value.span, Data::Null)))
            }
            None if optional => Presence::Optional,
            None => Presence::Required,
        };
        Some(Self {
            name: name.to_owned(),
            at: entry.key,
            ty,
            presence,
            doc,
        })
    }
}

/// Reads the type of a declaration: a table with `type`, or the bare name of a type.
fn parse_type(name: &str, node: &Node, diagnostics: &mut Diagnostics) -> Option<Type> {
    let empty = Table::default();
    let (word, word_span, table) = match &node.kind {
        NodeKind::Str(word) => (word.as_str(), node.span, &empty),
        NodeKind::Table(table) => match table.get("type") {
            Some(entry) => match entry.value.as_str() {
                Some(word) => (word, entry.value.span, table),
                None => {
                    diagnostics.push(
                        wrong(name, "type", &entry.value, "the name of a type").help(types()),
                    );
                    return None;
                }
            },
            None => {
                // A misspelt `type` is one mistake and not two.
                if !unknown_keys(name, table, diagnostics) {
                    diagnostics.push(
                        Diagnostic::error(
                            codes::MISSING_KEY,
                            format!("the declaration of `{name}` has no `type`"),
                        )
                        .at(node.span, "")
                        .help(types()),
                    );
                }
                return None;
            }
        },
        _ => {
            diagnostics.push(wrong(name, "of", node, "a type").help(types()));
            return None;
        }
    };
    unknown_keys(name, table, diagnostics);
    for (key, entry) in table.iter() {
        if let Some(only) = only_for(key)
            && !only.contains(&word)
            && WORDS.contains(&word)
        {
            diagnostics.push(
                Diagnostic::error(
                    codes::BAD_DECLARATION,
                    format!("`{key}` of `{name}` means nothing for the type `{word}`"),
                )
                .at(entry.key, format!("only for {}", only.join(", ")))
                .help(format!("remove `{key}`, or change the type")),
            );
        }
    }
    let bounds = |diagnostics: &mut Diagnostics| parse_bounds(name, word, table, diagnostics);
    let of = |diagnostics: &mut Diagnostics| match table.get("of") {
        Some(of) => parse_type(name, &of.value, diagnostics),
        None => {
            diagnostics.push(
                Diagnostic::error(
                    codes::BAD_DECLARATION,
                    format!("`{name}` does not say what the {word} consists of"),
                )
                .at(word_span, "")
                .help("add `of = \"string\"`, or another type"),
            );
            None
        }
    };
    Some(match word {
        "string" => Type::String {
            pattern: parse_pattern(name, table, diagnostics),
        },
        "text" => Type::Text,
        "bool" => Type::Bool,
        "int" => Type::Int(bounds(diagnostics)),
        "port" => Type::Port,
        "size" => Type::Size(bounds(diagnostics)),
        "duration" => Type::Duration(bounds(diagnostics)),
        "domain" => Type::Domain,
        "email" => Type::Email,
        "cidr" => Type::Cidr,
        "path" => Type::Path,
        "local-path" => Type::LocalPath,
        "name" => Type::Name,
        "ssh-key" => Type::SshKey,
        "image" => Type::Image,
        "enum" => Type::Enum(parse_values(name, word_span, table, diagnostics)),
        "ref" => match table.get("to").and_then(|to| to.value.as_str()) {
            Some(kind) => Type::Ref(kind.to_owned()),
            None => {
                diagnostics.push(
                    Diagnostic::error(
                        codes::BAD_DECLARATION,
                        format!("`{name}` does not say what it refers to"),
                    )
                    .at(word_span, "")
                    .help("add `to = \"service\"`, or another kind of contribution"),
                );
                return None;
            }
        },
        "list" => Type::List {
            count: bounds(diagnostics),
            of: Box::new(of(diagnostics)?),
        },
        "map" => Type::Map(Box::new(of(diagnostics)?)),
        "table" => match table.get("fields").map(|fields| &fields.value.kind) {
            Some(NodeKind::Table(fields)) => Type::Table(Fields::parse(fields, diagnostics)),
            _ => {
                diagnostics.push(
                    Diagnostic::error(
                        codes::BAD_DECLARATION,
                        format!("`{name}` is a table without `fields`"),
                    )
                    .at(word_span, "")
                    .help("add `fields = { … }`, or make it a `map`"),
                );
                return None;
            }
        },
        unknown => {
            diagnostics.push(
                Diagnostic::error(
                    codes::BAD_VALUE,
                    format!("`{unknown}`, the type of `{name}`, does not exist"),
                )
                .at(word_span, "")
                .suggest(unknown, WORDS),
            );
            return None;
        }
    })
}

/// The types that a key of a declaration belongs to, if it does not belong to all.
pub(super) fn only_for(key: &str) -> Option<&'static [&'static str]> {
    Some(match key {
        "min" | "max" => &["int", "size", "duration", "list"],
        "pattern" => &["string"],
        "values" => &["enum"],
        "of" => &["list", "map"],
        "to" => &["ref"],
        "fields" => &["table"],
        _ => return None,
    })
}

/// Reports the keys that no declaration has; whether there was one.
fn unknown_keys(name: &str, table: &Table, diagnostics: &mut Diagnostics) -> bool {
    let mut found = false;
    for (key, entry) in table.iter() {
        if !DECLARATION_KEYS.contains(&key) {
            found = true;
            diagnostics.push(
                Diagnostic::error(
                    codes::UNKNOWN_KEY,
                    format!("unknown key `{key}` in the declaration of `{name}`"),
                )
                .at(entry.key, "")
                .suggest(key, DECLARATION_KEYS),
            );
        }
    }
    found
}

fn wrong(name: &str, key: &str, node: &Node, wanted: &str) -> Diagnostic {
    Diagnostic::error(
        codes::WRONG_TYPE,
        format!(
            "`{key}` of `{name}` wants {wanted} and got {}",
            node.type_name()
        ),
    )
    .at(node.span, format!("{wanted} is wanted"))
}

fn parse_bounds(name: &str, word: &str, table: &Table, diagnostics: &mut Diagnostics) -> Bounds {
    let mut read = |key: &str| {
        let entry = table.get(key)?;
        if only_for(key).is_some_and(|only| !only.contains(&word)) {
            return None;
        }
        let number = match (&entry.value.kind, word) {
            (NodeKind::Int(number), "int" | "list") => Some(*number),
            (NodeKind::Str(text), "size") => parse_size(text).and_then(|n| i64::try_from(n).ok()),
            (NodeKind::Str(text), "duration") => {
                parse_duration(text).and_then(|n| i64::try_from(n).ok())
            }
            _ => None,
        };
        if number.is_none() {
            diagnostics.push(
                Diagnostic::error(
                    codes::BAD_DECLARATION,
                    format!("`{key}` of `{name}` does not fit its type `{word}`"),
                )
                .at(entry.value.span, "")
                .help(match word {
                    "size" => "write a size in quotes, such as \"64MiB\"",
                    "duration" => "write a duration in quotes, such as \"30s\"",
                    _ => "write a whole number",
                }),
            );
        }
        number
    };
    let bounds = Bounds {
        min: read("min"),
        max: read("max"),
    };
    if let (Some(min), Some(max), Some(entry)) = (bounds.min, bounds.max, table.get("min"))
        && min > max
    {
        diagnostics.push(
            Diagnostic::error(
                codes::BAD_DECLARATION,
                format!("`min` of `{name}` is above its `max`"),
            )
            .at(entry.value.span, "no value could be permitted")
            .help("exchange the two"),
        );
    }
    bounds
}

fn parse_pattern(name: &str, table: &Table, diagnostics: &mut Diagnostics) -> Option<Regex> {
    let entry = table.get("pattern")?;
    let Some(text) = entry.value.as_str() else {
        diagnostics.push(wrong(
            name,
            "pattern",
            &entry.value,
            "a regular expression in quotes",
        ));
        return None;
    };
    match Regex::new(text) {
        Ok(regex) => Some(regex),
        Err(error) => {
            diagnostics.push(
                Diagnostic::error(
                    codes::BAD_DECLARATION,
                    format!("the pattern of `{name}` is no regular expression"),
                )
                .at(entry.value.span, error.to_string())
                .help("look-around and back-references are not part of the language"),
            );
            None
        }
    }
}

fn parse_values(
    name: &str,
    word: Span,
    table: &Table,
    diagnostics: &mut Diagnostics,
) -> Vec<String> {
    let mut wrong_item = false;
    let values: Vec<String> = match table.get("values").map(|entry| &entry.value.kind) {
        Some(NodeKind::List(items)) => items
            .iter()
            .filter_map(|item| {
                if item.as_str().is_none() {
                    wrong_item = true;
                    diagnostics.push(wrong(name, "values", item, "text in quotes"));
                }
                item.as_str().map(str::to_owned)
            })
            .collect(),
        _ => Vec::new(),
    };
    if values.is_empty() && !wrong_item {
        diagnostics.push(
            Diagnostic::error(
                codes::BAD_DECLARATION,
                format!("`{name}` is an enum without `values`"),
            )
            .at(word, "")
            .help("add `values = [\"one\", \"two\"]`"),
        );
    }
    values
}
