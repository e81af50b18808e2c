//! What holds between the fields of a contribution, and between services: forms, mounts, order, networks.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::pure::config::project::Project;
use crate::pure::config::value::Value;
use crate::pure::name::ServiceName;
use crate::pure::system::facts::{Fact, Facts};
use crate::pure::system::service::{FirewallEntry, Network, Service};
use crate::pure::text::{Diagnostic, Diagnostics, Span, codes};

/// Of these fields of a kind exactly one must be given. A dot leads into a table, or into each table of a list.
const ONE_OF: [(&str, &str, &[&str]); 8] = [
    (
        "service",
        "mounts",
        &["volume", "file", "secret", "host", "tmpfs"],
    ),
    ("service", "healthcheck", &["exec", "shell"]),
    ("mount", "", &["volume", "file", "secret"]),
    ("file", "", &["template", "source", "text"]),
    ("unit", "", &["template", "text"]),
    ("route", "", &["service", "file", "redirect"]),
    ("backup", "", &["dump", "volume", "paths"]),
    ("probe", "", &["url", "tcp", "exec"]),
];

pub(super) fn check_forms(facts: &Facts, diagnostics: &mut Diagnostics) {
    for (kind, within, keys) in ONE_OF {
        for fact in facts.of(kind) {
            if within.is_empty() {
                check_one(&fact.value, &fact.subject(), keys, diagnostics);
                continue;
            }
            let Some(inner) = fact.value.get(within) else {
                continue;
            };
            let place = format!("`{within}` of {}", fact.subject());
            if inner.as_map().is_some() {
                check_one(inner, &place, keys, diagnostics);
            }
            for item in inner.items() {
                check_one(item, &place, keys, diagnostics);
            }
        }
    }
    for fact in facts.of("route") {
        check_pair(fact, "service", "port", diagnostics);
    }
    for fact in facts.of("probe") {
        for key in ["tcp", "exec"] {
            if fact.value.get(key).is_some() && fact.value.get("service").is_none() {
                needs(fact, key, "service", diagnostics);
            }
        }
    }
    for fact in facts.of("secret") {
        let (generate, format) = (fact.value.get("generate"), fact.value.get("format"));
        if generate.is_none()
            && format.is_none()
            && fact.value.str("about").unwrap_or_default().is_empty()
        {
            diagnostics.push(
                Diagnostic::error(
                    codes::ONE_OF,
                    format!(
                        "{} says neither how it is made nor what it is",
                        fact.subject()
                    ),
                )
                .at(fact.at, "")
                .help("add `generate`, or `about` (and `format`) for the person who sets it"),
            );
        }
    }
    for fact in facts.of("file") {
        let block = fact.value.flag("block");
        if block && fact.value.get("path").is_none() {
            needs(fact, "block", "path", diagnostics);
        }
    }
}

fn given(value: &Value, key: &str) -> bool {
    // An empty list is the default of a list, so it counts as absent.
    value
        .get(key)
        .is_some_and(|value| !matches!(&value.data, crate::pure::config::value::Data::List(items) if items.is_empty()))
}

fn check_one(value: &Value, place: &str, keys: &[&str], diagnostics: &mut Diagnostics) {
    let present: Vec<&str> = keys
        .iter()
        .copied()
        .filter(|key| given(value, key))
        .collect();
    if present.len() != 1 {
        let list = keys
            .iter()
            .map(|key| format!("`{key}`"))
            .collect::<Vec<_>>()
            .join(", ");
        let message = match present.len() {
            0 => format!("{place} has none of {list}"),
            _ => format!(
                "{place} has {} at once",
                present
                    .iter()
                    .map(|key| format!("`{key}`"))
                    .collect::<Vec<_>>()
                    .join(" and ")
            ),
        };
        diagnostics.push(
            Diagnostic::error(codes::ONE_OF, message)
                .at(value.at, format!("exactly one of {list} is needed")),
        );
    }
}

