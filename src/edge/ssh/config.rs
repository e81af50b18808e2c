//! The configuration of SSH: what ssh_config(5) says about a host, as far as forge follows it.

use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcetera::BaseStrategy as _;
use ssh2_config::{HostParams, ParseRule, SshConfig};

use super::{Destination, Settings, SshError};

/// A hop, decided: all but the connections before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    /// The name in the files of known hosts.
    pub(super) alias: String,
    /// Key files; those that need not exist are the usual ones.
    pub(super) identities: Vec<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) identities_only: bool,
    /// The socket of the agent.
    pub(super) agent: Option<PathBuf>,
    pub(super) known_hosts: Vec<PathBuf>,
    /// Where a new key is kept, if anywhere.
    pub(super) keep_in: Option<PathBuf>,
    pub(super) accept_new: bool,
    pub(super) alive_interval: Duration,
    pub(super) alive_count: usize,
    pub(super) pinned: Option<String>,
    jumps: Vec<String>,
}

impl Hop {
    /// As in `anna@203.0.113.10:22`.
    pub(super) fn place(&self) -> String {
        if self.host.contains(':') {
            format!("{}@[{}]:{}", self.user, self.host, self.port)
        } else {
            format!("{}@{}:{}", self.user, self.host, self.port)
        }
    }
}

const USUAL_KEYS: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];
const MOST_HOPS: usize = 8;

/// What the laptop has.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) home: PathBuf,
    pub(super) user: String,
    pub(super) agent: Option<PathBuf>,
}

impl Surroundings {
    pub(super) fn of_this_process() -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            home: etcetera::choose_base_strategy()
                .map(|strategy| strategy.home_dir().to_path_buf())
                .unwrap_or_default(),
            user: set("USER").or_else(|| set("LOGNAME")).map_or_else(
                || "root".to_owned(),
                |name| name.to_string_lossy().into_owned(),
            ),
            agent: set("SSH_AUTH_SOCK").map(PathBuf::from),
        }
    }
}

/// The hops to a destination: the jump hosts in their order, then itself.
///
/// # Errors
/// [`SshError::Config`], [`SshError::NotFollowed`].
pub(super) fn hops(
    destination: &Destination,
    settings: &Settings,
    around: &Surroundings,
) -> Result<Vec<Hop>, SshError> {
    let path = settings
        .config
        .clone()
        .unwrap_or_else(|| around.home.join(".ssh/config"));
    let config = read(&path, &around.home)?;
    let reader = Reader {
        path: &path,
        config: &config,
        settings,
        around,
    };
    let mut last = reader.hop(
        &destination.address,
        destination.user.as_deref(),
        destination.port,
    )?;
    last.pinned.clone_from(&destination.host_key);
    let mut hops = Vec::new();
    let jumps = last.jumps.clone();
    reader.jumps(&jumps, &mut hops, 0)?;
    hops.push(last);
    Ok(hops)
}

fn read(path: &Path, home: &Path) -> Result<SshConfig, SshError> {
    let failed = |why: String| SshError::Config {
        path: path.to_path_buf(),
        why,
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(SshConfig::default()),
        Err(error) => return Err(failed(error.to_string())),
    };
    let config = SshConfig::default()
        .home_dir(home)
        .parse(
            &mut BufReader::new(file),
            ParseRule::ALLOW_UNKNOWN_FIELDS | ParseRule::ALLOW_UNSUPPORTED_FIELDS,
        )
        .map_err(|error| failed(error.to_string()))?;
    // The reader takes what follows a `Match` for a part of the block before: nothing of such a file can be trusted.
    let has_match = config
        .get_hosts()
        .iter()
        .any(|host| field(&host.params, "match").is_some());
    if has_match {
        return Err(SshError::NotFollowed {
            path: path.to_path_buf(),
            what: "`Match`".to_owned(),
        });
    }
    Ok(config)
}

fn field<'a>(params: &'a HostParams, name: &str) -> Option<&'a [String]> {
    params
        .unsupported_fields
        .iter()
        .chain(&params.ignored_fields)
        .find(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, values)| values.as_slice())
}

fn word(params: &HostParams, name: &str) -> Option<String> {
    field(params, name)?.first().cloned()
}

