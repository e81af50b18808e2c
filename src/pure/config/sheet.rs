//! Everything that there is to say of a module or a kind, as the reference and `forge module show` say it.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::module::{Contribution, Kind, Module};
use super::node::{Node, Table};
use super::reference::{Given, Row, rows, written};

/// A module, for people.
#[derive(Clone, Debug)]
pub struct ModuleSheet {
    pub name: String,
    /// True for a module that comes with forge.
    pub embedded: bool,
    pub summary: String,
    pub doc: String,
    pub requires: Vec<String>,
    pub provides: Vec<String>,
    pub reaches: BTreeMap<String, String>,
    pub options: Vec<Row>,
    pub contributions: Vec<ContributionRow>,
    pub secrets: Vec<SecretRow>,
    pub kinds: Vec<KindSheet>,
}

/// What a module contributes, as it is written: its templates are not run.
#[derive(Clone, Debug)]
pub struct ContributionRow {
    pub kind: String,
    pub name: String,
    pub when: Option<String>,
    pub for_each: Option<String>,
}

/// A secret that a module wants.
#[derive(Clone, Debug)]
pub struct SecretRow {
    pub name: String,
    /// True if `forge secret generate` makes it.
    pub generated: bool,
    /// What it must look like, in words.
    pub form: String,
    pub about: String,
}

/// A kind of contribution, for people.
#[derive(Clone, Debug)]
pub struct KindSheet {
    pub name: String,
    pub doc: String,
    /// None for a kind that forge itself knows.
    pub declared_by: Option<String>,
    pub needs_provider: bool,
    pub shared: bool,
    pub fields: Vec<Row>,
}

impl ModuleSheet {
    pub fn new(module: &Module) -> Self {
        let texts =
            |named: &[super::module::Named]| named.iter().map(|named| named.text.clone()).collect();
        let name =
            |contribution: &Contribution| contribution.name.as_str().unwrap_or_default().to_owned();
        let (secrets, others): (Vec<_>, Vec<_>) = module
            .contributions
            .iter()
            .partition(|contribution| contribution.kind.text == "secret");
        Self {
            name: module.name.to_string(),
            embedded: module.embedded,
            summary: module.summary.clone(),
            doc: module.doc.trim().to_owned(),
            requires: texts(&module.requires),
            provides: texts(&module.provides),
            reaches: module
                .reaches
                .iter()
                .map(|(kind, service)| (kind.clone(), service.text.clone()))
                .collect(),
            options: rows(&module.options),
            contributions: others
                .into_iter()
                .map(|contribution| ContributionRow {
                    kind: contribution.kind.text.clone(),
                    name: name(contribution),
                    when: contribution.when.as_ref().map(|when| when.text.clone()),
                    for_each: contribution.for_each.as_ref().map(|each| each.text.clone()),
                })
                .collect(),
            secrets: secrets
                .into_iter()
                .map(|contribution| SecretRow {
                    name: name(contribution),
                    generated: contribution.body.get("generate").is_some(),
                    form: form(&contribution.body),
                    about: text(contribution.body.get("about").map(|entry| &entry.value)),
                })
                .collect(),
            kinds: module.kinds.values().map(KindSheet::new).collect(),
        }
    }

    pub fn to_json(&self) -> Json {
        json!({
            "name": self.name,
            "origin": if self.embedded { "catalogue" } else { "project" },
            "summary": self.summary,
            "doc": self.doc,
            "requires": self.requires,
            "provides": self.provides,
            "reaches": self.reaches,
            "options": rows_json(&self.options),
            "contributions": self.contributions.iter().map(|row| json!({
                "kind": row.kind,
                "name": row.name,
                "when": row.when,
                "for_each": row.for_each,
            })).collect::<Json>(),
            "secrets": self.secrets.iter().map(|row| json!({
                "name": row.name,
                "generated": row.generated,
                "form": row.form,
                "about": row.about,
            })).collect::<Json>(),
            "kinds": self.kinds.iter().map(KindSheet::to_json).collect::<Json>(),
        })
    }
}

impl KindSheet {
    pub fn new(kind: &Kind) -> Self {
        Self {
            name: kind.name.clone(),
            doc: kind.doc.clone(),
            declared_by: kind.declared_by.as_ref().map(ToString::to_string),
            needs_provider: kind.needs_provider,
            shared: kind.shared,
            fields: rows(&kind.fields),
        }
    }

    pub fn to_json(&self) -> Json {
        json!({
            "name": self.name,
            "doc": self.doc,
            "declared_by": self.declared_by,
            "needs_provider": self.needs_provider,
            "shared": self.shared,
            "fields": rows_json(&self.fields),
        })
    }
}

fn rows_json(rows: &[Row]) -> Json {
    rows.iter()
        .map(|row| {
            json!({
                "path": row.path,
                "type": row.ty,
                "required": row.given == Given::Required,
                "default": match &row.given {
                    Given::Default(value) => value.clone(),
                    _ => Json::Null,
                },
                "bounds": row.bounds,
                "doc": row.doc,
            })
        })
        .collect()
}

fn text(node: Option<&Node>) -> String {
    node.and_then(Node::as_str).unwrap_or_default().to_owned()
}

/// What a secret must look like. A template in an amount is said as it stands.
fn form(body: &Table) -> String {
    let table = |key: &str| body.get(key).and_then(|entry| entry.value.as_table());
    if let Some(generate) = table("generate") {
        let kind = text(generate.get("kind").map(|entry| &entry.value));
        let amount = |key: &str| {
            generate.get(key).map(|entry| match written(&entry.value) {
                Json::String(text) => text,
                other => other.to_string(),
            })
        };
        return match (amount("bytes"), amount("length")) {
            (Some(bytes), _) => format!("{kind} of {bytes} random bytes"),
            (None, Some(length)) => format!("{kind}, {length} characters"),
            (None, None) => kind,
        };
    }
    let Some(format) = table("format") else {
        return "any".to_owned();
    };
    let mut parts = Vec::new();
    for (key, entry) in format.iter() {
        let value = match written(&entry.value) {
            Json::String(text) => format!("`{text}`"),
            other => other.to_string(),
        };
        parts.push(match key {
            "pattern" => format!("matches {value}"),
            "min_length" => format!("at least {value} bytes"),
            _ => format!("at most {value} bytes"),
        });
    }
    parts.join(", ")
}
