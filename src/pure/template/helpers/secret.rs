//! The placeholder that stands for a secret until the host completes the file.

use std::collections::BTreeSet;

use handlebars::{Context, Handlebars, Helper, HelperDef, RenderContext, RenderError, ScopedJson};
use serde_json::Value as Json;

use super::{defined, problem};
use crate::pure::name::SecretName;

/// What every placeholder begins with. Text from people (templates as written, options) must not hold it: whoever takes such
/// text in refuses it, so that a placeholder in rendered text is known to come from the helper.
pub const MARK: &str = "⟦secret:";
const END: char = '⟧';

/// How the host writes the secret in the place of its placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quote {
    /// As it is.
    None,
    /// As a JSON string with its quotes: right in JSON, in YAML, and in TOML as a basic string.
    Json,
    /// Percent-encoded (RFC 3986 section 2.1, all but unreserved characters): right in any part of a URL.
    Url,
}

/// A place in a rendered text where a secret belongs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placeholder {
    pub name: SecretName,
    pub quote: Quote,
}

impl std::fmt::Display for Placeholder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let quote = match self.quote {
            Quote::None => "",
            Quote::Json => ":json",
            Quote::Url => ":url",
        };
        write!(f, "{MARK}{}{quote}{END}", self.name)
    }
}

/// The placeholder that begins right behind a [`MARK`].
fn parse(rest: &str) -> Option<Placeholder> {
    let (inner, _) = rest.split_once(END)?;
    let (name, quote) = match inner.split_once(':') {
        None => (inner, Quote::None),
        Some((name, "json")) => (name, Quote::Json),
        Some((name, "url")) => (name, Quote::Url),
        Some(_) => return None,
    };
    let name = name.parse().ok()?;
    Some(Placeholder { name, quote })
}

/// All placeholders of a rendered text.
pub fn placeholders(text: &str) -> BTreeSet<Placeholder> {
    text.split(MARK).skip(1).filter_map(parse).collect()
}

/// Where the text holds a [`MARK`] that begins no placeholder, in bytes: it was damaged, or never came from the helper.
pub fn stray_mark(text: &str) -> Option<usize> {
    text.match_indices(MARK)
        .map(|(at, _)| at)
        .find(|at| parse(&text[at + MARK.len()..]).is_none())
}

/// `{{secret "NAME"}}`, `{{secret "NAME" as="json"}}`.
pub(super) struct SecretHelper;

impl HelperDef for SecretHelper {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        let usage =
            "wrong arguments: it is used as `secret \"NAME\"`, with `as=\"json\"` or `as=\"url\"`";
        let [name] = helper.params().as_slice() else {
            return Err(problem(usage));
        };
        let name = defined(name)?.as_str().ok_or_else(|| problem(usage))?;
        let name = name
            .parse()
            .map_err(|error| problem(format!("`secret`: {error}")))?;
        let mut quote = Quote::None;
        for (key, value) in helper.hash() {
            quote = match (*key, defined(value)?.as_str()) {
                ("as", Some("json")) => Quote::Json,
                ("as", Some("url")) => Quote::Url,
                _ => return Err(problem(usage)),
            };
        }
        if helper.is_block() {
            return Err(problem(usage));
        }
        let placeholder = Placeholder { name, quote };
        Ok(ScopedJson::Derived(Json::String(placeholder.to_string())))
    }
}
