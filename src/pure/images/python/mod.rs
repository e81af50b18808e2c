//! Python wheels: requirements, tags, the simple index, and a wheel's files as a tree.
//!
//! The way through: [`requirements::read`] gives what a recipe wants for a [`Target`]; [`simple_index`] says which files there are, and
//! [`choose`] which of them it takes; [`from_wheel`](from_wheel::from_wheel) turns a wheel into a tree.
//!
//! Invariant: every file of such a tree is one that the wheel's `RECORD` names with its digest, or that forge has written itself.

pub mod choose;
pub mod entry_points;
pub mod from_wheel;
pub mod record;
pub mod requirements;
pub mod simple_index;
pub mod target;
pub mod wheel_name;

pub use choose::{ChooseError, choose};
pub use from_wheel::{WheelError, from_wheel};
pub use requirements::{Mistake, Requirement};
pub use simple_index::{IndexedFile, SimpleError};
pub use target::{Target, TargetError};
pub use wheel_name::{WheelName, WheelNameError};

/// A project's name, normalised (PEP 503, "Normalized Names"): `Zope.Interface` is `zope-interface`. Nothing if it is no name.
pub fn normalise(name: &str) -> Option<String> {
    let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let bytes = name.as_bytes();
    let inner = |c: &u8| c.is_ascii_alphanumeric() || b"-_.".contains(c);
    if !edge(bytes.first().copied()) || !edge(bytes.last().copied()) || !bytes.iter().all(inner) {
        return None;
    }
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if out.ends_with('-') => {}
            '-' | '_' | '.' => out.push('-'),
            c => out.push(c.to_ascii_lowercase()),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn names_are_normalised_as_the_index_does() {
        for (name, wanted) in [
            ("requests", "requests"),
            ("Zope.Interface", "zope-interface"),
            ("ruamel.yaml_clib", "ruamel-yaml-clib"),
            ("a-_.-b", "a-b"),
            ("A", "a"),
        ] {
            assert_eq!(normalise(name).as_deref(), Some(wanted));
        }
        for bad in ["", "-", "-a", "a-", "a b", "ä", "a/b", "..", "a\n"] {
            assert_eq!(normalise(bad), None, "{bad:?}");
        }
    }
}
