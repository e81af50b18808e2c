//! A project and the files of a host to a [`System`].
//!
//! In this order: layers merged, options checked, needs met, contributions made (first those that stand for themselves, then
//! those that are repeated over facts), references followed, services typed, ownership and policy checked.

mod condition;
mod contribute;
mod expand;
mod layers;
mod links;
mod owners;
mod references;

use std::collections::BTreeMap;

use serde_json::json;

use super::policy;
use super::{Host, PinnedImage, System};
use crate::pure::config::decode::{decode_fields, missing_key};
use crate::pure::config::host::HostFile;
use crate::pure::config::project::Project;
use crate::pure::config::value::{Data, Value};
use crate::pure::name::HostName;
use crate::pure::pins::Pins;
use crate::pure::text::{Diagnostic, Diagnostics, Span, codes};
use layers::Merged;

/// Evaluates one host. `None`, with diagnostics, when anything is wrong with it.
pub fn evaluate(
    project: &Project,
    pins: &Pins,
    chain: &[HostFile],
    diagnostics: &mut Diagnostics,
) -> Option<System> {
    let mut found = Diagnostics::default();
    let system = evaluate_into(project, pins, chain, &mut found);
    let failed = found.has_errors();
    diagnostics.extend(found);
    system.filter(|_| !failed)
}

fn evaluate_into(
    project: &Project,
    pins: &Pins,
    chain: &[HostFile],
    diagnostics: &mut Diagnostics,
) -> Option<System> {
    let merged = layers::merge(chain)?;
    let host = read_host(&merged, &chain.first()?.name, project, diagnostics);
    let modules = enabled_modules(&merged, project, diagnostics);
    let host = host?;
    let contributed = contribute::contribute(&merged, &host, &modules, project, diagnostics);
    let mut facts = contributed.facts;
    references::follow(&facts, project, diagnostics);
    links::check_forms(&facts, diagnostics);
    if diagnostics.has_errors() {
        // What follows assumes that references lead somewhere; it would only report the same mistakes again.
        return None;
    }
    let (services, networks, firewall) = links::typed(&facts, diagnostics)?;
    owners::check(&facts, &services, diagnostics);
    links::check_order(&facts, &services, diagnostics);
    links::check_networks(&facts, &services, &modules, project, diagnostics);
    let images = pin_images(&facts, project, pins, diagnostics);
    policy::check(
        &facts,
        &services,
        &images,
        &modules,
        &merged.allows,
        project,
        diagnostics,
    );
    // The order of mounts does not matter to anybody; the typed services hold them sorted.
    for fact in facts.of_mut("service") {
        fact.each = None;
    }
    Some(System {
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
) -> Option<Host> {
    if merged.host.is_empty() {
        diagnostics.push(
            missing_key("[host]", merged.at, &format!("host `{name}`"), None)
                .help("add `[host]` with `address` and `system`"),
        );
        return None;
    }
    let fields = decode_fields(
        &merged.host,
        &project.language.shape("host"),
        merged.host_at,
        &format!("[host] of `{name}`"),
        diagnostics,
    )?;
    let host = Value::new(merged.host_at, Data::Map(fields));
    let text = |key: &str| host.str(key).map(str::to_owned);
    Some(Host {
        name: name.clone(),
        address: text("address").unwrap_or_default(),
        system: text("system").unwrap_or_default(),
        arch: text("arch").unwrap_or_default(),
        user: text("user").unwrap_or_default(),
        port: host
            .get("port")
            .and_then(Value::as_int)
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(22),
        host_key: text("host_key"),
        tags: host
            .list("tags")
            .iter()
            .filter_map(|tag| tag.as_str().map(str::to_owned))
            .collect(),
    })
}

/// The enabled modules with their checked options.
fn enabled_modules(
    merged: &Merged,
    project: &Project,
    diagnostics: &mut Diagnostics,
) -> BTreeMap<String, Value> {
    let mut enabled = BTreeMap::new();
    for (name, usage) in &merged.modules {
        let Some(module) = project.modules.get(name.as_str()) else {
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
        let on = usage.enable.is_none_or(|(on, _)| on);
        for (key, entry) in usage.options.iter() {
            if module.options.get(key).is_none() {
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
            let present = merged
                .modules
                .get(&required.text)
                .is_some_and(|usage| usage.enable.is_none_or(|(on, _)| on));
            if !present {
                diagnostics.push(
                    Diagnostic::error(
                        codes::REQUIRED_MODULE,
                        format!(
                            "module `{name}` requires `{}`, which is not enabled",
                            required.text
                        ),
                    )
                    .at(usage.at, "enabled here")
                    .also(required.at, "required here")
                    .help(format!("add `[modules.{}]` to the host", required.text)),
                );
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
        if let Some(options) = decode_fields(&known, &module.options, usage.at, &place, diagnostics)
        {
            enabled.insert(name.clone(), Value::new(usage.at, Data::Map(options)));
        }
    }
    enabled
}

fn pin_images(
    facts: &super::facts::Facts,
    project: &Project,
    pins: &Pins,
    diagnostics: &mut Diagnostics,
) -> BTreeMap<crate::pure::name::ImageName, PinnedImage> {
    let mut pinned = BTreeMap::new();
    for fact in facts.of("service") {
        let Some(value) = fact.value.get("image") else {
            continue;
        };
        let Some(image) = value.as_str().and_then(|name| project.images.get(name)) else {
            continue;
        };
        if pinned.contains_key(&image.name) {
            continue;
        }
        if let Some(pin) = pin(image, value.at, pins, diagnostics) {
            pinned.insert(image.name.clone(), pin);
        }
    }
    pinned
}

fn pin(
    image: &crate::pure::config::image::Image,
    used_at: Span,
    pins: &Pins,
    diagnostics: &mut Diagnostics,
) -> Option<PinnedImage> {
    let Some(pin) = pins.all.get(&image.name) else {
        diagnostics.push(
            Diagnostic::error(codes::UNPINNED, format!("image `{}` is not in forge.lock", image.name))
                .at(used_at, "used here")
                .help(format!(
                    "add to forge.lock: [[image]] with name = \"{}\", repository = \"{}\", tag = \"{}\" and the digest",
                    image.name, image.repository, image.tag
                )),
        );
        return None;
    };
    if pin.repository != image.repository || pin.tag != image.tag {
        diagnostics.push(
            Diagnostic::error(
                codes::STALE_PIN,
                format!("forge.lock is out of date for image `{}`", image.name),
            )
            .at(pin.at, format!("{}:{} is locked", pin.repository, pin.tag))
            .also(
                image.tag_at,
                format!("{}:{} is wanted", image.repository, image.tag),
            )
            .help("update the entry's repository, tag and digest"),
        );
        return None;
    }
    Some(PinnedImage {
        repository: pin.repository.clone(),
        tag: pin.tag.clone(),
        digest: pin.digest,
    })
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
