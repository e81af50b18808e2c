//! A project and the files of a host to a [`System`].
//!
//! In this order: layers merged, options checked, needs met, contributions made (first those that stand for themselves, then
//! those that are repeated over facts), references followed, services typed, ownership and policy checked.

mod condition;
mod contribute;
mod expand;
mod failed;
mod layers;
mod links;
mod names;
mod overrides;
mod owners;
mod pins;
mod references;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::policy;
use super::{Host, System};
use crate::pure::config::decode::{decode, decode_fields, missing_key};
use crate::pure::config::field::{Presence, Type};
use crate::pure::config::host::{HostFile, ModuleUse};
use crate::pure::config::module::Named;
use crate::pure::config::project::Project;
use crate::pure::config::value::{Data, Value};
use crate::pure::name::HostName;
use crate::pure::pins::Pins;
use crate::pure::text::{Diagnostic, Diagnostics, codes};
use layers::Merged;

/// Evaluates one host. `None`, with diagnostics, when anything is wrong with it, or with what it uses of the project.
pub fn evaluate(
    project: &Project,
    pins: &Pins,
    chain: &[HostFile],
    diagnostics: &mut Diagnostics,
) -> Option<System> {
    let mut found = Diagnostics::default();
    let system = evaluate_to_check(project, pins, chain, &mut found);
    let failed = found.has_errors();
    diagnostics.extend(found);
    system.filter(|_| !failed)
}

/// What a chain of host files says of the host itself, without its modules. Mistakes are in `diagnostics`.
pub fn host(project: &Project, chain: &[HostFile], diagnostics: &mut Diagnostics) -> Option<Host> {
    let merged = layers::merge(chain)?;
    Some(read_host(
        &merged,
        &chain.first()?.name,
        project,
        diagnostics,
    ))
}

/// The same, but of a system that only breaks rules (owners, order, networks, policy), so that what it renders can be checked
/// too. It must not be built.
pub fn evaluate_to_check(
    project: &Project,
    pins: &Pins,
    chain: &[HostFile],
    diagnostics: &mut Diagnostics,
) -> Option<System> {
    let mut found = Diagnostics::default();
    let system = evaluate_into(project, pins, chain, &mut found);
    // A mistake in a module says which hosts it is met on; one in the host's own files says so by its place.
    if let Some(own) = chain.first() {
        for diagnostic in found.iter_mut() {
            let shown = diagnostic
                .primary
                .as_ref()
                .is_some_and(|label| chain.iter().any(|file| file.at.source == label.span.source));
            if !shown {
                diagnostic.hosts.push(own.name.to_string());
            }
        }
    }
    diagnostics.extend(found);
    system
}

fn evaluate_into(
    project: &Project,
    pins: &Pins,
    chain: &[HostFile],
    diagnostics: &mut Diagnostics,
) -> Option<System> {
    let merged = layers::merge(chain)?;
    let host = read_host(&merged, &chain.first()?.name, project, diagnostics);
    let enabled = enabled_modules(&merged, project, diagnostics);
    let contributed = contribute::contribute(&merged, &host, &enabled, project, diagnostics);
    let facts = contributed.facts;
    references::follow(&facts, &contributed.failed, project, diagnostics);
    links::check_forms(&facts, diagnostics);
    let whole =
        !diagnostics.has_errors() && enabled.failed.is_empty() && contributed.failed.is_empty();
    let (services, networks, firewall) = links::typed(&facts, diagnostics)?;
    owners::check(&facts, &services, diagnostics);
    links::check_order(&facts, &services, diagnostics);
    let modules = enabled.modules;
    links::check_networks(&facts, &services, &modules, project, diagnostics);
    let images = self::pins::pin_images(&facts, &host, project, pins, diagnostics);
    policy::check(
        &facts,
        &services,
        &images,
        &modules,
        &merged.allows,
        project,
        diagnostics,
    );
    let pinned = services
        .values()
        .all(|service| images.contains_key(&service.image));
    (whole && pinned).then(|| System {
        host,
        disabled: merged
            .modules
            .keys()
            .filter(|name| !modules.contains_key(*name))
            .cloned()
            .collect(),
        modules,
        facts,
        services,
        networks,
        firewall,
        images,
        providers: contributed.providers,
    })
}

fn read_host(
    merged: &Merged,
    name: &HostName,
    project: &Project,
    diagnostics: &mut Diagnostics,
) -> Host {
    let fields = host_fields(merged, name, project, diagnostics);
    // What is missing is reported; a stand-in lets the rest be checked all the same.
    let text = |key: &str| fields.str(key).unwrap_or_default().to_owned();
    Host {
        name: name.clone(),
        address: text("address"),
        system: text("system"),
        arch: text("arch"),
        user: text("user"),
        port: fields
            .get("port")
            .and_then(Value::as_int)
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(22),
        host_key: fields.str("host_key").map(str::to_owned),
        tags: fields
            .list("tags")
            .iter()
            .filter_map(|tag| tag.as_str().map(str::to_owned))
            .collect(),
        vendor: fields.flag("vendor"),
        ssh: text("ssh"),
    }
}

