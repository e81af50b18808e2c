//! Declared fields as a person reads about them: the rows of option tables, bounds in words, values as TOML writes them.
//!
//! Owns no rule of its own: what it says of a type is what [`super::decode`] checks.

use serde_json::Value as Json;

use super::field::{Bounds, Field, Fields, Presence, Type};
use super::node::{Node, NodeKind};
use super::units::{show_duration, show_size};

/// One field, with the tables above it in its path.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// `limits.memory`, `admins.NAME.keys` (in a map), `mounts[].at` (in a list).
    pub path: String,
    pub ty: String,
    pub given: Given,
    /// Empty if the type says all there is.
    pub bounds: String,
    pub doc: String,
}

/// Whether a value must be given.
#[derive(Clone, Debug, PartialEq)]
pub enum Given {
    Required,
    Optional,
    Default(Json),
}

/// A row for every field, those of inner tables below the field that holds them, in the order in which they are declared.
pub fn rows(fields: &Fields) -> Vec<Row> {
    let mut rows = Vec::new();
    add_rows(fields, "", &mut rows);
    rows
}

fn add_rows(fields: &Fields, above: &str, rows: &mut Vec<Row>) {
    let mut declared: Vec<&Field> = fields.iter().collect();
    declared.sort_by_key(|field| field.at);
    for field in declared {
        let path = format!("{above}{}", field.name);
        rows.push(Row {
            path: path.clone(),
            ty: field.ty.describe(),
            given: match &field.presence {
                Presence::Required => Given::Required,
                Presence::Optional => Given::Optional,
                Presence::Default(value) => Given::Default(value.to_json()),
            },
            bounds: bounds(&field.ty),
            doc: field.doc.clone(),
        });
        let mut inner = &field.ty;
        let mut below = path;
        loop {
            match inner {
                Type::List { of, .. } => {
                    below.push_str("[]");
                    inner = of;
                }
                Type::Map(of) => {
                    below.push_str(".NAME");
                    inner = of;
                }
                Type::Table(fields) => {
                    add_rows(fields, &format!("{below}."), rows);
                    break;
                }
                _ => break,
            }
        }
    }
}

/// The bounds of a type in words; empty if it has none.
pub fn bounds(ty: &Type) -> String {
    match ty {
        Type::Int(bounds) => range(*bounds, |number| number.to_string()),
        Type::Size(bounds) => range(*bounds, show_size),
        Type::Duration(bounds) => range(*bounds, show_duration),
        Type::String {
            pattern: Some(pattern),
        } => format!("matches `{}`", pattern.as_str()),
        Type::List { of, count } => {
            let items = range(*count, |number| number.to_string());
            let each = self::bounds(of);
            match (items.is_empty(), each.is_empty()) {
                (true, true) => String::new(),
                (false, true) => format!("{items} items"),
                (true, false) => format!("each {each}"),
                (false, false) => format!("{items} items, each {each}"),
            }
        }
        Type::Map(of) => match self::bounds(of) {
            each if each.is_empty() => each,
            each => format!("each {each}"),
        },
        _ => String::new(),
    }
}

fn range(bounds: Bounds, show: impl Fn(i64) -> String) -> String {
    match (bounds.min, bounds.max) {
        (Some(min), Some(max)) => format!("{} to {}", show(min), show(max)),
        (Some(min), None) => format!("at least {}", show(min)),
        (None, Some(max)) => format!("at most {}", show(max)),
        (None, None) => String::new(),
    }
}

/// A value on one line, as TOML writes it. Absent fields of tables are left out.
pub fn inline(value: &Json) -> String {
    match value {
        Json::Null => "absent".to_owned(),
        Json::Array(items) => {
            let items: Vec<String> = items.iter().map(inline).collect();
            format!("[{}]", items.join(", "))
        }
        Json::Object(map) => {
            let entries: Vec<String> = map
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| format!("{} = {}", quoted_key(key), inline(value)))
                .collect();
            match entries.is_empty() {
                true => "{}".to_owned(),
                false => format!("{{ {} }}", entries.join(", ")),
            }
        }
        // A JSON string is a TOML basic string, too.
        scalar => scalar.to_string(),
    }
}

/// A key as it is written in a dotted path: in quotes only where TOML wants them.
pub fn quoted_key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        Json::from(key).to_string()
    }
}

/// What a person wrote, unchecked; what no type of ours takes is named by its type.
pub fn written(node: &Node) -> Json {
    match &node.kind {
        NodeKind::Bool(value) => Json::Bool(*value),
        NodeKind::Int(number) => Json::from(*number),
        NodeKind::Str(text) | NodeKind::Rendered(text) => Json::from(text.as_str()),
        NodeKind::Other(name) => Json::from(*name),
        NodeKind::Null => Json::Null,
        NodeKind::List(items) => items.iter().map(written).collect(),
        NodeKind::Table(table) => Json::Object(
            table
                .iter()
                .map(|(key, entry)| (key.to_owned(), written(&entry.value)))
                .collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::config::node::parse;
    use crate::pure::text::{Diagnostics, Sources};

    fn declared(text: &str) -> Fields {
        let mut sources = Sources::default();
        let mut diagnostics = Diagnostics::default();
        let id = sources.add("a.toml", text);
        let table = parse(&sources, id, &mut diagnostics).unwrap();
        let fields = Fields::parse(&table, &mut diagnostics);
        assert!(!diagnostics.has_errors(), "{diagnostics:?}");
        fields
    }

    #[test]
    fn rows_go_into_tables_in_the_order_of_declaration() {
        let fields = declared(
            r#"
z = { type = "size", min = "1MiB", max = "1536MiB", doc = "Z" }
a = { type = "map", default = {}, doc = "A", of = { type = "table", doc = "T", fields = { k = { type = "list", of = "int", min = 1, doc = "K" } } } }
m = { type = "list", default = [], doc = "M", of = { type = "table", doc = "T", fields = { at = { type = "path", optional = true, doc = "At" } } } }
"#,
        );
        let rows: Vec<String> = rows(&fields)
            .iter()
            .map(|row| format!("{} {} {}", row.path, row.ty, row.bounds))
            .collect();
        assert_eq!(
            rows,
            [
                "z size 1MiB to 1536MiB",
                "a map of table ",
                "a.NAME.k list of int at least 1 items",
                "m list of table ",
                "m[].at path ",
            ]
        );
    }

    #[test]
    fn amounts_in_their_own_units() {
        assert_eq!(show_size(0), "0B");
        assert_eq!(show_size(3 << 30), "3GiB");
        assert_eq!(show_duration(90_000), "90s");
        assert_eq!(show_duration(86_400_000), "1d");
    }

    #[test]
    fn values_as_toml_has_them() {
        let value = serde_json::json!({ "a": [1, "x\n"], "net.core": true, "n": null });
        assert_eq!(inline(&value), r#"{ a = [1, "x\n"], "net.core" = true }"#);
    }
}
