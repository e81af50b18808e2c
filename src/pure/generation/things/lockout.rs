//! Whether a target would lock out who deploys it: his key, his right to become root, the port that he came in by.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::pure::generation::{Place, Target};

/// Who deploys, and by which way he came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deployer {
    pub user: String,
    /// OpenSSH public key with which he is known to have logged in.
    pub key: Option<String>,
    /// The port of sshd.
    pub port: Option<u16>,
    /// As sshd sees him.
    pub from: Option<IpAddr>,
}

/// What the host lets him do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Lines of `~/.ssh/authorized_keys`.
    pub home_keys: String,
    /// Lines of `/etc/ssh/authorized_keys.d/USER`.
    pub declared_keys: String,
    /// True if he may become root whatever forge writes: by a group, or by a file of sudoers that is not forge's.
    pub sudo_elsewhere: bool,
    /// True if forge made his account, and locks it once it is no longer declared.
    pub made_by_forge: bool,
}

/// What sshd will read, as far as it decides who gets in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sshd {
    ports: Vec<u16>,
    key_files: Vec<String>,
    root: Option<String>,
    allow_users: Vec<String>,
}

const DROP_INS: &str = "/etc/ssh/sshd_config.d/";
const KEYS: &str = "/etc/ssh/authorized_keys.d/";

/// Why it would lock him out, and what to do about it; empty if it would not.
pub fn refusals(
    want: &Target,
    before: &[&Target],
    deployer: &Deployer,
    access: &Access,
) -> Vec<String> {
    let mut refusals = Vec::new();
    let sshd = sshd(want);
    if let Some(sshd) = &sshd {
        refusals.extend(keys(want, sshd, deployer, access));
    }
    refusals.extend(root(want, before, deployer, access));
    refusals.extend(port(want, sshd.as_ref(), deployer));
    refusals
}

/// None if forge leaves sshd as it is.
fn sshd(target: &Target) -> Option<Sshd> {
    let mut drop_ins: Vec<(&str, &[u8])> = target
        .files
        .iter()
        .filter(|(_, file)| {
            let path = file.place.path();
            path.starts_with(DROP_INS) && path.ends_with(".conf")
        })
        .filter_map(|(name, file)| Some((file.place.path(), target.file_bytes(name)?)))
        .collect();
    if drop_ins.is_empty() {
        return None;
    }
    drop_ins.sort_unstable();
    let mut sshd = Sshd::default();
    for (_, bytes) in drop_ins {
        read(&String::from_utf8_lossy(bytes), &mut sshd);
    }
    Some(sshd)
}

/// The first value counts; ports and users add up.
fn read(text: &str, sshd: &mut Sshd) {
    for line in text.lines().map(str::trim) {
        let mut words = line
            .split(|c: char| c.is_whitespace() || c == '=')
            .filter(|word| !word.is_empty())
            .map(|word| word.trim_matches('"'));
        let keyword = words.next().unwrap_or_default().to_ascii_lowercase();
        match keyword.as_str() {
            "port" => sshd
                .ports
                .extend(words.filter_map(|word| word.parse::<u16>().ok())),
            "authorizedkeysfile" if sshd.key_files.is_empty() => {
                sshd.key_files = words.map(ToOwned::to_owned).collect();
            }
            "permitrootlogin" if sshd.root.is_none() => {
                sshd.root = words.next().map(str::to_ascii_lowercase);
            }
            "allowusers" => sshd.allow_users.extend(words.map(ToOwned::to_owned)),
            // What follows is only for some.
            "match" => return,
            _ => {}
        }
    }
}

/// Each key as its type and its base64, without options and comment.
fn parse_keys(lines: &str) -> BTreeSet<(String, String)> {
    let is_type = |word: &str| {
        ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"]
            .iter()
            .any(|start| word.starts_with(start))
    };
    lines
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip_while(|word| !is_type(word));
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        })
        .collect()
}

