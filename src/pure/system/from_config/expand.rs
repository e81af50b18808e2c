//! Runs the templates in the text of a contribution.

use handlebars::Context;
use serde_json::Value as Json;

use super::condition::{look_up, split_path};
use crate::pure::config::node::{Entry, Node, NodeKind, Table};
use crate::pure::template::{Engine, TemplateProblem, helper_names, is_template};
use crate::pure::text::{Diagnostic, Diagnostics, Span, codes};

/// Renders every string of `node` but those at `raw` keys of the top table. Mistakes are reported and leave the text as it is;
/// `None` if there was one.
pub(super) fn expand_table(
    table: &Table,
    raw: &[&str],
    engine: &mut Engine,
    context: &Context,
    diagnostics: &mut Diagnostics,
) -> Option<Table> {
    let mut expanded = Table::default();
    let mut fine = true;
    for (key, entry) in table.iter() {
        let value = if raw.contains(&key) {
            Some(entry.value.clone())
        } else {
            expand(&entry.value, engine, context, diagnostics)
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
    context: &Context,
    diagnostics: &mut Diagnostics,
) -> Option<Node> {
    let kind = match &node.kind {
        NodeKind::Str(text) if is_template(text) => {
            expand_text(text, node, engine, context, diagnostics)?
        }
        NodeKind::List(items) => {
            let expanded: Vec<Node> = items
                .iter()
                .filter_map(|item| expand(item, engine, context, diagnostics))
                .collect();
            (expanded.len() == items.len()).then_some(NodeKind::List(expanded))?
        }
        NodeKind::Table(table) => {
            NodeKind::Table(expand_table(table, &[], engine, context, diagnostics)?)
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
    context: &Context,
    diagnostics: &mut Diagnostics,
) -> Option<NodeKind> {
    if let Some(path) = single_path(text) {
        return match look_up(context.data(), &path) {
            Ok(value) => Some(from_json(value, node.span)),
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
        Ok(rendered) => Some(NodeKind::Rendered(rendered)),
        Err(problem) => {
            let at = problem_at(text, node, &problem);
            diagnostics.push(template_mistake(problem, at, context.data()));
            None
        }
    }
}

/// The expression that the problem is with, where the template stands in its file as it is; else all of it.
fn problem_at(text: &str, node: &Node, problem: &TemplateProblem) -> Span {
    match (node.verbatim, problem.range_in(text)) {
        (Some(begin), Some(range)) => {
            Span::new(node.span.source, begin + range.start..begin + range.end)
        }
        _ => node.span,
    }
}

/// A problem with a template as a diagnostic, with names that may have been meant.
pub(in crate::pure) fn template_mistake(
    problem: TemplateProblem,
    at: Span,
    data: &Json,
) -> Diagnostic {
    if problem.syntax {
        return Diagnostic::error(codes::TEMPLATE_SYNTAX, problem.message)
            .at(at, "in this template")
            .help("a literal `{{` is written `\\{{`");
    }
    let diagnostic =
        Diagnostic::error(codes::TEMPLATE_UNDEFINED, problem.message).at(at, "in this template");
    if let Some(helper) = &problem.unknown_helper {
        return diagnostic.suggest(helper, helper_names());
    }
    match problem.missing.as_deref().and_then(split_path) {
        Some(path) => suggest_name(diagnostic, &path, data),
        None => diagnostic,
    }
}

/// `{{ a.b }}` and nothing else, if that is no helper without arguments.
fn single_path(text: &str) -> Option<Vec<&str>> {
    let inner = text.strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let path = split_path(inner)?;
    (path.len() > 1).then_some(path)
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

/// Adds what the first name of `path` that is not there may have meant.
pub(super) fn suggest_name(diagnostic: Diagnostic, path: &[&str], data: &Json) -> Diagnostic {
    if let ["each", ..] = path
        && data.get("each").is_none()
    {
        return diagnostic.help("`each` is defined only where `for_each` is given");
    }
    if let ["this", ..] = path {
        return diagnostic;
    }
    // Whoever forgets `options.` means an option all the same.
    let shown = path.join(".");
    if let [name, ..] = path
        && data.get(name).is_none()
        && data["options"].get(name).is_some()
    {
        return diagnostic.help(format!("did you mean `options.{shown}`?"));
    }
    let position = (0..path.len())
        .find(|end| look_up(data, &path[..=*end]).is_err())
        .unwrap_or(0);
    match look_up(data, &path[..position]) {
        Ok(Json::Object(map)) if map.is_empty() => {
            diagnostic.help(format!("`{}` holds nothing", path[..position].join(".")))
        }
        Ok(Json::Object(map)) => {
            let before: String = path[..position]
                .iter()
                .map(|part| format!("{part}."))
                .collect();
            let known: Vec<String> = map.keys().map(|key| format!("{before}{key}")).collect();
            let wrong = path[..=position].join(".");
            diagnostic.suggest(&wrong, known.iter().map(String::as_str))
        }
        _ => diagnostic,
    }
}
