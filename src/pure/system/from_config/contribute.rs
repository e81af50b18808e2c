//! Contributions to facts: `when`, `for_each`, overrides, templates, types.

use std::collections::{BTreeMap, BTreeSet};

use handlebars::Context;
use serde_json::{Map, Value as Json, json};

use super::condition::{ConditionError, holds, look_up, split_path};
use super::expand::{expand, expand_table};
use super::host_json;
use super::layers::Merged;
use super::references::qualify;
use crate::pure::config::decode::{decode, decode_fields};
use crate::pure::config::field::Type;
use crate::pure::config::host::overlay_tables;
use crate::pure::config::module::{Contribution, Kind};
use crate::pure::config::node::{Node, NodeKind, Table};
use crate::pure::config::project::Project;
use crate::pure::config::value::{Data, Value};
use crate::pure::name::{NetworkName, SecretName, ServiceName, VolumeName};
use crate::pure::system::Host;
use crate::pure::system::facts::{Fact, Facts, HOST};
use crate::pure::template::{Engine, helpers::MARK};
use crate::pure::text::{Diagnostic, Diagnostics, Span, codes};

pub(super) struct Contributed {
    pub facts: Facts,
    pub providers: Json,
}

pub(super) fn contribute(
    merged: &Merged,
    host: &Host,
    modules: &BTreeMap<String, Value>,
    project: &Project,
    diagnostics: &mut Diagnostics,
) -> Contributed {
    let mut evaluation = Evaluation {
        project,
        modules,
        overrides: &merged.overrides,
        used_overrides: BTreeSet::new(),
        engine: Engine::default(),
        facts: Facts::default(),
        diagnostics,
    };
    let mut enabled: Map<String, Json> = project
        .modules
        .keys()
        .map(|name| (name.to_string(), json!(modules.contains_key(name.as_str()))))
        .collect();
    enabled.insert(HOST.to_owned(), json!(true));
    let mut base = json!({ "host": host_json(host), "modules": enabled });

    // Each contributor with its contributions: the enabled modules by name, then the host itself.
    let mut contributors: Vec<(&str, &[Contribution])> = modules
        .keys()
        .filter_map(|name| {
            let module = project.modules.get(name.as_str())?;
            Some((name.as_str(), module.contributions.as_slice()))
        })
        .collect();
    contributors.push((HOST, merged.contributions.as_slice()));

    let is_provider = |c: &Contribution| c.kind.text == "provider";
    let is_derived = |c: &Contribution| {
        c.for_each
            .as_ref()
            .is_some_and(|each| each.text.starts_with("facts."))
    };
    evaluation.run(&contributors, &base, &is_provider);
    let providers = evaluation.providers(&contributors);
    base["provider"] = providers.clone();
    evaluation.run(&contributors, &base, &|c| !is_provider(c) && !is_derived(c));
    evaluation.check_derived(&contributors);
    evaluation.run(&contributors, &base, &|c| !is_provider(c) && is_derived(c));
    evaluation.check_overrides();
    Contributed {
        facts: evaluation.facts,
        providers,
    }
}

struct Evaluation<'a> {
    project: &'a Project,
    modules: &'a BTreeMap<String, Value>,
    overrides: &'a Table,
    used_overrides: BTreeSet<(String, String)>,
    engine: Engine,
    facts: Facts,
    diagnostics: &'a mut Diagnostics,
}

