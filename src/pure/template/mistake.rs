//! What is wrong with a template, in words of its language, with its place and what may have been meant.

use serde_json::Value as Json;

use super::helpers::{TemplateProblem, helper_names};
use crate::pure::text::{Diagnostic, Span, codes};

/// A path into the data of a template: names divided by dots, `[…]` around a name with a hyphen.
pub fn split_path(text: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let mut rest = text;
    loop {
        let (part, tail) = if let Some(inner) = rest.strip_prefix('[') {
            let (part, tail) = inner.split_once(']')?;
            (part, tail)
        } else {
            let end = rest.find('.').unwrap_or(rest.len());
            rest.split_at(end)
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if part.is_empty() || !part.chars().all(plain) {
            return None;
        }
        parts.push(part);
        if tail.is_empty() {
            return Some(parts);
        }
        rest = tail.strip_prefix('.')?;
    }
}

/// Follows a path; the name that is not there, if one is missing.
pub fn look_up<'a, 'p>(data: &'a Json, path: &[&'p str]) -> Result<&'a Json, &'p str> {
    let mut here = data;
    for part in path {
        here = match here {
            Json::Object(map) => map.get(*part),
            Json::Array(items) => part
                .parse::<usize>()
                .ok()
                .and_then(|index| items.get(index)),
            _ => None,
        }
        .ok_or(*part)?;
    }
    Ok(here)
}

/// A problem with a template as a diagnostic, with names that may have been meant.
pub fn mistake(problem: &TemplateProblem, at: Span, data: &Json) -> Diagnostic {
    if problem.syntax {
        return Diagnostic::error(codes::TEMPLATE_SYNTAX, problem.message.clone())
            .at(at, "in this template")
            .help("a literal `{{` is written `\\{{`");
    }
    let diagnostic = Diagnostic::error(codes::TEMPLATE_UNDEFINED, problem.message.clone())
        .at(at, "in this template");
    if let Some(helper) = &problem.unknown_helper {
        return diagnostic.suggest(helper, helper_names());
    }
    match problem.missing.as_deref().and_then(split_path) {
        Some(path) => suggest_name(diagnostic, &path, data),
        None => diagnostic,
    }
}

/// Adds what the first name of `path` that is not there may have meant.
pub fn suggest_name(diagnostic: Diagnostic, path: &[&str], data: &Json) -> Diagnostic {
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

impl TemplateProblem {
    /// The expression of the template that the problem is with.
    pub fn range_in(&self, template: &str) -> Option<std::ops::Range<usize>> {
        let lines: usize = template
            .split_inclusive('\n')
            .take(self.line.checked_sub(1)?)
            .map(str::len)
            .sum();
        let line = template.get(lines..)?.lines().next()?;
        let column: usize = line
            .chars()
            .take(self.column.checked_sub(1)?)
            .map(char::len_utf8)
            .sum();
        let at = lines + column;
        // From the braces before the place, or at it, to those after it.
        let near = template.ceil_char_boundary((at + 2).min(template.len()));
        let before = template.get(..near)?;
        let start = before
            .rfind("{{")
            .filter(|start| !before.get(*start..).is_some_and(|part| part.contains("}}")))
            .unwrap_or(at);
        let rest = template.get(at..)?;
        let line_end = at + rest.find('\n').unwrap_or(rest.len());
        let end = rest
            .find("}}")
            .map_or(line_end, |end| at + end + "}}".len())
            .min(line_end);
        (start < end).then_some(start..end)
    }

    /// Says in words of this language what the parser says in those of its grammar.
    pub(super) fn explained(mut self, template: &str) -> Self {
        if !self.syntax {
            return self;
        }
        let (at, message) = match unclosed(template) {
            Some(found) => found,
            None if self.message.starts_with("invalid handlebars syntax") => {
                self.message = "this is no expression of the template language".to_owned();
                return self;
            }
            None => return self,
        };
        let before = template.get(..at).unwrap_or_default();
        self.line = before.matches('\n').count() + 1;
        self.column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        self.message = message;
        self
    }
}

/// The first expression without its end, or the innermost block without its end or with another's.
fn unclosed(template: &str) -> Option<(usize, String)> {
    let mut open: Vec<(usize, &str)> = Vec::new();
    let mut at = 0;
    while let Some(found) = template.get(at..)?.find("{{") {
        let start = at + found;
        let inner = start + "{{".len();
        if template.get(..start)?.ends_with('\\') {
            at = inner;
            continue;
        }
        let rest = template.get(inner..)?;
        let Some(end) = rest.find("}}") else {
            return Some((start, "this `{{` has no `}}`".to_owned()));
        };
        if rest.get(..end)?.contains("{{") {
            return Some((
                start,
                "this `{{` has no `}}` before the next `{{`".to_owned(),
            ));
        }
        let expression = rest.get(..end)?.trim_matches(['~', ' ']);
        if let Some(block) = expression.strip_prefix('#') {
            open.push((start, block.split_whitespace().next().unwrap_or_default()));
        } else if let Some(name) = expression.strip_prefix('/') {
            let name = name.trim();
            match open.pop() {
                Some((_, block)) if block == name => {}
                Some((_, block)) => {
                    return Some((
                        start,
                        format!("`{{{{#{block}}}}}` is closed by `{{{{/{name}}}}}`"),
                    ));
                }
                None => return Some((start, format!("`{{{{/{name}}}}}` closes nothing"))),
            }
        }
        at = inner + end + "}}".len();
    }
    open.pop().map(|(start, block)| {
        (
            start,
            format!("`{{{{#{block}}}}}` has no `{{{{/{block}}}}}`"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_is_not_closed() {
        for (template, at, message) in [
            ("a {{b", 2, "this `{{` has no `}}`"),
            ("{{a {{b}}", 0, "this `{{` has no `}}` before the next `{{`"),
            ("{{#if a}}x", 0, "`{{#if}}` has no `{{/if}}`"),
            (
                "{{#if a}}{{#each b}}{{/each}}",
                0,
                "`{{#if}}` has no `{{/if}}`",
            ),
            (
                "{{#if a}}x{{/with}}",
                10,
                "`{{#if}}` is closed by `{{/with}}`",
            ),
            ("x{{/if}}", 1, "`{{/if}}` closes nothing"),
        ] {
            assert_eq!(
                unclosed(template),
                Some((at, message.to_owned())),
                "{template}"
            );
        }
        for template in [
            "",
            "a",
            "{{a}}",
            "\\{{a",
            "{{~#if a~}}x{{~/if~}}",
            "{{!-- c --}}",
        ] {
            assert_eq!(unclosed(template), None, "{template}");
        }
    }

    #[test]
    fn a_problem_is_with_one_expression() {
        let template = "ä {{a}}\nb {{cc}} {{d}}";
        let range = |line, column| {
            let problem = TemplateProblem {
                line,
                column,
                message: String::new(),
                missing: None,
                unknown_helper: None,
                syntax: false,
            };
            problem.range_in(template).map(|range| &template[range])
        };
        assert_eq!(range(1, 3), Some("{{a}}"));
        assert_eq!(range(2, 3), Some("{{cc}}"));
        assert_eq!(range(2, 4), Some("{{cc}}"));
        assert_eq!(range(2, 5), Some("{{cc}}"));
        assert_eq!(range(2, 10), Some("{{d}}"));
        assert_eq!(range(9, 1), None);
    }
}
