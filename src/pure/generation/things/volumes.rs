//! Volumes: the top folder alone is forge's; what is in it belongs to the service.

use std::collections::{BTreeMap, BTreeSet};

use crate::pure::generation::{Action, Change, Kind, Mode, Owner, Volume};
use crate::pure::name::VolumeName;

/// The top folder of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Top {
    pub owner: Owner,
    pub mode: Mode,
}

/// What differs of one volume.
pub fn differs(want: &Volume, have: Option<&Top>) -> Option<(Action, String)> {
    let Some(have) = have else {
        return Some((Action::Add, "new".to_owned()));
    };
    let mut why = Vec::new();
    if have.owner != want.owner {
        why.push(format!("owner {} → {}", have.owner, want.owner));
    }
    if have.mode != want.mode {
        why.push(format!("mode {} → {}", have.mode, want.mode));
    }
    (!why.is_empty()).then(|| (Action::Change, why.join(", ")))
}

pub fn plan(want: &BTreeMap<VolumeName, Volume>, have: &BTreeMap<VolumeName, Top>) -> Vec<Change> {
    want.iter()
        .filter_map(|(name, volume)| {
            let (action, why) = differs(volume, have.get(name))?;
            Some(Change::new(Kind::Volume, name.to_string(), action, why))
        })
        .collect()
}

/// What is said of volumes that nobody declares any more: their data stays. `root` is the folder of all volumes.
pub fn notes<'a>(
    want: &BTreeMap<VolumeName, Volume>,
    before: impl IntoIterator<Item = &'a VolumeName>,
    root: &str,
) -> Vec<String> {
    let left: BTreeSet<&VolumeName> = before
        .into_iter()
        .filter(|name| !want.contains_key(*name))
        .collect();
    left.into_iter()
        .map(|name| format!("volume {name} is no longer declared; its data stays in {root}/{name}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> VolumeName {
        text.parse().unwrap()
    }

    fn volume(owner: &str, mode: u32) -> Volume {
        Volume {
            owner: owner.parse().unwrap(),
            mode: Mode(mode),
        }
    }

    #[test]
    fn makes_and_mends_the_top_folder() {
        let want = BTreeMap::from([
            (name("a"), volume("1:2", 0o700)),
            (name("b"), volume("1:2", 0o700)),
            (name("c"), volume("1:2", 0o700)),
        ]);
        let top = |owner: &str, mode| Top {
            owner: owner.parse().unwrap(),
            mode: Mode(mode),
        };
        let have = BTreeMap::from([
            (name("b"), top("1:2", 0o700)),
            (name("c"), top("0:0", 0o755)),
            (name("other"), top("0:0", 0o777)),
        ]);
        let plan = plan(&want, &have);
        assert_eq!(
            plan,
            [
                Change::new(Kind::Volume, "a", Action::Add, "new"),
                Change::new(
                    Kind::Volume,
                    "c",
                    Action::Change,
                    "owner 0:0 → 1:2, mode 0755 → 0700"
                ),
            ]
        );
    }

    #[test]
    fn says_where_data_stays() {
        let want = BTreeMap::from([(name("a"), volume("1:2", 0o700))]);
        let before = [name("a"), name("b"), name("b")];
        assert_eq!(
            notes(&want, &before, "/v"),
            ["volume b is no longer declared; its data stays in /v/b"]
        );
    }
}
