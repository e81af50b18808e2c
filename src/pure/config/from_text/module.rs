//! `modules/NAME/module.toml`.

use std::collections::{BTreeMap, BTreeSet};

use super::language::Language;
use super::{only_known, section_table};
use crate::pure::config::decode::{decode_fields, missing_key};
use crate::pure::config::field::Fields;
use crate::pure::config::module::{Contribution, Kind, Module, Named};
use crate::pure::config::node::{Entry, NodeKind, Table, parse};
use crate::pure::config::value::Value;
use crate::pure::name::{KindName, ModuleName};
use crate::pure::text::{Diagnostic, Diagnostics, SourceId, Sources, Span, codes};

const FIXED: [&str; 3] = ["module", "options", "contribution"];

/// Reads one module file. `None` when nothing of it can be used.
pub fn read(
    name: ModuleName,
    embedded: bool,
    id: SourceId,
    language: &Language,
    sources: &Sources,
    diagnostics: &mut Diagnostics,
) -> Option<Module> {
    let table = parse(sources, id, diagnostics)?;
    let start = Span::new(id, 0..0);
    let header = match table.get("module") {
        Some(entry) => {
            let value = &entry.value;
            let place = format!("[module] of `{name}`");
            section_table("module", entry, diagnostics)
                .and_then(|table| {
                    decode_fields(
                        table,
                        &language.shape("module"),
                        value.span,
                        &place,
                        diagnostics,
                    )
                })
                .map(|map| Value::new(value.span, crate::pure::config::value::Data::Map(map)))
        }
        None => {
            diagnostics.push(
                missing_key("[module]", start, &format!("module `{name}`"), None)
                    .help("add `[module]` with `summary = \"…\"`"),
            );
            None
        }
    };
    let options = table
        .get("options")
        .and_then(|entry| section_table("options", entry, diagnostics))
        .map(|options| Fields::parse(options, diagnostics))
        .unwrap_or_default();
    if let Some(field) = options.get("enable") {
        diagnostics.push(
            Diagnostic::error(
                codes::BAD_DECLARATION,
                "`enable` cannot be declared as an option",
            )
            .at(field.at, "every module has it already")
            .help("choose another name"),
        );
    }
    let (kinds, broken_kinds) = read_kinds(&table, Some(&name), language, diagnostics);
    let contributions = read_contributions(&table, &FIXED, diagnostics);
    let words = |key: &str| {
        header.as_ref().map_or_else(Vec::new, |header| {
            header
                .list(key)
                .iter()
                .filter_map(|item| {
                    Some(Named {
                        text: item.as_str()?.to_owned(),
                        at: item.at,
                    })
                })
                .collect()
        })
    };
    let text = |key: &str| {
        header
            .as_ref()
            .and_then(|header| header.str(key))
            .unwrap_or_default()
            .to_owned()
    };
    Some(Module {
        at: start,
        embedded,
        summary: text("summary"),
        doc: text("doc"),
        requires: words("requires"),
        provides: words("provides"),
        reaches: header
            .as_ref()
            .and_then(|header| header.get("reaches")?.as_map())
            .map(|map| {
                map.iter()
                    .filter_map(|(kind, service)| {
                        let named = Named {
                            text: service.as_str()?.to_owned(),
                            at: service.at,
                        };
                        Some((kind.clone(), named))
                    })
                    .collect()
            })
            .unwrap_or_default(),
        options,
        kinds,
        broken_kinds,
        contributions,
        name,
    })
}

/// Reads `[contribution.NAME]` declarations; and the names of those that cannot be understood.
pub(super) fn read_kinds(
    table: &Table,
    module: Option<&ModuleName>,
    language: &Language,
    diagnostics: &mut Diagnostics,
) -> (BTreeMap<String, Kind>, BTreeSet<String>) {
    let (mut kinds, mut broken) = (BTreeMap::new(), BTreeSet::new());
    let declared = table
        .get("contribution")
        .and_then(|entry| section_table("contribution", entry, diagnostics));
    for (name, entry) in declared.into_iter().flat_map(Table::iter) {
        if let Err(error) = name.parse::<KindName>() {
            diagnostics.push(
                Diagnostic::error(codes::BAD_NAME, error.message())
                    .at(entry.key, "")
                    .help(error.rule()),
            );
            broken.insert(name.to_owned());
            continue;
        }
        match read_kind(name, entry, module, language, diagnostics) {
            Some(kind) => {
                kinds.insert(name.to_owned(), kind);
            }
            None => {
                broken.insert(name.to_owned());
            }
        }
    }
    (kinds, broken)
}

/// Keys of module and host files, which no kind can be called: its contributions would be read as something else.
const RESERVED: [&str; 8] = [
    "module",
    "options",
    "contribution",
    "extends",
    "host",
    "modules",
    "allow",
    "override",
];

