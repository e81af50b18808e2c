//! Runs the templates in the text of a contribution.

use handlebars::Context;
use serde_json::Value as Json;

use crate::pure::config::node::{Entry, Node, NodeKind, Table};
use crate::pure::config::value::{Data, Value};
use crate::pure::template::{Engine, is_template, look_up, mistake, split_path, suggest_name};
use crate::pure::text::{Diagnostic, Diagnostics, Span, codes};

/// What templates see, and where it comes from: a value that a template passes on as it is keeps the place where a person wrote it.
pub(super) struct Scope<'a> {
    pub context: &'a Context,
    pub options: Option<&'a Value>,
    /// The item of `for_each`, where that repeats over options.
    pub each: Option<&'a Value>,
}

impl Scope<'_> {
    /// The value at a path, if it is one of the options.
    fn origin(&self, path: &[&str]) -> Option<&Value> {
        match path {
            ["options", rest @ ..] => follow(self.options?, rest),
            ["each", "value", rest @ ..] => follow(self.each?, rest),
            _ => None,
        }
    }
}

/// Follows a path within a checked value.
pub(super) fn follow<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |here, name| match &here.data {
        Data::Map(map) => map.get(*name),
        Data::List(items) => items.get(name.parse::<usize>().ok()?),
        _ => None,
    })
}

/// Renders every string of `node` but those at `raw` keys of the top table. Mistakes are reported and leave the text as it is;
/// `None` if there was one.
pub(super) fn expand_table(
    table: &Table,
    raw: &[&str],
    engine: &mut Engine,
    scope: &Scope<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Table> {
    let mut expanded = Table::default();
    let mut fine = true;
    for (key, entry) in table.iter() {
        let value = if raw.contains(&key) {
            Some(entry.value.clone())
        } else {
            expand(&entry.value, engine, scope, diagnostics)
        };
        match value {
            Some(value) => expanded.insert(
                key.to_owned(),
                Entry {
                    key: entry.key,
                    value,
                },
            ),
            None => fine = false,
        }
    }
    fine.then_some(expanded)
}

pub(super) fn expand(
    node: &Node,
    engine: &mut Engine,
    scope: &Scope<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Node> {
    let kind = match &node.kind {
        NodeKind::Str(text) if is_template(text) => {
            return expand_text(text, node, engine, scope, diagnostics);
        }
        NodeKind::List(items) => {
            let expanded: Vec<Node> = items
                .iter()
                .filter_map(|item| expand(item, engine, scope, diagnostics))
                .collect();
            (expanded.len() == items.len()).then_some(NodeKind::List(expanded))?
        }
        NodeKind::Table(table) => {
            NodeKind::Table(expand_table(table, &[], engine, scope, diagnostics)?)
        }
        other => other.clone(),
    };
    Some(Node {
        span: node.span,
        verbatim: None,
        kind,
    })
}

fn expand_text(
    text: &str,
    node: &Node,
    engine: &mut Engine,
    scope: &Scope<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Node> {
    let context = scope.context;
    let here = |kind| Node {
        span: node.span,
        verbatim: None,
        kind,
    };
    if let Some(path) = single_path(text) {
        return match look_up(context.data(), &path) {
            Ok(value) => Some(match scope.origin(&path) {
                Some(origin) => from_value(origin),
                None => here(from_json(value, node.span)),
            }),
            Err(name) => {
                let position = path.iter().position(|part| *part == name).unwrap_or(0);
                let shown = path[..=position].join(".");
                let diagnostic = Diagnostic::error(
                    codes::TEMPLATE_UNDEFINED,
                    format!("`{shown}` is not defined here"),
                )
                .at(node.span, "in this template");
                diagnostics.push(suggest_name(diagnostic, &path, context.data()));
                None
            }
        };
    }
    match engine.render(text, context) {
        Ok(rendered) => Some(here(NodeKind::Rendered(rendered))),
        Err(problem) => {
            // Where the template stands in its file as it is, only the expression is marked.
            let at = match (node.verbatim, problem.range_in(text)) {
                (Some(begin), Some(range)) => {
                    Span::new(node.span.source, begin + range.start..begin + range.end)
                }
                _ => node.span,
            };
            diagnostics.push(mistake(&problem, at, context.data()));
            None
        }
    }
}

/// `{{ a.b }}` and nothing else, if that is no helper without arguments.
fn single_path(text: &str) -> Option<Vec<&str>> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let path = split_path(inner)?;
    (path.len() > 1).then_some(path)
}

/// An option that a template passes on as it is, at its own place. What [`from_json`] makes, but for the places.
fn from_value(value: &Value) -> Node {
    let kind = match &value.data {
        Data::Null => NodeKind::Null,
        Data::Bool(value) => NodeKind::Rendered(value.to_string()),
        Data::Int(number) => NodeKind::Rendered(number.to_string()),
        Data::Str(text) => NodeKind::Rendered(text.clone()),
        Data::List(items) => NodeKind::List(items.iter().map(from_value).collect()),
        Data::Map(map) => {
            let mut table = Table::default();
            for (key, item) in map {
                let entry = Entry {
                    key: item.at,
                    value: from_value(item),
                };
                table.insert(key.clone(), entry);
            }
            NodeKind::Table(table)
        }
    };
    Node {
        span: value.at,
        verbatim: None,
        kind,
    }
}

/// A value that a template passes on as it is. Scalars become rendered text, which stands for a value of any type.
fn from_json(value: &Json, at: Span) -> NodeKind {
    match value {
        Json::Null => NodeKind::Null,
        Json::Bool(value) => NodeKind::Rendered(value.to_string()),
        Json::Number(number) => NodeKind::Rendered(number.to_string()),
        Json::String(text) => NodeKind::Rendered(text.clone()),
        Json::Array(items) => NodeKind::List(
            items
                .iter()
                .map(|item| Node {
                    span: at,
                    verbatim: None,
                    kind: from_json(item, at),
                })
                .collect(),
        ),
        Json::Object(map) => {
            let mut table = Table::default();
            for (key, item) in map {
                let value = Node {
                    span: at,
                    verbatim: None,
                    kind: from_json(item, at),
                };
                table.insert(key.clone(), Entry { key: at, value });
            }
            NodeKind::Table(table)
        }
    }
}
