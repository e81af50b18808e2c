//! How a recipe of the lock names its packages and wheels.
//!
//! `NAME VERSION ARCH`, and the file of a wheel. Where two entries share that (a suite has replaced a package without a new
//! version between two runs of `forge lock`), suite and digest follow, so that the lock never means something else than it says.

use std::collections::BTreeMap;

use super::{PackagePin, WheelPin};

/// What the lock keeps of its own kind below an image, each once.
pub(super) trait Referred: Ord + Clone {
    /// What names it, as long as nothing else has that name.
    fn short(&self) -> String;
    /// What always names it.
    fn long(&self) -> String;
}

impl Referred for PackagePin {
    fn short(&self) -> String {
        format!("{} {} {}", self.name, self.version, self.arch)
    }

    fn long(&self) -> String {
        format!("{} {} {}", self.short(), self.suite, self.digest)
    }
}

impl Referred for WheelPin {
    fn short(&self) -> String {
        self.file.clone()
    }

    fn long(&self) -> String {
        format!("{} {}", self.file, self.digest)
    }
}

/// Entries and their names.
pub(super) struct References<T> {
    by_name: BTreeMap<String, T>,
    shared: BTreeMap<String, usize>,
}

impl<T: Referred> References<T> {
    pub(super) fn new<'a>(all: impl IntoIterator<Item = &'a T>) -> Self
    where
        T: 'a,
    {
        let long: BTreeMap<String, T> = all
            .into_iter()
            .map(|item| (item.long(), item.clone()))
            .collect();
        let mut shared: BTreeMap<String, usize> = BTreeMap::new();
        for item in long.values() {
            *shared.entry(item.short()).or_default() += 1;
        }
        let by_name = long
            .into_values()
            .map(|item| {
                let alone = shared.get(&item.short()) == Some(&1);
                (if alone { item.short() } else { item.long() }, item)
            })
            .collect();
        Self { by_name, shared }
    }

    pub(super) fn name(&self, item: &T) -> String {
        match self.shared.get(&item.short()) {
            Some(1) => item.short(),
            _ => item.long(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.by_name.get(name)
    }

    /// Several entries have this name, so that it is not enough.
    pub(super) fn is_shared(&self, name: &str) -> bool {
        self.shared.get(name).is_some_and(|count| *count > 1)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Every entry once, in ascending order.
    pub(super) fn sorted(&self) -> Vec<&T> {
        let mut all: Vec<&T> = self.by_name.values().collect();
        all.sort();
        all
    }
}