struct Reader<'a> {
    path: &'a Path,
    config: &'a SshConfig,
    settings: &'a Settings,
    around: &'a Surroundings,
}

impl Reader<'_> {
    fn not_followed(&self, what: &str) -> SshError {
        SshError::NotFollowed {
            path: self.path.to_path_buf(),
            what: what.to_owned(),
        }
    }

    fn wrong(&self, why: String) -> SshError {
        SshError::Config {
            path: self.path.to_path_buf(),
            why,
        }
    }

    fn hop(&self, alias: &str, user: Option<&str>, port: Option<u16>) -> Result<Hop, SshError> {
        let params = self.config.query(alias);
        for (name, harmless) in [
            ("ProxyCommand", "none"),
            ("KnownHostsCommand", "none"),
            ("PKCS11Provider", "none"),
        ] {
            if let Some(value) = word(&params, name)
                && !value.eq_ignore_ascii_case(harmless)
            {
                return Err(self.not_followed(&format!("`{name}`")));
            }
        }
        if let Some(value) = word(&params, "CanonicalizeHostname")
            && !value.eq_ignore_ascii_case("no")
        {
            return Err(self.not_followed("`CanonicalizeHostname`"));
        }
        let host = params
            .host_name
            .as_deref()
            .map_or_else(|| alias.to_owned(), |name| name.replace("%h", alias));
        // `[::1]` and `::1` are one host.
        let host = host.trim_matches(['[', ']']).to_owned();
        let port = port.or(params.port).unwrap_or(22);
        let user = user
            .map(str::to_owned)
            .or_else(|| params.user.clone())
            .unwrap_or_else(|| self.around.user.clone());
        let path = |text: &str| self.path_of(text, alias, &host, &user, port);
        let mut identities = self.settings.identity.clone();
        match &params.identity_file {
            Some(files) => {
                for file in files {
                    let text = file.to_string_lossy();
                    if text != "none" {
                        identities.push(path(&text)?);
                    }
                }
            }
            None => {
                let folder = self.around.home.join(".ssh");
                identities.extend(USUAL_KEYS.iter().map(|name| folder.join(name)));
            }
        }
        let certificate = match &params.certificate_file {
            Some(file) if file != Path::new("none") => Some(path(&file.to_string_lossy())?),
            _ => None,
        };
        let agent = match word(&params, "IdentityAgent").as_deref() {
            Some("none") => None,
            Some("SSH_AUTH_SOCK") | None => self.around.agent.clone(),
            Some(text) => match text.strip_prefix('$') {
                Some(name) => std::env::var_os(name.trim_matches(['{', '}'])).map(PathBuf::from),
                None => Some(path(text)?),
            },
        };
        let files = |name: &str| {
            let words = field(&params, name)?.iter().filter(|file| *file != "none");
            Some(words.map(|file| path(file)).collect::<Result<Vec<_>, _>>())
        };
        let mut known_hosts = match &self.settings.known_hosts {
            Some(file) => vec![file.clone()],
            None => files("UserKnownHostsFile").unwrap_or_else(|| {
                let folder = self.around.home.join(".ssh");
                Ok(vec![
                    folder.join("known_hosts"),
                    folder.join("known_hosts2"),
                ])
            })?,
        };
        let keep_in = known_hosts.first().cloned();
        if self.settings.known_hosts.is_none() {
            known_hosts.extend(files("GlobalKnownHostsFile").unwrap_or_else(|| {
                Ok(vec![
                    PathBuf::from("/etc/ssh/ssh_known_hosts"),
                    PathBuf::from("/etc/ssh/ssh_known_hosts2"),
                ])
            })?);
        }
        // `no` would also take keys that have changed: that is not for forge.
        let accept_new = self.settings.accept_new_host_key
            || word(&params, "StrictHostKeyChecking")
                .is_some_and(|value| ["accept-new", "no", "off"].contains(&value.as_str()));
        let alive_count = match word(&params, "ServerAliveCountMax") {
            Some(text) => text
                .parse()
                .map_err(|_| self.wrong(format!("`ServerAliveCountMax {text}` is no number")))?,
            None => 4,
        };
        let jumps = match &params.proxy_jump {
            Some(jumps) if *jumps != ["none"] => jumps.clone(),
            _ => Vec::new(),
        };
        Ok(Hop {
            alias: word(&params, "HostKeyAlias").unwrap_or_else(|| host.clone()),
            host,
            port,
            user,
            identities,
            certificate,
            identities_only: word(&params, "IdentitiesOnly")
                .is_some_and(|value| value.eq_ignore_ascii_case("yes")),
            agent,
            known_hosts,
            keep_in,
            accept_new,
            // Never without: a connection that is gone must be noticed.
            alive_interval: params
                .server_alive_interval
                .filter(|interval| !interval.is_zero())
                .unwrap_or(Duration::from_secs(15)),
            alive_count,
            pinned: None,
            jumps,
        })
    }

    /// As `ssh -J` does: the jumps that the first one needs itself come before it; of the others it is known already.
    fn jumps(&self, jumps: &[String], hops: &mut Vec<Hop>, depth: usize) -> Result<(), SshError> {
        if depth > MOST_HOPS {
            return Err(self.wrong("`ProxyJump` goes round in circles".to_owned()));
        }
        for (index, jump) in jumps.iter().enumerate() {
            let (user, host, port) = jump_of(jump)
                .ok_or_else(|| self.wrong(format!("`ProxyJump {jump}` is not understood")))?;
            let hop = self.hop(host, user, port)?;
            if index == 0 {
                self.jumps(&hop.jumps, hops, depth + 1)?;
            }
            hops.push(hop);
        }
        Ok(())
    }

    fn path_of(
        &self,
        text: &str,
        alias: &str,
        host: &str,
        user: &str,
        port: u16,
    ) -> Result<PathBuf, SshError> {
        let mut out = String::new();
        let mut chars = text.chars();
        while let Some(char) = chars.next() {
            if char != '%' {
                out.push(char);
                continue;
            }
            match chars.next() {
                Some('%') => out.push('%'),
                Some('d') => out.push_str(&self.around.home.to_string_lossy()),
                Some('h') => out.push_str(host),
                Some('n') => out.push_str(alias),
                Some('r') => out.push_str(user),
                Some('u') => out.push_str(&self.around.user),
                Some('p') => out.push_str(&port.to_string()),
                other => {
                    let token = other.map_or_else(String::new, |other| other.to_string());
                    return Err(self.not_followed(&format!("`%{token}` in `{text}`")));
                }
            }
        }
        Ok(match out.strip_prefix("~/") {
            Some(rest) => self.around.home.join(rest),
            None => PathBuf::from(out),
        })
    }
}

