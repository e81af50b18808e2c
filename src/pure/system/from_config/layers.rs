//! A host and the hosts that it extends, laid over each other.

use std::collections::BTreeMap;

use crate::pure::config::host::{Allow, HostFile, ModuleUse, overlay_tables};
use crate::pure::config::module::Contribution;
use crate::pure::config::node::{Entry, NodeKind, Table};
use crate::pure::text::Span;

/// A chain of host files as one.
#[derive(Debug)]
pub(super) struct Merged {
    /// The beginning of the host's own file.
    pub at: Span,
    pub host: Table,
    pub host_at: Span,
    pub modules: BTreeMap<String, ModuleUse>,
    pub allows: Vec<Allow>,
    pub overrides: Table,
    pub contributions: Vec<Contribution>,
}

/// Merges a chain, the host's own file first. What is nearer to the host wins: tables key by key, contributions by kind and name.
pub(super) fn merge(chain: &[HostFile]) -> Option<Merged> {
    let own = chain.first()?;
    let mut merged = Merged {
        at: own.at,
        host: Table::default(),
        host_at: own.host.as_ref().map_or(own.at, |entry| entry.key),
        modules: BTreeMap::new(),
        allows: Vec::new(),
        overrides: Table::default(),
        contributions: Vec::new(),
    };
    for file in chain.iter().rev() {
        let HostFile {
            name: _,
            at: _,
            extends: _,
            host,
            modules,
            allows,
            overrides,
            contributions,
        } = file;
        if let Some(Entry { value, .. }) = host
            && let NodeKind::Table(table) = &value.kind
        {
            merged.host = overlay_tables(std::mem::take(&mut merged.host), table.clone());
        }
        for (name, upper) in modules {
            let ModuleUse {
                at,
                enable,
                options,
            } = upper;
            match merged.modules.get_mut(name) {
                Some(lower) => {
                    lower.at = *at;
                    // Naming a module enables it again, unless the nearer file says otherwise.
                    lower.enable = *enable;
                    lower.options =
                        overlay_tables(std::mem::take(&mut lower.options), options.clone());
                }
                None => {
                    merged.modules.insert(name.clone(), upper.clone());
                }
            }
        }
        merged.allows.extend(allows.iter().cloned());
        merged.overrides = overlay_tables(std::mem::take(&mut merged.overrides), overrides.clone());
        for contribution in contributions {
            let same = |other: &Contribution| {
                other.kind.text == contribution.kind.text
                    && other.name.as_str() == contribution.name.as_str()
                    && other.at.source != contribution.at.source
            };
            merged.contributions.retain(|other| !same(other));
            merged.contributions.push(contribution.clone());
        }
    }
    Some(merged)
}
