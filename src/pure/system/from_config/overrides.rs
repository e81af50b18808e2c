//! `[override.KIND.NAME]`: what a host changes of its contributions.

use std::collections::BTreeSet;

use super::failed::Failed;
use crate::pure::config::node::{NodeKind, Table};
use crate::pure::config::project::Project;
use crate::pure::system::facts::Facts;
use crate::pure::text::{Diagnostic, Diagnostics, Span, codes};

/// Reports the overrides of what there is not.
pub(super) fn check(
    overrides: &Table,
    used: &BTreeSet<(String, String)>,
    facts: &Facts,
    failed: &Failed,
    project: &Project,
    diagnostics: &mut Diagnostics,
) {
    for (kind, entry) in overrides.iter() {
        if !project.kinds.contains_key(kind) {
            if !project.knows(kind) {
                diagnostics.push(
                    Diagnostic::error(
                        codes::BAD_OVERRIDE,
                        format!("there is no kind `{kind}`, so nothing of it to override"),
                    )
                    .at(entry.key, "")
                    .suggest(kind, project.kinds.keys().map(String::as_str)),
                );
            }
            continue;
        }
        let Some(names) = entry.value.as_table() else {
            diagnostics.push(form(&format!("override.{kind}"), &entry.value, entry.key));
            continue;
        };
        for (name, entry) in names.iter() {
            if entry.value.as_table().is_none() {
                let path = format!("override.{kind}.{name}");
                diagnostics.push(form(&path, &entry.value, entry.key));
                continue;
            }
            if used.contains(&(kind.to_owned(), name.to_owned())) || failed.covers(kind, name) {
                continue;
            }
            diagnostics.push(
                Diagnostic::error(
                    codes::BAD_OVERRIDE,
                    format!("there is no {kind} `{name}` to override"),
                )
                .at(entry.key, "")
                .suggest(name, facts.names(kind))
                .help("`forge show HOST` lists what there is"),
            );
        }
    }
}

fn form(path: &str, value: &crate::pure::config::node::Node, at: Span) -> Diagnostic {
    Diagnostic::error(
        codes::BAD_OVERRIDE,
        format!("`{path}` is {}", value.type_name()),
    )
    .at(at, "a table is wanted")
    .help("write `[override.KIND.NAME]` and the fields below it")
}

/// The paths of the values in `upper`, each with the place of what it replaces.
pub(super) fn collect(
    upper: &Table,
    lower: Option<&Table>,
    path: &str,
    found: &mut Vec<(String, Option<Span>)>,
) {
    for (key, entry) in upper.iter() {
        let path = if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        };
        let below = lower.and_then(|lower| lower.get(key));
        match &entry.value.kind {
            NodeKind::Table(inner) => {
                collect(
                    inner,
                    below.and_then(|below| below.value.as_table()),
                    &path,
                    found,
                );
            }
            _ => found.push((path, below.map(|below| below.value.span))),
        }
    }
}
