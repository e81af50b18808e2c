//! Contributions to facts: `when`, `for_each`, overrides, templates, types.

use std::collections::{BTreeMap, BTreeSet};

use handlebars::Context;
use serde_json::{Map, Value as Json, json};

use super::condition::{ConditionError, holds};
use super::expand::{expand, expand_table};
use super::failed::{Failed, full_name};
use super::layers::Merged;
use super::references::qualify;
use super::{Enabled, host_json};
use super::{names, overrides};
use crate::pure::config::decode::{decode, decode_fields};
use crate::pure::config::field::Type;
use crate::pure::config::host::overlay_tables;
use crate::pure::config::module::{Contribution, Kind, Named};
use crate::pure::config::node::{Node, Table};
use crate::pure::config::project::Project;
use crate::pure::config::value::{Data, Value};
use crate::pure::system::Host;
use crate::pure::system::facts::{Fact, Facts, HOST};
use crate::pure::template::helpers::MARK;
use crate::pure::template::{Engine, look_up, split_path, suggest_name};
use crate::pure::text::{Diagnostic, Diagnostics, Span, codes};

const CONDITIONS: &str =
    "write `PATH`, `not PATH`, `PATH == 'text'`, `PATH != 'text'`, or several joined by `and`";

pub(super) struct Contributed {
    pub facts: Facts,
    pub failed: Failed,
    pub providers: Json,
}

pub(super) fn contribute(
    merged: &Merged,
    host: &Host,
    enabled: &Enabled,
    project: &Project,
    diagnostics: &mut Diagnostics,
) -> Contributed {
    let modules = &enabled.modules;
    let mut failed = Failed::default();
    for name in &enabled.failed {
        match project.modules.get(name.as_str()) {
            Some(module) => {
                for contribution in &module.contributions {
                    failed.add_contribution(name, contribution);
                }
            }
            None => failed.add_everything(),
        }
    }
    let mut evaluation = Evaluation {
        project,
        enabled,
        modules,
        failed,
        overrides: &merged.overrides,
        used_overrides: BTreeSet::new(),
        engine: Engine::default(),
        facts: Facts::default(),
        diagnostics,
    };
    let mut flags: Map<String, Json> = project
        .modules
        .keys()
        .map(|name| (name.to_string(), json!(enabled.contains(name.as_str()))))
        .collect();
    flags.insert(HOST.to_owned(), json!(true));
    for name in &project.broken.modules {
        flags.insert(name.clone(), json!(enabled.contains(name)));
    }
    let mut base = json!({ "host": host_json(host), "modules": flags });

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
    overrides::check(
        evaluation.overrides,
        &evaluation.used_overrides,
        &evaluation.facts,
        &evaluation.failed,
        project,
        evaluation.diagnostics,
    );
    Contributed {
        facts: evaluation.facts,
        failed: evaluation.failed,
        providers,
    }
}

