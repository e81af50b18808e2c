//! A module file, typed: what it declares and what it contributes, its templates not yet run.

use std::collections::{BTreeMap, BTreeSet};

use super::field::Fields;
use super::node::{Node, Table};
use crate::pure::name::ModuleName;
use crate::pure::text::Span;

#[derive(Clone, Debug)]
pub struct Module {
    pub name: ModuleName,
    /// The beginning of its file.
    pub at: Span,
    /// True for a module that comes with forge, false for one of the project.
    pub embedded: bool,
    pub summary: String,
    pub doc: String,
    pub requires: Vec<Named>,
    pub provides: Vec<Named>,
    /// Kind → service of the module that must reach the service of each contribution of the kind.
    pub reaches: BTreeMap<String, Named>,
    pub options: Fields,
    pub kinds: BTreeMap<String, Kind>,
    /// Kinds whose declarations could not be understood.
    pub broken_kinds: BTreeSet<String>,
    pub contributions: Vec<Contribution>,
}

/// A word and where it stands.
#[derive(Clone, Debug)]
pub struct Named {
    pub text: String,
    pub at: Span,
}

/// A kind of contribution.
#[derive(Clone, Debug)]
pub struct Kind {
    pub name: String,
    pub at: Span,
    pub doc: String,
    pub fields: Fields,
    pub needs_provider: bool,
    /// Several may contribute the same one, as long as they say the same.
    pub shared: bool,
    /// None for the kinds that forge itself knows.
    pub declared_by: Option<ModuleName>,
}

/// A contribution as written, before `for_each`, `when` and templates.
#[derive(Clone, Debug)]
pub struct Contribution {
    pub kind: Named,
    /// The first line of its table.
    pub at: Span,
    pub name: Node,
    pub when: Option<Named>,
    pub for_each: Option<Named>,
    pub body: Table,
}