fn check_pair(fact: &Fact, first: &str, second: &str, diagnostics: &mut Diagnostics) {
    match (
        fact.value.get(first).is_some(),
        fact.value.get(second).is_some(),
    ) {
        (true, false) => needs(fact, first, second, diagnostics),
        (false, true) => needs(fact, second, first, diagnostics),
        _ => {}
    }
}

fn needs(fact: &Fact, given: &str, missing: &str, diagnostics: &mut Diagnostics) {
    diagnostics.push(
        Diagnostic::error(
            codes::ONE_OF,
            format!("{} has `{given}` without `{missing}`", fact.subject()),
        )
        .at(fact.at, "")
        .help(format!("add `{missing}`")),
    );
}

type Typed = (
    BTreeMap<ServiceName, Service>,
    Vec<Network>,
    Vec<FirewallEntry>,
);

/// The contributions that have types of their own. A field that the types do not know would be a mistake of forge's own
/// (`kinds.toml` and the types disagree); it is reported all the same.
pub(super) fn typed(facts: &Facts, diagnostics: &mut Diagnostics) -> Option<Typed> {
    let mut contributed: BTreeMap<&str, Vec<Json>> = BTreeMap::new();
    for fact in facts.of("mount") {
        let mut mount = fact.value.to_json();
        if let Json::Object(fields) = &mut mount {
            fields.remove("service");
        }
        if let Some(service) = fact.value.str("service") {
            contributed.entry(service).or_default().push(mount);
        }
    }
    let mut services = BTreeMap::new();
    for fact in facts.of("service") {
        let mut json = fact.to_json();
        if let Some(mounts) = json.get_mut("mounts").and_then(Json::as_array_mut) {
            mounts.extend(contributed.remove(fact.name.as_str()).unwrap_or_default());
            for mount in mounts.iter_mut() {
                if let Json::Object(fields) = mount {
                    for absent in ["host", "tmpfs", "propagation"] {
                        fields.entry(absent).or_insert(Json::Null);
                    }
                }
            }
        }
        let mut service: Service = convert(fact, json, diagnostics)?;
        service.mounts.sort_by(|a, b| a.at.cmp(&b.at));
        services.insert(service.name.clone(), service);
    }
    let list = |kind: &str| -> Vec<&Fact> { facts.of(kind).collect() };
    let networks = list("network")
        .into_iter()
        .map(|fact| convert(fact, fact.to_json(), diagnostics))
        .collect::<Option<Vec<Network>>>()?;
    let firewall = list("firewall")
        .into_iter()
        .map(|fact| convert(fact, fact.to_json(), diagnostics))
        .collect::<Option<Vec<FirewallEntry>>>()?;
    Some((services, networks, firewall))
}

fn convert<T: DeserializeOwned>(
    fact: &Fact,
    json: Json,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    match serde_json::from_value(json) {
        Ok(typed) => Some(typed),
        Err(error) => {
            // A reference to a name that cannot be one is reported as leading nowhere.
            if !diagnostics.has_errors() {
                diagnostics.push(
                    Diagnostic::error(codes::WRONG_TYPE, format!("{}: {error}", fact.subject()))
                        .at(fact.at, ""),
                );
            }
            None
        }
    }
}

