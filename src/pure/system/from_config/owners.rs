//! No two owners of one thing: ports of the host, paths on the host and in containers, routes, user ids.

use std::collections::BTreeMap;

use crate::pure::config::value::Value;
use crate::pure::name::ServiceName;
use crate::pure::system::facts::{Fact, Facts};
use crate::pure::system::service::Service;
use crate::pure::text::{Diagnostic, Diagnostics, Span, codes};

/// What has an owner, by a key that says what it is to a person.
#[derive(Default)]
struct Register {
    owners: BTreeMap<String, (String, Span)>,
}

impl Register {
    fn claim(&mut self, thing: String, owner: &str, at: Span, diagnostics: &mut Diagnostics) {
        match self.owners.get(&thing) {
            Some((first, first_at)) => diagnostics.push(
                Diagnostic::error(
                    codes::TWO_OWNERS,
                    format!("{owner} and {first} both claim {thing}"),
                )
                .at(at, format!("claimed by {owner}"))
                .also(*first_at, format!("claimed by {first}"))
                .help("leave it to one of them"),
            ),
            None => {
                self.owners.insert(thing, (owner.to_owned(), at));
            }
        }
    }
}

pub(super) fn check(
    facts: &Facts,
    services: &BTreeMap<ServiceName, Service>,
    diagnostics: &mut Diagnostics,
) {
    let mut things = Register::default();
    for fact in facts.of("service") {
        for port in fact.value.list("ports") {
            let number = port.get("host").and_then(Value::as_int).unwrap_or_default();
            let protocol = port.str("protocol").unwrap_or_default();
            things.claim(
                format!("port {number}/{protocol} of the host"),
                &fact.subject(),
                port.at,
                diagnostics,
            );
        }
        let Some(service) = services.get(fact.name.as_str()) else {
            continue;
        };
        for pair in service.mounts.windows(2) {
            if pair[0].at == pair[1].at {
                let places = mount_places(facts, fact, &pair[1].at);
                let mut diagnostic = Diagnostic::error(
                    codes::TWO_OWNERS,
                    format!("two mounts of {} are at `{}`", fact.subject(), pair[1].at),
                )
                .at(places.last().copied().unwrap_or(fact.at), "again here")
                .help("mount one of them elsewhere");
                if let [first, .., _] = places.as_slice() {
                    diagnostic = diagnostic.also(*first, "first here");
                }
                diagnostics.push(diagnostic);
            }
        }
    }
    for fact in facts.of("file") {
        if let Some(path) = fact.value.get("path") {
            // Several modules may put blocks into one file; each is marked with its name.
            let name = if fact.value.flag("block") {
                format!(
                    "the block {} in {}",
                    fact.name,
                    path.as_str().unwrap_or_default()
                )
            } else {
                format!("the file {}", path.as_str().unwrap_or_default())
            };
            things.claim(name, &fact.subject(), path.at, diagnostics);
        }
    }
    for fact in facts.of("unit") {
        things.claim(
            format!("the file /etc/systemd/system/{}", fact.name),
            &fact.subject(),
            fact.at,
            diagnostics,
        );
    }
    for fact in facts.of("route") {
        let path = fact.value.str("path").unwrap_or("/");
        for domain in fact.value.list("domains") {
            things.claim(
                format!("the route {}{path}", domain.as_str().unwrap_or_default()),
                &fact.subject(),
                domain.at,
                diagnostics,
            );
        }
    }
    for (kind, key, what) in [
        ("user", "uid", "uid"),
        ("group", "gid", "gid"),
        ("cache", "index", "Redis database"),
    ] {
        for fact in facts.of(kind) {
            if let Some(id) = fact.value.get(key)
                && let Some(number) = id.as_int()
            {
                things.claim(
                    format!("{what} {number}"),
                    &fact.subject(),
                    id.at,
                    diagnostics,
                );
            }
        }
    }
}

/// Where the mounts of a service at one place in its container are declared: its own first.
fn mount_places(facts: &Facts, service: &Fact, at: &str) -> Vec<Span> {
    let own = service
        .value
        .list("mounts")
        .iter()
        .filter(|mount| mount.str("at") == Some(at))
        .map(|mount| mount.at);
    let contributed = facts
        .of("mount")
        .filter(|fact| {
            fact.value.str("service") == Some(service.name.as_str())
                && fact.value.str("at") == Some(at)
        })
        .map(|fact| fact.at);
    own.chain(contributed).collect()
}
