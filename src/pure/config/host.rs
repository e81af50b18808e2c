//! A host file, typed; neither merged with the host that it extends nor checked against the modules.

use std::collections::BTreeMap;

use super::module::{Contribution, Named};
use super::node::{Entry, Node, Table};
use crate::pure::name::HostName;
use crate::pure::text::Span;

#[derive(Clone, Debug)]
pub struct HostFile {
    pub name: HostName,
    /// The beginning of its file.
    pub at: Span,
    pub extends: Option<Named>,
    /// `[host]`, with the place of its header.
    pub host: Option<Entry>,
    pub modules: BTreeMap<String, ModuleUse>,
    pub allows: Vec<Allow>,
    /// `[override.KIND.NAME]`.
    pub overrides: Table,
    pub contributions: Vec<Contribution>,
}

/// `[modules.NAME]`: whether it is enabled, and its options as written.
#[derive(Clone, Debug)]
pub struct ModuleUse {
    pub at: Span,
    pub enable: Option<(bool, Span)>,
    pub options: Table,
}

/// A policy rule switched off for one subject.
#[derive(Clone, Debug)]
pub struct Allow {
    pub at: Span,
    pub rule: Named,
    pub subject: Named,
    pub reason: Named,
}

/// `upper` laid over `lower`: tables are merged key by key, anything else is replaced.
pub fn overlay(lower: Node, upper: Node) -> Node {
    use super::node::NodeKind;
    match (lower.kind, upper.kind) {
        (NodeKind::Table(lower_table), NodeKind::Table(upper_table)) => Node {
            span: upper.span,
            verbatim: None,
            kind: NodeKind::Table(overlay_tables(lower_table, upper_table)),
        },
        (_, kind) => Node {
            span: upper.span,
            verbatim: upper.verbatim,
            kind,
        },
    }
}

pub fn overlay_tables(mut lower: Table, upper: Table) -> Table {
    for (key, entry) in upper {
        let merged = match lower.take(&key) {
            Some(below) => Entry {
                key: entry.key,
                value: overlay(below.value, entry.value),
            },
            None => entry,
        };
        lower.insert(key, merged);
    }
    lower
}