fn read_kind(
    name: &str,
    entry: &Entry,
    module: Option<&ModuleName>,
    language: &Language,
    diagnostics: &mut Diagnostics,
) -> Option<Kind> {
    let NodeKind::Table(table) = &entry.value.kind else {
        diagnostics.push(
            Diagnostic::error(
                codes::WRONG_TYPE,
                format!(
                    "the declaration of kind `{name}` is {}",
                    entry.value.type_name()
                ),
            )
            .at(entry.key, "a table is wanted")
            .help(format!("write `[contribution.{name}]` with `doc = \"…\"`")),
        );
        return None;
    };
    if RESERVED.contains(&name) {
        diagnostics.push(
            Diagnostic::error(
                codes::BAD_DECLARATION,
                format!("a kind cannot be called `{name}`"),
            )
            .at(entry.key, "this is a section of module or host files")
            .help("choose another name"),
        );
        return None;
    }
    if module.is_some() && language.kinds.contains_key(name) {
        diagnostics.push(
            Diagnostic::error(
                codes::DUPLICATE,
                format!("the kind `{name}` is forge's own"),
            )
            .at(entry.key, "")
            .help("choose another name"),
        );
        return None;
    }
    let mut header = table.clone();
    let fields = header
        .take("fields")
        .and_then(|entry| {
            let section = format!("contribution.{name}.fields");
            section_table(&section, &entry, diagnostics)
                .map(|fields| Fields::parse(fields, diagnostics))
        })
        .unwrap_or_default();
    for reserved in ["name", "module", "when", "for_each"] {
        if let Some(field) = fields.get(reserved) {
            diagnostics.push(
                Diagnostic::error(
                    codes::BAD_DECLARATION,
                    format!("every contribution has `{reserved}` already"),
                )
                .at(field.at, "")
                .help("choose another name"),
            );
        }
    }
    let place = format!("kind `{name}`");
    let header = decode_fields(
        &header,
        &language.shape("kind"),
        entry.value.span,
        &place,
        diagnostics,
    )?;
    let doc = header
        .get("doc")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let flag = |key: &str| header.get(key).and_then(Value::as_bool).unwrap_or(false);
    Some(Kind {
        name: name.to_owned(),
        at: entry.key,
        doc,
        fields,
        needs_provider: flag("needs_provider"),
        shared: flag("shared"),
        declared_by: module.cloned(),
    })
}

/// Every array of tables that is not one of the `fixed` keys is a contribution; anything else is an unknown key.
pub(super) fn read_contributions(
    table: &Table,
    fixed: &[&str],
    diagnostics: &mut Diagnostics,
) -> Vec<Contribution> {
    let mut contributions = Vec::new();
    let rest: Table = {
        let mut rest = table.clone();
        for key in fixed {
            rest.take(key);
        }
        rest
    };
    let mut unknown = Table::default();
    for (kind, entry) in rest {
        if matches!(&entry.value.kind, NodeKind::List(items) if items.iter().all(|item| item.as_table().is_some()))
        {
            let named = Named {
                text: kind,
                at: entry.key,
            };
            if let NodeKind::List(items) = entry.value.kind {
                for item in items {
                    contributions.extend(read_contribution(&named, item, diagnostics));
                }
            }
        } else {
            unknown.insert(kind, entry);
        }
    }
    only_known(&unknown, fixed, "this file", diagnostics);
    contributions
}

fn read_contribution(
    kind: &Named,
    node: crate::pure::config::node::Node,
    diagnostics: &mut Diagnostics,
) -> Option<Contribution> {
    let at = node.span;
    let NodeKind::Table(mut body) = node.kind else {
        return None;
    };
    let mut condition = |key: &str, diagnostics: &mut Diagnostics| {
        let entry = body.take(key)?;
        match entry.value.as_str() {
            Some(text) => Some(Named {
                text: text.to_owned(),
                at: entry.value.span,
            }),
            None => {
                diagnostics.push(
                    Diagnostic::error(
                        codes::WRONG_TYPE,
                        format!("`{key}` is {}", entry.value.type_name()),
                    )
                    .at(entry.value.span, "text in quotes is wanted"),
                );
                None
            }
        }
    };
    let when = condition("when", diagnostics);
    let for_each = condition("for_each", diagnostics);
    let Some(name) = body.take("name") else {
        diagnostics.push(
            missing_key("name", at, &format!("[[{}]]", kind.text), None)
                .help("add `name = \"…\"`: contributions of a kind are told apart by it"),
        );
        return None;
    };
    if name.value.as_str().is_none() {
        diagnostics.push(
            Diagnostic::error(
                codes::WRONG_TYPE,
                format!("`name` is {}", name.value.type_name()),
            )
            .at(name.value.span, "text in quotes is wanted"),
        );
        return None;
    }
    Some(Contribution {
        kind: kind.clone(),
        at,
        name: name.value,
        when,
        for_each,
        body,
    })
}
