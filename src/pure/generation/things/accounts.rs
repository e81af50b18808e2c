//! Users and groups: made and changed, locked when nobody declares them any more, never deleted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::pure::generation::{Action, Change, Group, Kind, User};

/// The day after which an account that forge has locked is expired: the second of January 1970.
pub const LOCKED_SINCE: &str = "1";

/// An account as the host has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    pub uid: u32,
    pub gid: u32,
    pub comment: String,
    pub home: String,
    pub shell: String,
    /// Supplementary.
    pub groups: BTreeSet<String>,
    /// Days since 1970; empty if it does not expire.
    pub expires: String,
    /// True if unlocking would leave a password behind the lock: any, also `*`.
    pub can_unlock: bool,
}

/// `/etc/passwd`, `/etc/group` and `/etc/shadow`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Have {
    pub users: BTreeMap<String, Account>,
    /// By name: the gid.
    pub groups: BTreeMap<String, u32>,
}

impl Have {
    pub fn parse(passwd: &str, group: &str, shadow: &str) -> Self {
        let mut have = Self::default();
        for line in passwd.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, comment, home, shell] = fields.as_slice() else {
                continue;
            };
            let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse()) else {
                continue;
            };
            let account = Account {
                uid,
                gid,
                comment: (*comment).to_owned(),
                home: (*home).to_owned(),
                shell: (*shell).to_owned(),
                ..Account::default()
            };
            have.users.insert((*name).to_owned(), account);
        }
        for line in group.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, gid, members] = fields.as_slice() else {
                continue;
            };
            let Ok(gid) = gid.parse() else { continue };
            have.groups.insert((*name).to_owned(), gid);
            for member in members.split(',') {
                if let Some(account) = have.users.get_mut(member) {
                    account.groups.insert((*name).to_owned());
                }
            }
        }
        for line in shadow.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, password, _, _, _, _, _, expires, ..] = fields.as_slice() else {
                continue;
            };
            if let Some(account) = have.users.get_mut(*name) {
                account.expires = (*expires).to_owned();
                account.can_unlock = password.len() > 1 && password.starts_with('!');
            }
        }
        have
    }
}

/// What forge has done to an account, kept durably: so that an account that was there before is given back as it was, and never locked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// True if forge made the account.
    pub made: bool,
    /// Groups that forge has put it into.
    #[serde(default)]
    pub groups: BTreeSet<String>,
    /// What forge has changed, as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// By account.
pub type Record = BTreeMap<String, Kept>;

/// What is done to one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub change: Change,
    pub make: bool,
    pub shell: Option<String>,
    pub comment: Option<String>,
    /// Every supplementary group that it is to have.
    pub groups: Option<BTreeSet<String>>,
    pub unexpire: bool,
    pub unlock: bool,
    pub lock: bool,
}

impl Step {
    fn new(name: &str, action: Action) -> Self {
        Self {
            change: Change::new(Kind::User, name, action, String::new()),
            make: false,
            shell: None,
            comment: None,
            groups: None,
            unexpire: false,
            unlock: false,
            lock: false,
        }
    }
}

/// The groups that are missing.
///
/// # Errors
/// Why a group cannot be as declared without giving files away.
pub fn plan_groups(want: &BTreeMap<String, Group>, have: &Have) -> Result<Vec<Change>, String> {
    let mut changes = Vec::new();
    for (name, group) in want {
        match (have.groups.get(name), group.gid) {
            (Some(is), Some(gid)) if *is != gid => {
                return Err(format!(
                    "the group {name} has the gid {is} and is declared with {gid}; its files would change hands"
                ));
            }
            (Some(_), _) => {}
            (None, gid) => {
                let taken = have.groups.iter().find(|(_, is)| Some(**is) == gid);
                if let Some((other, gid)) = taken {
                    return Err(format!(
                        "the gid {gid} of the group {name} is that of the group {other}"
                    ));
                }
                changes.push(Change::new(Kind::Group, name, Action::Add, "new"));
            }
        }
    }
    Ok(changes)
}

/// What differs of the users.
///
/// # Errors
/// Why an account cannot be as declared without giving files away.
pub fn plan_users(
    want: &BTreeMap<String, User>,
    have: &Have,
    record: &Record,
) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    for (name, user) in want {
        let step = match have.users.get(name) {
            Some(account) => change(name, user, account, record.get(name))?,
            None => Some(make(name, user, have)?),
        };
        steps.extend(step);
    }
    for (name, kept) in record {
        let Some(account) = have.users.get(name).filter(|_| !want.contains_key(name)) else {
            continue;
        };
        steps.extend(give_up(name, account, kept));
    }
    Ok(steps)
}

