//! The types of options and of the fields of contributions; [`super::declaration`] reads how they are declared in TOML.
//!
//! One language for both, and for the kinds that forge itself knows (`kinds.toml`), so that validation, JSON Schema and the
//! reference have one source.

use std::collections::{BTreeMap, BTreeSet};

use regex_lite::Regex;

use super::node::Table;
use super::value::Value;
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
            Self::LocalPath => "a path inside its own folder".to_owned(),
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
