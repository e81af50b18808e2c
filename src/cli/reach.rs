//! How a host is reached: from the host file, with what the arguments say otherwise; or the machine itself.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::args::Global;
use super::error::{CliError, Exit};
use super::{report, session, tell};
use crate::edge::git;
use crate::flow::operator::deploy::conversation::{Connect, TalkError};
use crate::flow::operator::evaluate::Opened;
use crate::flow::operator::remote::RemoteError;
use crate::pure::config::from_text::project::SETTINGS;
use crate::pure::name::{Arch, HostName};
use crate::pure::protocol::Operator;
use crate::pure::system::Host;

/// Which client connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Client {
    /// Forge's own
    Russh,
    /// The system's program `ssh`, with all of its configuration
    Openssh,
}

/// What the arguments say otherwise than the host file.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(crate) struct Way {
    /// Reach the host there, instead of at the address of its file
    #[arg(long, value_name = "ADDR[:PORT]")]
    pub address: Option<String>,
    /// Log in as this user, instead of the one of its file
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// SSH key to log in with, before those of the configuration
    #[arg(long, value_name = "FILE")]
    pub identity: Vec<PathBuf>,
    /// Client to connect with [default: what the host file says, else russh]
    #[arg(long, value_name = "CLIENT")]
    pub ssh: Option<Client>,
    /// Take the key of a host that is not known yet without asking
    #[arg(long)]
    pub accept_new_host_key: bool,
    /// Program to send as the agent, instead of this one
    #[arg(long, value_name = "PATH")]
    pub agent: Option<PathBuf>,
}

/// One host, or none: then the machine itself.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct One {
    /// Host of the project [default: this machine, if it is a host of forge]
    #[arg(long, value_name = "NAME")]
    pub host: Option<String>,
    #[command(flatten)]
    pub way: Way,
}

/// A host of the project, and how to get there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub name: HostName,
    pub address: String,
    /// None: what the configuration of SSH says.
    pub port: Option<u16>,
    pub user: String,
    pub host_key: Option<String>,
    pub client: Client,
    pub arch: Option<Arch>,
}

const SSH_PORT: u16 = 22;

impl Place {
    pub(crate) fn of(host: &Host, way: &Way) -> Result<Self, CliError> {
        let (address, port) = match &way.address {
            Some(text) => split_address(text)?,
            // The default stands in the host too; where nobody says otherwise, the configuration of SSH may.
            None => (
                host.address.clone(),
                (host.port != SSH_PORT).then_some(host.port),
            ),
        };
        let of_file = match host.ssh.as_str() {
            "openssh" => Client::Openssh,
            _ => Client::Russh,
        };
        Ok(Self {
            name: host.name.clone(),
            address,
            port,
            user: way.user.clone().unwrap_or_else(|| host.user.clone()),
            host_key: host.host_key.clone(),
            client: way.ssh.unwrap_or(of_file),
            arch: host.arch.parse().ok(),
        })
    }
}

/// `ADDR`, `ADDR:PORT`, `[V6]:PORT`, `V6`.
fn split_address(text: &str) -> Result<(String, Option<u16>), CliError> {
    let wrong = || {
        CliError::new(
            Exit::Usage,
            format!("`{text}` is no address: ADDR or ADDR:PORT is wanted"),
        )
        .hint("an IPv6 address with a port is written `[2001:db8::1]:22`")
    };
    let port_of = |port: &str| {
        port.parse::<u16>()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(wrong)
    };
    let (address, port) = if text.parse::<IpAddr>().is_ok() {
        (text, None)
    } else if let Some(rest) = text.strip_prefix('[') {
        match rest.split_once(']').ok_or_else(wrong)? {
            (address, "") => (address, None),
            (address, port) => {
                let port = port.strip_prefix(':').ok_or_else(wrong)?;
                (address, Some(port_of(port)?))
            }
        }
    } else {
        match text.split_once(':') {
            Some((address, port)) => (address, Some(port_of(port)?)),
            None => (text, None),
        }
    };
    // What begins with a hyphen would be an option to the system's `ssh`.
    if address.is_empty() || address.starts_with('-') || address.contains(char::is_whitespace) {
        return Err(wrong());
    }
    Ok((address.to_owned(), port))
}

/// What the host file says of a host of the project. Nothing is evaluated: a mistake in a module keeps nobody from asking a host how it is.
pub(crate) fn host(opened: &mut Opened, name: &str) -> Result<Host, CliError> {
    let name = session::host_name(name)?;
    opened.host(&name).map_err(|found| {
        tell(&report::draw(&found, &opened.sources));
        CliError::new(Exit::Usage, format!("host `{name}` cannot be reached")).hint(
            match opened.text.hosts().collect::<Vec<_>>() {
                hosts if hosts.is_empty() => "this project has no hosts".to_owned(),
                hosts => format!("the hosts of this project: {}", hosts.join(", ")),
            },
        )
    })
}