/// `[user@]host[:port]`, or the same as `ssh://`.
fn jump_of(text: &str) -> Option<(Option<&str>, &str, Option<u16>)> {
    let text = text.trim();
    let text = text
        .strip_prefix("ssh://")
        .map_or(text, |rest| rest.trim_end_matches('/'));
    let (user, rest) = match text.rsplit_once('@') {
        Some((user, rest)) => (Some(user), rest),
        None => (None, text),
    };
    let (host, port) = if let Some(rest) = rest.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        match rest {
            "" => (host, None),
            rest => (host, Some(rest.strip_prefix(':')?.parse().ok()?)),
        }
    } else {
        match rest.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port.parse().ok()?)),
            // An IPv6 address without brackets.
            _ => (rest, None),
        }
    };
    (!host.is_empty() && user != Some("")).then_some((user, host, port))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn resolve(config: &str, address: &str) -> Result<Vec<Hop>, SshError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".ssh")).unwrap();
        std::fs::write(
            folder.path().join(".ssh/included"),
            "Host inner\n  Port 77\n  ProxyJump none\n",
        )
        .unwrap();
        std::fs::write(folder.path().join(".ssh/config"), config).unwrap();
        let around = Surroundings {
            home: folder.path().to_path_buf(),
            user: "anna".to_owned(),
            agent: Some("/agent".into()),
        };
        let destination = Destination {
            name: "web".to_owned(),
            address: address.to_owned(),
            port: None,
            user: None,
            host_key: Some("pin".to_owned()),
        };
        let mut hops = hops(&destination, &Settings::default(), &around)?;
        // Paths as the person writes them.
        for hop in &mut hops {
            for path in hop.identities.iter_mut().chain(&mut hop.known_hosts) {
                if let Ok(rest) = path.strip_prefix(folder.path()) {
                    *path = Path::new("HOME").join(rest);
                }
            }
        }
        Ok(hops)
    }

    const CONFIG: &str = "\
Include included
Host far
  HostName far.%h.example
  User root
  Port 2022
  IdentityFile ~/.ssh/far_%r
  IdentityFile %d/keys/%h
  IdentitiesOnly yes
  IdentityAgent none
  ProxyJump bea@near:222,inner
  ServerAliveInterval 5
  ServerAliveCountMax 2
  UserKnownHostsFile ~/.ssh/a ~/.ssh/b
  StrictHostKeyChecking accept-new
