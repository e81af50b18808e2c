//! A system as boxes and arrows: who is reached from outside, by which route, who needs and waits for whom.

use std::collections::{BTreeMap, BTreeSet};

use super::svg::{Edge, Graph, Group, Node, Style};
use crate::pure::config::project::Project;
use crate::pure::config::value::Value;
use crate::pure::system::System;
use crate::pure::system::service::Service;

/// Stands for everybody outside the host.
const OUTSIDE: &str = "outside";

/// The graph of a system: boxes are services, coloured by the networks that they join. `scrapes` adds an arrow for each scrape.
pub fn graph(system: &System, project: &Project, scrapes: bool) -> Graph {
    let mut graph = Graph {
        title: system.host.name.to_string(),
        ..Graph::default()
    };
    let mut groups: BTreeMap<String, String> = BTreeMap::new();
    for service in system.services.values() {
        let (group, label) = networks_of(service);
        groups.insert(group.clone(), label);
        let image = system.images.get(&service.image).map_or_else(
            || service.image.to_string(),
            |image| format!("{}:{}", service.image, image.tag),
        );
        graph.nodes.push(Node {
            id: service.name.to_string(),
            label: format!("{}\n{image}", service.name),
            group: Some(group),
        });
        for dependency in &service.depends_on {
            graph.edges.push(edge(
                service.name.as_str(),
                dependency.as_str(),
                "",
                Style::Dashed,
            ));
        }
    }
    graph.groups = groups
        .into_iter()
        .map(|(id, label)| Group { id, label })
        .collect();
    // Who uses something starts after it; one arrow says both.
    needs(system, &mut graph);
    let used: BTreeSet<(String, String)> = graph
        .edges
        .iter()
        .filter(|edge| edge.style == Style::Solid)
        .map(|edge| (edge.from.clone(), edge.to.clone()))
        .collect();
    graph.edges.retain(|edge| {
        edge.style != Style::Dashed || !used.contains(&(edge.from.clone(), edge.to.clone()))
    });
    outside(system, &mut graph);
    routes(system, project, &mut graph);
    graph.meanings = vec![
        (Style::Thick, "a way in: published port or route".to_owned()),
        (Style::Solid, "uses".to_owned()),
        (Style::Dashed, "starts after".to_owned()),
    ];
    if scrapes {
        reached("scrape", system, project, &mut graph);
    }
    graph
}

fn edge(from: &str, to: &str, label: &str, style: Style) -> Edge {
    Edge {
        from: from.to_owned(),
        to: to.to_owned(),
        label: label.to_owned(),
        style,
    }
}

fn networks_of(service: &Service) -> (String, String) {
    let mut names: Vec<&str> = service
        .networks
        .iter()
        .map(|network| network.as_str())
        .collect();
    if service.network_host {
        names.push("host");
    }
    names.sort_unstable();
    if names.is_empty() {
        return ("none".to_owned(), "no network".to_owned());
    }
    (names.join("-and-"), names.join(" + "))
}

fn outside(system: &System, graph: &mut Graph) {
    let mut any = false;
    for service in system.services.values() {
        let mut ports: Vec<String> = service
            .ports
            .iter()
            .filter(|port| port.public)
            .map(|port| format!("{}/{}", port.host, port.protocol.as_str()))
            .collect();
        ports.sort_unstable();
        if !ports.is_empty() {
            any = true;
            graph.edges.push(edge(
                OUTSIDE,
                service.name.as_str(),
                &ports.join(", "),
                Style::Thick,
            ));
        }
    }
    if any {
        graph.nodes.push(Node {
            id: OUTSIDE.to_owned(),
            label: format!("everybody\n{}", system.host.address),
            group: None,
        });
    }
}

/// The services of a module that `reaches` a kind, towards the targets of its contributions.
fn consumers<'a>(
    kind: &'a str,
    system: &'a System,
    project: &'a Project,
) -> impl Iterator<Item = &'a str> {
    system
        .modules
        .keys()
        .filter_map(|name| project.modules.get(name.as_str()))
        .filter_map(move |module| Some(module.reaches.get(kind)?.text.as_str()))
}

fn routes(system: &System, project: &Project, graph: &mut Graph) {
    for consumer in consumers("route", system, project) {
        for fact in system.facts.of("route") {
            let Some(target) = fact.value.str("service") else {
                continue;
            };
            let domain = fact
                .value
                .list("domains")
                .first()
                .and_then(Value::as_str)
                .unwrap_or_default();
            let path = fact
                .value
                .str("path")
                .filter(|path| *path != "/")
                .unwrap_or_default();
            graph.edges.push(edge(
                consumer,
                target,
                &format!("{domain}{path}"),
                Style::Thick,
            ));
        }
    }
}

fn reached(kind: &str, system: &System, project: &Project, graph: &mut Graph) {
    for consumer in consumers(kind, system, project) {
        for fact in system.facts.of(kind) {
            if let Some(target) = fact
                .value
                .str("service")
                .filter(|target| *target != consumer)
            {
                graph.edges.push(edge(consumer, target, kind, Style::Solid));
            }
        }
    }
}

/// Who uses a database, a cache or a bucket: the services of the module that asks for it and can reach the one that meets it.
fn needs(system: &System, graph: &mut Graph) {
    for provider in system.facts.of("provider") {
        let Some(target) = provider
            .value
            .str("service")
            .and_then(|name| system.services.get(name))
        else {
            continue;
        };
        for need in system.facts.of(&provider.name) {
            let users = system.services.values().filter(|service| {
                service.module == need.module
                    && service.name != target.name
                    && service
                        .networks
                        .iter()
                        .any(|network| target.networks.contains(network))
            });
            for user in users {
                graph.edges.push(edge(
                    user.name.as_str(),
                    target.name.as_str(),
                    &provider.name,
                    Style::Solid,
                ));
            }
        }
    }
}
