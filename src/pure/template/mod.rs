//! Handlebars, strict: an undefined name is an error with its place, nothing is HTML-escaped.

pub mod helpers;

use handlebars::{Context, Handlebars, RenderErrorReason, TemplateError};

/// A template that does not parse, or fails: where in the template (from 1), and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub line: usize,
    pub column: usize,
    pub message: String,
    /// The template itself does not parse, as opposed to failing on its data.
    pub syntax: bool,
}

/// Renders templates; each distinct text is parsed once.
#[derive(Debug)]
pub struct Engine {
    registry: Handlebars<'static>,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            registry: helpers::registry(),
        }
    }
}

/// Whether a text is more than itself when rendered.
pub fn is_template(text: &str) -> bool {
    text.contains("{{")
}

impl Engine {
    pub fn render(&mut self, text: &str, context: &Context) -> Result<String, Problem> {
        if !self.registry.has_template(text) {
            self.registry
                .register_template_string(text, text)
                .map_err(|error| syntax_problem(&error))?;
        }
        self.registry
            .render_with_context(text, context)
            .map_err(|error| {
                if let RenderErrorReason::TemplateError(inner) = error.reason() {
                    return syntax_problem(inner);
                }
                Problem {
                    line: error.line_no.unwrap_or(1),
                    column: error.column_no.unwrap_or(1),
                    message: describe(error.reason()),
                    syntax: false,
                }
            })
    }
}

fn syntax_problem(error: &TemplateError) -> Problem {
    let (line, column) = error.pos().unwrap_or((1, 1));
    Problem {
        line,
        column,
        message: error.reason().to_string(),
        syntax: true,
    }
}

fn describe(reason: &RenderErrorReason) -> String {
    match reason {
        RenderErrorReason::MissingVariable(Some(name)) => format!("`{name}` is not defined here"),
        RenderErrorReason::MissingVariable(None) => "a name is not defined here".to_owned(),
        RenderErrorReason::HelperNotFound(name) => format!("there is no helper `{name}`"),
        other => other.to_string(),
    }
}
