//! What the binary itself knows of the language: the built-in kinds and the fixed tables.

use std::collections::BTreeMap;

use crate::pure::config::field::Fields;
use crate::pure::config::module::Kind;
use crate::pure::config::node::{NodeKind, Table, parse};
use crate::pure::text::{Diagnostics, Sources};

/// The built-in kinds of contribution and the shapes of the fixed tables, read from the two tables beside this module.
#[derive(Clone, Debug, Default)]
pub struct Language {
    pub kinds: BTreeMap<String, Kind>,
    shapes: BTreeMap<&'static str, Fields>,
}

const SHAPES: [&str; 21] = [
    "project",
    "sources",
    "module",
    "kind",
    "host",
    "allow",
    "image",
    "registry",
    "debian",
    "python",
    "group",
    "user",
    "directory",
    "link",
    "file",
    "run",
    "pin",
    "suite_pin",
    "recipe_pin",
    "package_pin",
    "wheel_pin",
];

impl Language {
    /// A mistake in the embedded tables would be reported like one in any other file; a test keeps them free of any.
    pub fn read(sources: &mut Sources, diagnostics: &mut Diagnostics) -> Self {
        let kinds = sources.add("<forge>/kinds.toml", include_str!("../kinds.toml"));
        let shapes = sources.add("<forge>/shapes.toml", include_str!("../shapes.toml"));
        let mut language = Self::default();
        if let Some(table) = parse(sources, shapes, diagnostics) {
            for name in SHAPES {
                if let Some(fields) = shape(&table, name) {
                    language
                        .shapes
                        .insert(name, Fields::parse(fields, diagnostics));
                }
            }
        }
        if let Some(table) = parse(sources, kinds, diagnostics) {
            language.kinds = super::module::read_kinds(&table, None, &language, diagnostics).0;
        }
        language
    }

    /// The fields of a fixed table; empty only for a name that is not in `SHAPES`.
    pub fn shape(&self, name: &str) -> Fields {
        self.shapes.get(name).cloned().unwrap_or_default()
    }
}

fn shape<'a>(table: &'a Table, name: &str) -> Option<&'a Table> {
    let shapes = table.get("shape")?.value.as_table()?;
    match &shapes
        .get(name)?
        .value
        .as_table()?
        .get("fields")?
        .value
        .kind
    {
        NodeKind::Table(fields) => Some(fields),
        _ => None,
    }
}
