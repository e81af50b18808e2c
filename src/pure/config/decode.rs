//! A node against a declared type: a checked value, or what is wrong with it.

mod text;

use std::collections::BTreeMap;

use super::field::{Bounds, Field, Fields, Presence, Type};
use super::node::{Node, NodeKind, Table};
use super::value::{Data, Value};
use crate::pure::text::{Diagnostic, Diagnostics, Span, codes};
use text::{Refusal, check_text};

/// Checks `node` against `ty`. Every mistake below it is reported; `None` if there was one.
///
/// `name` is how messages call the value. A rendered text may stand for a value of any scalar type.
pub fn decode(node: &Node, ty: &Type, name: &str, diagnostics: &mut Diagnostics) -> Option<Value> {
    let data = match ty {
        Type::Bool => decode_bool(node, name, diagnostics)?,
        Type::Int(bounds) => Data::Int(decode_int(node, *bounds, name, diagnostics)?),
        Type::Port => {
            let bounds = Bounds {
                min: Some(1),
                max: Some(65_535),
            };
            Data::Int(decode_int(node, bounds, name, diagnostics)?)
        }
        Type::List { of, count } => decode_list(node, of, *count, name, diagnostics)?,
        Type::Map(of) => decode_map(node, of, name, diagnostics)?,
        Type::Table(fields) => {
            let NodeKind::Table(table) = &node.kind else {
                return mismatch(node, "a table", name, diagnostics);
            };
            let place = Place {
                words: &format!("`{name}`"),
                prefix: &format!("{name}."),
            };
            Data::Map(decode_entries(
                table,
                fields,
                node.span,
                place,
                diagnostics,
            )?)
        }
        _ => Data::Str(decode_text(node, ty, name, diagnostics)?),
    };
    Some(Value::new(node.span, data))
}

/// How messages call a table and what is in it.
#[derive(Clone, Copy)]
struct Place<'a> {
    words: &'a str,
    /// Before the name of each entry.
    prefix: &'a str,
}

/// Checks the entries of `table` against `fields`: unknown ones, missing ones, each value. Defaults are filled in and absent
/// optional fields are `Null`, so that the result has every field.
pub fn decode_fields(
    table: &Table,
    fields: &Fields,
    at: Span,
    name: &str,
    diagnostics: &mut Diagnostics,
) -> Option<BTreeMap<String, Value>> {
    let place = Place {
        words: name,
        prefix: "",
    };
    decode_entries(table, fields, at, place, diagnostics)
}

