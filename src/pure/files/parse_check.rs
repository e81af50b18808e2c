//! What was rendered as JSON, YAML or TOML is read again, so that a broken template fails on the laptop and not on the host.
//!
//! Stricter than most readers where they differ: a key given twice is refused in all three formats, because readers
//! disagree about which one counts. Bounded on hostile input: depth by the parsers' own limits, aliases in YAML by the number
//! of events that they may repeat, and no value is kept.

use std::collections::HashSet;
use std::fmt;

use serde::de::{
    Deserialize, Deserializer, EnumAccess, Error as _, IgnoredAny, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

/// How a rendered file is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Yaml,
    Toml,
    /// Not read again.
    Text,
}

impl Format {
    /// By the end of the file's name; that of its template (`.hbs`) does not count.
    pub fn of_name(name: &str) -> Self {
        let name = name.strip_suffix(".hbs").unwrap_or(name);
        match name.rsplit_once('.').map(|(_, ending)| ending) {
            Some("json") => Self::Json,
            Some("yaml" | "yml") => Self::Yaml,
            Some("toml") => Self::Toml,
            _ => Self::Text,
        }
    }

    /// By its word in `format = "…"`.
    pub fn of_word(word: &str) -> Option<Self> {
        match word {
            "json" => Some(Self::Json),
            "yaml" => Some(Self::Yaml),
            "toml" => Some(Self::Toml),
            "text" => Some(Self::Text),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Json => "JSON",
            Self::Yaml => "YAML",
            Self::Toml => "TOML",
            Self::Text => "text",
        })
    }
}

/// Why a text is not of its format, and where: line and column from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct ParseProblem {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

/// Reads the text as its format demands; anything is good [`Format::Text`].
pub fn check(format: Format, text: &str) -> Result<(), ParseProblem> {
    match format {
        Format::Json => json(text),
        Format::Yaml => yaml(text),
        Format::Toml => toml(text),
        Format::Text => Ok(()),
    }
}

fn json(text: &str) -> Result<(), ParseProblem> {
    serde_json::from_str::<Checked>(text)
        .map(|Checked| ())
        .map_err(|error| {
            let message = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            let line = error.line().max(1);
            // The column counts bytes.
            let before = text.lines().nth(line - 1).and_then(|whole| {
                (0..=error.column().saturating_sub(1))
                    .rev()
                    .find_map(|end| whole.get(..end))
            });
            ParseProblem {
                line,
                column: before.map_or(1, |before| before.chars().count() + 1),
                message: message.strip_suffix(&place).unwrap_or(&message).to_owned(),
            }
        })
}

fn yaml(text: &str) -> Result<(), ParseProblem> {
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        Checked::deserialize(document).map_err(|error| {
            let message = error.to_string();
            let (line, column) = error
                .location()
                .map_or((1, 1), |place| (place.line(), place.column()));
            let place = format!(" at line {line} column {column}");
            ParseProblem {
                line,
                column,
                message: message.replacen(&place, "", 1),
            }
        })?;
    }
    Ok(())
}

fn toml(text: &str) -> Result<(), ParseProblem> {
    toml::from_str::<Checked>(text)
        .map(|Checked| ())
        .map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.get(..start).unwrap_or(text);
            let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
            ParseProblem {
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                message: error.message().trim_end().replace('\n', ", "),
            }
        })
}

/// Any value, looked at and not kept.
struct Checked;

/// A key, as far as it tells it from its neighbours.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Text(String),
    Other(String),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

struct Look;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Look)
    }
}

macro_rules! scalars {
    ($($visit:ident $type:ty),*) => {$(
        fn $visit<E>(self, _: $type) -> Result<Checked, E> {
            Ok(Checked)
        }
    )*};
}

impl<'de> Visitor<'de> for Look {
    type Value = Checked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    scalars!(visit_bool bool, visit_i64 i64, visit_u64 u64, visit_i128 i128, visit_u128 u128, visit_f64 f64, visit_str &str, visit_bytes &[u8]);

