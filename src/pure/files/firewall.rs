//! The firewall: what UFW shall load at boot, what stands behind DOCKER-USER, and the same for the running kernel.
//!
//! Two doors lead in. To programs of the host packets come by INPUT, which UFW guards. To containers they come by FORWARD, after
//! Docker has rewritten their destination, past UFW. The second door is guarded by a chain of our own, [`CHAIN`], which Docker
//! visits by way of DOCKER-USER. Guarantees:
//!
//! - `user.rules` and `user6.rules` are byte for byte what UFW 0.36 writes for [`Firewall::ufw_commands`] with its default log
//!   level (`low`), so that people may go on using `ufw status`; and UFW finds nothing to change in them;
//! - a port that a container publishes is open exactly to those to whom a firewall entry opens it, matched by the port on the
//!   host as it was before Docker rewrote it (`--ctorigdstport`). Everything else that was rewritten is dropped, whatever
//!   interface it came in by, except from this host and its own bridges. A port bound to loopback gets no hole, although an entry
//!   of the same number may exist for another program: before Docker 28 a neighbour on the link could reach it (moby#45610);
//! - containers reach the outside and each other as before: nothing there was rewritten.
//!
//! **One jump, and other people's rules.** The block in `after.rules` declares DOCKER-USER, which empties it whenever UFW loads
//! that file. That is what keeps the jump single: the file format has no "add if missing", a jump that is only added would be
//! there once more after every `ufw reload`, and `-D` before `-A` fails at boot, when Docker has not made the chain yet, which would
//! leave the host without its rules. What is lost: rules that somebody has put into DOCKER-USER by hand or by program, and only
//! when a person reloads UFW; at boot UFW comes first and the chain is empty anyway. forge itself never reloads UFW: what it loads into the
//! running kernel, [`Firewall::live_chain`], declares [`CHAIN`] alone, and the jump is added only if [`jump_check`] misses it.
//!
//! Not chosen: jumping from FORWARD itself (Docker puts its own jumps first whenever it starts), `ufw route` rules (they see the
//! port in the container, and Docker's verdict comes first), dropping in PREROUTING (before it is known whether a port is published).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::pure::files::compose::BRIDGES;
use crate::pure::system::service::{FirewallEntry, Protocol, Service};

/// Our chain in the table `filter`, of IPv4 and of IPv6.
pub const CHAIN: &str = "forge-docker";

/// IPv4 or IPv6: two tables, two programs, two files each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// The program that changes rules, `iptables` or `ip6tables`; with `-restore` behind it, the one that loads them.
    pub fn program(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }

    fn of(net: IpNet) -> Self {
        match net {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }

    fn everybody(self) -> IpNet {
        match self {
            Self::V4 => IpNet::V4(Ipv4Net::default()),
            Self::V6 => IpNet::V6(Ipv6Net::default()),
        }
    }
}

/// Why entries cannot be rendered. Checked systems do not give these errors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FirewallError {
    #[error("firewall entry `{entry}`: `{text}` is neither an address nor a network")]
    Source { entry: String, text: String },
}

/// Who may enter where. The most specific sources of a port come first: the first rule that matches decides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hole {
    port: u16,
    protocol: Protocol,
    narrowness: Reverse<u8>,
    source: IpNet,
}

impl Hole {
    fn is_for_everybody(&self) -> bool {
        self.narrowness.0 == 0
    }

