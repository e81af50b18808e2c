//! Kernel parameters.

use std::collections::{BTreeMap, BTreeSet};

use super::resource::{Resource, Way};
use super::tell::Tell;
use super::{Host, HostError};
use crate::edge::host::{remembered, sysctl};
use crate::pure::generation::things::sysctls::{self, Have};
use crate::pure::generation::{Action, Change, Kind};

/// Sets them now and at boot, and sets back those that are no longer declared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sysctls;

/// Below `/var/lib/forge/managed`.
const RECORD: &str = "sysctl.json";

fn have(host: &Host, way: Way<'_>) -> Result<Have, HostError> {
    let odd = |(key, value): &(&String, &String)| {
        sysctls::path(key).is_none() || value.contains(['\n', '\0'])
    };
    if let Some((key, _)) = way.want.sysctls.iter().find(odd) {
        return Err(HostError::thing(
            Kind::Sysctl,
            key,
            "that is no kernel parameter with a value of one line",
        ));
    }
    let originals: BTreeMap<String, String> = remembered::read(&host.paths, RECORD)?;
    let boot = sysctl::boot(&host.paths)?;
    let keys: BTreeSet<&String> = way
        .want
        .sysctls
        .keys()
        .chain(originals.keys())
        .chain(boot.keys())
        .collect();
    let live = sysctl::live(&host.paths, keys);
    Ok(Have {
        live,
        boot,
        originals,
    })
}

impl Resource for Sysctls {
    fn step(&self) -> &'static str {
        "kernel parameters"
    }

    fn plan(&self, host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError> {
        let steps = sysctls::plan(&way.want.sysctls, &have(host, way)?);
        Ok(steps.into_iter().map(|step| step.change).collect())
    }

    fn apply(&self, host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
        let have = have(host, way)?;
        let want = &way.want.sysctls;
        let steps = sysctls::plan(want, &have);
        for key in sysctls::unknown(want, &have) {
            tell.warn(format!(
                "this kernel does not know {key}: it is set at the next boot, if the kernel knows it then"
            ));
        }
        let originals = sysctls::originals(want, &have);
        // The originals first, and those that are to be set back last: whatever happens in between, they are known.
        let mut all = have.originals.clone();
        all.extend(originals.clone());
        if all != have.originals {
            remembered::write(&host.paths, RECORD, &all)?;
        }
        let boot: BTreeMap<String, String> = want
            .iter()
            .map(|(key, value)| (key.clone(), sysctls::normal(value)))
            .collect();
        if boot != have.boot {
            sysctl::set_boot(&host.paths, want)?;
        }
        for step in &steps {
            let key = &step.change.name;
            if let Some(value) = &step.live {
                match sysctl::set(&host.paths, key, value) {
                    Ok(()) => {}
                    // Some can be set one way only, until the next boot.
                    Err(error) if step.change.action == Action::Remove => {
                        tell.warn(format!("{key} stays as it is until the next boot: {error}"))
                    }
                    Err(error) => return Err(HostError::thing(Kind::Sysctl, key, error)),
                }
            }
            tell.changed(&step.change);
        }
        if all != originals {
            remembered::write(&host.paths, RECORD, &originals)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::edge::host::paths::Paths;
    use crate::edge::store::DiskStore;
    use crate::flow::host::tell::{Kept, Silent};
    use crate::pure::generation::Target;

    #[test]
    fn sets_now_and_at_boot_and_sets_back() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        std::fs::create_dir_all(paths.at("/proc/sys/vm")).unwrap();
        let live = paths.at("/proc/sys/vm/swappiness");
        std::fs::write(&live, "60\n").unwrap();
        let host = Host {
            store: DiskStore::create(&paths.store()).unwrap(),
            paths,
        };
        let file = host.paths.at(sysctls::FILE);
        let nothing = Target::nothing();
        let mut want = Target::nothing();
        want.sysctls = BTreeMap::from([
            ("vm.swappiness".to_owned(), "10".to_owned()),
            ("no.such".to_owned(), "1".to_owned()),
        ]);
        let way = Way {
            want: &want,
            before: &[],
        };
        assert_eq!(Sysctls.plan(&host, way).unwrap().len(), 2);
        let told = Kept::default();
        Sysctls.apply(&host, way, &told).unwrap();
        assert_eq!(told.events().len(), 3, "{:?}", told.events());
        assert_eq!(std::fs::read_to_string(&live).unwrap(), "10\n");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("-vm.swappiness = 10\n"), "{text}");
        assert_eq!(Sysctls.plan(&host, way).unwrap(), []);
        Sysctls.apply(&host, way, &Silent).unwrap();

        want.sysctls
            .insert("vm.swappiness".to_owned(), "5".to_owned());
        let way = Way {
            want: &want,
            before: &[],
        };
        Sysctls.apply(&host, way, &Silent).unwrap();
        let back = Way {
            want: &nothing,
            before: &[&want],
        };
        Sysctls.apply(&host, back, &Silent).unwrap();
        assert_eq!(std::fs::read_to_string(&live).unwrap(), "60\n");
        assert!(!file.exists());
        assert_eq!(Sysctls.plan(&host, back).unwrap(), []);
    }

    #[test]
    fn a_value_cannot_write_another_line() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        let host = Host {
            store: DiskStore::create(&paths.store()).unwrap(),
            paths,
        };
        let mut want = Target::nothing();
        want.sysctls = BTreeMap::from([("a.b".to_owned(), "1\nc.d = 2".to_owned())]);
        let way = Way {
            want: &want,
            before: &[],
        };
        assert!(Sysctls.plan(&host, way).is_err());
    }
}
