//! The firewall in the running kernel. The files that UFW loads at boot are placed as other files are; this makes what runs equal to them,
//! at once and without ever opening the host in between.
//!
//! What is wanted and what runs are compared as the kernel prints them: the wanted rules are loaded into a network namespace of their own
//! and read back, so that nothing here has to know how iptables spells a rule.

mod backend;
mod rules;

use std::collections::{BTreeMap, BTreeSet};

pub use backend::refusal;
use rules::{
    CLOSED, Rules, chains_of, declared, is_of_user_rules, is_yes, jumps, listing, merged,
    of_chains, policies, prefix, setting, start_v6,
};

use super::resource::{Resource, Way};
use super::tell::Tell;
use super::{Host, HostError};
use crate::edge::host::iptables::{self, Family, Ufw};
use crate::edge::host::place;
use crate::pure::generation::managed::Found;
use crate::pure::generation::{Action, Change, Kind, Place, Target, blocks, text_diff};

/// The chain behind DOCKER-USER.
const CHAIN: &str = "forge-docker";
const DOCKER_USER: &str = "DOCKER-USER";
const DEFAULTS: &str = "/etc/default/ufw";

/// What lets packets in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Firewall;

/// The rules of one family: one text for `iptables-restore`, which takes it at once or not at all.
struct Wanted {
    family: Family,
    text: String,
    /// Declared in the text: the chains that are forge's business.
    chains: BTreeSet<String>,
    /// False for IPv6 if UFW does not filter it: then it lets in nothing but loopback.
    filtered: bool,
}

fn refused(name: &str, why: impl ToString) -> HostError {
    HostError::thing(Kind::Firewall, name, why)
}

fn on_disk(host: &Host, path: &str) -> Result<Option<String>, HostError> {
    Ok(match place::look(&host.paths.at(path))? {
        Found::File { bytes, .. } => Some(String::from_utf8_lossy(&bytes).into_owned()),
        _ => None,
    })
}

