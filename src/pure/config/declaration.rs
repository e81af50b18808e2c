//! Declarations in TOML to [`Field`]s: `name = { type = "size", default = "1GiB", doc = "…" }`.

use regex_lite::Regex;

use super::decode::decode;
use super::field::{Bounds, Field, Fields, Presence, Type};
use super::node::{Entry, Node, NodeKind, Table};
use super::units::{parse_duration, parse_size};
use super::value::{Data, Value};
use crate::pure::text::{Diagnostic, Diagnostics, Span, codes};

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
    pub(super) fn parse(name: &str, entry: &Entry, diagnostics: &mut Diagnostics) -> Option<Self> {
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
