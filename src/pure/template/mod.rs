//! Text from data: Handlebars, strict, with our own helpers; and the YAML that they and the renderers write.

pub mod helpers;
mod mistake;
pub mod yaml;

use handlebars::{Context, Handlebars};

pub use helpers::{TemplateProblem, helper_names};
pub use mistake::{look_up, mistake, split_path, suggest_name};

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
    /// The text that `template` makes of the data.
    ///
    /// # Errors
    /// The place in the template, and why it does not parse or fails.
    pub fn render(&mut self, template: &str, data: &Context) -> Result<String, TemplateProblem> {
        if !self.registry.has_template(template) {
            if let Some(problem) = mistake::indigestible(template) {
                return Err(problem);
            }
            self.registry
                .register_template_string(template, template)
                .map_err(|error| TemplateProblem::from(&error).explained(template))?;
        }
        self.registry
            .render_with_context(template, data)
            .map_err(|error| TemplateProblem::from(&error))
    }
}
