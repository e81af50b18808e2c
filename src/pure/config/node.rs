//! TOML with the place of every key and value.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use crate::pure::text::{Diagnostic, Diagnostics, SourceId, Sources, Span, codes};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// For a table the first line of it, so that a label does not mark a screenful.
    pub span: Span,
    pub kind: NodeKind,
    /// For text that stands in its file as it is, without escapes: where it begins, so that a place in it is a place in the file.
    pub verbatim: Option<usize>,
}

#[derive(Clone, Debug)]
pub enum NodeKind {
    Bool(bool),
    Int(i64),
    /// What TOML has and no field of ours takes (floats, dates), by the name of its type.
    Other(&'static str),
    Str(String),
    /// Text that a template rendered: it may stand for a value of any type.
    Rendered(String),
    /// An absent optional value that a template passed on.
    Null,
    List(Vec<Node>),
    Table(Table),
}

/// The entries of a table, by key.
#[derive(Clone, Debug, Default)]
pub struct Table {
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: Span,
    pub value: Node,
}

impl Table {
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub fn take(&mut self, key: &str) -> Option<Entry> {
        self.entries.remove(key)
    }

    pub fn insert(&mut self, key: String, entry: Entry) {
        self.entries.insert(key, entry);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries
            .iter()
            .map(|(key, entry)| (key.as_str(), entry))
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl IntoIterator for Table {
    type Item = (String, Entry);
    type IntoIter = std::collections::btree_map::IntoIter<String, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl Node {
    pub fn type_name(&self) -> &'static str {
        match &self.kind {
            NodeKind::Bool(_) => "a boolean",
            NodeKind::Int(_) => "a whole number",
            NodeKind::Other(name) => name,
            NodeKind::Str(_) | NodeKind::Rendered(_) => "text",
            NodeKind::Null => "nothing",
            NodeKind::List(_) => "a list",
            NodeKind::Table(_) => "a table",
        }
    }

    pub fn as_table(&self) -> Option<&Table> {
        match &self.kind {
            NodeKind::Table(table) => Some(table),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Str(text) | NodeKind::Rendered(text) => Some(text),
            _ => None,
        }
    }
}

/// Parses a whole file; a syntax error is reported and leaves out what it makes unreadable.
///
/// Every syntax error is reported at once (the parser recovers), but a file with one yields `None`: what is left of it would
/// only cause mistakes that are none.
pub fn parse(sources: &Sources, id: SourceId, diagnostics: &mut Diagnostics) -> Option<Table> {
    let text = &sources.get(id).text;
    let (table, errors) = DeTable::parse_recoverable(text);
    let clean = errors.is_empty();
    for error in errors {
        let range = error.span().unwrap_or(0..0);
        // The parser may point past the end, or into the middle of a character of broken text.
        let end = text.floor_char_boundary(range.end.min(text.len()));
        let start = text.floor_char_boundary(range.start.min(end));
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        diagnostics.push(
            Diagnostic::error(codes::SYNTAX, format!("invalid TOML: {message}"))
                .at(Span::new(id, start..end), "the parser stopped here"),
        );
    }
    clean.then(|| convert_table(text, id, table.into_inner()))
}

fn convert_table(text: &str, id: SourceId, table: DeTable<'_>) -> Table {
    Table {
        entries: table
            .into_iter()
            .map(|(key, value)| {
                let entry = Entry {
                    key: Span::new(id, key.span()),
                    value: convert(text, id, value.span(), value.into_inner()),
                };
                (key.into_inner().into_owned(), entry)
            })
            .collect(),
    }
}

fn convert(text: &str, id: SourceId, range: std::ops::Range<usize>, value: DeValue<'_>) -> Node {
    let first_line = || {
        let end = text
            .get(range.clone())
            .and_then(|whole| whole.find('\n'))
            .map_or(range.end, |newline| range.start + newline);
        Span::new(id, range.start..end)
    };
    let span = match &value {
        DeValue::Table(_) | DeValue::Array(_) => first_line(),
        _ => Span::new(id, range.clone()),
    };
    let mut verbatim = None;
    let kind = match value {
        DeValue::Boolean(value) => NodeKind::Bool(value),
        DeValue::String(value) => {
            verbatim = verbatim_at(text, range, &value);
            NodeKind::Str(value.into_owned())
        }
        DeValue::Integer(value) => i64::from_str_radix(value.as_str(), value.radix())
            .map_or(NodeKind::Other("a number out of range"), NodeKind::Int),
        DeValue::Float(_) => NodeKind::Other("a floating-point number"),
        DeValue::Datetime(_) => NodeKind::Other("a date"),
        DeValue::Array(items) => NodeKind::List(
            items
                .into_iter()
                .map(|item| convert(text, id, item.span(), item.into_inner()))
                .collect(),
        ),
        DeValue::Table(table) => NodeKind::Table(convert_table(text, id, table)),
    };
    Node {
        span,
        kind,
        verbatim,
    }
}

/// Where the content of a string begins, if it stands in the text as it is.
pub fn verbatim_at(text: &str, range: std::ops::Range<usize>, value: &str) -> Option<usize> {
    let raw = text.get(range.clone())?;
    let quotes = match raw {
        _ if raw.starts_with("\"\"\"") || raw.starts_with("'''") => 3,
        _ => 1,
    };
    let content = raw.get(quotes..raw.len().checked_sub(quotes)?)?;
    // A newline right after the three quotes is not part of the text.
    let first = match content {
        _ if quotes == 1 => content,
        _ => content
            .strip_prefix("\r\n")
            .or_else(|| content.strip_prefix('\n'))
            .unwrap_or(content),
    };
    (first == value).then_some(range.start + quotes + content.len() - first.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_place_of_keys_and_values() {
        let mut sources = Sources::default();
        let id = sources.add("a.toml", "[a]\nb = 1\nc = \"x\"\n");
        let mut diagnostics = Diagnostics::default();
        let table = parse(&sources, id, &mut diagnostics).unwrap();
        let inner = table.get("a").unwrap().value.as_table().unwrap();
        assert_eq!(sources.place(inner.get("c").unwrap().key), "a.toml:3:1");
        assert_eq!(sources.slice(inner.get("c").unwrap().value.span), "\"x\"");
    }

    #[test]
    fn knows_which_text_stands_as_it_is() {
        let mut sources = Sources::default();
        let text = "a = \"x{{y}}\"\nb = \"x\\n\"\nc = '''\nx\ny'''\nd = \"\"\ne = '\\'\n";
        let id = sources.add("a.toml", text);
        let table = parse(&sources, id, &mut Diagnostics::default()).unwrap();
        for (key, wanted) in [
            ("a", Some("x{{y}}")),
            ("b", None),
            ("c", Some("x\ny")),
            ("d", Some("")),
            ("e", Some("\\")),
        ] {
            let node = &table.get(key).unwrap().value;
            let found = node
                .verbatim
                .map(|at| &text[at..at + node.as_str().unwrap().len()]);
            assert_eq!(found, wanted, "{key}");
        }
    }

    #[test]
    fn reports_every_syntax_error() {
        let mut sources = Sources::default();
        let id = sources.add("a.toml", "a = \nb = 1\nc = ]\n");
        let mut diagnostics = Diagnostics::default();
        assert!(parse(&sources, id, &mut diagnostics).is_none());
        assert_eq!(diagnostics.errors(), 2);
    }
}
