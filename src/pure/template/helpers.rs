//! The template language of `docs/format/module.md`: Handlebars, strict, without escaping, with our own helpers.
//!
//! Guarantees: a name that is not defined is an error wherever it stands, in conditions too; nothing but what the contract lists
//! can be called (no partials, decorators, `lookup`, `log`); no helper reads anything but its arguments; what a quoting helper
//! writes is one word, value or text for the reader that it is named after, whatever characters are in it.
//!
//! Why the built-in `if`, `each` and `with` are replaced: they take what is missing for false, in strict mode too, so a
//! misspelt option would silently leave out a part of a config.
//!
//! Secrets: `{{secret "NAME"}}` writes a placeholder, beginning with [`MARK`], that the host completes on tmpfs. Helpers that
//! quote or change text refuse one, since they would quote the placeholder and not the secret.

mod blocks;
mod quote;
mod secret;

use handlebars::{
    Context, Decorator, Handlebars, Helper, HelperDef, RenderContext, RenderError,
    RenderErrorReason, ScopedJson, no_escape,
};
use serde_json::Value as Json;

use crate::pure::config::units::{parse_duration, parse_size};

pub use blocks::truthy;
pub use secret::{MARK, Placeholder, Quote, placeholders, stray_mark};

/// A mistake in a template, or met while rendering it: line and column in the template from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct TemplateProblem {
    pub line: usize,
    pub column: usize,
    pub message: String,
    /// The name that is not defined, if that is the mistake.
    pub missing: Option<String>,
    /// The helper that does not exist, if that is the mistake.
    pub unknown_helper: Option<String>,
    /// How to mend it, if that can be said.
    pub help: Option<&'static str>,
    /// The template itself does not parse, as opposed to failing on its data.
    pub syntax: bool,
}

/// The helpers that there are.
pub fn helper_names() -> impl Iterator<Item = &'static str> {
    ["if", "unless", "each", "with", "secret"]
        .into_iter()
        .chain(FUNCTIONS.iter().map(|function| function.name))
}

impl From<&RenderError> for TemplateProblem {
    fn from(error: &RenderError) -> Self {
        let mut problem = Self {
            line: error.line_no.unwrap_or(1),
            column: error.column_no.unwrap_or(1),
            message: String::new(),
            missing: None,
            unknown_helper: None,
            help: None,
            syntax: false,
        };
        match error.reason() {
            RenderErrorReason::MissingVariable(path) => {
                let path = path.clone().unwrap_or_default();
                problem.message = format!("`{path}` is not defined");
                problem.missing = Some(path);
            }
            RenderErrorReason::HelperNotFound(name) => {
                problem.message = format!("there is no helper `{name}`");
                problem.unknown_helper = Some(name.clone());
            }
            RenderErrorReason::DecoratorNotFound(_)
            | RenderErrorReason::PartialNotFound(_)
            | RenderErrorReason::PartialBlockNotFound => {
                problem.message = NO_PARTIALS.to_owned();
            }
            RenderErrorReason::InvalidJsonIndex(name) => {
                problem.message = format!("a list has no `{name}`, only positions from 0");
            }
            RenderErrorReason::TemplateError(error) => return Self::from(error),
            other => problem.message = other.to_string(),
        }
        problem
    }
}

impl From<&handlebars::TemplateError> for TemplateProblem {
    fn from(error: &handlebars::TemplateError) -> Self {
        let (line, column) = error.pos().unwrap_or((1, 1));
        Self {
            line,
            column,
            message: error.reason().to_string(),
            missing: None,
            unknown_helper: None,
            help: Some(LITERAL),
            syntax: true,
        }
    }
}

pub(super) const LITERAL: &str = "a literal `{{` is written `\\{{`";

const NO_PARTIALS: &str = "partials and decorators are not part of the template language";

/// The template language. Making it is cheap, but not free: make one for many templates.
pub fn registry() -> Handlebars<'static> {
    let mut registry = Handlebars::new();
    registry.set_strict_mode(true);
    registry.register_escape_fn(no_escape);
    for name in [
        "lookup", "log", "raw", "gte", "lt", "lte", "if", "unless", "each", "with",
    ] {
        registry.unregister_helper(name);
    }
    registry.register_decorator(
        "inline",
        Box::new(
            |_: &Decorator<'_>,
             _: &Handlebars<'_>,
             _: &Context,
             _: &mut RenderContext<'_, '_>|
             -> Result<(), RenderError> { Err(problem(NO_PARTIALS)) },
        ),
    );
    blocks::register(&mut registry);
    registry.register_helper("secret", Box::new(secret::SecretHelper));
    for function in FUNCTIONS {
        registry.register_helper(function.name, Box::new(*function));
    }
    registry
}