fn keys(want: &Target, sshd: &Sshd, deployer: &Deployer, access: &Access) -> Option<String> {
    let user = &deployer.user;
    if user == "root" && matches!(sshd.root.as_deref(), Some("no" | "forced-commands-only")) {
        return Some(
            "root deploys, and sshd would no longer let root in; deploy as a user with sudo, or set `permit_root_login` of the module \
             ssh to \"prohibit-password\""
                .to_owned(),
        );
    }
    if !sshd.allow_users.is_empty() && !sshd.allow_users.iter().any(|p| allows(p, user)) {
        return Some(format!(
            "{user} deploys, and AllowUsers of sshd would no longer let {user} in; name {user} there"
        ));
    }
    let declared = want
        .files
        .iter()
        .find(|(_, file)| file.place.path().strip_prefix(KEYS) == Some(user))
        .and_then(|(name, _)| want.file_bytes(name))
        .map(|bytes| parse_keys(&String::from_utf8_lossy(bytes)))
        .unwrap_or_default();
    let home = parse_keys(&access.home_keys);
    let reads = |part: &str| sshd.key_files.iter().any(|file| file.contains(part));
    let mut after = BTreeSet::new();
    if sshd.key_files.is_empty() || reads(".ssh/authorized_keys") {
        after.extend(home.iter().cloned());
    }
    if reads(KEYS) {
        after.extend(declared);
    }
    let now: BTreeSet<_> = match &deployer.key {
        Some(key) => parse_keys(key),
        None => {
            let declared = parse_keys(&access.declared_keys);
            home.union(&declared).cloned().collect()
        }
    };
    if !now.is_disjoint(&after) {
        return None;
    }
    // No key of his is known: he came in by other means, and may be about to declare his first.
    if now.is_empty() && !after.is_empty() {
        return None;
    }
    Some(format!(
        "no key with which {user} can log in now would let {user} in any more; add it to `admins.{user}.keys` of the module users{}, \
         or turn `home_keys` of the module ssh on",
        if user == "root" {
            " (for root: `root_keys`)"
        } else {
            ""
        }
    ))
}

/// `USER` or `USER@HOST`, with `*` and `?`.
fn allows(pattern: &str, user: &str) -> bool {
    fn matches(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), _) => {
                matches(rest, text)
                    || text
                        .split_first()
                        .is_some_and(|(_, text)| matches(pattern, text))
            }
            (Some((b'?', pattern)), Some((_, text))) => matches(pattern, text),
            (Some((a, pattern)), Some((b, text))) if a == b => matches(pattern, text),
            _ => false,
        }
    }
    let pattern = pattern.split('@').next().unwrap_or_default();
    matches(pattern.as_bytes(), user.as_bytes())
}

/// Only what forge gave can be lost.
fn root(want: &Target, before: &[&Target], deployer: &Deployer, access: &Access) -> Option<String> {
    let user = &deployer.user;
    if user == "root" {
        return None;
    }
    if access.made_by_forge && !want.users.contains_key(user) {
        return Some(format!(
            "{user} deploys, and is no longer declared: the account would be locked; declare it, or deploy as somebody else"
        ));
    }
    let gives = |target: &Target| {
        target
            .users
            .get(user)
            .is_some_and(|user| matches!(user.sudo.as_str(), "nopasswd" | "password"))
    };
    let lost = before.iter().any(|target| gives(target)) && !gives(want) && !access.sudo_elsewhere;
    lost.then(|| {
        format!(
            "{user} deploys, and could no longer become root; set `sudo` of {user} to \"nopasswd\", or deploy as somebody else"
        )
    })
}

fn port(want: &Target, sshd: Option<&Sshd>, deployer: &Deployer) -> Option<String> {
    let came = deployer.port.or(want.ssh_port)?;
    let listens: &[u16] = sshd.map_or(&[], |sshd| &sshd.ports);
    let reached = if listens.is_empty() || listens.contains(&came) {
        came
    } else {
        match want.ssh_port.filter(|port| listens.contains(port)) {
            Some(port) => port,
            None => {
                let listed: Vec<String> = listens.iter().map(ToString::to_string).collect();
                return Some(format!(
                    "sshd would listen on port {} and no longer on {came}, by which this connection came in; set `port` in [host] to \
                     the new one, or `port` of the module ssh to {came}",
                    listed.join(", ")
                ));
            }
        }
    };
    // A host without holes keeps its firewall.
    if want.holes.is_empty() {
        return None;
    }
    let open: Vec<_> = want
        .holes
        .values()
        .filter(|hole| hole.port == reached && hole.protocol == "tcp")
        .collect();
    if open.is_empty() {
        return Some(format!(
            "the firewall would close port {reached}, by which sshd is reached; enable the module ssh, or add a [[firewall]] entry for \
             port {reached}"
        ));
    }
    let from = deployer.from?;
    let lets_in = |text: &String| match text.parse::<IpNet>() {
        Ok(net) => net.contains(&from),
        // An address, or something that only the firewall understands: that is not for us to judge.
        Err(_) => text
            .parse::<IpAddr>()
            .map_or(true, |address| address == from),
    };
    let some = open
        .iter()
        .any(|hole| hole.from.is_empty() || hole.from.iter().any(lets_in));
    (!some).then(|| {
        format!(
            "the firewall would let nobody from {from} reach port {reached}, from where this connection came; add it to `from` of the \
             module ssh"
        )
    })
}

/// The paths of sudoers files that a target owns.
pub fn sudoers_of(target: &Target) -> BTreeSet<String> {
    target
        .files
        .values()
        .filter_map(|file| match &file.place {
            Place::Managed { path } if path.starts_with("/etc/sudoers.d/") => Some(path.clone()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests;
