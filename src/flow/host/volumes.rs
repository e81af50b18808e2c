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
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;
    use crate::edge::host::paths::Paths;
    use crate::edge::store::DiskStore;
    use crate::flow::host::tell::Silent;
    use crate::pure::generation::{Mode, Owner, Target, Volume};

    #[test]
    fn the_top_folder_is_kept_and_what_is_in_it_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        let me = std::fs::metadata(root.path()).unwrap();
        let host = Host {
            store: DiskStore::create(&paths.store()).unwrap(),
            paths,
        };
        let mut want = Target::nothing();
        want.volumes.insert(
            "data".parse().unwrap(),
            Volume {
                owner: Owner {
                    uid: me.uid(),
                    gid: me.gid(),
                },
                mode: Mode(0o2750),
            },
        );
        let way = Way {
            want: &want,
            before: &[],
        };
        let path = host.paths.volumes().join("data");
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(Volumes.plan(&host, way).unwrap().len(), 1);
        Volumes.apply(&host, way, &Silent).unwrap();
        assert_eq!(mode(&path), 0o2750);
        assert_eq!(Volumes.plan(&host, way).unwrap(), []);

        let inside = path.join("file");
        std::fs::write(&inside, "data").unwrap();
        std::fs::set_permissions(&inside, std::fs::Permissions::from_mode(0o604)).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(Volumes.plan(&host, way).unwrap().len(), 1);
        Volumes.apply(&host, way, &Silent).unwrap();
        assert_eq!(mode(&path), 0o2750);
        assert_eq!(mode(&inside), 0o604);

        let nothing = Target::nothing();
        let back = Way {
            want: &nothing,
            before: &[&want],
        };
        assert_eq!(Volumes.plan(&host, back).unwrap(), []);
        Volumes.apply(&host, back, &Silent).unwrap();
        assert_eq!(std::fs::read_to_string(&inside).unwrap(), "data");
        let notes = notes(&host, back).unwrap();
        assert_eq!(notes.len(), 1);
        assert!(notes[0].contains(&path.display().to_string()), "{notes:?}");
    }
}
