//! A YAML emitter for what forge itself renders.
//!
//! Guarantees: the same value gives the same bytes; keys stand in the order in which they were given; and every YAML 1.1
//! and 1.2 reader (libyaml, go-yaml, PyYAML, serde_yaml) reads back the same value. The last is why it is not left to a
//! general serializer: those quote for the one version of YAML that their author had in mind, and a `no`, `1:30` or `0x1`
//! that is text to one reader is something else to another. Here a text is left without quotes only if it is a plain word
//! that no schema gives a meaning to (YAML 1.2.2 section 10, the type repository of YAML 1.1); everything else is quoted as in JSON.

use std::fmt::Write as _;

use serde_json::{Number, Value as Json};

/// A YAML value. A map keeps the order of its entries; the one who makes it sees to it that its keys are unique.
#[derive(Clone, Debug, PartialEq)]
pub enum Yaml {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

impl Yaml {
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A list of texts.
    pub fn texts<T: Into<String>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::List(items.into_iter().map(Self::text).collect())
    }

    /// A map in the order of the iterator.
    pub fn map<K: Into<String>>(entries: impl IntoIterator<Item = (K, Yaml)>) -> Self {
        Self::Map(
            entries
                .into_iter()
                .map(|(key, value)| (key.into(), value))
                .collect(),
        )
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::List(items) => items.is_empty(),
            Self::Map(entries) => entries.is_empty(),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) => false,
        }
    }

    fn is_scalar(&self) -> bool {
        !matches!(self, Self::List(_) | Self::Map(_))
    }
}

impl From<&Json> for Yaml {
    fn from(json: &Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => Self::Number(number.clone()),
            Json::String(text) => Self::Text(text.clone()),
            Json::Array(items) => Self::List(items.iter().map(Self::from).collect()),
            Json::Object(map) => Self::map(map.iter().map(|(key, value)| (key, Self::from(value)))),
        }
    }
}

impl From<bool> for Yaml {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u32> for Yaml {
    fn from(value: u32) -> Self {
        Self::Number(value.into())
    }
}

impl From<u64> for Yaml {
    fn from(value: u64) -> Self {
        Self::Number(value.into())
    }
}

impl From<&str> for Yaml {
    fn from(value: &str) -> Self {
        Self::text(value)
    }
}

impl From<String> for Yaml {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

/// The value as a document in block style, with a newline at its end.
pub fn block(value: &Yaml) -> String {
    let mut out = String::new();
    if value.is_scalar() || value.is_empty() {
        flow_into(&mut out, value);
        out.push('\n');
    } else {
        block_into(&mut out, value, 0, false);
    }
    out
}

/// The value in flow style, on one line, without a newline: fit for any place where YAML takes a value.
pub fn flow(value: &Yaml) -> String {
    let mut out = String::new();
    flow_into(&mut out, value);
    out
}

/// Writes a list or map that is not empty. `inline` says that its first line has begun already, behind a `- `.
fn block_into(out: &mut String, value: &Yaml, indent: usize, mut inline: bool) {
    let start = |out: &mut String, inline: &mut bool| {
        if !std::mem::take(inline) {
            out.extend(std::iter::repeat_n(' ', indent));
        }
    };
    match value {
        Yaml::List(items) => {
            for item in items {
                start(out, &mut inline);
                out.push('-');
                if item.is_scalar() || item.is_empty() {
                    out.push(' ');
                    flow_into(out, item);
                    out.push('\n');
                } else {
                    out.push(' ');
                    block_into(out, item, indent + 2, true);
                }
            }
        }
        Yaml::Map(entries) => {
            for (key, value) in entries {
                start(out, &mut inline);
                if key_into(out, key) {
                    out.push('\n');
                    out.extend(std::iter::repeat_n(' ', indent));
                }
                out.push(':');
                if value.is_scalar() || value.is_empty() {
                    out.push(' ');
                    flow_into(out, value);
                    out.push('\n');
                } else {
                    out.push('\n');
                    block_into(out, value, indent + 2, false);
                }
            }
        }
        scalar => flow_into(out, scalar),
    }
}

fn flow_into(out: &mut String, value: &Yaml) {
    match value {
        Yaml::Null => out.push_str("null"),
        Yaml::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Yaml::Number(number) => number_into(out, number),
        Yaml::Text(text) => text_into(out, text),
        Yaml::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                flow_into(out, item);
            }
            out.push(']');
        }
        Yaml::Map(entries) => {
            out.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                if key_into(out, key) {
                    out.push(' ');
                }
                out.push_str(": ");
                flow_into(out, value);
            }
            out.push('}');
        }
    }
}

/// Writes a key; true if it is so long that it had to be marked with `? `: an implicit key ends within 1024 characters
/// (YAML 1.2.2 section 7.4.2).
fn key_into(out: &mut String, key: &str) -> bool {
    let mut written = String::new();
    text_into(&mut written, key);
    let long = written.len() > 1000;
    if long {
        out.push_str("? ");
    }
    out.push_str(&written);
    long
}

