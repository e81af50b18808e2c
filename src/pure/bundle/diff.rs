//! What differs between two bundles, as a person wants to know it: services, images, files, the rest by kind.
//!
//! Secrets appear by name alone; their ciphertexts are compared and never shown.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value as Json;
use similar::TextDiff;

use super::{Draft, ImagePin, PartKind};

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Diff {
    pub images: Vec<Change<ImageChange>>,
    /// What Docker Compose would create, recreate or remove, and why.
    pub services: Vec<Change<Vec<String>>>,
    /// Every other kind of contribution.
    pub contributions: BTreeMap<String, Vec<Change<Vec<FieldChange>>>>,
    pub files: Vec<Change<FileChange>>,
    /// Names alone.
    pub secrets: Vec<Change<()>>,
    /// Fields of `[host]`, and the list of modules.
    pub host: Vec<FieldChange>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    Added,
    Removed,
    Changed,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change<T> {
    pub verb: Verb,
    pub name: String,
    pub what: T,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImageChange {
    pub old: Option<String>,
    pub new: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldChange {
    pub path: String,
    pub old: Option<Json>,
    pub new: Option<Json>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileChange {
    /// Where it stands on the host.
    pub path: String,
    /// Unified, three lines of context; empty for what is no text.
    pub unified: String,
}

impl Diff {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What changes from `old` to `new`.
pub fn diff(old: &Draft, new: &Draft) -> Diff {
    let (old_kinds, new_kinds) = (contributions(old), contributions(new));
    let kinds: BTreeSet<&str> = old_kinds.keys().chain(new_kinds.keys()).copied().collect();
    let empty = BTreeMap::new();
    let mut by_kind = BTreeMap::new();
    for kind in kinds {
        if kind == "service" {
            continue;
        }
        let changes = compare(
            old_kinds.get(kind).unwrap_or(&empty),
            new_kinds.get(kind).unwrap_or(&empty),
            fields,
        );
        if !changes.is_empty() {
            by_kind.insert(kind.to_owned(), changes);
        }
    }
    let host = |draft: &Draft| {
        let mut host = draft.system["host"].clone();
        host["modules"] = draft.system["modules"].clone();
        host
    };
    Diff {
        images: compare_images(old, new),
        services: compare_services(old, new),
        contributions: by_kind,
        files: compare_files(old, new),
        secrets: compare(
            &parts(old, PartKind::Secret),
            &parts(new, PartKind::Secret),
            |_, _| (),
        ),
        host: fields(Some(&host(old)), Some(&host(new))),
    }
}

/// What is only in `old`, only in `new`, and different in both; `what` says how.
fn compare<V: PartialEq, T>(
    old: &BTreeMap<&str, V>,
    new: &BTreeMap<&str, V>,
    what: impl Fn(Option<&V>, Option<&V>) -> T,
) -> Vec<Change<T>> {
    let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    names
        .into_iter()
        .filter_map(|name| {
            let (before, after) = (old.get(name), new.get(name));
            let verb = match (before, after) {
                (Some(before), Some(after)) if before == after => return None,
                (Some(_), Some(_)) => Verb::Changed,
                (None, _) => Verb::Added,
                (_, None) => Verb::Removed,
            };
            Some(Change {
                verb,
                name: name.to_owned(),
                what: what(before, after),
            })
        })
        .collect()
}

fn contributions(draft: &Draft) -> BTreeMap<&str, BTreeMap<&str, Json>> {
    let kinds = draft.system["contributions"].as_object();
    kinds
        .into_iter()
        .flatten()
        .map(|(kind, facts)| {
            let facts = facts.as_object().into_iter().flatten();
            (
                kind.as_str(),
                facts
                    .map(|(name, fact)| (name.as_str(), fact.clone()))
                    .collect(),
            )
        })
        .collect()
}

fn parts(draft: &Draft, kind: PartKind) -> BTreeMap<&str, &[u8]> {
    let prefix = match kind {
        PartKind::File => "files/",
        PartKind::Secret => "secrets/",
    };
    draft
        .parts
        .iter()
        .filter(|part| part.kind == kind)
        .map(|part| {
            let title = part.title.as_str();
            (
                title.strip_prefix(prefix).unwrap_or(title),
                part.bytes.as_slice(),
            )
        })
        .collect()
}

/// The values that differ, by their path; absent and null are the same.
fn fields(old: Option<&Json>, new: Option<&Json>) -> Vec<FieldChange> {
    let mut found = Vec::new();
    collect_fields(old, new, String::new(), &mut found);
    found
}

fn collect_fields(
    old: Option<&Json>,
    new: Option<&Json>,
    path: String,
    found: &mut Vec<FieldChange>,
) {
    let given = |value: Option<&Json>| value.filter(|value| !value.is_null()).cloned();
    let (before, after) = (given(old), given(new));
    if before == after {
        return;
    }
    if let (Some(Json::Object(before)), Some(Json::Object(after))) = (&before, &after) {
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for key in keys {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            collect_fields(before.get(key), after.get(key), path, found);
        }
        return;
    }
    found.push(FieldChange {
        path,
        old: before,
        new: after,
    });
}

fn compare_images(old: &Draft, new: &Draft) -> Vec<Change<ImageChange>> {
    fn images(draft: &Draft) -> BTreeMap<&str, String> {
        let image = |pin: &ImagePin| format!("{}:{}@{}", pin.repository, pin.tag, pin.digest);
        draft
            .images
            .iter()
            .map(|pin| (pin.name.as_str(), image(pin)))
            .collect()
    }
    compare(&images(old), &images(new), |old, new| ImageChange {
        old: old.cloned(),
        new: new.cloned(),
    })
}

/// The services of `compose.yaml`, each with everything that decides whether Compose recreates it.
fn composed(draft: &Draft) -> BTreeMap<String, Json> {
    let files = parts(draft, PartKind::File);
    files
        .get("forge/compose.yaml")
        .and_then(|bytes| serde_yaml_ng::from_slice::<Json>(bytes).ok())
        .and_then(|compose| compose.get("services").and_then(Json::as_object).cloned())
        .into_iter()
        .flatten()
        .collect()
}

fn compare_services(old: &Draft, new: &Draft) -> Vec<Change<Vec<String>>> {
    fn borrowed(map: &BTreeMap<String, Json>) -> BTreeMap<&str, &Json> {
        map.iter()
            .map(|(name, service)| (name.as_str(), service))
            .collect()
    }
    let (before, after) = (composed(old), composed(new));
    compare(&borrowed(&before), &borrowed(&after), |old, new| {
        match (old, new) {
            (Some(old), Some(new)) => fields(Some(old), Some(new))
                .into_iter()
                .map(|change| change.path)
                .collect(),
            _ => Vec::new(),
        }
    })
}

/// Nothing is the empty text; what is no text is none.
fn text<'a>(bytes: Option<&&'a [u8]>) -> Option<&'a str> {
    match bytes {
        Some(bytes) => std::str::from_utf8(bytes).ok(),
        None => Some(""),
    }
}

fn compare_files(old: &Draft, new: &Draft) -> Vec<Change<FileChange>> {
    let place = |draft: &Draft, name: &str| {
        draft.system["files"][name]["place"]["path"]
            .as_str()
            .unwrap_or(name)
            .to_owned()
    };
    let (before, after) = (parts(old, PartKind::File), parts(new, PartKind::File));
    let mut changes = compare(&before, &after, |_, _| FileChange {
        path: String::new(),
        unified: String::new(),
    });
    for change in &mut changes {
        let name = change.name.as_str();
        change.what.path = match change.verb {
            Verb::Removed => place(old, name),
            Verb::Added | Verb::Changed => place(new, name),
        };
        if let (Some(before), Some(after)) = (text(before.get(name)), text(after.get(name))) {
            change.what.unified = TextDiff::from_lines(before, after)
                .unified_diff()
                .context_radius(3)
                .header(&format!("a/{name}"), &format!("b/{name}"))
                .to_string();
        }
    }
    changes
}