fn make(name: &str, user: &User, have: &Have) -> Result<Step, String> {
    let taken = have
        .users
        .iter()
        .find(|(_, account)| Some(account.uid) == user.uid);
    if let Some((other, account)) = taken {
        return Err(format!(
            "the uid {} of the user {name} is that of the user {other}",
            account.uid
        ));
    }
    let mut step = Step::new(name, Action::Add);
    step.change.why = "new".to_owned();
    step.make = true;
    step.groups = Some(user.groups.iter().cloned().collect());
    Ok(step)
}

fn change(
    name: &str,
    user: &User,
    account: &Account,
    kept: Option<&Kept>,
) -> Result<Option<Step>, String> {
    if let Some(uid) = user.uid.filter(|uid| *uid != account.uid) {
        return Err(format!(
            "the user {name} has the uid {} and is declared with {uid}; its files would change hands",
            account.uid
        ));
    }
    let made = kept.is_some_and(|kept| kept.made);
    let mut step = Step::new(name, Action::Change);
    let mut why = Vec::new();
    if account.expires == LOCKED_SINCE {
        step.unexpire = true;
        step.unlock = account.can_unlock;
        why.push("declared again".to_owned());
    }
    if !user.shell.is_empty() && user.shell != account.shell {
        why.push(format!("shell {} → {}", account.shell, user.shell));
        step.shell = Some(user.shell.clone());
    }
    // The comment of an account that others made is theirs, as long as nothing else is declared.
    if user.comment != account.comment && (made || !user.comment.is_empty()) {
        why.push(format!(
            "comment {:?} → {:?}",
            account.comment, user.comment
        ));
        step.comment = Some(user.comment.clone());
    }
    let wanted: BTreeSet<String> = user.groups.iter().cloned().collect();
    let nothing = Kept::default();
    let added = &kept.unwrap_or(&nothing).groups;
    let mut groups = account.groups.clone();
    for group in wanted.difference(&account.groups) {
        why.push(format!("into the group {group}"));
        groups.insert(group.clone());
    }
    for group in account.groups.iter().filter(|group| added.contains(*group)) {
        if !wanted.contains(group) {
            why.push(format!("out of the group {group}"));
            groups.remove(group);
        }
    }
    if groups != account.groups {
        step.groups = Some(groups);
    }
    step.change.why = why.join(", ");
    Ok((!why.is_empty()).then_some(step))
}

fn give_up(name: &str, account: &Account, kept: &Kept) -> Option<Step> {
    let mut step = Step::new(name, Action::Remove);
    if kept.made {
        step.change.why = "no longer declared: locked, its home stays".to_owned();
        step.lock = true;
        return (account.expires != LOCKED_SINCE).then_some(step);
    }
    let mut groups = account.groups.clone();
    groups.retain(|group| !kept.groups.contains(group));
    step.groups = (groups != account.groups).then_some(groups);
    let back = |was: &Option<String>, is: &str| was.clone().filter(|was| was != is);
    step.shell = back(&kept.shell, &account.shell);
    step.comment = back(&kept.comment, &account.comment);
    step.change.why = "no longer declared: as it was before".to_owned();
    let any = step.groups.is_some() || step.shell.is_some() || step.comment.is_some();
    any.then_some(step)
}

/// What is kept before anything is changed.
pub fn record_before(want: &BTreeMap<String, User>, have: &Have, record: &Record) -> Record {
    let mut next = record.clone();
    for (name, user) in want {
        let kept = next.entry(name.clone()).or_default();
        let Some(account) = have.users.get(name) else {
            *kept = Kept {
                made: true,
                groups: user.groups.iter().cloned().collect(),
                ..Kept::default()
            };
            continue;
        };
        let new = user.groups.iter().filter(|g| !account.groups.contains(*g));
        kept.groups.extend(new.cloned());
        if !kept.made {
            if !user.shell.is_empty() && user.shell != account.shell {
                kept.shell.get_or_insert_with(|| account.shell.clone());
            }
            if !user.comment.is_empty() && user.comment != account.comment {
                kept.comment.get_or_insert_with(|| account.comment.clone());
            }
        }
    }
    next
}

/// What is kept once everything is done: accounts that are given back are no longer forge's business. `have` is from before.
pub fn record_after(want: &BTreeMap<String, User>, have: &Have, record: &Record) -> Record {
    let mut next = record.clone();
    next.retain(|name, kept| {
        want.contains_key(name) || (kept.made && have.users.contains_key(name))
    });
    for (name, kept) in &mut next {
        if let Some(user) = want.get(name) {
            kept.groups.retain(|group| user.groups.contains(group));
        }
    }
    next
}

#[cfg(test)]
mod tests;
