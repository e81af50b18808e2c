//! Volumes: the data of services. Made, and never emptied nor deleted.

use std::collections::BTreeMap;

use super::resource::{Resource, Way};
use super::tell::Tell;
use super::{Host, HostError};
use crate::edge::host::volume;
use crate::pure::generation::Change;
use crate::pure::generation::things::volumes::{self, Top};
use crate::pure::name::VolumeName;

/// Makes their top folders, and keeps owner and mode of those.
#[derive(Clone, Copy, Debug, Default)]
pub struct Volumes;

fn have(host: &Host, way: Way<'_>) -> Result<BTreeMap<VolumeName, Top>, HostError> {
    let mut have = BTreeMap::new();
    for name in way.want.volumes.keys() {
        if let Some(top) = volume::top(&host.paths, &name.to_string())? {
            have.insert(name.clone(), top);
        }
    }
    Ok(have)
}

/// What stays of volumes that are no longer declared: for the notes of the plan.
///
/// # Errors
/// [`HostError`] if the host cannot be asked.
pub fn notes(host: &Host, way: Way<'_>) -> Result<Vec<String>, HostError> {
    let mut left = Vec::new();
    for name in way.before.iter().flat_map(|target| target.volumes.keys()) {
        if volume::top(&host.paths, &name.to_string())?.is_some() {
            left.push(name);
        }
    }
    let root = host.paths.volumes();
    Ok(volumes::notes(
        &way.want.volumes,
        left,
        &root.display().to_string(),
    ))
}

impl Resource for Volumes {
    fn step(&self) -> &'static str {
        "volumes"
    }

    fn plan(&self, host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError> {
        Ok(volumes::plan(&way.want.volumes, &have(host, way)?))
    }

    fn apply(&self, host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
        let have = have(host, way)?;
        let changes = volumes::plan(&way.want.volumes, &have);
        for (name, wanted) in &way.want.volumes {
            let name = name.to_string();
            let Some(change) = changes.iter().find(|change| change.name == name) else {
                continue;
            };
            let top = Top {
                owner: wanted.owner,
                mode: wanted.mode,
            };
            volume::make(&host.paths, &name, top)?;
            tell.changed(change);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::edge::host::scratch::Scratch;
    use crate::flow::host::tell::Silent;
    use crate::pure::generation::{Mode, Target, Volume};

    const DATA: &str = "/var/lib/forge/volumes/data";
    const INSIDE: &str = "/var/lib/forge/volumes/data/file";

    #[test]
    fn the_top_folder_is_kept_and_what_is_in_it_left_alone() {
        let scratch = Scratch::new();
        let host = Host {
            paths: scratch.paths(),
            store: scratch.store(),
        };
        let mut want = Target::nothing();
        let volume = Volume {
            owner: scratch.me(),
            mode: Mode(0o2750),
        };
        want.volumes.insert("data".parse().unwrap(), volume);
        let way = Way {
            want: &want,
            before: &[],
        };
        assert_eq!(Volumes.plan(&host, way).unwrap().len(), 1);
        Volumes.apply(&host, way, &Silent).unwrap();
        assert_eq!(scratch.mode(DATA), Mode(0o2750));
        assert_eq!(Volumes.plan(&host, way).unwrap(), []);

        scratch.put(INSIDE, "data");
        scratch.set_mode(INSIDE, 0o604);
        scratch.set_mode(DATA, 0o777);
        assert_eq!(Volumes.plan(&host, way).unwrap().len(), 1);
        Volumes.apply(&host, way, &Silent).unwrap();
        assert_eq!(scratch.mode(DATA), Mode(0o2750));
        assert_eq!(scratch.mode(INSIDE), Mode(0o604));

        let nothing = Target::nothing();
        let back = Way {
            want: &nothing,
            before: &[&want],
        };
        assert_eq!(Volumes.plan(&host, back).unwrap(), []);
        Volumes.apply(&host, back, &Silent).unwrap();
        assert_eq!(scratch.text(INSIDE).unwrap(), "data");
        let notes = notes(&host, back).unwrap();
        assert_eq!(notes.len(), 1);
        let path = scratch.paths().at(DATA).display().to_string();
        assert!(notes.iter().all(|note| note.contains(&path)), "{notes:?}");
    }

    #[test]
    fn a_file_is_no_volume() {
        let scratch = Scratch::new();
        scratch.put(DATA, "");
        let host = Host {
            paths: scratch.paths(),
            store: scratch.store(),
        };
        let mut want = Target::nothing();
        let volume = Volume {
            owner: scratch.me(),
            mode: Mode(0o750),
        };
        want.volumes.insert("data".parse().unwrap(), volume);
        let way = Way {
            want: &want,
            before: &[],
        };
        assert!(Volumes.plan(&host, way).is_err());
    }
}
