//! Contributions of an evaluated host: who made them, each field, who refers to them.

use serde_json::Value as Json;

use super::setting::{default_of, descend, history, node_at, type_in_words};
use super::{Contributed, Explanation, Related, Setting, Source, Unknown, first_part, take_name};
use crate::pure::config::field::{Field, Type};
use crate::pure::config::host::HostFile;
use crate::pure::config::module::{Contribution, Kind};
use crate::pure::config::node::Node;
use crate::pure::config::project::Project;
use crate::pure::config::value::Value;
use crate::pure::system::System;
use crate::pure::system::facts::{Fact, Facts, HOST};
use crate::pure::text::Span;

/// Explains `NAME` or `NAME.FIELD…` of a kind.
///
/// # Errors
///
/// [`Unknown`] if the host has no such contribution, or the kind no such field.
pub fn contribution(
    project: &Project,
    chain: &[HostFile],
    system: &System,
    kind: &Kind,
    path: &str,
) -> Result<Explanation, Unknown> {
    let (fact, rest) = find(&system.facts, &kind.name, path).ok_or_else(|| {
        let names: Vec<&str> = system.facts.names(&kind.name).collect();
        let message = if names.is_empty() {
            format!(
                "nothing on host `{}` contributes a {}",
                system.host.name, kind.name
            )
        } else {
            format!("host `{}` has no {} `{path}`", system.host.name, kind.name)
        };
        Unknown::new(message, path, names)
    })?;
    let origin = Origin {
        chain,
        kind,
        fact,
        said: said_by(project, chain, fact),
    };
    if rest.is_empty() {
        return Ok(Explanation::Contribution(
            origin.whole(project, &system.facts),
        ));
    }
    let (name, inner) = take_name(rest, kind.fields.names()).ok_or_else(|| {
        let wrong = first_part(rest);
        Unknown::new(
            format!("a {} has no field `{wrong}`", kind.name),
            wrong,
            kind.fields.names(),
        )
    })?;
    let field = kind
        .fields
        .get(name)
        .ok_or_else(|| Unknown::new(String::new(), name, []))?;
    origin.field(field, inner).map(Explanation::Setting)
}

/// All contributions of a kind, in the order of their names.
pub fn kind(system: &System, kind: &str) -> Vec<Related> {
    system.facts.of(kind).map(related).collect()
}

/// A fact by its name; of a file also by the short one, if that is the name of one file alone.
fn find<'a, 'p>(facts: &'a Facts, kind: &str, path: &'p str) -> Option<(&'a Fact, &'p str)> {
    if let Some((name, rest)) = take_name(path, facts.names(kind)) {
        return Some((facts.get(kind, name)?, rest));
    }
    let short: Vec<(&str, &str)> = facts
        .names(kind)
        .filter_map(|name| Some((name.split_once('/')?.1, name)))
        .collect();
    let (name, rest) = take_name(path, short.iter().map(|(short, _)| *short))?;
    let mut matching = short.iter().filter(|(short, _)| *short == name);
    match (matching.next(), matching.next()) {
        (Some((_, full)), None) => Some((facts.get(kind, full)?, rest)),
        _ => None,
    }
}

/// The contribution that a fact was made from.
fn said_by<'a>(
    project: &'a Project,
    chain: &'a [HostFile],
    fact: &Fact,
) -> Option<&'a Contribution> {
    let own = project
        .modules
        .get(fact.module.as_str())
        .into_iter()
        .flat_map(|module| &module.contributions);
    chain
        .iter()
        .flat_map(|file| &file.contributions)
        .chain(own)
        .find(|contribution| contribution.at == fact.at)
}

/// A fact and everything that was said of it.
struct Origin<'a> {
    chain: &'a [HostFile],
    kind: &'a Kind,
    fact: &'a Fact,
    said: Option<&'a Contribution>,
}

