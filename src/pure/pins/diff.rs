//! What differs between two locks, for people.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{BuildPin, PackagePin, Pin, Pins, WheelPin};
use crate::pure::name::{Arch, BlobDigest, ImageName, ManifestDigest};

/// The images that differ, and what that means for whoever builds them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    pub images: Vec<Change>,
    /// Bytes of packages and wheels that the old lock did not name.
    pub to_fetch: u64,
}

/// An image whose pin differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub image: ImageName,
    /// It has no pin in the old lock.
    pub added: bool,
    /// It has no pin in the new lock.
    pub removed: bool,
    /// As it was pinned to a registry.
    pub old: Option<Registered>,
    pub new: Option<Registered>,
    /// The digests that a recipe must come out with, old and new.
    pub builds: BTreeMap<Arch, (Option<ManifestDigest>, Option<ManifestDigest>)>,
    /// By name.
    pub packages: Vec<PackageChange>,
    /// By name.
    pub wheels: Vec<PackageChange>,
    /// Bytes of all its packages and wheels, of every architecture.
    pub old_size: u64,
    pub new_size: u64,
}

/// What a registry was asked, and what it answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Registered {
    pub repository: String,
    pub tag: String,
    pub digest: ManifestDigest,
}

/// A package or wheel that came, went or has another version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PackageChange {
    pub name: String,
    /// None if it is new.
    pub old: Option<String>,
    /// None if it is gone.
    pub new: Option<String>,
    /// The images' architectures that this is so in.
    pub arch: BTreeSet<Arch>,
    /// Bytes, of all these architectures.
    pub old_size: u64,
    pub new_size: u64,
}

/// What differs from `old` to `new`, by image.
pub fn diff(old: &Pins, new: &Pins) -> Changes {
    let names: BTreeSet<&ImageName> = old.all.keys().chain(new.all.keys()).collect();
    let images = names
        .into_iter()
        .filter_map(|name| change(name, old.all.get(name), new.all.get(name)))
        .collect();
    let known: BTreeSet<BlobDigest> = files(old).into_keys().collect();
    let to_fetch = files(new)
        .into_iter()
        .filter(|(digest, _)| !known.contains(digest))
        .map(|(_, size)| size)
        .sum();
    Changes { images, to_fetch }
}

/// Each file that a lock names, once.
fn files(pins: &Pins) -> BTreeMap<BlobDigest, u64> {
    let packages = pins
        .all
        .values()
        .flat_map(Pin::packages)
        .map(|package| (package.digest, package.size));
    let wheels = pins
        .all
        .values()
        .flat_map(Pin::wheels)
        .map(|wheel| (wheel.digest, wheel.size));
    packages.chain(wheels).collect()
}

fn change(name: &ImageName, old: Option<&Pin>, new: Option<&Pin>) -> Option<Change> {
    let same = match (old, new) {
        (Some(Pin::Registry(_)), Some(Pin::Registry(_))) => registered(old) == registered(new),
        (Some(Pin::Recipe(old)), Some(Pin::Recipe(new))) => {
            old.inputs == new.inputs && old.builds == new.builds
        }
        _ => false,
    };
    if same {
        return None;
    }
    static NONE: BTreeMap<Arch, BuildPin> = BTreeMap::new();
    let (before, after) = (
        old.map_or(&NONE, Pin::builds),
        new.map_or(&NONE, Pin::builds),
    );
    let arches: BTreeSet<Arch> = before.keys().chain(after.keys()).copied().collect();
    let builds = arches
        .iter()
        .map(|arch| {
            let digest =
                |builds: &BTreeMap<Arch, BuildPin>| builds.get(arch).map(|build| build.digest);
            (*arch, (digest(before), digest(after)))
        })
        .collect();
    let size = |pin: Option<&Pin>| {
        let pin = pin.into_iter();
        let packages = pin
            .clone()
            .flat_map(Pin::packages)
            .map(|package| package.size);
        packages
            .chain(pin.flat_map(Pin::wheels).map(|wheel| wheel.size))
            .sum()
    };
    Some(Change {
        image: name.clone(),
        added: old.is_none(),
        removed: new.is_none(),
        old: registered(old),
        new: registered(new),
        builds,
        packages: moved(&arches, before, after, |build| &build.packages),
        wheels: moved(&arches, before, after, |build| &build.wheels),
        old_size: size(old),
        new_size: size(new),
    })
}

fn registered(pin: Option<&Pin>) -> Option<Registered> {
    match pin? {
        Pin::Registry(pin) => Some(Registered {
            repository: pin.repository.clone(),
            tag: pin.tag.clone(),
            digest: pin.digest,
        }),
        Pin::Recipe(_) => None,
    }
}

trait Versioned {
    fn name(&self) -> &str;
    fn version(&self) -> &str;
    fn size(&self) -> u64;
}

impl Versioned for PackagePin {
    fn name(&self) -> &str {
        &self.name
    }
    fn version(&self) -> &str {
        &self.version
    }
    fn size(&self) -> u64 {
        self.size
    }
}

impl Versioned for WheelPin {
    fn name(&self) -> &str {
        &self.name
    }
    fn version(&self) -> &str {
        &self.version
    }
    fn size(&self) -> u64 {
        self.size
    }
}

fn moved<T: Versioned>(
    arches: &BTreeSet<Arch>,
    before: &BTreeMap<Arch, BuildPin>,
    after: &BTreeMap<Arch, BuildPin>,
    list: fn(&BuildPin) -> &Vec<T>,
) -> Vec<PackageChange> {
    let mut all: BTreeMap<(&str, Option<&str>, Option<&str>), PackageChange> = BTreeMap::new();
    for arch in arches {
        let (before, after) = (
            by_name(before.get(arch), list),
            by_name(after.get(arch), list),
        );
        let names: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
        for name in names {
            let (old, new) = (before.get(name).copied(), after.get(name).copied());
            let (was, is) = (old.map(T::version), new.map(T::version));
            if was == is {
                continue;
            }
            let change = all.entry((name, was, is)).or_insert_with(|| PackageChange {
                name: name.to_owned(),
                old: was.map(str::to_owned),
                new: is.map(str::to_owned),
                arch: BTreeSet::new(),
                old_size: 0,
                new_size: 0,
            });
            change.arch.insert(*arch);
            change.old_size += old.map_or(0, T::size);
            change.new_size += new.map_or(0, T::size);
        }
    }
    all.into_values().collect()
}

fn by_name<T: Versioned>(
    build: Option<&BuildPin>,
    list: fn(&BuildPin) -> &Vec<T>,
) -> BTreeMap<&str, &T> {
    build
        .map(list)
        .into_iter()
        .flatten()
        .map(|item| (item.name(), item))
        .collect()
}
