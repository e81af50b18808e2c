//! What is wrong with a template, in words of its language, with its place and what may have been meant.

use serde_json::Value as Json;

use super::helpers::{LITERAL, TemplateProblem, helper_names};
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
    let code = if problem.syntax {
        codes::TEMPLATE_SYNTAX
    } else {
        codes::TEMPLATE_UNDEFINED
    };
    let diagnostic = Diagnostic::error(code, problem.message.clone()).at(at, "in this template");
    if let Some(help) = problem.help {
        return diagnostic.help(help);
    }
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
        self.message = message;
        self.placed(template, at)
    }

    fn placed(mut self, template: &str, at: usize) -> Self {
        let before = template.get(..at).unwrap_or_default();
        self.line = before.matches('\n').count() + 1;
        self.column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        self
    }
}

/// Blocks in blocks, and parentheses in parentheses, beyond which a template is not parsed: its parser and its renderer call
/// themselves for each, and the stack has an end.
const DEEPEST: usize = 64;

/// Expressions times bytes: the parser counts the lines before each expression anew, so this is what it costs.
const LARGEST: usize = 1 << 27;

/// The problem with a template that the parser would choke on: nested too deeply, too large, or with an expression that goes on to
/// the end, for which the parser tries every way to read the rest.
pub(super) fn indigestible(template: &str) -> Option<TemplateProblem> {
    let problem = |message: String, at: usize, help: &'static str| {
        TemplateProblem {
            line: 1,
            column: 1,
            message,
            missing: None,
            unknown_helper: None,
            help: Some(help),
            syntax: true,
        }
        .placed(template, at)
    };
    let expressions = template.matches("{{").count();
    if expressions.saturating_mul(template.len()) > LARGEST {
        return Some(problem(
            format!(
                "this template is too large: {expressions} expressions in {} KiB",
                template.len() >> 10
            ),
            0,
            "divide it into several files",
        ));
    }
    let closed = template.rfind("}}").unwrap_or(0);
    let endless = template
        .match_indices("{{")
        .map(|(at, _)| at)
        .find(|at| *at >= closed && !template[..*at].ends_with('\\'));
    if let Some(at) = endless {
        return Some(problem("this `{{` has no `}}`".to_owned(), at, LITERAL));
    }
    too_deep(template).map(|at| {
        problem(
            format!("this is nested more than {DEEPEST} deep"),
            at,
            "say it with fewer blocks, or in a helper's words: `contains`, `and`, `or`",
        )
    })
}

/// Where a template is nested more than [`DEEPEST`] deep.
fn too_deep(template: &str) -> Option<usize> {
    // Levels that each open block has added: itself, and one for each `else if` of it.
    let mut open: Vec<usize> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while let Some(found) = template.get(at..)?.find("{{") {
        let start = at + found;
        let inner = start + "{{".len();
        let rest = template.get(inner..)?;
        let end = if rest.starts_with("!--") {
            rest.find("--}}")
        } else {
            rest.find("}}")
        };
        // Without an end whatever follows may be part of it.
        let expression = rest
            .get(..end.unwrap_or(rest.len()))?
            .trim_start_matches(['{', '~', ' ']);
        let opens = expression.starts_with(['#', '^']) || rest.starts_with("{{");
        if expression.starts_with('/') {
            depth -= open.pop().unwrap_or(0);
        } else if opens {
            open.push(1);
            depth += 1;
        } else if let Some(levels) = open.last_mut()
            && expression
                .strip_prefix("else")
                .is_some_and(|condition| !condition.trim().is_empty())
        {
            *levels += 1;
            depth += 1;
        }
        let mut parentheses: usize = 0;
        for byte in expression.bytes() {
            match byte {
                b'(' => parentheses += 1,
                b')' => parentheses = parentheses.saturating_sub(1),
                _ => {}
            }
            if depth + parentheses > DEEPEST {
                return Some(start);
            }
        }
        at = inner;
    }
    None
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
    fn depth_has_an_end() {
        let blocks = |n: usize| "{{#if a}}".repeat(n) + &"{{/if}}".repeat(n);
        let chain = |n: usize| format!("{{{{#if a}}}}{}{{{{/if}}}}", "{{else if b}}".repeat(n));
        let not = |n: usize| format!("{{{{{}a{}}}}}", "(not ".repeat(n), ")".repeat(n));
        for make in [&blocks as &dyn Fn(usize) -> String, &chain, &not] {
            assert_eq!(too_deep(&make(30)), None);
            assert!(too_deep(&make(65)).is_some());
            assert!(too_deep(&make(100_000)).is_some());
        }
        assert_eq!(too_deep(&blocks(30).repeat(10)), None);
        assert_eq!(too_deep(&"{{#if a}}{{else}}{{/if}}".repeat(1000)), None);
        let problem = indigestible(&("\n{{#if a}}".repeat(70) + "}}")).unwrap();
        assert_eq!((problem.line, problem.column), (66, 1));
        for digestible in ["", "{{a}}", "a }} \\{{", "{{a}}\\{{"] {
            assert_eq!(indigestible(digestible), None, "{digestible}");
        }
        for text in [
            "{{a}}\n".repeat(20_000),
            "{{".repeat(20_000),
            "{{!-- ".repeat(20_000),
        ] {
            assert!(indigestible(&text).is_some_and(|problem| problem.syntax));
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
                help: None,
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