impl Origin<'_> {
    fn whole(&self, project: &Project, facts: &Facts) -> Contributed {
        let fact = self.fact;
        let mut fields = Vec::new();
        for field in self.kind.fields.iter() {
            self.add_fields(
                field,
                "",
                &field.ty,
                fact.value.get(&field.name),
                &mut fields,
            );
        }
        let is_mount = |other: &&Fact| {
            self.kind.name == "service" && other.value.str("service") == Some(&fact.name)
        };
        Contributed {
            subject: fact.subject(),
            doc: self.kind.doc.clone(),
            module: fact.module.clone(),
            at: fact.at,
            repeated: self.said.and_then(|said| {
                let key = &fact.each.as_ref()?["key"];
                let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
                Some((said.for_each.as_ref()?.text.clone(), key))
            }),
            replaces: self.replaced(),
            fields,
            mounted: facts
                .of("mount")
                .filter(is_mount)
                .map(|mount| {
                    let at = mount.value.str("at").unwrap_or_default().to_owned();
                    (at, related(mount))
                })
                .collect(),
            named_by: facts
                .iter()
                .filter(|other| other.kind != "mount" || !is_mount(other))
                .filter(|other| self.is_named_by(other, project))
                .map(related)
                .collect(),
        }
    }

    /// The leaves of a field: tables are taken apart, maps and lists are not.
    fn add_fields(
        &self,
        field: &Field,
        inside: &str,
        ty: &Type,
        value: Option<&Value>,
        found: &mut Vec<Setting>,
    ) {
        if let (Type::Table(inner), Some(value)) = (ty, value) {
            for part in inner.iter() {
                let path = match inside {
                    "" => part.name.clone(),
                    above => format!("{above}.{}", part.name),
                };
                self.add_fields(field, &path, &part.ty, value.get(&part.name), found);
            }
        } else {
            found.extend(self.field(field, inside));
        }
    }

    fn field(&self, field: &Field, path: &str) -> Result<Setting, Unknown> {
        let fact = self.fact;
        let value = fact
            .value
            .get(&field.name)
            .map_or(Json::Null, Value::to_json);
        let subject = format!("{}.{}", fact.subject(), field.name);
        let found = descend(field, &value, &subject, path)?;
        let mut keys = vec![field.name.clone()];
        keys.extend(found.keys);
        let mut nodes: Vec<(Source, &Node)> = self
            .chain
            .iter()
            .filter_map(|file| {
                let names = file.overrides.get(&fact.kind)?.value.as_table()?;
                let fields = names.get(&fact.name)?.value.as_table()?;
                Some((Source::Host(file.name.to_string()), node_at(fields, &keys)?))
            })
            .collect();
        if let Some(said) = self.said
            && let Some(node) = node_at(&said.body, &keys)
        {
            nodes.push((self.contributor(), node));
        }
        let made_from = match nodes.first() {
            Some((Source::Module(_), node)) => node.as_str().map(options_in).unwrap_or_default(),
            _ => Vec::new(),
        };
        let default = default_of(field, &keys[1..], self.is_given(&field.name));
        Ok(Setting {
            subject: found.subject,
            ty: type_in_words(&found.ty),
            doc: found.doc,
            value: found.value,
            history: history(nodes, default),
            made_from,
            enabled: true,
        })
    }

    /// Whether anybody said anything about a field, or a part of it.
    fn is_given(&self, field: &str) -> bool {
        let overridden = self.fact.overridden.iter().any(|(path, _)| {
            path.strip_prefix(field)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        overridden || self.said.is_none_or(|said| said.body.get(field).is_some())
    }

    fn contributor(&self) -> Source {
        let file = self
            .chain
            .iter()
            .find(|file| file.at.source == self.fact.at.source);
        match file {
            Some(file) => Source::Host(file.name.to_string()),
            None => Source::Module(self.fact.module.clone()),
        }
    }

    /// A contribution of a host file replaces the one of the same kind and name of a host that it extends.
    fn replaced(&self) -> Vec<Span> {
        let Some(said) = self.said.filter(|_| self.fact.module == HOST) else {
            return Vec::new();
        };
        self.chain
            .iter()
            .flat_map(|file| &file.contributions)
            .filter(|other| {
                other.kind.text == said.kind.text
                    && other.name.as_str() == said.name.as_str()
                    && other.at.source != said.at.source
            })
            .map(|other| other.at)
            .collect()
    }

    fn is_named_by(&self, other: &Fact, project: &Project) -> bool {
        let Some(kind) = project.kinds.get(&other.kind) else {
            return false;
        };
        kind.fields.iter().any(|field| {
            other
                .value
                .get(&field.name)
                .is_some_and(|value| names(value, &field.ty, self.fact))
        })
    }
}

/// Whether a value refers to a fact.
fn names(value: &Value, ty: &Type, fact: &Fact) -> bool {
    match ty {
        Type::Ref(kind) => *kind == fact.kind && value.as_str() == Some(&fact.name),
        Type::List { of, .. } => value.items().iter().any(|item| names(item, of, fact)),
        Type::Map(of) => value
            .as_map()
            .is_some_and(|map| map.values().any(|item| names(item, of, fact))),
        Type::Table(fields) => fields.iter().any(|field| {
            value
                .get(&field.name)
                .is_some_and(|value| names(value, &field.ty, fact))
        }),
        _ => false,
    }
}

fn related(fact: &Fact) -> Related {
    Related {
        subject: fact.subject(),
        module: fact.module.clone(),
        at: fact.at,
    }
}

/// The options that a template takes.
fn options_in(template: &str) -> Vec<String> {
    let mut found: Vec<String> = template
        .split("options.")
        .skip(1)
        .map(|tail| {
            tail.chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect()
        })
        .filter(|name: &String| !name.is_empty())
        .collect();
    found.sort();
    found.dedup();
    found
}
