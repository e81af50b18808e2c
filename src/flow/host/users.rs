//! Users. What forge made and nobody declares any more is locked, what was there before is given back; nothing is deleted.

use super::groups::HINT;
use super::resource::{Resource, Way};
use super::tell::Tell;
use super::{Host, HostError};
use crate::edge::host::{accounts, remembered};
use crate::pure::generation::things::accounts::{
    Have, Record, Step, plan_users, record_after, record_before,
};
use crate::pure::generation::{Change, Kind};

/// Makes, changes and locks accounts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Users;

/// Below `/var/lib/forge/managed`.
pub(super) const RECORD: &str = "users.json";

fn planned(host: &Host, way: Way<'_>) -> Result<(Have, Record, Vec<Step>), HostError> {
    let have = accounts::have(&host.paths)?;
    let record: Record = remembered::read(&host.paths, RECORD)?;
    let steps = plan_users(&way.want.users, &have, &record)
        .map_err(|why| HostError::refused(why, Some(HINT)))?;
    Ok((have, record, steps))
}

impl Resource for Users {
    fn step(&self) -> &'static str {
        "users"
    }

    fn plan(&self, host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError> {
        let (_, _, steps) = planned(host, way)?;
        Ok(steps.into_iter().map(|step| step.change).collect())
    }

    fn apply(&self, host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
        let (have, record, steps) = planned(host, way)?;
        // Before the first change: an account that forge made without knowing it would never be locked, and what it changed without
        // knowing how it was could not be given back.
        let before = record_before(&way.want.users, &have, &record);
        if before != record {
            remembered::write(&host.paths, RECORD, &before)?;
        }
        for step in &steps {
            let name = &step.change.name;
            let missing = step
                .groups
                .iter()
                .flatten()
                .find(|group| !have.groups.contains_key(*group));
            if let Some(missing) = missing {
                return Err(HostError::thing(
                    Kind::User,
                    name,
                    format!(
                        "there is no group {missing}: declare it, or the package that brings it"
                    ),
                ));
            }
            match way.want.users.get(name).filter(|_| step.make) {
                Some(user) => {
                    let own_group = have.groups.contains_key(name);
                    accounts::make_user(&host.paths, name, user, own_group)?;
                }
                None => accounts::change_user(&host.paths, name, step)?,
            }
            tell.changed(&step.change);
        }
        let have = accounts::have(&host.paths)?;
        let after = record_after(&way.want.users, &have, &before);
        if after != before {
            remembered::write(&host.paths, RECORD, &after)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::edge::host::scratch::Scratch;
    use crate::flow::host::groups::Groups;
    use crate::flow::host::tell::Silent;
    use crate::pure::generation::{Group, Target, User};

    fn user(groups: &[&str]) -> User {
        User {
            uid: None,
            shell: "/bin/sh".to_owned(),
            comment: "A person".to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            system: true,
            keys: Vec::new(),
            sudo: "none".to_owned(),
        }
    }

    fn scratch() -> Scratch {
        let scratch = Scratch::new();
        scratch.put(
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/bash\nanna:x:1000:1000::/home/anna:/bin/bash\n",
        );
        scratch.put(
            "/etc/group",
            "root:x:0:\nadm:x:4:anna\nusers:x:100:\nanna:x:1000:\n",
        );
        scratch.put(
            "/etc/shadow",
            "root:*:1:0:99999:7:::\nanna:*:1:0:99999:7:::\n",
        );
        scratch.put(
            "/etc/gshadow",
            "root:*::\nadm:*::anna\nusers:*::\nanna:!::\n",
        );
        scratch.put("/etc/login.defs", "");
        scratch
    }

    /// With the real programs, on files below a folder: they want root.
    #[test]
    fn accounts_are_made_changed_locked_and_unlocked() {
        let scratch = scratch();
        if scratch.me().uid != 0 {
            return;
        }
        let host = Host {
            paths: scratch.paths(),
            store: scratch.store(),
        };
        let nothing = Target::nothing();
        let mut want = Target::nothing();
        want.groups = BTreeMap::from([("crew".to_owned(), Group { gid: Some(4321) })]);
        want.users = BTreeMap::from([
            ("anna".to_owned(), user(&["crew"])),
            ("bert".to_owned(), user(&["adm", "crew"])),
        ]);
        let way = Way {
            want: &want,
            before: &[],
        };
        let back = Way {
            want: &nothing,
            before: &[&want],
        };
        let converge = |way: Way<'_>| {
            Groups.apply(&host, way, &Silent).unwrap();
            Users.apply(&host, way, &Silent).unwrap();
            assert_eq!(Groups.plan(&host, way).unwrap(), []);
            assert_eq!(Users.plan(&host, way).unwrap(), []);
            Users.apply(&host, way, &Silent).unwrap();
        };
        let shadow = || scratch.text("/etc/shadow").unwrap();
        assert_eq!(Users.plan(&host, way).unwrap().len(), 2);
        converge(way);
        let have = accounts::have(&host.paths).unwrap();
        assert_eq!(have.groups["crew"], 4321);
        assert_eq!(have.users["bert"].shell, "/bin/sh");
        assert_eq!(have.users["bert"].home, "/nonexistent");
        assert_eq!(have.users["bert"].comment, "A person");
        assert!(have.users["bert"].groups.contains("crew"));
        assert!(have.users["anna"].groups.contains("adm"));
        assert!(have.users["anna"].groups.contains("crew"));
        assert!(shadow().contains("\nbert:*:"), "{}", shadow());

        converge(back);
        let have = accounts::have(&host.paths).unwrap();
        assert_eq!(have.users["anna"].shell, "/bin/bash");
        assert_eq!(have.users["anna"].comment, "");
        assert!(!have.users["anna"].groups.contains("crew"));
        assert_eq!(have.users["anna"].expires, "");
        assert!(shadow().contains("\nanna:*:"), "{}", shadow());
        assert!(shadow().contains("\nbert:!*:"), "{}", shadow());
        assert_eq!(have.users["bert"].expires, "1");

        converge(way);
        assert!(shadow().contains("\nbert:*:"), "{}", shadow());
        let have = accounts::have(&host.paths).unwrap();
        assert_eq!(have.users["bert"].expires, "");
    }

    #[test]
    fn a_group_that_nobody_brings_is_named() {
        let scratch = scratch();
        let host = Host {
            paths: scratch.paths(),
            store: scratch.store(),
        };
        let mut want = Target::nothing();
        want.users.insert("anna".to_owned(), user(&["docker"]));
        let way = Way {
            want: &want,
            before: &[],
        };
        let error = Users.apply(&host, way, &Silent).unwrap_err().to_string();
        assert!(error.contains("there is no group docker"), "{error}");
    }
}