/// YAML 1.1 sees a number in `1e300` only with a point and a signed exponent: `1.0e+300`.
fn number_into(out: &mut String, number: &Number) {
    let text = number.to_string();
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else {
        out.push_str(&text);
        return;
    };
    out.push_str(mantissa);
    if !mantissa.contains('.') {
        out.push_str(".0");
    }
    out.push('e');
    if !exponent.starts_with(['+', '-']) {
        out.push('+');
    }
    out.push_str(exponent);
}

/// Words of letters that some version of YAML reads as no text, or that readers are known to.
const RESERVED: [&str; 14] = [
    "y", "n", "yes", "no", "on", "off", "true", "false", "null", "nil", "none", "nan", "inf",
    "infinity",
];

fn is_plain(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
        && !RESERVED.iter().any(|word| text.eq_ignore_ascii_case(word))
}

fn text_into(out: &mut String, text: &str) {
    if is_plain(text) {
        out.push_str(text);
    } else {
        quote_into(out, text);
    }
}

/// A double-quoted text that is JSON and YAML (section 7.3.1) alike: whatever is not printable there (section 5.1), or
/// breaks a line in YAML 1.1, is escaped.
fn quote_into(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}'
            | '\u{7f}'..='\u{a0}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Json {
        serde_yaml_ng::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    fn round(json: &Json) {
        let yaml = Yaml::from(json);
        assert_eq!(&read(&block(&yaml)), json, "{}", block(&yaml));
        assert_eq!(&read(&flow(&yaml)), json, "{}", flow(&yaml));
        assert!(!flow(&yaml).contains('\n'));
    }

    #[test]
    fn looks_as_a_person_would_write_it() {
        let yaml = Yaml::map([
            ("name", Yaml::text("forge")),
            (
                "list",
                Yaml::List(vec![
                    Yaml::map([("a", Yaml::from(1u32)), ("b", Yaml::texts(["x", "y z"]))]),
                    Yaml::List(vec![Yaml::from(true), Yaml::Null]),
                    Yaml::List(vec![]),
                ]),
            ),
            ("empty", Yaml::Map(vec![])),
        ]);
        assert_eq!(
            block(&yaml),
            "name: forge\nlist:\n  - a: 1\n    b:\n      - x\n      - \"y z\"\n  - - true\n    - null\n  - []\nempty: {}\n"
        );
        assert_eq!(
            flow(&yaml),
            "{name: forge, list: [{a: 1, b: [x, \"y z\"]}, [true, null], []], empty: {}}"
        );
    }

    #[test]
    fn traps_are_quoted() {
        for text in [
            "",
            " ",
            " a",
            "a ",
            "no",
            "No",
            "NO",
            "on",
            "Off",
            "y",
            "N",
            "yes",
            "true",
            "TRUE",
            "null",
            "Null",
            "~",
            "1:30",
            "190:20:30",
            "0x1",
            "0o7",
            "010",
            "1_000",
            "1e3",
            ".5",
            "1.",
            ".inf",
            "-.INF",
            ".nan",
            "NaN",
            "+1",
            "-1",
            "2001-12-14",
            "12:30:45",
            "# no",
            "a #b",
            "a: b",
            "a:",
            ":a",
            "*a",
            "&a",
            "!a",
            "!!str a",
            "%a",
            "@a",
            "`a",
            "|",
            ">",
            "-",
            "- a",
            "--- a",
            "---",
            "...",
            "? a",
            "[a",
            "a]",
            "{a",
            "a}",
            "a,b",
            "\"",
            "'",
            "<<",
            "=",
            "a\nb",
            "\u{85}",
            "\u{2028}",
            "\u{feff}a",
            "\u{7f}",
            "\0",
            "$a",
            "ä",
            "😀",
        ] {
            let written = flow(&Yaml::text(text));
            assert!(written.starts_with('"'), "{text:?}");
            assert_eq!(
                serde_json::from_str::<String>(&written).ok().as_deref(),
                Some(text)
            );
            round(&json!({ text: [text, { text: text }] }));
        }
        for text in ["a", "/var/lib", "node-exporter", "v1.2.3", "nope", "a_b"] {
            assert_eq!(flow(&Yaml::text(text)), text);
        }
    }

    #[test]
    fn numbers() {
        for (number, text) in [
            (json!(0), "0"),
            (json!(-7), "-7"),
            (json!(u64::MAX), "18446744073709551615"),
            (json!(0.5), "0.5"),
            (json!(1e300), "1.0e+300"),
            (json!(2.5e-30), "2.5e-30"),
        ] {
            assert_eq!(flow(&Yaml::from(&number)), text);
            round(&json!([number]));
        }
    }

    #[test]
    fn long_keys() {
        let key = "k".repeat(2000);
        round(&json!({ &key: { &key: [1, { &key: {} }] }, "z": [[{ &key: "a b" }]] }));
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let text = prop_oneof![
            any::<String>(),
            "[-~!*&#:,.{}\\[\\] 0-9eExyn\n\t\"'|>%@?]{0,8}",
            "[a-z/][a-z0-9_./-]{0,8}",
        ];
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            text.clone().prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::btree_map(text.clone(), inner, 0..4)
                    .prop_map(|map| Json::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_back_as_it_was(json in any_json()) {
            round(&json);
        }
    }
}
