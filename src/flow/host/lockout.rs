//! Whether a deploy would lock out who does it: asked of the real host, before anything is changed.

use super::resource::Way;
use super::users::RECORD;
use super::{Host, HostError};
use crate::edge::host::{accounts, remembered, sshd};
use crate::pure::generation::things::accounts::Record;
use crate::pure::generation::things::lockout::{self, Access, Deployer};

/// Members of these may become root by Debian's and Ubuntu's own sudoers.
const ADMINS: [&str; 3] = ["sudo", "admin", "wheel"];

/// Why this would lock the deployer out, and what to do about it, each a sentence; empty if it would not.
///
/// # Errors
/// [`HostError`] if the host cannot be asked.
pub fn refusals(host: &Host, way: Way<'_>, deployer: &Deployer) -> Result<Vec<String>, HostError> {
    let have = accounts::have(&host.paths)?;
    let record: Record = remembered::read(&host.paths, RECORD)?;
    let user = deployer.user.as_str();
    let account = have.users.get(user);
    let ours = record.get(user);
    let home_keys = account
        .map(|account| host.paths.at(&account.home).join(".ssh/authorized_keys"))
        .map(|path| sshd::keys(&path))
        .unwrap_or_default();
    let declared = host.paths.at(format!("/etc/ssh/authorized_keys.d/{user}"));
    // A group that forge put him into counts only as long as it is declared.
    let stays = |group: &&str| {
        let in_it = account.is_some_and(|account| account.groups.contains(*group));
        let by_forge = ours.is_some_and(|kept| kept.groups.contains(*group));
        let wanted = way
            .want
            .users
            .get(user)
            .is_some_and(|user| user.groups.iter().any(|name| name == group));
        wanted || (in_it && !by_forge)
    };
    let forges: Vec<_> = way
        .before
        .iter()
        .chain(std::iter::once(&way.want))
        .map(|target| lockout::sudoers_of(target))
        .collect();
    let is_ours = |path: &str| forges.iter().any(|paths| paths.contains(path));
    let access = Access {
        home_keys,
        declared_keys: sshd::keys(&declared),
        sudo_elsewhere: ADMINS.iter().any(stays) || sshd::sudoers_name(&host.paths, user, &is_ours),
        made_by_forge: ours.is_some_and(|kept| kept.made),
    };
    Ok(lockout::refusals(way.want, way.before, deployer, &access))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::edge::host::scratch::Scratch;
    use crate::pure::generation::Target;

    #[test]
    fn an_account_that_forge_made_is_known_from_the_record() {
        let scratch = Scratch::new();
        scratch.put("/etc/passwd", "anna:x:1000:1000::/home/anna:/bin/bash\n");
        scratch.put("/etc/group", "sudo:x:27:\nanna:x:1000:\n");
        let host = Host {
            paths: scratch.paths(),
            store: scratch.store(),
        };
        let want = Target::nothing();
        let way = Way {
            want: &want,
            before: &[],
        };
        let anna = Deployer {
            user: "anna".to_owned(),
            ..Deployer::default()
        };
        assert!(refusals(&host, way, &anna).unwrap().is_empty());
        scratch.put(
            "/var/lib/forge/managed/users.json",
            "{\"anna\": {\"made\": true}}",
        );
        assert_eq!(refusals(&host, way, &anna).unwrap().len(), 1);
    }
}
