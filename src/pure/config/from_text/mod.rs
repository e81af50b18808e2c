//! Texts to typed files. Each reader reports every mistake of its file and returns what could be understood.

mod declarations;
pub mod host;
pub mod image;
pub mod language;
pub mod module;
pub mod project;
pub mod sources;

use super::decode::unknown_key;
use super::node::{Entry, NodeKind, Table};
use crate::pure::text::{Diagnostic, Diagnostics, codes};

/// Reports the keys of `table` that are not `known`; for the top level of a file.
fn only_known(table: &Table, known: &[&str], place: &str, diagnostics: &mut Diagnostics) {
    for (key, entry) in table.iter() {
        if !known.contains(&key) {
            diagnostics.push(unknown_key(key, entry.key, place, known.iter().copied()));
        }
    }
}

/// The table that a section of a file is; reports anything else.
fn section_table<'a>(
    name: &str,
    entry: &'a Entry,
    diagnostics: &mut Diagnostics,
) -> Option<&'a Table> {
    let table = entry.value.as_table();
    if table.is_none() {
        diagnostics.push(
            Diagnostic::error(
                codes::WRONG_TYPE,
                format!("`{name}` is {}", entry.value.type_name()),
            )
            .at(entry.value.span, "a table is wanted")
            .help(format!("write `[{name}]`")),
        );
    }
    table
}

/// The tables of an array of tables, each with its place; reports anything else.
pub fn tables<'a>(
    key: &str,
    entry: &'a Entry,
    diagnostics: &mut Diagnostics,
) -> Vec<&'a super::node::Node> {
    match &entry.value.kind {
        NodeKind::List(items) if items.iter().all(|item| item.as_table().is_some()) => {
            items.iter().collect()
        }
        _ => {
            diagnostics.push(
                Diagnostic::error(
                    codes::WRONG_TYPE,
                    format!(
                        "`{key}` is {} and not an array of tables",
                        entry.value.type_name()
                    ),
                )
                .at(entry.key, "")
                .help(format!("write `[[{key}]]` above each entry")),
            );
            Vec::new()
        }
    }
}