/// A helper that is a function of its arguments.
#[derive(Clone, Copy)]
struct Function {
    name: &'static str,
    /// What it is called with, for messages; as many as it takes, unless `more`.
    parameters: &'static [&'static str],
    /// It takes any number, at least that many.
    more: bool,
    call: fn(&[&Json]) -> Result<Json, String>,
}

const fn function(
    name: &'static str,
    parameters: &'static [&'static str],
    call: fn(&[&Json]) -> Result<Json, String>,
) -> Function {
    Function {
        name,
        parameters,
        more: false,
        call,
    }
}

const FUNCTIONS: &[Function] = &[
    function("json", &["X"], |x| {
        no_secret(x[0])?;
        serde_json::to_string(x[0])
            .map(Json::String)
            .map_err(|error| error.to_string())
    }),
    function("yaml", &["X"], |x| {
        no_secret(x[0])?;
        Ok(Json::String(super::yaml::flow(&x[0].into())))
    }),
    function("toml", &["X"], |x| {
        no_secret(x[0])?;
        quote::toml(x[0]).map(Json::String)
    }),
    function("sh", &["X"], |x| {
        quote::sh(&plain_text(x[0])?).map(Json::String)
    }),
    function("systemd", &["X"], |x| {
        quote::systemd(&plain_text(x[0])?).map(Json::String)
    }),
    function("indent", &["N", "X"], |x| {
        let by = x[0]
            .as_u64()
            .and_then(|by| usize::try_from(by).ok())
            .filter(|by| *by <= 100)
            .ok_or("N is a number of spaces, from 0 to 100")?;
        Ok(Json::String(quote::indent(by, &text(x[1])?)))
    }),
    function("bytes", &["X"], |x| size(x[0]).map(Json::from)),
    function("mebibytes", &["X"], |x| {
        size(x[0]).map(|bytes| Json::from(bytes >> 20))
    }),
    function("seconds", &["X"], |x| {
        let text = x[0].as_str().unwrap_or_default();
        let milliseconds = parse_duration(text)
            .ok_or_else(|| format!("a duration such as `1h30m` is wanted, not {}", x[0]))?;
        if milliseconds % 1000 != 0 {
            return Err(format!("`{text}` is not a whole number of seconds"));
        }
        Ok(Json::from(milliseconds / 1000))
    }),
    function("join", &["LIST", "BETWEEN"], |x| {
        let Json::Array(items) = x[0] else {
            return Err(format!("a list is wanted, not {}", x[0]));
        };
        let items: Result<Vec<_>, _> = items.iter().map(text).collect();
        Ok(Json::String(items?.join(&text(x[1])?)))
    }),
    function("lower", &["X"], |x| {
        Ok(Json::String(plain_text(x[0])?.to_lowercase()))
    }),
    function("upper", &["X"], |x| {
        Ok(Json::String(plain_text(x[0])?.to_uppercase()))
    }),
    function("replace", &["X", "WHAT", "BY"], |x| {
        let what = plain_text(x[1])?;
        if what.is_empty() {
            return Err("the text to replace is empty".to_owned());
        }
        Ok(Json::String(
            plain_text(x[0])?.replace(&what, &plain_text(x[2])?),
        ))
    }),
    function("eq", &["A", "B"], |x| Ok(Json::Bool(x[0] == x[1]))),
    function("ne", &["A", "B"], |x| Ok(Json::Bool(x[0] != x[1]))),
    function("gt", &["A", "B"], |x| greater(x[0], x[1]).map(Json::Bool)),
    Function {
        more: true,
        ..function("and", &["A", "B"], |x| {
            Ok(Json::Bool(x.iter().all(|x| truthy(x))))
        })
    },
    Function {
        more: true,
        ..function("or", &["A", "B"], |x| {
            Ok(Json::Bool(x.iter().any(|x| truthy(x))))
        })
    },
    function("not", &["A"], |x| Ok(Json::Bool(!truthy(x[0])))),
    function("len", &["X"], |x| match x[0] {
        Json::Array(items) => Ok(Json::from(items.len())),
        Json::Object(map) => Ok(Json::from(map.len())),
        Json::String(text) => Ok(Json::from(text.chars().count())),
        other => Err(format!("a list, map or text is wanted, not {other}")),
    }),
    function("contains", &["LIST", "X"], |x| match x[0] {
        Json::Array(items) => Ok(Json::Bool(items.contains(x[1]))),
        Json::Object(map) => Ok(Json::Bool(map.contains_key(text(x[1])?.as_str()))),
        Json::String(whole) => Ok(Json::Bool(whole.contains(text(x[1])?.as_str()))),
        other => Err(format!("a list, map or text is wanted, not {other}")),
    }),
];