    /// As UFW writes it: an address without its full mask.
    fn source_text(&self) -> String {
        if self.source.prefix_len() == self.source.max_prefix_len() {
            self.source.addr().to_string()
        } else {
            self.source.to_string()
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Terms {
    limit: bool,
    comment: String,
}

impl Terms {
    fn action(&self) -> &'static str {
        if self.limit { "limit" } else { "allow" }
    }
}

/// The decided firewall of a host.
#[derive(Clone, Debug)]
pub struct Firewall {
    holes: BTreeMap<Family, BTreeMap<Hole, Terms>>,
    /// Ports of the host that lead to containers from anywhere.
    published: BTreeSet<(u16, Protocol)>,
}

impl Firewall {
    /// From the entries and the services of a host, in any order. Of two entries with the same port, protocol and source, the one
    /// whose name comes first gives its comment, and a limit in either holds.
    pub fn new(entries: &[FirewallEntry], services: &[Service]) -> Result<Self, FirewallError> {
        let mut holes: BTreeMap<Family, BTreeMap<Hole, Terms>> = BTreeMap::new();
        let mut entries: Vec<_> = entries.iter().collect();
        entries.sort_by_key(|entry| (&entry.module, &entry.name));
        for entry in entries {
            let sources = if entry.from.is_empty() {
                Family::BOTH.map(Family::everybody).into()
            } else {
                sources(entry)?
            };
            for source in sources {
                let hole = Hole {
                    port: entry.port,
                    protocol: entry.protocol,
                    narrowness: Reverse(source.prefix_len()),
                    source,
                };
                holes
                    .entry(Family::of(source))
                    .or_default()
                    .entry(hole)
                    .and_modify(|terms| terms.limit |= entry.limit)
                    .or_insert_with(|| Terms {
                        limit: entry.limit,
                        comment: comment(entry),
                    });
            }
        }
        let published = services
            .iter()
            // Without networks of its own a service publishes nothing.
            .filter(|service| !service.network_host && !service.networks.is_empty())
            .flat_map(|service| &service.ports)
            .filter(|port| port.public)
            .map(|port| (port.host, port.protocol))
            .collect();
        Ok(Self { holes, published })
    }

    fn holes(&self, family: Family) -> impl Iterator<Item = (&Hole, &Terms)> {
        self.holes.get(&family).into_iter().flatten()
    }

    /// The `ufw` commands that make the same rules, for people to read. Each begins with `ufw`.
    pub fn ufw_commands(&self) -> Vec<Vec<String>> {
        let mut ports: BTreeMap<_, [Vec<_>; 2]> = BTreeMap::new();
        for (index, family) in Family::BOTH.into_iter().enumerate() {
            for (hole, terms) in self.holes(family) {
                ports.entry((hole.port, hole.protocol)).or_default()[index].push((hole, terms));
            }
        }
        let mut commands = Vec::new();
        for [mut v4, mut v6] in ports.into_values() {
            // One command opens a port to everybody in both families, if it is the same for both.
            let both = match (v4.last(), v6.last()) {
                (Some((four, terms)), Some((six, same)))
                    if four.is_for_everybody() && six.is_for_everybody() && terms == same =>
                {
                    Some((four.port, four.protocol, *terms))
                }
                _ => None,
            };
            if both.is_some() {
                v4.pop();
                v6.pop();
            }
            for (hole, terms) in v4.into_iter().chain(v6) {
                commands.push(command(
                    terms,
                    hole.protocol,
                    &hole.source_text(),
                    hole.port,
                ));
            }
            if let Some((port, protocol, terms)) = both {
                commands.push(command(terms, protocol, "any", port));
            }
        }
        commands
    }

    /// `/etc/ufw/user.rules` or `/etc/ufw/user6.rules`. It may also be fed to `iptables-restore -n`, which replaces the chains in it at
    /// once, as they are in the file.
    pub fn user_rules(&self, family: Family) -> String {
        let p = match family {
            Family::V4 => "ufw",
            Family::V6 => "ufw6",
        };
        let mut out = String::from("*filter\n");
        for chain in USER_CHAINS {
            line(&mut out, format_args!(":{p}-{chain} - [0:0]"));
        }
        out.push_str("### RULES ###\n");
        for (hole, terms) in self.holes(family) {
            line(
                &mut out,
                format_args!(
                    "\n### tuple ### {} {} {} {} any {} in comment={}",
                    terms.action(),
                    hole.protocol.as_str(),
                    hole.port,
                    family.everybody(),
                    if hole.is_for_everybody() {
                        family.everybody().to_string()
                    } else {
                        hole.source_text()
                    },
                    hex::encode(&terms.comment),
                ),
            );
            let mut rule = format!(
                "-A {p}-user-input -p {} --dport {}",
                hole.protocol.as_str(),
                hole.port
            );
            if !hole.is_for_everybody() {
                rule.push_str(" -s ");
                rule.push_str(&hole.source_text());
            }
            if terms.limit {
                let new = "-m conntrack --ctstate NEW -m recent";
                line(&mut out, format_args!("{rule} {new} --set"));
                line(
                    &mut out,
                    format_args!("{rule} {new} --update {TOO_OFTEN} -j {p}-user-limit"),
                );
                line(&mut out, format_args!("{rule} -j {p}-user-limit-accept"));
            } else {
                line(&mut out, format_args!("{rule} -j ACCEPT"));
            }
        }
        out.push_str("\n### END RULES ###\n\n### LOGGING ###\n");
        let seldom = "-m limit --limit 3/min --limit-burst 10";
        for (verb, chain, prefix) in [
            ("-A", "after-logging-input", "BLOCK"),
            ("-A", "after-logging-forward", "BLOCK"),
            ("-I", "logging-deny", ""),
            ("-A", "logging-deny", "BLOCK"),
            ("-A", "logging-allow", "ALLOW"),
        ] {
            if prefix.is_empty() {
                let invalid = "-m conntrack --ctstate INVALID -j RETURN";
                line(
                    &mut out,
                    format_args!("{verb} {p}-{chain} {invalid} {seldom}"),
                );
            } else {
                line(
                    &mut out,
                    format_args!(
                        "{verb} {p}-{chain} -j LOG --log-prefix \"[UFW {prefix}] \" {seldom}"
                    ),
                );
            }
        }
        out.push_str("### END LOGGING ###\n\n### RATE LIMITING ###\n");
        line(
            &mut out,
            format_args!(
                "-A {p}-user-limit -m limit --limit 3/minute -j LOG --log-prefix \"[UFW LIMIT BLOCK] \""
            ),
        );
        line(&mut out, format_args!("-A {p}-user-limit -j REJECT"));
        line(&mut out, format_args!("-A {p}-user-limit-accept -j ACCEPT"));
        out.push_str("### END RATE LIMITING ###\nCOMMIT\n");
        out
    }

    /// The managed block at the end of `/etc/ufw/after.rules` or `after6.rules`, behind its `COMMIT`: what UFW loads at boot.
    pub fn after_block(&self, family: Family) -> String {
        let mut out =
            format!("*filter\n:{CHAIN} - [0:0]\n:DOCKER-USER - [0:0]\n-A DOCKER-USER -j {CHAIN}\n");
        self.chain_into(&mut out, family);
        out.push_str("COMMIT\n");
        out
    }

    /// The chain alone, for `iptables-restore -n`: the kernel goes from the old rules to these at once, and touches no others.
    pub fn live_chain(&self, family: Family) -> String {
        let mut out = format!("*filter\n:{CHAIN} - [0:0]\n");
        self.chain_into(&mut out, family);
        out.push_str("COMMIT\n");
        out
    }

    fn chain_into(&self, out: &mut String, family: Family) {
        // A reply, or more of a connection that was let in.
        line(
            out,
            format_args!("-A {CHAIN} -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN"),
        );
        for inside in ["lo", "docker0", &format!("{BRIDGES}+")] {
            line(out, format_args!("-A {CHAIN} -i {inside} -j RETURN"));
        }
        for (hole, terms) in self.holes(family) {
            let protocol = hole.protocol.as_str();
            if !self.published.contains(&(hole.port, hole.protocol)) {
                continue;
            }
            let mut rule = format!("-A {CHAIN}");
            if !hole.is_for_everybody() {
                rule.push_str(" -s ");
                rule.push_str(&hole.source_text());
            }
            // Writing to a String cannot fail.
            let _ = write!(
                rule,
                " -p {protocol} -m conntrack --ctstate DNAT --ctdir ORIGINAL --ctorigdstport {}",
                hole.port
            );
            if terms.limit {
                // A list of its own: UFW's, which has no name, counts all limited ports together.
                let list = format!("-m recent --name forge-{protocol}-{}", hole.port);
                line(out, format_args!("{rule} {list} --set"));
                line(
                    out,
                    format_args!("{rule} {list} --update {TOO_OFTEN} -j DROP"),
                );
            }
            line(out, format_args!("{rule} -j RETURN"));
        }
        // Only what begins a connection comes as far as this.
        line(
            out,
            format_args!("-A {CHAIN} -m conntrack --ctstate DNAT -j DROP"),
        );
    }
}

/// Succeeds if Docker's chain leads to ours.
pub fn jump_check(family: Family) -> Vec<String> {
    words(family.program(), &["-C", "DOCKER-USER", "-j", CHAIN])
}

/// Makes Docker's chain, for a host where Docker has not started yet; fails if it is there.
pub fn jump_chain(family: Family) -> Vec<String> {
    words(family.program(), &["-N", "DOCKER-USER"])
}

/// Leads from Docker's chain to ours, before all else in it; only after [`jump_check`] has failed.
pub fn jump_insert(family: Family) -> Vec<String> {
    words(family.program(), &["-I", "DOCKER-USER", "1", "-j", CHAIN])
}

fn words(program: &str, rest: &[&str]) -> Vec<String> {
    // Waits for another program that holds the lock of iptables.
    [&[program, "-w", "10"], rest]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
}

/// What UFW calls a limit: six connections within half a minute are too many.
const TOO_OFTEN: &str = "--seconds 30 --hitcount 6";

/// The chains of `user.rules`, in UFW's order.
const USER_CHAINS: [&str; 16] = [
    "user-input",
    "user-output",
    "user-forward",
    "before-logging-input",
    "before-logging-output",
    "before-logging-forward",
    "user-logging-input",
    "user-logging-output",
    "user-logging-forward",
    "after-logging-input",
    "after-logging-output",
    "after-logging-forward",
    "logging-deny",
    "logging-allow",
    "user-limit",
    "user-limit-accept",
];

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
    out.push('\n');
}

fn command(terms: &Terms, protocol: Protocol, source: &str, port: u16) -> Vec<String> {
    let port = port.to_string();
    let words = [
        "ufw",
        terms.action(),
        "proto",
        protocol.as_str(),
        "from",
        source,
        "to",
        "any",
        "port",
        &port,
        "comment",
        &terms.comment,
    ];
    words.map(str::to_owned).into()
}

/// Who declared it. UFW takes no quotes in a comment, and a rule is one line.
fn comment(entry: &FirewallEntry) -> String {
    format!("{}/{}", entry.module, entry.name)
        .chars()
        .map(|c| {
            let plain = c.is_ascii_alphanumeric() || "-_./:".contains(c);
            if plain { c } else { '-' }
        })
        .collect()
}

fn sources(entry: &FirewallEntry) -> Result<Vec<IpNet>, FirewallError> {
    entry
        .from
        .iter()
        .map(|text| {
            let net = text.parse::<IpNet>().or_else(|_| {
                // An address alone is a network of one.
                text.parse::<IpAddr>().map(IpNet::from)
            });
            net.map(|net| net.trunc())
                .map_err(|_| FirewallError::Source {
                    entry: comment(entry),
                    text: text.clone(),
                })
        })
        .collect()
}

#[cfg(test)]
mod tests;