struct Evaluation<'a> {
    project: &'a Project,
    enabled: &'a Enabled,
    failed: Failed,
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
            if self.project.knows(&contribution.kind.text) {
                self.failed.add_contribution(module, contribution);
                return;
            }
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
            .is_none_or(|owner| self.enabled.contains(owner.as_str()));
        if !consumed {
            return;
        }
        match &contribution.for_each {
            None => self.one(module, contribution, kind, None, context),
            Some(each) => match self.items(&each.text, each.at, context) {
                Some(items) => self.repeat(module, contribution, kind, items, context),
                None => self.failed.add_contribution(module, contribution),
            },
        }
    }

    /// The items that `for_each` names, as `each` has them.
    fn items(&mut self, path: &str, at: Span, context: &Context) -> Option<Vec<Json>> {
        let form = |what: &str| {
            Diagnostic::error(codes::BAD_FOR_EACH, format!("`{path}` {what}"))
                .at(at, "a list or a map is wanted")
        };
        let usage = "write `options.NAME`, or `facts.KIND` for all contributions of a kind";
        let Some(names) = split_path(path) else {
            self.diagnostics
                .push(form("is nothing to repeat over").help(usage));
            return None;
        };
        if let ["facts", kind] = names.as_slice() {
            if !self.project.kinds.contains_key(*kind) {
                if !self.project.knows(kind) {
                    let known: Vec<String> = self
                        .project
                        .kinds
                        .keys()
                        .map(|kind| format!("facts.{kind}"))
                        .collect();
                    self.diagnostics.push(
                        form("names a kind that no module declares")
                            .suggest(path, known.iter().map(String::as_str)),
                    );
                }
                return None;
            }
            let items = self
                .facts
                .of(kind)
                .map(|fact| json!({ "key": fact.name, "value": fact.to_json() }));
            return Some(items.collect());
        }
        match look_up(context.data(), &names) {
            Ok(Json::Array(items)) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(key, value)| json!({ "key": key, "value": value }))
                    .collect(),
            ),
            Ok(Json::Object(map)) => Some(
                map.iter()
                    .map(|(key, value)| json!({ "key": key, "value": value }))
                    .collect(),
            ),
            Ok(Json::Null) => Some(Vec::new()),
            Ok(_) => {
                self.diagnostics
                    .push(form("is neither a list nor a map").help(usage));
                None
            }
            Err(_) => {
                let known: Vec<String> = context.data()["options"]
                    .as_object()
                    .into_iter()
                    .flat_map(|options| options.keys().map(|key| format!("options.{key}")))
                    .collect();
                // Whoever forgets `options.` means an option all the same.
                let meant = match names.as_slice() {
                    [name] => format!("options.{name}"),
                    _ => path.to_owned(),
                };
                self.diagnostics
                    .push(match known.iter().any(|name| *name == meant) {
                        true => {
                            form("is not defined here").help(format!("did you mean `{meant}`?"))
                        }
                        false => form("is not defined here")
                            .suggest(&meant, known.iter().map(String::as_str))
                            .help(usage),
                    });
                None
            }
        }
    }

    /// Makes a contribution for each item. What is wrong with some of them says with which.
    fn repeat(
        &mut self,
        module: &str,
        contribution: &Contribution,
        kind: &Kind,
        items: Vec<Json>,
        context: &mut Context,
    ) {
        let count = items.len();
        let mut all: Vec<(Diagnostic, Vec<String>)> = Vec::new();
        for item in items {
            let key = match &item["key"] {
                Json::String(key) => key.clone(),
                key => key.to_string(),
            };
            let before = std::mem::take(self.diagnostics);
            self.one(module, contribution, kind, Some(item), context);
            let found = std::mem::replace(self.diagnostics, before);
            for diagnostic in found {
                match all.iter_mut().find(|(other, _)| *other == diagnostic) {
                    Some((_, keys)) => keys.push(key.clone()),
                    None => all.push((diagnostic, vec![key.clone()])),
                }
            }
        }
        for (diagnostic, keys) in all {
            const SHOWN: usize = 5;
            let list: Vec<String> = keys
                .iter()
                .take(SHOWN)
                .map(|key| format!("`{key}`"))
                .collect();
            self.diagnostics.push(match keys.len() {
                n if n == count && n > 1 => diagnostic.note("for every item of `for_each`"),
                1 => diagnostic.note(format!("for the item {} of `for_each`", list.join(""))),
                n if n > SHOWN => diagnostic.note(format!(
                    "for the items {} and {} more of `for_each`",
                    list.join(", "),
                    n - SHOWN
                )),
                _ => diagnostic.note(format!("for the items {} of `for_each`", list.join(", "))),
            });
        }
    }

    fn one(
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
                    let problem = |message: String| {
                        Diagnostic::error(codes::BAD_CONDITION, message)
                            .at(when.at, "in this condition")
                    };
                    self.diagnostics.push(match error {
                        ConditionError::Form(part) if part.is_empty() => {
                            problem("a condition is empty".to_owned()).help(CONDITIONS)
                        }
                        ConditionError::Form(part) => {
                            problem(format!("`{part}` is no condition")).help(CONDITIONS)
                        }
                        ConditionError::Undefined(path) => {
                            let names = split_path(&path).unwrap_or_default();
                            suggest_name(
                                problem(format!("`{path}` is not defined here")),
                                &names,
                                context.data(),
                            )
                        }
                    });
                    self.failed.add_contribution(module, contribution);
                    return;
                }
            }
        }
        let Some(name) = self.name(&contribution.name, kind, context) else {
            self.failed.add_contribution(module, contribution);
            return;
        };
        let full_name = full_name(&kind.name, module, &name);
        let (body, overridden) = self.overlay(&kind.name, &full_name, &contribution.body);
        // Files and units are rendered when all facts are known.
        let raw: &[&str] = match kind.name.as_str() {
            "file" | "unit" => &["text"],
            _ => &[],
        };
        let Some(body) = expand_table(&body, raw, &mut self.engine, context, self.diagnostics)
        else {
            self.failed.add(&kind.name, &full_name);
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
            self.failed.add(&kind.name, &full_name);
            return;
        };
        let subject = format!("{}.{full_name}", kind.name);
        let errors = self.diagnostics.errors();
        for field in kind.fields.iter() {
            if let Some(value) = fields.get_mut(&field.name) {
                if !raw.contains(&field.name.as_str()) {
                    self.refuse_secrets(value, &subject);
                }
                qualify(value, &field.ty, module);
            }
        }
        if self.diagnostics.errors() > errors {
            self.failed.add(&kind.name, &full_name);
            return;
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
        let (kind, name) = (&fact.kind, &fact.name);
        let diagnostic = if kind == "provider" {
            Diagnostic::error(codes::TWO_PROVIDERS, format!("`{name}` is provided twice"))
                .help("disable one of the modules that provide it")
        } else if shared {
            Diagnostic::error(
                codes::DUPLICATE,
                format!("the {kind} `{name}` is wanted twice, differently"),
            )
            .help("let both say the same, or override one of them")
        } else {
            Diagnostic::error(
                codes::DUPLICATE,
                format!("two contributions of the kind `{kind}` are called `{name}`"),
            )
            .help("give one of them another name")
        };
        self.diagnostics.push(if fact.at == first {
            diagnostic.at(fact.at, "both are made here")
        } else {
            diagnostic
                .at(fact.at, "again here")
                .also(first, "first here")
        });
    }

    fn name(&mut self, node: &Node, kind: &Kind, context: &Context) -> Option<String> {
        let node = expand(node, &mut self.engine, context, self.diagnostics)?;
        let value = decode(&node, &Type::Name, "name", self.diagnostics)?;
        let name = value.as_str()?.to_owned();
        if kind.name == "provider" && !self.meets_a_need(&name) {
            let needs = self
                .project
                .kinds
                .values()
                .filter(|kind| kind.needs_provider);
            self.diagnostics.push(
                Diagnostic::error(
                    codes::UNKNOWN_KIND,
                    format!("nothing needs a provider called `{name}`"),
                )
                .at(node.span, "the kind that it provides is wanted")
                .suggest(&name, needs.map(|kind| kind.name.as_str())),
            );
            return None;
        }
        match names::problem(&kind.name, &name) {
            None => Some(name),
            Some((message, rule)) => {
                self.diagnostics.push(
                    Diagnostic::error(codes::BAD_NAME, message)
                        .at(node.span, "")
                        .help(rule),
                );
                None
            }
        }
    }

    fn meets_a_need(&self, name: &str) -> bool {
        match self.project.kinds.get(name) {
            Some(kind) => kind.needs_provider,
            None => self.project.knows(name),
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
        overrides::collect(upper, Some(body), "", &mut overridden);
        (overlay_tables(body.clone(), upper.clone()), overridden)
    }

    /// Text of a contribution ends up in units, compose files and the like, which are files on disk: no secret may be in it.
    fn refuse_secrets(&mut self, value: &Value, subject: &str) {
        match &value.data {
            Data::Str(text) if text.contains(MARK) => self.diagnostics.push(
                Diagnostic::error(
                    codes::SECRET_AT_REST,
                    format!("{subject} holds a secret in one of its fields"),
                )
                .at(value.at, "it would be written to disk in clear")
                .help("put it into a `[[file]]` and mount that, or use `env_secret`"),
            ),
            Data::List(items) => {
                for item in items {
                    self.refuse_secrets(item, subject);
                }
            }
            Data::Map(map) => {
                for item in map.values() {
                    self.refuse_secrets(item, subject);
                }
            }
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
            let broken = self.failed.covers("provider", &kind.name);
            if let Some(contribution) = needed.filter(|_| !broken) {
                let mut diagnostic = Diagnostic::error(
                    codes::NO_PROVIDER,
                    format!("no enabled module provides a {}", kind.name),
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
            }
            if needed.is_some() || broken {
                // A stand-in, so that the templates that use it do not fail as well.
                let stand_in = json!({ "host": "nobody", "port": 1, "tls": false, "service": null, "module": HOST, "name": kind.name });
                providers.insert(kind.name.clone(), stand_in);
            }
        }
        Json::Object(providers)
    }

    /// Refuses contributions over facts of a kind to that kind itself, or to one that others are repeated over: there would be no end.
    fn check_derived(&mut self, contributors: &[(&str, &[Contribution])]) {
        let derived: Vec<(&Contribution, &Named, &str)> = contributors
            .iter()
            .flat_map(|(_, contributions)| contributions.iter())
            .filter_map(|contribution| {
                let each = contribution.for_each.as_ref()?;
                Some((contribution, each, each.text.strip_prefix("facts.")?))
            })
            .collect();
        for (contribution, each, source) in &derived {
            let kind = contribution.kind.text.as_str();
            if kind == *source {
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::BAD_FOR_EACH,
                        format!("contributions of the kind `{kind}` are repeated over themselves"),
                    )
                    .at(each.at, "there would be no end")
                    .help("contribute to another kind, or repeat over another"),
                );
            } else if let Some((_, other, _)) =
                derived.iter().find(|(_, _, source)| *source == kind)
            {
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::BAD_FOR_EACH,
                        format!("contributions of the kind `{kind}` are made over facts, and repeated over"),
                    )
                    .at(each.at, "made here")
                    .also(other.at, "repeated over here")
                    .note("contributions over facts are made once, after all others")
                    .help("contribute to another kind, or repeat over another"),
                );
            }
        }
    }
}