impl Evaluation<'_> {
    fn run(
        &mut self,
        contributors: &[(&str, &[Contribution])],
        base: &Json,
        wanted: &dyn Fn(&Contribution) -> bool,
    ) {
        for (module, contributions) in contributors {
            let mut data = base.clone();
            data["options"] = self
                .modules
                .get(*module)
                .map_or_else(|| json!({}), Value::to_json);
            let mut context = Context::from(data);
            for contribution in contributions.iter().filter(|c| wanted(c)) {
                self.contribution(module, contribution, &mut context);
            }
        }
    }

    fn contribution(&mut self, module: &str, contribution: &Contribution, context: &mut Context) {
        let Some(kind) = self.project.kinds.get(&contribution.kind.text) else {
            self.diagnostics.push(
                Diagnostic::error(
                    codes::UNKNOWN_KIND,
                    format!("no module declares the kind `{}`", contribution.kind.text),
                )
                .at(contribution.kind.at, "")
                .suggest(
                    &contribution.kind.text,
                    self.project.kinds.keys().map(String::as_str),
                )
                .help("`forge module kinds` lists the kinds"),
            );
            return;
        };
        let consumed = kind
            .declared_by
            .as_ref()
            .is_none_or(|owner| self.modules.contains_key(owner.as_str()));
        if !consumed {
            return;
        }
        match &contribution.for_each {
            None => self.instance(module, contribution, kind, None, context),
            Some(each) => {
                for item in self.items(&each.text, each.at, context) {
                    self.instance(module, contribution, kind, Some(item), context);
                }
            }
        }
    }

    /// The items that `for_each` names, as `each` has them.
    fn items(&mut self, path: &str, at: Span, context: &Context) -> Vec<Json> {
        let form = || {
            Diagnostic::error(
                codes::BAD_FOR_EACH,
                format!("`{path}` is nothing to repeat over"),
            )
            .at(at, "`options.NAME` or `facts.KIND` is wanted")
        };
        let Some(names) = split_path(path) else {
            self.diagnostics.push(form());
            return Vec::new();
        };
        if let ["facts", kind] = names.as_slice() {
            if !self.project.kinds.contains_key(*kind) {
                self.diagnostics
                    .push(form().suggest(kind, self.project.kinds.keys().map(String::as_str)));
            }
            return self
                .facts
                .of(kind)
                .map(|fact| json!({ "key": fact.name, "value": fact.to_json() }))
                .collect();
        }
        match look_up(context.data(), &names) {
            Ok(Json::Array(items)) => items
                .iter()
                .enumerate()
                .map(|(key, value)| json!({ "key": key, "value": value }))
                .collect(),
            Ok(Json::Object(map)) => map
                .iter()
                .map(|(key, value)| json!({ "key": key, "value": value }))
                .collect(),
            Ok(Json::Null) => Vec::new(),
            Ok(_) => {
                self.diagnostics.push(form());
                Vec::new()
            }
            Err(missing) => {
                let known: Vec<String> = context.data()["options"]
                    .as_object()
                    .map(|options| options.keys().cloned().collect())
                    .unwrap_or_default();
                self.diagnostics
                    .push(form().suggest(missing, known.iter().map(String::as_str)));
                Vec::new()
            }
        }
    }

    fn instance(
        &mut self,
        module: &str,
        contribution: &Contribution,
        kind: &Kind,
        each: Option<Json>,
        context: &mut Context,
    ) {
        match context.data_mut() {
            Json::Object(data) => match &each {
                Some(each) => {
                    data.insert("each".to_owned(), each.clone());
                }
                None => {
                    data.remove("each");
                }
            },
            _ => return,
        }
        if let Some(when) = &contribution.when {
            match holds(&when.text, context.data()) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    let message = match error {
                        ConditionError::Form(part) => format!("`{part}` is no condition"),
                        ConditionError::Undefined(name) => format!("`{name}` is not defined here"),
                    };
                    self.diagnostics.push(
                        Diagnostic::error(codes::BAD_CONDITION, message)
                            .at(when.at, "in this condition")
                            .help("write `PATH`, `not PATH`, `PATH == 'text'`, `PATH != 'text'`, joined by `and`"),
                    );
                    return;
                }
            }
        }
        let Some(name) = self.name(&contribution.name, kind, context) else {
            return;
        };
        let full_name = if kind.name == "file" {
            format!("{module}/{name}")
        } else {
            name
        };
        let (body, overridden) = self.overlay(&kind.name, &full_name, &contribution.body);
        // Files and units are rendered when all facts are known.
        let raw: &[&str] = match kind.name.as_str() {
            "file" | "unit" => &["text"],
            _ => &[],
        };
        let Some(body) = expand_table(&body, raw, &mut self.engine, context, self.diagnostics)
        else {
            return;
        };
        let place = format!("[[{}]] `{full_name}`", kind.name);
        let Some(mut fields) = decode_fields(
            &body,
            &kind.fields,
            contribution.at,
            &place,
            self.diagnostics,
        ) else {
            return;
        };
        for field in kind.fields.iter() {
            if let Some(value) = fields.get_mut(&field.name) {
                if !raw.contains(&field.name.as_str()) {
                    self.refuse_secrets(value);
                }
                qualify(value, &field.ty, module);
            }
        }
        let fact = Fact {
            kind: kind.name.clone(),
            name: full_name,
            module: module.to_owned(),
            at: contribution.at,
            value: Value::new(contribution.at, Data::Map(fields)),
            each,
            overridden,
        };
        self.insert(fact, kind.shared);
    }

    fn insert(&mut self, fact: Fact, shared: bool) {
        let Err((fact, first)) = self.facts.insert(fact) else {
            return;
        };
        if shared
            && self
                .facts
                .get(&fact.kind, &fact.name)
                .is_some_and(|other| other.value.to_json() == fact.value.to_json())
        {
            return;
        }
        let code = if fact.kind == "provider" {
            codes::TWO_PROVIDERS
        } else {
            codes::DUPLICATE
        };
        let message = if shared {
            format!(
                "the {} `{}` is wanted twice, differently",
                fact.kind, fact.name
            )
        } else {
            format!(
                "two contributions of kind `{}` are called `{}`",
                fact.kind, fact.name
            )
        };
        self.diagnostics.push(
            Diagnostic::error(code, message)
                .at(fact.at, "again here")
                .also(first, "first here"),
        );
    }

    fn name(&mut self, node: &Node, kind: &Kind, context: &Context) -> Option<String> {
        let node = expand(node, &mut self.engine, context, self.diagnostics)?;
        let value = decode(&node, &Type::Name, "name", self.diagnostics)?;
        let name = value.as_str()?.to_owned();
        let problem = match kind.name.as_str() {
            "service" => name
                .parse::<ServiceName>()
                .err()
                .map(|error| error.to_string()),
            "volume" => name
                .parse::<VolumeName>()
                .err()
                .map(|error| error.to_string()),
            "secret" => name
                .parse::<SecretName>()
                .err()
                .map(|error| error.to_string()),
            "network" => name
                .parse::<NetworkName>()
                .err()
                .map(|error| error.to_string()),
            "file" if name.contains('/') => {
                Some(format!("`{name}` holds a `/`: a file's name has no folder"))
            }
            _ => None,
        };
        match problem {
            None => Some(name),
            Some(message) => {
                self.diagnostics
                    .push(Diagnostic::error(codes::BAD_NAME, message).at(node.span, ""));
                None
            }
        }
    }

    /// The contribution with what the host overrides of it.
    fn overlay(
        &mut self,
        kind: &str,
        name: &str,
        body: &Table,
    ) -> (Table, Vec<(String, Option<Span>)>) {
        let Some(upper) = self
            .overrides
            .get(kind)
            .and_then(|entry| entry.value.as_table()?.get(name)?.value.as_table())
        else {
            return (body.clone(), Vec::new());
        };
        self.used_overrides
            .insert((kind.to_owned(), name.to_owned()));
        let mut overridden = Vec::new();
        collect_overridden(upper, Some(body), "", &mut overridden);
        (overlay_tables(body.clone(), upper.clone()), overridden)
    }

    /// Text of a contribution ends up in units, compose files and the like, which are files on disk: no secret may be in it.
    fn refuse_secrets(&mut self, value: &Value) {
        match &value.data {
            Data::Str(text) if text.contains(MARK) => self.diagnostics.push(
                Diagnostic::error(
                    codes::SECRET_AT_REST,
                    "a secret in a field of a contribution",
                )
                .at(value.at, "it would be written to disk in clear")
                .help("put it into a `[[file]]` and mount that, or use `env_secret`"),
            ),
            Data::List(items) => items.iter().for_each(|item| self.refuse_secrets(item)),
            Data::Map(map) => map.values().for_each(|item| self.refuse_secrets(item)),
            _ => {}
        }
    }

    /// Who meets which need, for templates; and whether every need is met.
    fn providers(&mut self, contributors: &[(&str, &[Contribution])]) -> Json {
        let mut providers = Map::new();
        for kind in self
            .project
            .kinds
            .values()
            .filter(|kind| kind.needs_provider)
        {
            if let Some(fact) = self.facts.get("provider", &kind.name) {
                providers.insert(kind.name.clone(), fact.to_json());
                continue;
            }
            let needed = contributors
                .iter()
                .flat_map(|(_, contributions)| contributions.iter())
                .find(|contribution| contribution.kind.text == kind.name);
            if let Some(contribution) = needed {
                let mut diagnostic = Diagnostic::error(
                    codes::NO_PROVIDER,
                    format!("nobody provides the `{}` that is needed", kind.name),
                )
                .at(contribution.at, "needed here");
                for module in self.project.modules.values() {
                    if module
                        .provides
                        .iter()
                        .any(|provided| provided.text == kind.name)
                    {
                        diagnostic = diagnostic.help(format!(
                            "enable a module that does: `[modules.{}]`",
                            module.name
                        ));
                    }
                }
                self.diagnostics.push(diagnostic);
                // A stand-in, so that the templates that use it do not fail as well.
                let stand_in = json!({ "host": "nobody", "port": 1, "tls": false, "service": null, "module": HOST, "name": kind.name });
                providers.insert(kind.name.clone(), stand_in);
            }
        }
        Json::Object(providers)
    }

    /// Refuses contributions over facts of a kind to that kind itself, or to one that others are repeated over: there would be no end.
    fn check_derived(&mut self, contributors: &[(&str, &[Contribution])]) {
        let derived: Vec<&Contribution> = contributors
            .iter()
            .flat_map(|(_, contributions)| contributions.iter())
            .filter(|c| {
                c.for_each
                    .as_ref()
                    .is_some_and(|each| each.text.starts_with("facts."))
            })
            .collect();
        let sources: BTreeSet<&str> = derived
            .iter()
            .filter_map(|c| c.for_each.as_ref()?.text.strip_prefix("facts."))
            .collect();
        for contribution in &derived {
            if sources.contains(contribution.kind.text.as_str()) {
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::BAD_FOR_EACH,
                        format!(
                            "`{}` is made from facts here, and facts are made from `{}` elsewhere",
                            contribution.kind.text, contribution.kind.text
                        ),
                    )
                    .at(
                        contribution
                            .for_each
                            .as_ref()
                            .map_or(contribution.at, |each| each.at),
                        "",
                    )
                    .note("contributions over facts are made once, after all others"),
                );
            }
        }
    }

    fn check_overrides(&mut self) {
        for (kind, entry) in self.overrides.iter() {
            let Some(names) = entry.value.as_table() else {
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::BAD_OVERRIDE,
                        format!("`override.{kind}` is {}", entry.value.type_name()),
                    )
                    .at(entry.key, "write `[override.KIND.NAME]`"),
                );
                continue;
            };
            for (name, entry) in names.iter() {
                if self
                    .used_overrides
                    .contains(&(kind.to_owned(), name.to_owned()))
                {
                    continue;
                }
                // A contribution that failed is no fact, though the override is right; its own mistake is reported already.
                let diagnostic = Diagnostic::error(
                    codes::BAD_OVERRIDE,
                    format!("there is no {kind} `{name}` to override"),
                )
                .at(entry.key, "");
                let diagnostic = if self.project.kinds.contains_key(kind) {
                    let known: Vec<&str> = self.facts.names(kind).collect();
                    diagnostic.suggest(name, known)
                } else {
                    diagnostic.suggest(kind, self.project.kinds.keys().map(String::as_str))
                };
                self.diagnostics.push(diagnostic);
            }
        }
    }
}

/// The paths of the values in `upper`, each with the place of what it replaces.
fn collect_overridden(
    upper: &Table,
    lower: Option<&Table>,
    path: &str,
    found: &mut Vec<(String, Option<Span>)>,
) {
    for (key, entry) in upper.iter() {
        let path = if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        };
        let below = lower.and_then(|lower| lower.get(key));
        match &entry.value.kind {
            NodeKind::Table(inner) => {
                collect_overridden(
                    inner,
                    below.and_then(|below| below.value.as_table()),
                    &path,
                    found,
                );
            }
            _ => found.push((path, below.map(|below| below.value.span))),
        }
    }
}