fn of_target(target: &Target, path: &str) -> Option<String> {
    let declared = target
        .files
        .iter()
        .find(|(_, file)| matches!(&file.place, Place::Managed { path: there } if there == path));
    declared
        .and_then(|(name, _)| target.file_bytes(name))
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

/// What a file will be: as the target has it, or as it is.
fn file_at(host: &Host, target: &Target, path: &str) -> Result<String, HostError> {
    match of_target(target, path) {
        Some(text) => Ok(text),
        None => Ok(on_disk(host, path)?.unwrap_or_default()),
    }
}

impl Wanted {
    fn of(family: Family, texts: &[&str], filtered: bool) -> Self {
        let text = merged(texts);
        Self {
            family,
            chains: declared(&text),
            text,
            filtered,
        }
    }

    /// As the kernel prints them.
    fn rules(&self, host: &Host) -> Result<Rules, HostError> {
        let printed = iptables::canonical(&host.paths, self.family, &self.text)?;
        Ok(of_chains(&printed, &self.chains))
    }
}

/// What a target wants, of both families; nothing if it leaves the firewall alone. `live` is what runs, as printed.
fn wanted(
    host: &Host,
    target: &Target,
    live: &BTreeMap<Family, String>,
) -> Result<Option<Vec<Wanted>>, HostError> {
    if target.file_bytes("forge/user.rules").is_none() {
        return Ok(None);
    }
    let defaults = file_at(host, target, DEFAULTS)?;
    let text = |name: &str| {
        let bytes = target
            .file_bytes(name)
            .ok_or_else(|| refused(name, "the bundle has no bytes of it"))?;
        std::str::from_utf8(bytes).map_err(|error| refused(name, error))
    };
    let mut all = vec![Wanted::of(
        Family::V4,
        &[
            text("forge/user.rules")?,
            text("forge/live-after.rules")?,
            &policies(Family::V4, &defaults),
        ],
        true,
    )];
    if is_yes(setting(&defaults, "IPV6")) {
        all.push(Wanted::of(
            Family::V6,
            &[
                text("forge/user6.rules")?,
                text("forge/live-after6.rules")?,
                &policies(Family::V6, &defaults),
            ],
            true,
        ));
    } else {
        let empty: String = live
            .get(&Family::V6)
            .map(|printed| chains_of(printed))
            .unwrap_or_default()
            .into_iter()
            .filter(|chain| chain.starts_with("ufw6-"))
            .map(|chain| format!(":{chain} - [0:0]\n"))
            .collect();
        // Neither does UFW load its after6.rules then: everything is shut.
        all.push(Wanted::of(Family::V6, &[CLOSED, &empty], false));
    }
    all.retain(|wanted| live.contains_key(&wanted.family));
    Ok(Some(all))
}

/// What runs, of the families that this host can filter.
fn live() -> Result<BTreeMap<Family, String>, HostError> {
    let mut live = BTreeMap::new();
    for family in Family::BOTH {
        if let Some(printed) = iptables::rules(family)? {
            live.insert(family, printed);
        }
    }
    Ok(live)
}

fn is_active(live: &BTreeMap<Family, String>) -> bool {
    live.get(&Family::V4)
        .is_some_and(|printed| chains_of(printed).contains("ufw-user-input"))
}

/// What is to be done with one family: what runs differs, a jump is missing or there twice, loopback is closed.
struct Difference {
    rules: Option<Change>,
    /// Instead of what is wanted alone: UFW runs, and has not filtered IPv6.
    start: Option<String>,
    jump: Option<Change>,
    loopback: Vec<(&'static str, &'static str)>,
}

fn difference(
    host: &Host,
    wanted: &Wanted,
    way: Way<'_>,
    live: &BTreeMap<Family, String>,
) -> Result<Difference, HostError> {
    let program = wanted.family.program();
    let printed = live.get(&wanted.family).map_or("", String::as_str);
    let (is, shall) = (of_chains(printed, &wanted.chains), wanted.rules(host)?);
    let mut rules = None;
    if is != shall {
        // What runs is what a generation before wanted: then nobody has touched it.
        let mut untouched = false;
        for before in way.before {
            for was in self::wanted(host, before, live)?.into_iter().flatten() {
                untouched |= was.family == wanted.family
                    && was.rules(host)? == of_chains(printed, &was.chains);
            }
        }
        let why = if untouched || way.before.is_empty() {
            "other rules"
        } else {
            "changed by hand since"
        };
        let change = Change::new(Kind::Firewall, program, Action::Change, why);
        rules = Some(
            match text_diff::unified(program, listing(&is).as_bytes(), listing(&shall).as_bytes()) {
                Some(diff) => change.with_diff(diff),
                None => change,
            },
        );
    }
    let mut start = None;
    let hooked = printed
        .lines()
        .any(|line| line.starts_with("-A ufw6-before-input "));
    if wanted.family == Family::V6 && wanted.filtered && !hooked {
        let read = |path| Ok::<_, HostError>(on_disk(host, path)?.unwrap_or_default());
        let mut after = read("/etc/ufw/after6.rules")?.into_bytes();
        // Our block would empty DOCKER-USER; its chain is in what is wanted.
        after =
            blocks::remove(&after, "forge/after6.rules").map_err(|why| refused(program, why))?;
        start = Some(start_v6(
            &read("/etc/ufw/before6.rules")?,
            &String::from_utf8_lossy(&after),
            &wanted.text,
            printed,
        ));
        let why = "UFW does not filter IPv6 yet";
        rules = Some(Change::new(Kind::Firewall, program, Action::Start, why));
    }
    let guarded = wanted.filtered && chains_of(printed).contains(DOCKER_USER);
    let jump = match jumps(printed, DOCKER_USER, CHAIN) {
        1 => None,
        _ if !guarded => None,
        0 => Some("Docker does not ask it yet"),
        _ => Some("Docker asks it more than once"),
    };
    let loopback = [("INPUT", "-i"), ("OUTPUT", "-o")];
    Ok(Difference {
        rules,
        start,
        jump: jump.map(|why| {
            let name = format!("{program} {DOCKER_USER}");
            Change::new(Kind::Firewall, name, Action::Change, why)
        }),
        loopback: loopback
            .into_iter()
            .filter(|(chain, direction)| {
                let rule = format!("-A {chain} {direction} lo -j ACCEPT");
                !wanted.filtered && printed.lines().all(|line| line.trim() != rule)
            })
            .collect(),
    })
}

fn starts() -> Change {
    Change::new(
        Kind::Firewall,
        "ufw",
        Action::Start,
        "it is not active: every port of the host is open",
    )
}

fn at_boot() -> Change {
    Change::new(
        Kind::Firewall,
        "ufw",
        Action::Change,
        "it is not started at boot",
    )
}

fn goes() -> Change {
    Change::new(
        Kind::Firewall,
        "ufw",
        Action::Remove,
        "no longer declared: the host's own rules come back",
    )
}

fn is_ours(live: &BTreeMap<Family, String>) -> bool {
    live.values()
        .any(|printed| chains_of(printed).contains(CHAIN))
}

impl Firewall {
    /// Back to what the host had: its files are in place already.
    fn go(host: &Host, live: &BTreeMap<Family, String>) -> Result<(), HostError> {
        let config = on_disk(host, "/etc/ufw/ufw.conf")?.unwrap_or_default();
        if is_yes(setting(&config, "ENABLED")) {
            let defaults = on_disk(host, DEFAULTS)?.unwrap_or_default();
            for (family, path) in [
                (Family::V4, "/etc/ufw/user.rules"),
                (Family::V6, "/etc/ufw/user6.rules"),
            ] {
                let chains = live.get(&family).map(|printed| chains_of(printed));
                let user = chains.unwrap_or_default();
                let has = user.contains(&format!("{}-user-input", prefix(family)));
                if let (true, Some(rules)) = (has, on_disk(host, path)?) {
                    // The file of a fresh UFW does not name all of the chains that it fills later.
                    let said = declared(&rules);
                    let empty: String = user
                        .iter()
                        .filter(|chain| is_of_user_rules(family, chain) && !said.contains(*chain))
                        .map(|chain| format!(":{chain} - [0:0]\n"))
                        .collect();
                    let policies = policies(family, &defaults);
                    iptables::restore(family, &merged(&[&empty, &rules, &policies]))?;
                }
            }
        } else if is_active(live) {
            iptables::ufw_init(&host.paths, Ufw::ForceStop)?;
        }
        // The chain is the sign that something is left to be done, so it goes last.
        for (family, printed) in live.iter().rev() {
            for _ in 0..jumps(printed, DOCKER_USER, CHAIN) {
                iptables::delete_jump(*family, DOCKER_USER, CHAIN)?;
            }
            if chains_of(printed).contains(CHAIN) {
                iptables::delete_chain(*family, CHAIN)?;
            }
        }
        Ok(())
    }

    fn start(host: &Host) -> Result<BTreeMap<Family, String>, HostError> {
        if !iptables::ufw_init(&host.paths, Ufw::Start)? {
            return Err(refused("ufw", "it is not installed"));
        }
        let live = live()?;
        if is_active(&live) {
            Ok(live)
        } else {
            Err(refused(
                "ufw",
                "it did not start; is ENABLED=yes in /etc/ufw/ufw.conf?",
            ))
        }
    }
}

impl Resource for Firewall {
    fn step(&self) -> &'static str {
        "firewall"
    }

    fn plan(&self, host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError> {
        let live = live()?;
        let Some(wanted) = wanted(host, way.want, &live)? else {
            return Ok(if is_ours(&live) { vec![goes()] } else { vec![] });
        };
        if !is_active(&live) {
            return Ok(vec![starts()]);
        }
        let mut changes = Vec::new();
        if host.paths.is_real() && !iptables::ufw_is_enabled()? {
            changes.push(at_boot());
        }
        for wanted in &wanted {
            let difference = difference(host, wanted, way, &live)?;
            changes.extend(difference.rules);
            changes.extend(difference.jump);
            changes.extend(difference.loopback.iter().map(|_| loopback(wanted.family)));
        }
        Ok(changes)
    }

    /// Called again once Docker runs, which makes its chains then.
    fn apply(&self, host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
        let mut live = live()?;
        if wanted(host, way.want, &live)?.is_none() {
            if is_ours(&live) {
                Self::go(host, &live)?;
                tell.changed(&goes());
            }
            return Ok(());
        }
        if let Some(why) = refusal(host, way.want)? {
            return Err(HostError::refused(why, None));
        }
        if !is_active(&live) {
            live = Self::start(host)?;
            tell.changed(&starts());
        }
        if host.paths.is_real() && !iptables::ufw_is_enabled()? {
            iptables::enable_ufw()?;
            tell.changed(&at_boot());
        }
        let wanted = wanted(host, way.want, &live)?.unwrap_or_default();
        // All of it is loaded beside the kernel's tables, and read against them, before any of it is loaded into them: some versions of
        // `--test` pass a jump that leads nowhere.
        let mut todo = Vec::new();
        for wanted in &wanted {
            let differs = difference(host, wanted, way, &live)?;
            if differs.rules.is_some() {
                iptables::test(wanted.family, &wanted.text)?;
            }
            todo.push((wanted, differs));
        }
        for (wanted, mut differs) in todo {
            let family = wanted.family;
            for (chain, direction) in &differs.loopback {
                iptables::accept_loopback(family, chain, direction)?;
                tell.changed(&loopback(family));
            }
            if let Some(change) = differs.rules.take() {
                iptables::restore(family, differs.start.as_ref().unwrap_or(&wanted.text))?;
                tell.changed(&change);
            }
            if let Some(change) = differs.jump {
                let there = live
                    .get(&family)
                    .map_or(0, |printed| jumps(printed, DOCKER_USER, CHAIN));
                if there == 0 {
                    iptables::insert_jump(family, DOCKER_USER, CHAIN)?;
                }
                for _ in 1..there {
                    iptables::delete_jump(family, DOCKER_USER, CHAIN)?;
                }
                tell.changed(&change);
            }
        }
        Ok(())
    }
}

fn loopback(family: Family) -> Change {
    Change::new(
        Kind::Firewall,
        format!("{} loopback", family.program()),
        Action::Change,
        "programs of this host could not reach each other",
    )
}
