//! The whole reference: `docs/reference/modules.md`.

use super::draw::{condition, type_of};
use crate::cli::layout::markdown_table;
use crate::pure::config::reference::{Given, Row, inline};
use crate::pure::config::sheet::{KindSheet, ModuleSheet};

pub(super) fn reference(modules: &[ModuleSheet], kinds: &[KindSheet]) -> String {
    let mut text = "\
# Modules

Made by `forge module list --markdown` from the modules themselves. A host enables a module with `[modules.NAME]`
and sets its options there; [the kinds](#kinds-of-contribution) are what modules and hosts contribute.

"
    .to_owned();
    let index = modules
        .iter()
        .map(|module| {
            vec![
                format!("[{}](#{})", module.name, module.name),
                module.summary.clone(),
            ]
        })
        .collect();
    text.push_str(&markdown_table(&["module", "what the host gains"], index));
    for module in modules {
        add_module(module, &mut text);
    }
    text.push_str(
        "
# Kinds of contribution

Every contribution has a `name`, unique on a host among its kind, and may have `when` (a condition) and `for_each`
(a list or map to repeat it over). Text in a module or a host file may hold templates.
",
    );
    for kind in kinds {
        add_kind(kind, &mut text);
    }
    text
}

fn add_module(module: &ModuleSheet, text: &mut String) {
    text.push_str(&format!("\n## {}\n\n{}.\n", module.name, module.summary));
    let mut line = |label: &str, words: Vec<String>| {
        if !words.is_empty() {
            text.push_str(&format!("\n{label} {}.\n", words.join(", ")));
        }
    };
    let code = |words: &[String]| words.iter().map(|word| format!("`{word}`")).collect();
    line("Requires", code(&module.requires));
    line("Meets the need for", code(&module.provides));
    let reaches = module
        .reaches
        .iter()
        .map(|(kind, service)| format!("the service of every `{kind}` from `{service}`"));
    line("Reaches", reaches.collect());
    if !module.doc.is_empty() {
        text.push_str(&format!("\n{}\n", module.doc));
    }
    if !module.options.is_empty() {
        text.push_str(&format!("\n### Options of {}\n\n", module.name));
        text.push_str(&fields("option", &module.options));
    }
    if !module.secrets.is_empty() {
        text.push_str(&format!("\n### Secrets of {}\n\n", module.name));
        let rows = module
            .secrets
            .iter()
            .map(|row| {
                vec![
                    format!("`{}`", row.name),
                    if row.generated { "forge" } else { "you" }.to_owned(),
                    row.form.clone(),
                    row.about.clone(),
                ]
            })
            .collect();
        text.push_str(&markdown_table(
            &["secret", "made by", "form", "what it is"],
            rows,
        ));
    }
    if !module.contributions.is_empty() {
        text.push_str(&format!("\n### What {} contributes\n\n", module.name));
        let rows = module
            .contributions
            .iter()
            .map(|row| {
                vec![
                    format!("[{}](#{})", row.kind, anchor(&row.kind)),
                    format!("`{}`", row.name),
                    condition(row),
                ]
            })
            .collect();
        text.push_str(&markdown_table(&["kind", "name", "when"], rows));
    }
}

/// The heading of a kind begins with a word, so that it never has the anchor of a module of the same name.
fn anchor(kind: &str) -> String {
    format!("kind-{kind}")
}

fn add_kind(kind: &KindSheet, text: &mut String) {
    text.push_str(&format!("\n## Kind {}\n\n{}.", kind.name, kind.doc));
    if let Some(module) = &kind.declared_by {
        text.push_str(&format!(" Declared by module [{module}](#{module})."));
    }
    if kind.needs_provider {
        text.push_str(" A need: an enabled module must meet it.");
    }
    if kind.shared {
        text.push_str(" Several may contribute the same one, as long as they say the same.");
    }
    text.push('\n');
    if !kind.fields.is_empty() {
        text.push('\n');
        text.push_str(&fields("field", &kind.fields));
    }
}

fn fields(header: &str, fields: &[Row]) -> String {
    let rows = fields
        .iter()
        .map(|row| {
            vec![
                format!("`{}`", row.path),
                type_of(row),
                match &row.given {
                    Given::Required => "required".to_owned(),
                    Given::Optional => "optional".to_owned(),
                    Given::Default(value) => format!("`{}`", inline(value)),
                },
                row.doc.clone(),
            ]
        })
        .collect();
    markdown_table(&[header, "type", "default", "meaning"], rows)
}