/// Who is at the laptop, as in `anna@laptop`; and the revision of the project.
pub(crate) fn operator(project: Option<&Path>) -> Operator {
    let user = std::env::var("USER")
        .or_else(|_| std::env::var("LOGNAME"))
        .ok()
        .filter(|user| !user.is_empty())
        .unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()));
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Operator {
        name: match machine.trim() {
            "" => user,
            machine => format!("{user}@{machine}"),
        },
        revision: project.and_then(git::revision),
    }
}

/// Where this machine says that it is a host of forge.
const CURRENT: &str = "/var/lib/forge/current";

/// True if what is said without `--host` is said of this machine as a host: it is one, and neither a project nor a store is named.
pub(crate) fn is_host(global: &Global) -> bool {
    Path::new(CURRENT).is_symlink()
        && global.store.is_none()
        && !global.project.join(SETTINGS).is_file()
}

/// A way to the host that the arguments name, or to the machine itself.
pub(crate) fn connect(one: &One, global: &Global) -> Result<Reached, CliError> {
    let Some(name) = &one.host else {
        return local();
    };
    let host = host(&mut session::open(global)?, name)?;
    reach(&host, &one.way, global)
}

/// A host, and the way to it.
#[derive(Debug)]
pub(crate) struct Reached {
    /// None of the machine itself.
    pub name: Option<HostName>,
    pub operator: Operator,
    pub connect: Box<dyn Connect>,
}

pub(crate) fn reach(host: &Host, way: &Way, global: &Global) -> Result<Reached, CliError> {
    let place = Place::of(host, way)?;
    let operator = operator(Some(&global.project));
    Ok(Reached {
        name: Some(host.name.clone()),
        connect: super::adapters::remote(&place, way, &operator)?,
        operator,
    })
}

fn local() -> Result<Reached, CliError> {
    if !Path::new(CURRENT).is_symlink() {
        return Err(
            CliError::new(Exit::Usage, "this machine is no host of forge")
                .hint("name a host of the project with `--host NAME`"),
        );
    }
    if !rustix::process::geteuid().is_root() {
        return Err(
            CliError::new(Exit::Failed, "only root may ask the agent of this machine")
                .hint("run it again with sudo"),
        );
    }
    let operator = operator(None);
    Ok(Reached {
        name: None,
        connect: super::adapters::local(&operator)?,
        operator,
    })
}

/// What was asked of a host was not done.
pub(crate) fn not_done(error: RemoteError) -> CliError {
    match error {
        RemoteError::Refused { why, hint } => CliError {
            exit: Exit::No,
            message: why,
            hints: hint.into_iter().collect(),
        },
        RemoteError::Talk(error) => not_reached(error),
        error => CliError::failed(&error),
    }
}

pub(crate) fn not_reached(error: TalkError) -> CliError {
    let message = error.to_string();
    let hints = match error {
        TalkError::Closed { hints, .. } => hints,
        _ => Vec::new(),
    };
    CliError {
        exit: Exit::Failed,
        message,
        hints,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_ports() {
        let split = |text: &str| split_address(text).map_err(|error| error.message);
        let right = |text: &str, address: &str, port| {
            assert_eq!(split(text).unwrap(), (address.to_owned(), port), "{text}");
        };
        right("web.example.com", "web.example.com", None);
        right("127.0.0.1:2222", "127.0.0.1", Some(2222));
        right("2001:db8::1", "2001:db8::1", None);
        right("[2001:db8::1]", "2001:db8::1", None);
        right("[2001:db8::1]:22", "2001:db8::1", Some(22));
        for wrong in [
            "",
            ":22",
            "a:",
            "a:0",
            "a:70000",
            "a:b",
            "[::1",
            "[::1]22",
            "-oProxyCommand=x",
            "a b",
        ] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn arguments_win_over_the_host_file() {
        let host = Host {
            name: "web".parse().unwrap(),
            address: "203.0.113.1".to_owned(),
            system: "debian-13".to_owned(),
            arch: "arm64".to_owned(),
            user: "deploy".to_owned(),
            port: 22,
            host_key: None,
            tags: Vec::new(),
            vendor: false,
            ssh: "openssh".to_owned(),
        };
        let place = Place::of(&host, &Way::default()).unwrap();
        assert_eq!((place.port, place.client), (None, Client::Openssh));
        let way = Way {
            address: Some("10.0.0.1:2200".to_owned()),
            user: Some("root".to_owned()),
            ssh: Some(Client::Russh),
            ..Way::default()
        };
        let place = Place::of(&host, &way).unwrap();
        assert_eq!(place.address, "10.0.0.1");
        assert_eq!(place.port, Some(2200));
        assert_eq!((place.user.as_str(), place.client), ("root", Client::Russh));
    }
}
