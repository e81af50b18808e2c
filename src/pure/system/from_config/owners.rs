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
    check_paths(facts, diagnostics);
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

/// Paths of the host: each has one owner, none is a folder of another, and what forge keeps for itself nobody else writes.
fn check_paths(facts: &Facts, diagnostics: &mut Diagnostics) {
    let mut whole: BTreeMap<String, (String, Span)> = BTreeMap::new();
    let mut claim = |path: String, owner: String, at: Span, diagnostics: &mut Diagnostics| {
        if let Some(what) = kept_by_forge(&path, facts) {
            diagnostics.push(
                Diagnostic::error(
                    codes::TWO_OWNERS,
                    format!("{owner} and forge both claim the file {path}"),
                )
                .at(at, what)
                .help("choose another path"),
            );
        } else if let Some((first, first_at)) = whole.get(&path) {
            both(&owner, first, &path, at, *first_at, diagnostics);
        } else {
            whole.insert(path, (owner, at));
        }
    };
    let path_of = |fact: &Fact| {
        let path = fact.value.get("path")?;
        Some((path.as_str()?.to_owned(), path.at))
    };
    for fact in facts.of("file").filter(|fact| !fact.value.flag("block")) {
        if let Some((path, at)) = path_of(fact) {
            claim(path, fact.subject(), at, diagnostics);
        }
    }
    for fact in facts.of("unit") {
        let path = format!("/etc/systemd/system/{}", fact.name);
        claim(path, fact.subject(), fact.at, diagnostics);
    }
    // Several modules may put blocks into one file, each marked with its name, but not into one that somebody owns whole.
    for fact in facts.of("file").filter(|fact| fact.value.flag("block")) {
        if let Some((path, at)) = path_of(fact)
            && let Some((first, first_at)) = whole.get(&path)
        {
            both(&fact.subject(), first, &path, at, *first_at, diagnostics);
        }
    }
    for (path, (owner, at)) in &whole {
        let folder = format!("{path}/");
        if let Some((below, (other, other_at))) = whole
            .range(folder.clone()..)
            .next()
            .filter(|(below, _)| below.starts_with(&folder))
        {
            diagnostics.push(
                Diagnostic::error(
                    codes::TWO_OWNERS,
                    format!("{path} would be a file, and a folder with {below} in it"),
                )
                .at(*other_at, format!("claimed by {other}"))
                .also(*at, format!("claimed by {owner}"))
                .help("choose another path for one of them"),
            );
        }
    }
}

fn both(
    owner: &str,
    first: &str,
    path: &str,
    at: Span,
    first_at: Span,
    diagnostics: &mut Diagnostics,
) {
    diagnostics.push(
        Diagnostic::error(
            codes::TWO_OWNERS,
            format!("{owner} and {first} both claim the file {path}"),
        )
        .at(at, format!("claimed by {owner}"))
        .also(first_at, format!("claimed by {first}"))
        .help("leave it to one of them"),
    );
}

/// Why a path is forge's own, if it is.
fn kept_by_forge(path: &str, facts: &Facts) -> Option<&'static str> {
    const OWN: [&str; 2] = ["/var/lib/forge", "/run/forge/secrets"];
    const RULES: [&str; 2] = ["/etc/ufw/user.rules", "/etc/ufw/user6.rules"];
    let below = |folder: &str| {
        path.strip_prefix(folder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if OWN.iter().any(|folder| below(folder)) {
        Some("forge keeps its own files there")
    } else if RULES.contains(&path) && facts.of("firewall").next().is_some() {
        Some("made from the `[[firewall]]` entries")
    } else {
        None
    }
}