impl HelperDef for Function {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let usage = || {
            format!(
                "it is used as `{} {}`",
                self.name,
                self.parameters.join(" ")
            )
        };
        if helper.is_block() {
            return Err(problem(format!(
                "`{}` is no block: write `{{{{#if ({} …)}}}}`",
                self.name, self.name
            )));
        }
        let given = helper.params().len();
        let wanted = self.parameters.len();
        if given < wanted || (given > wanted && !self.more) || !helper.hash().is_empty() {
            return Err(problem(format!("wrong arguments: {}", usage())));
        }
        let mut arguments = Vec::with_capacity(given);
        for parameter in helper.params() {
            arguments.push(defined(parameter)?);
        }
        (self.call)(&arguments)
            .map(ScopedJson::Derived)
            .map_err(|why| problem(format!("`{}`: {why}", self.name)))
    }
}

fn problem(message: impl Into<String>) -> RenderError {
    RenderErrorReason::Other(message.into()).into()
}

/// The value of a parameter, unless it is a name that is not defined.
fn defined<'a>(parameter: &'a handlebars::PathAndJson<'_>) -> Result<&'a Json, RenderError> {
    if parameter.is_value_missing() {
        return Err(RenderError::strict_error(parameter.relative_path()));
    }
    Ok(parameter.value())
}

/// A scalar as text; null, lists and maps have no text of their own.
fn text(value: &Json) -> Result<String, String> {
    match value {
        Json::String(text) => Ok(text.clone()),
        Json::Number(number) => Ok(number.to_string()),
        Json::Bool(value) => Ok(value.to_string()),
        Json::Null => Err("a text is wanted, and this is absent".to_owned()),
        Json::Array(_) => Err("a text is wanted, not a list".to_owned()),
        Json::Object(_) => Err("a text is wanted, not a map".to_owned()),
    }
}

/// A scalar as text that holds no placeholder.
fn plain_text(value: &Json) -> Result<String, String> {
    no_secret(value)?;
    text(value)
}

fn no_secret(value: &Json) -> Result<(), String> {
    let found = match value {
        Json::String(text) => text.contains(MARK),
        Json::Array(items) => return items.iter().try_for_each(no_secret),
        Json::Object(map) => {
            map.values().try_for_each(no_secret)?;
            map.keys().any(|key| key.contains(MARK))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    };
    if found {
        return Err(
            "a secret is not known yet: let the host quote it, with `{{secret \"NAME\" as=\"json\"}}`"
                .to_owned(),
        );
    }
    Ok(())
}

fn size(value: &Json) -> Result<u64, String> {
    value
        .as_str()
        .and_then(parse_size)
        .ok_or_else(|| format!("a size such as `512MiB` is wanted, not {value}"))
}

fn greater(a: &Json, b: &Json) -> Result<bool, String> {
    if let (Some(a), Some(b)) = (a.as_i64(), b.as_i64()) {
        return Ok(a > b);
    }
    if let (Some(a), Some(b)) = (a.as_f64(), b.as_f64()) {
        return Ok(a > b);
    }
    let (a_text, b_text) = (a.as_str(), b.as_str());
    if let (Some(a), Some(b)) = (a_text.and_then(parse_size), b_text.and_then(parse_size)) {
        return Ok(a > b);
    }
    if let (Some(a), Some(b)) = (
        a_text.and_then(parse_duration),
        b_text.and_then(parse_duration),
    ) {
        return Ok(a > b);
    }
    Err(format!(
        "two numbers, sizes or durations are wanted, not {a} and {b}"
    ))
}

#[cfg(test)]
mod tests;
