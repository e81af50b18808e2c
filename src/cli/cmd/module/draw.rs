//! Modules and kinds on the terminal.

use crate::cli::layout::{prose, prose_width, shorten, table};
use crate::pure::config::reference::{Given, Row, inline};
use crate::pure::config::sheet::{ContributionRow, KindSheet, ModuleSheet};

pub(super) fn module(sheet: &ModuleSheet, hosts: &[String]) -> String {
    let bold = anstyle::Style::new().bold();
    let mut text = format!("{bold}{}{bold:#}: {}\n", sheet.name, sheet.summary);
    let mut facts = vec![vec![
        "from".to_owned(),
        if sheet.embedded {
            "the catalogue that comes with forge".to_owned()
        } else {
            format!("modules/{} of the project", sheet.name)
        },
    ]];
    let mut fact = |name: &str, values: String| {
        if !values.is_empty() {
            facts.push(vec![name.to_owned(), values]);
        }
    };
    fact("enabled on", hosts.join(", "));
    fact("requires", sheet.requires.join(", "));
    fact("provides", sheet.provides.join(", "));
    let reaches: Vec<String> = sheet
        .reaches
        .iter()
        .map(|(kind, service)| format!("the service of every {kind} (from {service})"))
        .collect();
    fact("reaches", reaches.join(", "));
    text.push_str(&table(&[], facts));
    if !sheet.doc.is_empty() {
        text.push('\n');
        text.push_str(&prose(&sheet.doc, prose_width()));
    }
    section(&mut text, "Options");
    if sheet.options.is_empty() {
        text.push_str("none\n");
    } else {
        text.push_str(&fields("OPTION", &sheet.options));
    }
    if !sheet.contributions.is_empty() {
        section(&mut text, "Contributes");
        let rows = sheet
            .contributions
            .iter()
            .map(|row| vec![row.kind.clone(), row.name.clone(), condition(row)])
            .collect();
        text.push_str(&table(&["KIND", "NAME", "WHEN"], rows));
    }
    if !sheet.secrets.is_empty() {
        section(&mut text, "Secrets");
        let rows = sheet
            .secrets
            .iter()
            .map(|row| {
                let by = if row.generated { "forge" } else { "you" };
                vec![
                    row.name.clone(),
                    by.to_owned(),
                    row.form.clone(),
                    row.about.clone(),
                ]
            })
            .collect();
        text.push_str(&table(&["SECRET", "MADE BY", "FORM", "WHAT IT IS"], rows));
    }
    for kind in &sheet.kinds {
        section(&mut text, &format!("Kind {}", kind.name));
        text.push_str(&format!("{}\n", kind.doc));
        text.push_str(&fields("FIELD", &kind.fields));
    }
    text
}

fn section(text: &mut String, title: &str) {
    let style = anstyle::Style::new()
        .fg_color(Some(anstyle::AnsiColor::BrightGreen.into()))
        .bold();
    text.push_str(&format!("\n{style}{title}{style:#}\n"));
}

pub(super) fn condition(row: &ContributionRow) -> String {
    match (&row.for_each, &row.when) {
        (Some(each), Some(when)) => format!("for each of {each}, if {when}"),
        (Some(each), None) => format!("for each of {each}"),
        (None, Some(when)) => format!("if {when}"),
        (None, None) => "always".to_owned(),
    }
}

/// The type with its bounds.
pub(super) fn type_of(row: &Row) -> String {
    match row.bounds.as_str() {
        "" => row.ty.clone(),
        bounds => format!("{}, {bounds}", row.ty),
    }
}

fn fields(header: &str, fields: &[Row]) -> String {
    let rows = fields
        .iter()
        .map(|row| {
            vec![
                row.path.clone(),
                type_of(row),
                match &row.given {
                    Given::Required => "required".to_owned(),
                    Given::Optional => "optional".to_owned(),
                    Given::Default(value) => shorten(&inline(value)),
                },
                row.doc.clone(),
            ]
        })
        .collect();
    table(&[header, "TYPE", "DEFAULT", "MEANING"], rows)
}

pub(super) fn kinds(all: &[KindSheet]) -> String {
    let rows = all
        .iter()
        .map(|kind| {
            vec![
                kind.name.clone(),
                kind.declared_by
                    .as_ref()
                    .map_or_else(|| "forge".to_owned(), |module| format!("module {module}")),
                kind.doc.clone(),
            ]
        })
        .collect();
    table(&["KIND", "DECLARED BY", "MEANING"], rows)
}

pub(super) fn kind(kind: &KindSheet) -> String {
    let bold = anstyle::Style::new().bold();
    let mut text = format!("{bold}{}{bold:#}: {}\n", kind.name, kind.doc);
    if let Some(module) = &kind.declared_by {
        text.push_str(&format!(
            "Declared by module {module}: without it, a contribution has no effect.\n"
        ));
    }
    if kind.needs_provider {
        text.push_str("A need: an enabled module must meet it, or a [[provider]] of this name.\n");
    }
    if kind.shared {
        text.push_str("Several may contribute the same one, as long as they say the same.\n");
    }
    text.push_str("Every contribution also has `name`, and may have `when` and `for_each`.\n\n");
    if kind.fields.is_empty() {
        text.push_str("It has no fields of its own.\n");
    } else {
        text.push_str(&fields("FIELD", &kind.fields));
    }
    text
}