    fn visit_unit<E>(self) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_none<E>(self) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Checked, D::Error> {
        deserializer.deserialize_any(Look)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Checked, D::Error> {
        deserializer.deserialize_any(Look)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Checked, A::Error> {
        while items.next_element::<Checked>()?.is_some() {}
        Ok(Checked)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Checked, A::Error> {
        let mut seen = HashSet::new();
        while let Some(key) = entries.next_key::<serde_yaml_ng::Value>()? {
            let key = match key {
                serde_yaml_ng::Value::String(text) => Key::Text(text),
                other => Key::Other(format!("{other:?}")),
            };
            if seen.contains(&key) {
                return Err(A::Error::custom(format_args!(
                    "the key {key} is given twice"
                )));
            }
            seen.insert(key);
            entries.next_value::<Checked>()?;
        }
        Ok(Checked)
    }

    /// A YAML value with a tag of its own (`!include x`).
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Checked, A::Error> {
        let (_, value) = tagged.variant::<IgnoredAny>()?;
        value.newtype_variant::<Checked>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn bad(format: Format, text: &str, line: usize, column: usize, message: &str) {
        let problem = check(format, text).expect_err(text);
        assert_eq!((problem.line, problem.column), (line, column), "{problem}");
        assert!(problem.message.contains(message), "{problem}");
        assert!(!problem.message.contains(" at line "), "{problem}");
    }

    #[test]
    fn names() {
        assert_eq!(Format::of_name("a/b.json.hbs"), Format::Json);
        assert_eq!(Format::of_name("a.yml"), Format::Yaml);
        assert_eq!(Format::of_name("Caddyfile.hbs"), Format::Text);
        assert_eq!(Format::of_name("json"), Format::Text);
        assert_eq!(Format::of_word("toml"), Some(Format::Toml));
        assert_eq!(Format::of_word("ini"), None);
    }

    #[test]
    fn good() {
        for (format, text) in [
            (
                Format::Json,
                r#"{"a": [1, -2, 1e3, null, {"a": "x"}, {"a": true}]}"#,
            ),
            (Format::Yaml, ""),
            (Format::Yaml, "a: [1, 2.5, ~, {b: c}]\n1: x\n? [k]\n: v\n"),
            (Format::Yaml, "a: 1\n---\na: 2\n"),
            (
                Format::Yaml,
                "a: &x {b: 1}\nc: *x\nd: !include e.yaml\nf: !g {h: 1}\n",
            ),
            (
                Format::Toml,
                "a = 1\nd = 2001-01-01\n[b.c]\nd = [1.5, 'x']\n[[e]]\n",
            ),
            (Format::Text, "{"),
        ] {
            assert_eq!(check(format, text), Ok(()), "{text}");
        }
    }

    #[test]
    fn json_problems() {
        bad(
            Format::Json,
            "{\n  \"ä\": 1,\n  \"ö\" 2}",
            3,
            7,
            "expected `:`",
        );
        bad(
            Format::Json,
            "{\"a\": 1, \"a\": 2}",
            1,
            12,
            "\"a\" is given twice",
        );
        bad(Format::Json, "", 1, 1, "EOF");
        bad(Format::Json, "{} x", 1, 4, "trailing characters");
        bad(Format::Json, &"[".repeat(10_000), 1, 128, "recursion limit");
    }

    #[test]
    fn yaml_problems() {
        bad(Format::Yaml, "a: 1\nb: [\n", 3, 1, "did not find expected");
        bad(
            Format::Yaml,
            "a: 1\nb: 2\na: 3\n",
            1,
            1,
            "\"a\" is given twice",
        );
        bad(Format::Yaml, "a:\n\tb: 1\n", 2, 1, "cannot start any token");
        bad(Format::Yaml, "a: *x\n", 1, 4, "unknown anchor");
    }

    #[test]
    fn toml_problems() {
        bad(Format::Toml, "a = 1\nb = \n", 2, 5, "");
        bad(Format::Toml, "a = 1\na = 2\n", 2, 1, "duplicate key");
    }

    #[test]
    fn aliases_cannot_explode() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = format!("*a{}, ", level - 1).repeat(10);
            text.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        let problem = check(Format::Yaml, &text).expect_err("a bomb");
        assert!(problem.message.contains("repetition limit"), "{problem}");
    }
}