fn host_fields(
    merged: &Merged,
    name: &HostName,
    project: &Project,
    diagnostics: &mut Diagnostics,
) -> Value {
    if merged.host.is_empty() {
        diagnostics.push(
            missing_key("[host]", merged.at, &format!("host `{name}`"), None)
                .help("add `[host]` with `address` and `system`"),
        );
        return Value::new(merged.host_at, Data::Map(right_fields(merged, project)));
    }
    decode_fields(
        &merged.host,
        &project.language.shape("host"),
        merged.host_at,
        &format!("[host] of `{name}`"),
        diagnostics,
    )
    .map_or_else(
        || Value::new(merged.host_at, Data::Map(right_fields(merged, project))),
        |fields| Value::new(merged.host_at, Data::Map(fields)),
    )
}

/// What is right of `[host]`, and for the rest something of its type: templates and conditions that use it are not wrong.
fn right_fields(merged: &Merged, project: &Project) -> BTreeMap<String, Value> {
    let mut reported = Diagnostics::default();
    let mut fields = BTreeMap::new();
    for field in project.language.shape("host").iter() {
        let given = merged
            .host
            .get(&field.name)
            .and_then(|entry| decode(&entry.value, &field.ty, &field.name, &mut reported));
        let value = given.unwrap_or_else(|| match (&field.presence, &field.ty) {
            (Presence::Default(value), _) => value.clone(),
            (_, Type::Enum(values)) => Value::new(
                merged.host_at,
                Data::Str(values.first().cloned().unwrap_or_default()),
            ),
            (Presence::Optional, _) => Value::new(merged.host_at, Data::Null),
            _ => Value::new(merged.host_at, Data::Str("192.0.2.1".to_owned())),
        });
        fields.insert(field.name.clone(), value);
    }
    fields
}

/// The modules that a host enables.
struct Enabled {
    /// Those whose options are right, with them.
    modules: BTreeMap<String, Value>,
    /// Those that cannot be used, for mistakes that are reported.
    failed: BTreeSet<String>,
}

impl Enabled {
    fn contains(&self, name: &str) -> bool {
        self.modules.contains_key(name) || self.failed.contains(name)
    }
}

fn enabled_modules(merged: &Merged, project: &Project, diagnostics: &mut Diagnostics) -> Enabled {
    let mut enabled = Enabled {
        modules: BTreeMap::new(),
        failed: BTreeSet::new(),
    };
    for (name, usage) in &merged.modules {
        let on = usage.enable.is_none_or(|(on, _)| on);
        let Some(module) = project.modules.get(name.as_str()) else {
            if on {
                enabled.failed.insert(name.clone());
            }
            if project.broken.modules.contains(name) {
                continue;
            }
            diagnostics.push(
                Diagnostic::error(
                    codes::UNKNOWN_MODULE,
                    format!("there is no module `{name}`"),
                )
                .at(usage.at, "")
                .suggest(name, project.modules.keys().map(|name| name.as_str()))
                .help("`forge module list` lists the modules"),
            );
            continue;
        };
        for (key, entry) in usage.options.iter() {
            if module.options.get(key).is_none() && !module.options.is_broken(key) {
                diagnostics.push(
                    Diagnostic::error(
                        codes::UNKNOWN_OPTION,
                        format!("module `{name}` has no option `{key}`"),
                    )
                    .at(entry.key, "")
                    .suggest(key, module.options.names())
                    .help(format!("`forge module show {name}` lists the options")),
                );
            }
        }
        if !on {
            continue;
        }
        for required in &module.requires {
            // That there is no such module at all is reported where it is required.
            if project.modules.contains_key(required.text.as_str()) {
                require(name, usage, required, merged, diagnostics);
            }
        }
        // Unknown options are reported above, in words of their own.
        let mut known = crate::pure::config::node::Table::default();
        for (key, entry) in usage.options.iter() {
            if module.options.get(key).is_some() {
                known.insert(key.to_owned(), entry.clone());
            }
        }
        let place = format!("[modules.{name}]");
        match decode_fields(&known, &module.options, usage.at, &place, diagnostics) {
            Some(options) if !module.options.any_broken() => {
                let options = Value::new(usage.at, Data::Map(options));
                enabled.modules.insert(name.clone(), options);
            }
            _ => {
                enabled.failed.insert(name.clone());
            }
        }
    }
    enabled
}

fn require(
    name: &str,
    usage: &ModuleUse,
    required: &Named,
    merged: &Merged,
    diagnostics: &mut Diagnostics,
) {
    let other = merged.modules.get(&required.text);
    let switched_off = match other.map(|other| other.enable) {
        Some(None | Some((true, _))) => return,
        Some(Some((false, at))) => Some(at),
        None => None,
    };
    let diagnostic = Diagnostic::error(
        codes::REQUIRED_MODULE,
        format!(
            "module `{name}` requires `{}`, which is not enabled",
            required.text
        ),
    )
    .at(usage.at, "enabled here")
    .also(required.at, "required here");
    diagnostics.push(match switched_off {
        Some(at) => diagnostic.also(at, "switched off here").help(format!(
            "enable `{}`, or disable `{name}` too",
            required.text
        )),
        None => diagnostic.help(format!("add `[modules.{}]` to the host", required.text)),
    });
}

/// The host as templates see it.
fn host_json(host: &Host) -> serde_json::Value {
    json!({
        "name": host.name,
        "address": host.address,
        "system": host.system,
        "arch": host.arch,
    })
}
