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
    use crate::edge::host::scratch::Scratch;
    use crate::flow::host::tell::{Kept, Silent};
    use crate::pure::generation::Target;

    fn target(pairs: &[(&str, &str)]) -> Target {
        let mut target = Target::nothing();
        for (key, value) in pairs {
            target
                .sysctls
                .insert((*key).to_owned(), (*value).to_owned());
        }
        target
    }

    fn to(want: &Target) -> Way<'_> {
        Way { want, before: &[] }
    }

    #[test]
    fn sets_now_and_at_boot_and_sets_back() {
        let scratch = Scratch::new();
        const LIVE: &str = "/proc/sys/vm/swappiness";
        scratch.put(LIVE, "60\n");
        let host = Host {
            paths: scratch.paths(),
            store: scratch.store(),
        };
        let want = target(&[("vm.swappiness", "10"), ("no.such", "1")]);
        assert_eq!(Sysctls.plan(&host, to(&want)).unwrap().len(), 2);
        let told = Kept::default();
        Sysctls.apply(&host, to(&want), &told).unwrap();
        // Two changes, and a warning about the key that is unknown.
        assert_eq!(told.events().len(), 3, "{:?}", told.events());
        assert_eq!(scratch.text(LIVE).unwrap(), "10\n");
        let text = scratch.text(sysctls::FILE).unwrap();
        assert!(text.contains("-vm.swappiness = 10\n"), "{text}");
        assert_eq!(Sysctls.plan(&host, to(&want)).unwrap(), []);
        Sysctls.apply(&host, to(&want), &Silent).unwrap();

        let other = target(&[("vm.swappiness", "5")]);
        Sysctls.apply(&host, to(&other), &Silent).unwrap();
        assert_eq!(scratch.text(LIVE).unwrap(), "5\n");
        let nothing = Target::nothing();
        Sysctls.apply(&host, to(&nothing), &Silent).unwrap();
        assert_eq!(scratch.text(LIVE).unwrap(), "60\n");
        assert_eq!(scratch.text(sysctls::FILE), None);
        assert_eq!(Sysctls.plan(&host, to(&nothing)).unwrap(), []);
    }

    #[test]
    fn a_value_cannot_write_another_line() {
        let scratch = Scratch::new();
        let host = Host {
            paths: scratch.paths(),
            store: scratch.store(),
        };
        let want = target(&[("a.b", "1\nc.d = 2")]);
        assert!(Sysctls.plan(&host, to(&want)).is_err());
        assert!(Sysctls.plan(&host, to(&target(&[("a.b", "1")]))).is_ok());
    }
}
