//! Contributions to facts: `when`, `for_each`, overrides, templates, types.

mod for_each;
mod needs;

use std::collections::{BTreeMap, BTreeSet};

use handlebars::Context;
use serde_json::{Map, Value as Json, json};

use super::condition::{ConditionError, holds};
use super::expand::{Scope, expand, expand_table, follow};
use super::failed::{Failed, full_name};
use super::layers::Merged;
use super::references::qualify;
use super::{Enabled, host_json};
use super::{names, overrides};
use crate::pure::config::decode::{decode, decode_fields};
use crate::pure::config::field::Type;
use crate::pure::config::host::overlay_tables;
use crate::pure::config::module::{Contribution, Kind};
use crate::pure::config::node::{Node, Table};
use crate::pure::config::project::Project;
use crate::pure::config::value::{Data, Value};
use crate::pure::system::Host;
use crate::pure::system::facts::{Fact, Facts, HOST};
use crate::pure::template::helpers::MARK;
use crate::pure::template::{Engine, split_path, suggest_name};
use crate::pure::text::{Diagnostic, Diagnostics, Label, Span, codes};

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
        let options = self.modules.get(module);
        let scope = Scope {
            context,
            options,
            each: each
                .as_ref()
                .and_then(|each| item_of(options?, contribution, &each["key"])),
        };
        let Some(name) = self.name(&contribution.name, kind, &scope) else {
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
        let Some(body) = expand_table(&body, raw, &mut self.engine, &scope, self.diagnostics)
        else {
            self.failed.add(&kind.name, &full_name);
            return;
        };
        let place = format!("[[{}]] `{full_name}`", kind.name);
        let mut found = Diagnostics::default();
        let fields = decode_fields(&body, &kind.fields, contribution.at, &place, &mut found);
        for diagnostic in found.iter_mut() {
            // An option that is passed on is wrong where it stands; whoever reads it there must know for what.
            if diagnostic
                .primary
                .as_ref()
                .is_some_and(|label| label.span.source != contribution.at.source)
            {
                diagnostic.others.push(Label {
                    span: contribution.at,
                    text: format!("passed on to {place}"),
                });
            }
        }
        self.diagnostics.extend(found);
        let Some(mut fields) = fields else {
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

    fn name(&mut self, node: &Node, kind: &Kind, scope: &Scope<'_>) -> Option<String> {
        let node = expand(node, &mut self.engine, scope, self.diagnostics)?;
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
}

/// The item of `for_each` with this key, where that repeats over an option.
fn item_of<'a>(options: &'a Value, contribution: &Contribution, key: &Json) -> Option<&'a Value> {
    let path = split_path(&contribution.for_each.as_ref()?.text)?;
    let ["options", rest @ ..] = path.as_slice() else {
        return None;
    };
    let key = match key {
        Json::String(key) => key.clone(),
        key => key.to_string(),
    };
    follow(follow(options, rest)?, &[&key])
}