fn decode_entries(
    table: &Table,
    fields: &Fields,
    at: Span,
    place: Place<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<BTreeMap<String, Value>> {
    let mut fine = true;
    for (key, entry) in table.iter() {
        if fields.get(key).is_none() {
            fine = false;
            diagnostics.push(unknown_key(key, entry.key, place.words, fields.names()));
        }
    }
    let mut result = BTreeMap::new();
    for field in fields.iter() {
        match decode_field(table, field, at, place, diagnostics) {
            Some(value) => {
                result.insert(field.name.clone(), value);
            }
            None => fine = false,
        }
    }
    fine.then_some(result)
}

fn decode_field(
    table: &Table,
    field: &Field,
    at: Span,
    place: Place<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Value> {
    let given = table
        .get(&field.name)
        .filter(|entry| !matches!(entry.value.kind, NodeKind::Null));
    match (given, &field.presence) {
        (Some(entry), _) => decode(
            &entry.value,
            &field.ty,
            &format!("{}{}", place.prefix, field.name),
            diagnostics,
        ),
        (None, Presence::Default(value)) => Some(value.clone()),
        (None, Presence::Optional) => Some(Value::new(at, Data::Null)),
        (None, Presence::Required) => {
            diagnostics.push(missing_key(&field.name, at, place.words, Some(field)));
            None
        }
    }
}

/// The diagnostic for a key that is not known at its place.
pub fn unknown_key<'a>(
    key: &str,
    at: Span,
    place: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Diagnostic {
    Diagnostic::error(
        codes::UNKNOWN_KEY,
        format!("unknown key `{key}` in {place}"),
    )
    .at(at, "")
    .suggest(key, known)
}

/// The diagnostic for a key that must be given.
pub fn missing_key(key: &str, at: Span, place: &str, field: Option<&Field>) -> Diagnostic {
    let diagnostic = Diagnostic::error(codes::MISSING_KEY, format!("{place} lacks `{key}`"))
        .at(at, format!("`{key}` is missing here"));
    match field {
        Some(field) => {
            diagnostic.help(format!("add `{key}`, {}: {}", field.ty.wanted(), field.doc))
        }
        None => diagnostic,
    }
}

fn mismatch<T>(node: &Node, wanted: &str, name: &str, diagnostics: &mut Diagnostics) -> Option<T> {
    let got = match &node.kind {
        NodeKind::Rendered(text) => format!("{text:?} from the template"),
        NodeKind::Null => "an absent value".to_owned(),
        _ => node.type_name().to_owned(),
    };
    let mut diagnostic = Diagnostic::error(
        codes::WRONG_TYPE,
        format!("`{name}` wants {wanted} and got {got}"),
    )
    .at(node.span, format!("{wanted} is wanted"));
    if matches!(node.kind, NodeKind::Null) {
        diagnostic = diagnostic.help("leave it away with `when`, or give the option a value");
    }
    diagnostics.push(diagnostic);
    None
}

fn refuse<T>(node: &Node, message: String, help: &str, diagnostics: &mut Diagnostics) -> Option<T> {
    let mut diagnostic = Diagnostic::error(codes::BAD_VALUE, message).at(node.span, "");
    if !help.is_empty() {
        diagnostic = diagnostic.help(help);
    }
    diagnostics.push(diagnostic);
    None
}

fn decode_bool(node: &Node, name: &str, diagnostics: &mut Diagnostics) -> Option<Data> {
    match &node.kind {
        NodeKind::Bool(value) => Some(Data::Bool(*value)),
        NodeKind::Rendered(text) if text == "true" => Some(Data::Bool(true)),
        NodeKind::Rendered(text) if text == "false" => Some(Data::Bool(false)),
        NodeKind::Str(text) if matches!(text.as_str(), "true" | "false") => {
            no_quotes(node, text, "`true` or `false`", name, diagnostics);
            None
        }
        _ => mismatch(node, "`true` or `false`", name, diagnostics),
    }
}

fn no_quotes(node: &Node, text: &str, wanted: &str, name: &str, diagnostics: &mut Diagnostics) {
    let key = name.rsplit('.').next().unwrap_or(name);
    diagnostics.push(
        Diagnostic::error(
            codes::WRONG_TYPE,
            format!("`{name}` wants {wanted} and got text"),
        )
        .at(node.span, "without quotes")
        .help(format!("write `{key} = {text}`")),
    );
}

fn decode_int(
    node: &Node,
    bounds: Bounds,
    name: &str,
    diagnostics: &mut Diagnostics,
) -> Option<i64> {
    let number = match &node.kind {
        NodeKind::Int(number) => *number,
        NodeKind::Rendered(text) if text.parse::<i64>().is_ok() => text.parse().ok()?,
        NodeKind::Str(text) if text.parse::<i64>().is_ok() => {
            no_quotes(node, text, "a whole number", name, diagnostics);
            return None;
        }
        _ => return mismatch(node, "a whole number", name, diagnostics),
    };
    if bounds.contain(number) {
        return Some(number);
    }
    refuse(
        node,
        format!("`{name}` is {number}, which is out of bounds"),
        &describe_bounds(bounds, |n| n.to_string()),
        diagnostics,
    )
}

fn describe_bounds(bounds: Bounds, show: impl Fn(i64) -> String) -> String {
    match (bounds.min, bounds.max) {
        (Some(min), Some(max)) => format!("it must be from {} to {}", show(min), show(max)),
        (Some(min), None) => format!("it must be at least {}", show(min)),
        (None, Some(max)) => format!("it must be at most {}", show(max)),
        (None, None) => String::new(),
    }
}

fn decode_list(
    node: &Node,
    of: &Type,
    count: Bounds,
    name: &str,
    diagnostics: &mut Diagnostics,
) -> Option<Data> {
    let NodeKind::List(items) = &node.kind else {
        return mismatch(
            node,
            &format!("a list of {}", of.describe()),
            name,
            diagnostics,
        );
    };
    let items_of = |count: i64| match count {
        1 => "1 item".to_owned(),
        n => format!("{n} items"),
    };
    let values: Vec<Value> = items
        .iter()
        .filter_map(|item| decode(item, of, name, diagnostics))
        .collect();
    if !count.contain(i64::try_from(items.len()).unwrap_or(i64::MAX)) {
        return refuse(
            node,
            format!(
                "`{name}` has {}, which is out of bounds",
                items_of(i64::try_from(items.len()).unwrap_or(i64::MAX))
            ),
            &describe_bounds(count, items_of).replace("must be", "must have"),
            diagnostics,
        );
    }
    (values.len() == items.len()).then_some(Data::List(values))
}

fn decode_map(node: &Node, of: &Type, name: &str, diagnostics: &mut Diagnostics) -> Option<Data> {
    let NodeKind::Table(table) = &node.kind else {
        return mismatch(
            node,
            &format!("a table whose values are each {}", of.wanted()),
            name,
            diagnostics,
        );
    };
    let mut map = BTreeMap::new();
    let mut fine = true;
    for (key, entry) in table.iter() {
        if key.is_empty() || key.chars().any(char::is_control) {
            diagnostics.push(
                Diagnostic::error(
                    codes::CONTROL_CHARACTER,
                    format!("a key of `{name}` is empty or holds a control character"),
                )
                .at(entry.key, "one line of text is wanted"),
            );
            fine = false;
        }
        match decode(&entry.value, of, &format!("{name}.{key}"), diagnostics) {
            Some(value) => {
                map.insert(key.to_owned(), value);
            }
            None => fine = false,
        }
    }
    fine.then_some(Data::Map(map))
}

fn decode_text(
    node: &Node,
    ty: &Type,
    name: &str,
    diagnostics: &mut Diagnostics,
) -> Option<String> {
    let text = match &node.kind {
        NodeKind::Str(text) | NodeKind::Rendered(text) => text.clone(),
        _ => {
            return mismatch(node, &ty.wanted(), name, diagnostics);
        }
    };
    if !matches!(ty, Type::Text)
        && let Some(character) = text.chars().find(|c| c.is_control())
    {
        diagnostics.push(
            Diagnostic::error(
                codes::CONTROL_CHARACTER,
                format!("`{name}` holds the control character {character:?}"),
            )
            .at(node.span, "one line of text is wanted"),
        );
        return None;
    }
    if matches!(ty, Type::Text)
        && let Some(character) = text
            .chars()
            .find(|c| c.is_control() && !matches!(c, '\n' | '\t'))
    {
        diagnostics.push(
            Diagnostic::error(
                codes::CONTROL_CHARACTER,
                format!("`{name}` holds the control character {character:?}"),
            )
            .at(node.span, "only newlines and tabs are allowed"),
        );
        return None;
    }
    match check_text(&text, ty) {
        Ok(()) => Some(text),
        Err(Refusal { code, what, help }) => {
            let mut diagnostic =
                Diagnostic::error(code, format!("`{name}` is {text:?}: {what}")).at(node.span, "");
            if let Type::Enum(values) = ty {
                diagnostic = diagnostic.suggest(&text, values.iter().map(String::as_str));
            } else if !help.is_empty() {
                diagnostic = diagnostic.help(help);
            }
            diagnostics.push(diagnostic);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::config::node::parse;
    use crate::pure::text::Sources;

    /// Declares one field and decodes one value: the value, and the codes of what was wrong.
    fn check(declaration: &str, value: &str) -> (Option<Data>, Vec<&'static str>) {
        let mut sources = Sources::default();
        let mut diagnostics = Diagnostics::default();
        let declared = sources.add("decl", format!("x = {declaration}"));
        let table = parse(&sources, declared, &mut diagnostics).unwrap();
        let fields = Fields::parse(&table, &mut diagnostics);
        let given = sources.add("given", format!("x = {value}"));
        let table = parse(&sources, given, &mut diagnostics).unwrap();
        let at = Span::new(given, 0..0);
        let data = decode_fields(&table, &fields, at, "test", &mut diagnostics)
            .and_then(|mut map| map.remove("x"))
            .map(|value| value.data);
        (data, diagnostics.iter().map(|d| d.code.as_str()).collect())
    }

    #[test]
    fn each_type_takes_its_own() {
        for (ty, value) in [
            (r#"{ type = "string", doc = "d" }"#, r#""a b""#),
            (r#"{ type = "text", doc = "d" }"#, r#""a\nb""#),
            (r#"{ type = "int", doc = "d", min = 1, max = 3 }"#, "3"),
            (r#"{ type = "port", doc = "d" }"#, "65535"),
            (r#"{ type = "size", doc = "d", min = "1MiB" }"#, r#""1GiB""#),
            (r#"{ type = "domain", doc = "d" }"#, r#""a.example.com""#),
            (r#"{ type = "cidr", doc = "d" }"#, r#""2001:db8::/32""#),
            (r#"{ type = "path", doc = "d" }"#, r#""/var/lib""#),
            (
                r#"{ type = "enum", doc = "d", values = ["a", "b"] }"#,
                r#""b""#,
            ),
            (r#"{ type = "list", of = "int", doc = "d" }"#, "[1, 2]"),
            (
                r#"{ type = "map", of = "bool", doc = "d" }"#,
                "{ a = true }",
            ),
        ] {
            let (data, wrong) = check(ty, value);
            assert!(data.is_some() && wrong.is_empty(), "{ty} {value} {wrong:?}");
        }
    }

    #[test]
    fn each_type_refuses_others() {
        for (ty, value, code) in [
            (r#"{ type = "string", doc = "d" }"#, r#""a\nb""#, "F0602"),
            (
                r#"{ type = "string", doc = "d", pattern = "^a$" }"#,
                r#""b""#,
                "F0004",
            ),
            (r#"{ type = "string", doc = "d" }"#, "1", "F0003"),
            (r#"{ type = "text", doc = "d" }"#, r#""a\u0000""#, "F0602"),
            (r#"{ type = "int", doc = "d", max = 3 }"#, "4", "F0004"),
            (r#"{ type = "int", doc = "d" }"#, r#""4""#, "F0003"),
            (r#"{ type = "port", doc = "d" }"#, "65536", "F0004"),
            (r#"{ type = "size", doc = "d" }"#, r#""1GB""#, "F0004"),
            (r#"{ type = "path", doc = "d" }"#, r#""/a/../b""#, "F0011"),
            (r#"{ type = "local-path", doc = "d" }"#, r#""/a""#, "F0011"),
            (r#"{ type = "domain", doc = "d" }"#, r#""a b.com""#, "F0004"),
            (
                r#"{ type = "ssh-key", doc = "d" }"#,
                r#""ssh-ed25519 x""#,
                "F0004",
            ),
            (
                r#"{ type = "list", of = "int", doc = "d", min = 1 }"#,
                "[]",
                "F0004",
            ),
            (r#"{ type = "bool", doc = "d" }"#, r#""true""#, "F0003"),
        ] {
            let (data, wrong) = check(ty, value);
            assert_eq!(
                (data.is_none(), wrong.as_slice()),
                (true, [code].as_slice()),
                "{ty} {value}"
            );
        }
    }

    #[test]
    fn the_built_in_kinds_are_well_declared() {
        let mut sources = Sources::default();
        let mut diagnostics = Diagnostics::default();
        let id = sources.add("kinds.toml", include_str!("kinds.toml"));
        let table = parse(&sources, id, &mut diagnostics).unwrap();
        for (_, entry) in table
            .get("contribution")
            .unwrap()
            .value
            .as_table()
            .unwrap()
            .iter()
        {
            let kind = entry.value.as_table().unwrap();
            Fields::parse(
                kind.get("fields").unwrap().value.as_table().unwrap(),
                &mut diagnostics,
            );
        }
        let found: Vec<_> = diagnostics.iter().collect();
        assert!(found.is_empty(), "{found:#?}");
    }
}