/// Services that wait for each other in a circle would never start.
pub(super) fn check_order(
    facts: &Facts,
    services: &BTreeMap<ServiceName, Service>,
    diagnostics: &mut Diagnostics,
) {
    let mut done: BTreeSet<&ServiceName> = BTreeSet::new();
    for start in services.keys() {
        // Depth-first with an explicit stack: a chain may be as long as there are services.
        let mut way: Vec<(&ServiceName, usize)> = vec![(start, 0)];
        let mut on_way: BTreeSet<&ServiceName> = BTreeSet::new();
        while let Some((name, next)) = way.pop() {
            let Some(service) = services.get(name).filter(|_| !done.contains(name)) else {
                continue;
            };
            let Some(dependency) = service.depends_on.get(next) else {
                done.insert(name);
                on_way.remove(name);
                continue;
            };
            way.push((name, next + 1));
            on_way.insert(name);
            if on_way.contains(dependency) {
                let names: Vec<&str> = way
                    .iter()
                    .map(|(name, _)| name.as_str())
                    .skip_while(|name| *name != dependency.as_str())
                    .collect();
                let diagnostic = Diagnostic::error(
                    codes::CYCLE,
                    format!(
                        "services wait for each other: {} → {dependency}",
                        names.join(" → ")
                    ),
                )
                .help("remove one of these from `depends_on`");
                diagnostics.push(match waits_at(facts, name, next) {
                    Some(at) => diagnostic.at(at, "this closes the circle"),
                    None => diagnostic,
                });
                continue;
            }
            way.push((dependency, 0));
        }
    }
}

/// Where a service says what it waits for.
fn waits_at(facts: &Facts, name: &ServiceName, position: usize) -> Option<Span> {
    let fact = facts.get("service", name.as_str())?;
    Some(
        fact.value
            .list("depends_on")
            .get(position)
            .map_or(fact.at, |item| item.at),
    )
}

/// Who must reach whom shares a network: a service and what it waits for, the consumer of routes and scrapes and their targets,
/// a module with a need and the service that meets it.
pub(super) fn check_networks(
    facts: &Facts,
    services: &BTreeMap<ServiceName, Service>,
    modules: &BTreeMap<String, Value>,
    project: &Project,
    diagnostics: &mut Diagnostics,
) {
    let mut meet = |from: &str, to: &str, why: &str, at: Span| {
        let (Some(a), Some(b)) = (services.get(from), services.get(to)) else {
            return;
        };
        // A network that does not exist is reported where it is named.
        let unknown = [a, b].iter().any(|service| {
            service
                .networks
                .iter()
                .any(|network| facts.get("network", network.as_str()).is_none())
        });
        let together = unknown
            || a.name == b.name
            || a.network_host
            || b.network_host
            || a.networks
                .iter()
                .any(|network| b.networks.contains(network));
        if !together {
            let list = |service: &Service| {
                let names: Vec<&str> = service
                    .networks
                    .iter()
                    .map(|network| network.as_str())
                    .collect();
                if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                }
            };
            diagnostics.push(
                Diagnostic::error(
                    codes::CANNOT_MEET,
                    format!("`{from}` must reach `{to}` ({why}), but they share no network"),
                )
                .at(at, "")
                .note(format!(
                    "networks of `{from}`: {}; of `{to}`: {}",
                    list(a),
                    list(b)
                ))
                .help("give them a network in common"),
            );
        }
    };
    for fact in facts.of("service") {
        for dependency in fact.value.list("depends_on") {
            if let Some(name) = dependency.as_str() {
                meet(&fact.name, name, "it waits for it", dependency.at);
            }
        }
    }
    for name in modules.keys() {
        let Some(module) = project.modules.get(name.as_str()) else {
            continue;
        };
        for (kind, consumer) in &module.reaches {
            for fact in facts.of(kind) {
                if let Some(target) = fact.value.str("service") {
                    meet(&consumer.text, target, &fact.subject(), fact.at);
                }
            }
        }
    }
    for provider in facts.of("provider") {
        let Some(target) = provider
            .value
            .str("service")
            .and_then(|name| services.get(name))
        else {
            continue;
        };
        for need in facts.of(&provider.name) {
            let own: Vec<&Service> = services
                .values()
                .filter(|service| service.module == need.module)
                .collect();
            let reaches = own.iter().any(|service| {
                service.network_host
                    || service
                        .networks
                        .iter()
                        .any(|network| target.networks.contains(network))
            });
            if let (false, Some(service)) = (reaches, own.first()) {
                meet(
                    service.name.as_str(),
                    target.name.as_str(),
                    &need.subject(),
                    need.at,
                );
            }
        }
    }
}
