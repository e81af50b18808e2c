//! `hosts/NAME.toml`.

use std::collections::BTreeMap;

use super::language::Language;
use super::module::read_contributions;
use super::{section_table, tables};
use crate::pure::config::decode::decode_fields;
use crate::pure::config::host::{Allow, HostFile, ModuleUse};
use crate::pure::config::module::Named;
use crate::pure::config::node::{Node, NodeKind, Table, parse};
use crate::pure::config::value::Value;
use crate::pure::name::HostName;
use crate::pure::text::{Code, Diagnostic, Diagnostics, SourceId, Sources, Span, codes};

const FIXED: [&str; 5] = ["extends", "host", "modules", "allow", "override"];

/// Reads one host file. `None` when nothing of it can be used.
pub fn read(
    name: HostName,
    id: SourceId,
    language: &Language,
    sources: &Sources,
    diagnostics: &mut Diagnostics,
) -> Option<HostFile> {
    let table = parse(sources, id, diagnostics)?;
    let mut usable = true;
    let extends = table.get("extends").and_then(|entry| {
        let named = entry.value.as_str().map(|text| Named {
            text: text.to_owned(),
            at: entry.value.span,
        });
        if named.is_none() {
            usable = false;
            wrong_type(
                "extends",
                &entry.value,
                "the name of a host is wanted",
                diagnostics,
            );
        }
        named
    });
    let host = table.get("host").filter(|entry| {
        let table = section_table("host", entry, diagnostics);
        usable &= table.is_some();
        table.is_some()
    });
    let file = HostFile {
        name,
        at: Span::new(id, 0..0),
        extends,
        host: host.cloned(),
        modules: read_modules(&table, diagnostics),
        allows: read_allows(&table, language, diagnostics),
        overrides: sub_table(&table, "override", diagnostics)
            .cloned()
            .unwrap_or_default(),
        contributions: read_contributions(&table, &FIXED, diagnostics),
    };
    // Without its parent or its own section, only what is not there would be found missing.
    usable.then_some(file)
}

fn wrong_type(key: &str, node: &Node, wanted: &str, diagnostics: &mut Diagnostics) {
    diagnostics.push(
        Diagnostic::error(
            codes::WRONG_TYPE,
            format!("`{key}` is {}", node.type_name()),
        )
        .at(node.span, wanted),
    );
}

fn sub_table<'a>(table: &'a Table, key: &str, diagnostics: &mut Diagnostics) -> Option<&'a Table> {
    section_table(key, table.get(key)?, diagnostics)
}

fn read_modules(table: &Table, diagnostics: &mut Diagnostics) -> BTreeMap<String, ModuleUse> {
    let mut uses = BTreeMap::new();
    let Some(modules) = sub_table(table, "modules", diagnostics) else {
        return uses;
    };
    for (name, entry) in modules.iter() {
        let NodeKind::Table(options) = &entry.value.kind else {
            diagnostics.push(
                Diagnostic::error(
                    codes::WRONG_TYPE,
                    format!("`modules.{name}` is {}", entry.value.type_name()),
                )
                .at(entry.value.span, "a table of options is wanted")
                .help(format!("write `[modules.{name}]`")),
            );
            continue;
        };
        let mut options = options.clone();
        let enable = options
            .take("enable")
            .and_then(|enable| match enable.value.kind {
                NodeKind::Bool(value) => Some((value, enable.value.span)),
                _ => {
                    wrong_type(
                        "enable",
                        &enable.value,
                        "`true` or `false` is wanted",
                        diagnostics,
                    );
                    None
                }
            });
        uses.insert(
            name.to_owned(),
            ModuleUse {
                at: entry.key,
                enable,
                options,
            },
        );
    }
    uses
}

fn read_allows(table: &Table, language: &Language, diagnostics: &mut Diagnostics) -> Vec<Allow> {
    let Some(entry) = table.get("allow") else {
        return Vec::new();
    };
    let mut allows = Vec::new();
    for node in tables("allow", entry, diagnostics) {
        let Some(inner) = node.as_table() else {
            continue;
        };
        let Some(fields) = decode_fields(
            inner,
            &language.shape("allow"),
            node.span,
            "[[allow]]",
            diagnostics,
        ) else {
            continue;
        };
        let named = |key: &str| {
            let value = fields.get(key);
            Named {
                text: value.and_then(Value::as_str).unwrap_or_default().to_owned(),
                at: value.map_or(node.span, |value| value.at),
            }
        };
        let allow = Allow {
            at: node.span,
            rule: named("rule"),
            subject: named("subject"),
            reason: named("reason"),
        };
        match Code::find(&allow.rule.text) {
            Some(code) if code.is_policy() => {}
            found => {
                let message = match found {
                    Some(code) => format!(
                        "{code} ({}) is no policy rule, so it cannot be allowed",
                        code.title()
                    ),
                    None => format!("there is no rule {}", allow.rule.text),
                };
                diagnostics.push(
                    Diagnostic::error(codes::BAD_ALLOW, message)
                        .at(allow.rule.at, "")
                        .help("`forge explain --all` lists the policy rules (F03…)"),
                );
                continue;
            }
        }
        if allow.reason.text.trim().chars().count() < 10 {
            diagnostics.push(
                Diagnostic::error(codes::NO_REASON, "an allowance needs a written reason")
                    .at(allow.reason.at, "")
                    .help(
                        "write at least ten characters, for the person who reads it in two years",
                    ),
            );
        }
        allows.push(allow);
    }
    allows
}