Host near
  ProxyJump first
Host n* !near
  User nobody
";

    #[test]
    fn a_host_through_three_others() {
        let hops = resolve(CONFIG, "far").unwrap();
        let places: Vec<String> = hops.iter().map(Hop::place).collect();
        assert_eq!(
            places,
            [
                "anna@first:22",
                "bea@near:222",
                "anna@inner:77",
                "root@far.far.example:2022"
            ]
        );
        let far = &hops[3];
        assert_eq!(
            far.identities,
            [
                PathBuf::from("HOME/.ssh/far_root"),
                PathBuf::from("HOME/keys/far.far.example")
            ]
        );
        assert_eq!(
            far.known_hosts,
            [
                PathBuf::from("HOME/.ssh/a"),
                PathBuf::from("HOME/.ssh/b"),
                PathBuf::from("/etc/ssh/ssh_known_hosts"),
                PathBuf::from("/etc/ssh/ssh_known_hosts2"),
            ]
        );
        assert!(far.identities_only && far.agent.is_none());
        assert_eq!(
            (far.alive_interval, far.alive_count),
            (Duration::from_secs(5), 2)
        );
        assert_eq!(far.pinned.as_deref(), Some("pin"));
        assert!(far.accept_new && !hops[0].accept_new);
        let first = &hops[0];
        assert_eq!(first.pinned, None);
        assert_eq!(first.identities[0], PathBuf::from("HOME/.ssh/id_ed25519"));
        assert_eq!(first.agent.as_deref(), Some(Path::new("/agent")));
        assert_eq!(
            (first.alive_interval, first.alive_count),
            (Duration::from_secs(15), 4)
        );
    }

    #[test]
    fn patterns_and_their_negation() {
        assert_eq!(resolve(CONFIG, "north").unwrap()[0].user, "nobody");
        assert_eq!(resolve(CONFIG, "south").unwrap()[0].user, "anna");
    }

    #[test]
    fn what_is_not_followed_is_said() {
        for (config, what) in [
            ("Match host x\n  User root\n", "`Match`"),
            ("Host a\n  Port 1\nmatch all\n  User root\n", "`Match`"),
            ("Host far\n  ProxyCommand nc %h %p\n", "`ProxyCommand`"),
            ("IdentityFile ~/%C\n", "`%C`"),
            ("CanonicalizeHostname always\n", "`CanonicalizeHostname`"),
        ] {
            let error = resolve(config, "far").unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
            assert!(error.hint().unwrap().contains("--ssh openssh"));
        }
        assert!(resolve("Host far\n  ProxyCommand none\n", "far").is_ok());
        let error = resolve("Host far\n  ProxyJump far\n", "far").unwrap_err();
        assert!(error.to_string().contains("circles"), "{error}");
    }

    #[test]
    fn jumps() {
        assert_eq!(jump_of("a"), Some((None, "a", None)));
        assert_eq!(jump_of("u@a:22"), Some((Some("u"), "a", Some(22))));
        assert_eq!(jump_of("ssh://u@a:22/"), Some((Some("u"), "a", Some(22))));
        assert_eq!(jump_of("u@[::1]:22"), Some((Some("u"), "::1", Some(22))));
        assert_eq!(jump_of("::1"), Some((None, "::1", None)));
        assert_eq!(jump_of("a:b"), None);
        assert_eq!(jump_of("@a"), None);
    }
}
