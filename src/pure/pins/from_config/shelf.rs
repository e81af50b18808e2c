//! The packages and wheels of a lock, and what recipes name of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Reader, owned, place};
use crate::pure::config::value::Value;
use crate::pure::name::BlobDigest;
use crate::pure::pins::references::{References, Referred};
use crate::pure::pins::{PackagePin, WheelPin};
use crate::pure::text::Span;

/// The packages or wheels of the lock, to be found by what names them.
pub(super) struct Shelf<T> {
    references: References<T>,
    /// The short name of each and where it stands, by its long name.
    places: BTreeMap<String, (String, Span)>,
    /// What could not be read, by its short name: nothing is said of whoever names it.
    broken: BTreeSet<String>,
    used: BTreeSet<String>,
}

impl Reader<'_> {
    pub(super) fn packages(&mut self, suites: &BTreeMap<String, Span>) -> Shelf<PackagePin> {
        let mut all = Vec::new();
        let mut broken = BTreeSet::new();
        for (table, value) in self.entries("package", "package_pin") {
            let Some(value) = value else {
                let word = |key: &str| table.get(key).and_then(|entry| entry.value.as_str());
                match (word("name"), word("version"), word("arch")) {
                    (Some(name), Some(version), Some(arch)) => {
                        broken.insert(format!("{name} {version} {arch}"));
                    }
                    _ => self.pins.incomplete = true,
                }
                continue;
            };
            let package = PackagePin {
                name: owned(&value, "name"),
                version: owned(&value, "version"),
                arch: owned(&value, "arch"),
                suite: owned(&value, "suite"),
                path: owned(&value, "path"),
                size: size(&value),
                digest: match sha256(&value) {
                    Some(digest) => digest,
                    None => continue,
                },
            };
            if !suites.contains_key(&package.suite) {
                self.dangling(
                    format!(
                        "package `{}` is of the suite `{}`, which the lock does not hold",
                        package.name, package.suite
                    ),
                    place(&value, "suite"),
                    &package.suite,
                    suites.keys().map(String::as_str),
                );
                broken.insert(package.short());
                continue;
            }
            all.push((package, place(&value, "name")));
        }
        self.shelf(all, broken)
    }

    pub(super) fn wheels(&mut self) -> Shelf<WheelPin> {
        let mut all = Vec::new();
        let mut broken = BTreeSet::new();
        for (table, value) in self.entries("wheel", "wheel_pin") {
            let Some(value) = value else {
                match table.get("file").and_then(|entry| entry.value.as_str()) {
                    Some(file) => {
                        broken.insert(file.to_owned());
                    }
                    None => self.pins.incomplete = true,
                }
                continue;
            };
            let Some(digest) = sha256(&value) else {
                continue;
            };
            let wheel = WheelPin {
                name: owned(&value, "name"),
                version: owned(&value, "version"),
                file: owned(&value, "file"),
                size: size(&value),
                digest,
            };
            all.push((wheel, place(&value, "name")));
        }
        self.shelf(all, broken)
    }

    fn shelf<T: Referred>(&mut self, all: Vec<(T, Span)>, broken: BTreeSet<String>) -> Shelf<T> {
        let mut places: BTreeMap<String, (String, Span)> = BTreeMap::new();
        for (item, at) in &all {
            if let Some((_, first)) = places.get(&item.long()) {
                self.duplicate(&format!("`{}`", item.short()), *at, *first);
                continue;
            }
            places.insert(item.long(), (item.short(), *at));
        }
        Shelf {
            references: References::new(all.iter().map(|(item, _)| item)),
            places,
            broken,
            used: BTreeSet::new(),
        }
    }

    /// What a list names, in its order. `None` if something is not there, which is reported.
    pub(super) fn found<T: Referred>(
        &mut self,
        image: &str,
        names: &[Value],
        what: &str,
        shelf: &mut Shelf<T>,
    ) -> Option<Vec<T>> {
        let mut found = Vec::new();
        let mut seen = BTreeMap::new();
        for named in names {
            let name = named.as_str().unwrap_or_default();
            if let Some(first) = seen.insert(name, named.at) {
                self.duplicate(
                    &format!("{what} `{name}` of image `{image}`"),
                    named.at,
                    first,
                );
                continue;
            }
            match shelf.references.get(name) {
                Some(item) => {
                    shelf.used.insert(item.long());
                    found.push(item.clone());
                }
                None if shelf.broken.contains(name) => {}
                None if shelf.references.is_shared(name) => {
                    let name = name.to_owned();
                    self.dangling(
                        format!("several entries are {what} `{name}` of image `{image}`"),
                        named.at,
                        &name,
                        shelf
                            .references
                            .names()
                            .filter(|other| other.starts_with(&name)),
                    );
                }
                None => self.dangling(
                    format!(
                        "image `{image}` is made of {what} `{name}`, which the lock does not hold"
                    ),
                    named.at,
                    name,
                    shelf.references.names(),
                ),
            }
        }
        (found.len() == names.len()).then_some(found)
    }

    pub(super) fn unused_of<T: Referred>(&mut self, what: &str, shelf: &Shelf<T>) {
        for (long, (short, at)) in &shelf.places {
            if !shelf.used.contains(long) {
                self.unused(&format!("the {what} `{short}`"), *at);
            }
        }
    }
}

/// Its shape has it from 0 on.
fn size(value: &Value) -> u64 {
    value
        .get("size")
        .and_then(Value::as_int)
        .and_then(|size| u64::try_from(size).ok())
        .unwrap_or_default()
}

/// Its shape has it as 64 digits.
fn sha256(value: &Value) -> Option<BlobDigest> {
    format!("sha256:{}", value.str("sha256")?).parse().ok()
}
