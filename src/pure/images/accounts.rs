//! `/etc/passwd` and `/etc/group`: what the recipe declares, and what the rules say of its packages.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::Rules;
use crate::pure::config::image::{Owner, Recipe};

/// Neither user nor group of anybody (Debian Policy, section 9.2.2).
const NOBODY: u32 = 65534;

/// The accounts of an image. Invariant: no two users and no two groups have the same name or number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts {
    /// By number.
    users: BTreeMap<u32, Entry>,
    groups: BTreeMap<u32, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    gid: u32,
    home: String,
    shell: String,
}

/// A field that would become two in `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the user `{user}` has `{}`, which /etc/passwd cannot hold; leave out `:` and line ends", .field.escape_debug())]
pub struct AccountError {
    pub user: String,
    pub field: String,
}

impl Accounts {
    /// The accounts of recipes that continue each other, the base first. What they declare wins over the rules.
    ///
    /// # Errors
    /// [`AccountError`].
    pub fn of(
        recipes: &[&Recipe],
        rules: &Rules,
        packages: &BTreeSet<&str>,
    ) -> Result<Self, AccountError> {
        let mut all = Self {
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
        };
        for group in recipes.iter().flat_map(|recipe| &recipe.groups) {
            all.groups.insert(group.gid, group.name.clone());
        }
        for user in recipes.iter().flat_map(|recipe| &recipe.users) {
            for field in [&user.name, &user.home, &user.shell] {
                if field.contains([':', '\n', '\r', '\0']) {
                    return Err(AccountError {
                        user: user.name.clone(),
                        field: field.clone(),
                    });
                }
            }
            all.add(
                user.uid,
                Entry {
                    name: user.name.clone(),
                    gid: user.gid,
                    home: user.home.clone(),
                    shell: user.shell.clone(),
                },
            );
        }
        for rule in rules.accounts(packages) {
            let taken = all.owner(&rule.user).is_some()
                || all.users.contains_key(&rule.id)
                || all.groups.contains_key(&rule.id)
                || all.groups.values().any(|name| *name == rule.user);
            if !taken {
                all.add(
                    rule.id,
                    Entry {
                        name: rule.user.clone(),
                        gid: rule.id,
                        home: rule.home.clone(),
                        shell: "/usr/sbin/nologin".to_owned(),
                    },
                );
            }
        }
        for (id, user, group, home) in [
            (0, "root", "root", "/root"),
            (NOBODY, "nobody", "nogroup", "/nonexistent"),
        ] {
            let shell = if id == 0 {
                "/bin/sh"
            } else {
                "/usr/sbin/nologin"
            };
            if !all.groups.values().any(|name| name == group) {
                all.groups.entry(id).or_insert_with(|| group.to_owned());
            }
            if all.owner(user).is_none() {
                all.users.entry(id).or_insert_with(|| Entry {
                    name: user.to_owned(),
                    gid: id,
                    home: home.to_owned(),
                    shell: shell.to_owned(),
                });
            }
        }
        Ok(all)
    }

    fn add(&mut self, uid: u32, entry: Entry) {
        if !self.groups.contains_key(&entry.gid)
            && !self.groups.values().any(|name| *name == entry.name)
        {
            self.groups.insert(entry.gid, entry.name.clone());
        }
        self.users.insert(uid, entry);
    }

    /// The numbers of a user.
    pub fn owner(&self, name: &str) -> Option<Owner> {
        let (uid, entry) = self.users.iter().find(|(_, entry)| entry.name == name)?;
        Some(Owner {
            uid: *uid,
            gid: entry.gid,
        })
    }

    /// `/etc/passwd`. Nobody has a password (passwd(5): `x` says that `/etc/shadow` has it, which is not there; `*` matches none).
    pub fn passwd(&self) -> String {
        let line = |(uid, entry): (&u32, &Entry)| {
            let Entry {
                name,
                gid,
                home,
                shell,
            } = entry;
            format!("{name}:*:{uid}:{gid}:{name}:{home}:{shell}\n")
        };
        self.users.iter().map(line).collect()
    }

    /// `/etc/group`.
    pub fn group(&self) -> String {
        let line = |(gid, name): (&u32, &String)| format!("{name}:*:{gid}:\n");
        self.groups.iter().map(line).collect()
    }
}
