//! What the modules of a host contribute, checked and merged: kind, name, fields.

use std::collections::BTreeMap;

use crate::pure::config::value::Value;
use crate::pure::text::Span;

/// One contribution, decided: its templates are run and its fields checked.
#[derive(Clone, Debug)]
pub struct Fact {
    pub kind: String,
    /// For files `MODULE/NAME`, else the bare name.
    pub name: String,
    /// The module that contributes it; [`HOST`] for one of the host file.
    pub module: String,
    pub at: Span,
    /// A map with every field of the kind.
    pub value: Value,
    /// The item of `for_each` that made it, for the templates of its files.
    pub each: Option<serde_json::Value>,
    /// Fields that the host overrides: path in the contribution, and the place of what the module said, if it said anything.
    pub overridden: Vec<(String, Option<Span>)>,
}

/// What [`Fact::module`] is for contributions of the host file itself.
pub const HOST: &str = "host";

impl Fact {
    /// `service.grafana`: how `[[allow]]` and `forge explain` call it.
    pub fn subject(&self) -> String {
        format!("{}.{}", self.kind, self.name)
    }

    /// As templates see it: the fields, `name` and `module`.
    pub fn to_json(&self) -> serde_json::Value {
        let mut json = self.value.to_json();
        if let Some(object) = json.as_object_mut() {
            object.insert("name".to_owned(), self.name.clone().into());
            object.insert("module".to_owned(), self.module.clone().into());
        }
        json
    }
}

/// All facts of a host, by kind and name.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    by_kind: BTreeMap<String, BTreeMap<String, Fact>>,
}

impl Facts {
    pub fn get(&self, kind: &str, name: &str) -> Option<&Fact> {
        self.by_kind.get(kind)?.get(name)
    }

    /// The facts of a kind, in the order of their names.
    pub fn of<'a>(&'a self, kind: &str) -> impl Iterator<Item = &'a Fact> + use<'a> {
        self.by_kind
            .get(kind)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    pub fn kinds(&self) -> impl Iterator<Item = &str> {
        self.by_kind.keys().map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.by_kind.values().flat_map(BTreeMap::values)
    }

    pub fn names(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.by_kind
            .get(kind)
            .into_iter()
            .flat_map(|facts| facts.keys().map(String::as_str))
    }

    /// Adds a fact; gives it back with the one that already has its name.
    pub fn insert(&mut self, fact: Fact) -> Result<(), (Box<Fact>, Span)> {
        let facts = self.by_kind.entry(fact.kind.clone()).or_default();
        match facts.get(&fact.name) {
            Some(first) => Err((Box::new(fact), first.at)),
            None => {
                facts.insert(fact.name.clone(), fact);
                Ok(())
            }
        }
    }
}
