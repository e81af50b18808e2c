use std::io::Write as _;
use std::path::Path;

use crate::cli::Outcome;
use crate::cli::args::Global;
use crate::cli::error::{CliError, Exit};
use crate::cli::reach::{self, Place, Way};
use crate::cli::session;
use crate::edge::terminal_program;

const AFTER_HELP: &str = "\
Runs the system's program `ssh` with the address, port, user and pinned key of the host file; its exit code is handed on.

Examples:
  forge ssh mainframe
  forge ssh mainframe -- journalctl -u forge-activation";

/// Log in to a host of the project
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Host
    #[arg(value_name = "NAME", required_unless_present = "host")]
    name: Option<String>,
    /// Host, too
    #[arg(long, value_name = "NAME", conflicts_with = "name")]
    host: Option<String>,
    #[command(flatten)]
    way: Way,
    /// Command to run there, instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let name = args.name.as_ref().or(args.host.as_ref());
    let name = name.ok_or_else(|| CliError::new(Exit::Usage, "no host is named"))?;
    let host = reach::host(&mut session::open(global)?, name)?;
    let place = Place::of(&host, &args.way)?;
    let failed = |error: std::io::Error| CliError::failed(&error);
    let mut known = tempfile::NamedTempFile::new().map_err(failed)?;
    if let Some(line) = known_host(&place) {
        known.write_all(line.as_bytes()).map_err(failed)?;
        known.flush().map_err(failed)?;
    }
    let words = arguments(&place, &args.way, known.path(), &args.command);
    let code = terminal_program::run("ssh", &words).map_err(|error| {
        CliError::new(Exit::Failed, format!("cannot run `ssh`: {error}"))
            .hint("it is in the package openssh-client")
    })?;
    Ok(Outcome::Code(u8::try_from(code).unwrap_or(u8::MAX)))
}

/// A line of a known_hosts file with the pinned key. By the name of the host, which OpenSSH is told to look for.
fn known_host(place: &Place) -> Option<String> {
    let key = place.host_key.as_ref()?;
    // Type and key; a comment may hold anything.
    let key: Vec<&str> = key.split_whitespace().take(2).collect();
    Some(format!("{} {}\n", place.name, key.join(" ")))
}

fn arguments(place: &Place, way: &Way, known: &Path, command: &[String]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut option = |name: &str, value: &str| {
        words.push(name.to_owned());
        words.push(value.to_owned());
    };
    option("-l", &place.user);
    if let Some(port) = place.port {
        option("-p", &port.to_string());
    }
    for identity in &way.identity {
        option("-i", &identity.display().to_string());
    }
    if place.host_key.is_some() {
        option("-o", &format!("UserKnownHostsFile={}", known.display()));
        option("-o", "GlobalKnownHostsFile=/dev/null");
        option("-o", &format!("HostKeyAlias={}", place.name));
        option("-o", "StrictHostKeyChecking=yes");
    } else if way.accept_new_host_key {
        option("-o", "StrictHostKeyChecking=accept-new");
    }
    words.push("--".to_owned());
    words.push(place.address.clone());
    words.extend(command.iter().cloned());
    words
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cli::reach::Client;

    #[test]
    fn the_host_file_becomes_options_and_the_address_never_one() {
        let mut place = Place {
            name: "web".parse().unwrap(),
            address: "203.0.113.1".to_owned(),
            port: Some(2222),
            user: "deploy".to_owned(),
            host_key: None,
            client: Client::Russh,
            arch: None,
        };
        let way = Way::default();
        let words = |place: &Place| arguments(place, &way, Path::new("/k"), &["ls".to_owned()]);
        assert_eq!(
            words(&place),
            ["-l", "deploy", "-p", "2222", "--", "203.0.113.1", "ls"]
        );
        assert_eq!(known_host(&place), None);
        place.host_key = Some("ssh-ed25519 AAAA root@web".to_owned());
        assert_eq!(known_host(&place).unwrap(), "web ssh-ed25519 AAAA\n");
        assert!(words(&place).contains(&"StrictHostKeyChecking=yes".to_owned()));
    }
}
