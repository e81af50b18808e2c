//! Docker on the host (20.10 or newer): asked over its socket, changed by its command line.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::daemon_socket::{DaemonSocket, SocketError, filter};
use super::paths::Paths;
use super::wait::Deadline;
use crate::edge::program::{Call, Ended, ProgramError};

/// Asking takes this long at most; a daemon that does not answer is an error.
const ASK: Duration = Duration::from_secs(60);
/// Creating and removing: a slow disk.
const CHANGE: Duration = Duration::from_secs(180);
/// Stopping: each container has its own grace period, within that of Docker.
const STOP: Duration = Duration::from_secs(15 * 60);
/// Large images on slow disks.
const LOAD: Duration = Duration::from_secs(60 * 60);
const STEP: Duration = Duration::from_millis(250);

/// Why Docker did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("there is no program `{0}`")]
    Missing(&'static str),
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error("Docker's daemon, asked for {asked}: {source}")]
    Daemon { asked: String, source: SocketError },
}

/// Docker's daemon of one host.
#[derive(Clone, Debug)]
pub struct Engine {
    environment: Vec<(String, String)>,
    socket: DaemonSocket,
}

/// The daemon, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Of this installation.
    pub id: String,
    pub root: String,
    pub version: String,
    /// True of the containerd image store; false of a graph driver.
    pub containerd: bool,
    /// `iptables` or `nftables`, where it says so (29 and newer).
    pub firewall: Option<String>,
}

#[derive(Deserialize)]
struct RawInfo {
    #[serde(rename = "ID", default)]
    id: String,
    #[serde(rename = "DockerRootDir", default)]
    root: String,
    #[serde(rename = "ServerVersion", default)]
    version: String,
    #[serde(rename = "DriverStatus", default)]
    status: Option<Vec<(String, String)>>,
    #[serde(rename = "FirewallBackend", default)]
    firewall: Option<Firewall>,
}

#[derive(Deserialize)]
struct Firewall {
    #[serde(rename = "Driver", default)]
    driver: String,
}

/// An image that Docker has.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageFacts {
    /// Of the config on a graph driver, of the manifest in the containerd store.
    pub id: String,
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    #[serde(rename = "RootFS", default)]
    pub root: RootFs,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RootFs {
    /// The digests of the uncompressed layers, from the lowest.
    #[serde(default)]
    pub layers: Option<Vec<String>>,
}

/// A container, as `docker inspect` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    pub id: String,
    /// With a slash before it.
    pub name: String,
    /// The Id of its image.
    pub image: String,
    #[serde(default)]
    pub restart_count: u32,
    pub state: State,
    pub config: Config,
    #[serde(default)]
    pub mounts: Vec<Mount>,
    #[serde(default)]
    pub network_settings: NetworkSettings,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct State {
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited`, `dead`.
    pub status: String,
    pub exit_code: i64,
    #[serde(default)]
    pub error: String,
    pub started_at: String,
    pub health: Option<HealthState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthState {
    /// `starting`, `healthy`, `unhealthy`.
    pub status: String,
    #[serde(default)]
    pub log: Option<Vec<HealthLog>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct HealthLog {
    pub output: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// The name by which its image was called.
    pub image: String,
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Mount {
    #[serde(default)]
    pub source: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkSettings {
    #[serde(default)]
    pub networks: BTreeMap<String, Endpoint>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Endpoint {
    #[serde(rename = "NetworkID", default)]
    pub network_id: String,
    #[serde(rename = "IPAddress", default)]
    pub address: String,
}

/// What a listing says of a thing that is then asked for alone.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
}

impl Container {
    pub fn label(&self, name: &str) -> Option<&str> {
        self.config
            .labels
            .as_ref()?
            .get(name)
            .map(std::string::String::as_str)
    }

    pub fn plain_name(&self) -> &str {
        self.name.trim_start_matches('/')
    }

    pub fn is_running(&self) -> bool {
        self.state.status == "running"
    }

    /// `starting`, `healthy`, `unhealthy`; none without a healthcheck.
    pub fn health(&self) -> Option<&str> {
        self.state
            .health
            .as_ref()
            .map(|health| health.status.as_str())
            .filter(|status| *status != "none")
    }
}

/// A network, as `docker network inspect` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct NetworkFacts {
    pub id: String,
    pub name: String,
    pub driver: String,
    pub internal: bool,
    #[serde(rename = "IPAM")]
    pub ipam: Ipam,
    #[serde(default)]
    pub options: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub labels: Option<BTreeMap<String, String>>,
    /// Those that run, by their Ids.
    #[serde(default)]
    pub containers: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ipam {
    #[serde(default)]
    pub config: Option<Vec<IpamConfig>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IpamConfig {
    #[serde(default)]
    pub subnet: String,
}

impl Engine {
    /// Docker of a host. Below a folder that is not `/`, only a daemon whose socket is in it is met, never that of this machine.
    ///
    /// It is given an environment of its own: what a person has set (`COMPOSE_…`, `DOCKER_…`) has no say.
    pub fn of(paths: &Paths) -> Self {
        let path = std::env::var("PATH").ok().filter(|path| !path.is_empty());
        let path = path.unwrap_or_else(|| {
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()
        });
        let socket = if paths.is_real() {
            paths.at("/var/run/docker.sock")
        } else {
            paths.at("/run/docker.sock")
        };
        let home = paths.at("/root");
        let environment = [
            ("PATH", path),
            ("HOME", home.display().to_string()),
            ("DOCKER_CONFIG", home.join(".docker").display().to_string()),
            ("DOCKER_HOST", format!("unix://{}", socket.display())),
            // What Compose would ask, tell or colour.
            ("COMPOSE_MENU", "false".to_owned()),
            ("DOCKER_CLI_HINTS", "false".to_owned()),
        ];
        Self {
            environment: environment
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            socket: DaemonSocket::at(socket),
        }
    }

    /// A call of `docker`, which does not know more of the world than it must.
    pub(super) fn call(&self, arguments: &[impl AsRef<str>], limit: Duration) -> Call {
        Call::new("docker", arguments, limit).only_with(&self.environment)
    }

    fn ask(&self, arguments: &[impl AsRef<str>], limit: Duration) -> Result<String, EngineError> {
        self.call(arguments, limit)
            .run()?
            .ok_or(EngineError::Missing("docker"))
    }

    fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, EngineError> {
        self.socket
            .read(path, ASK)
            .map_err(|source| EngineError::Daemon {
                asked: path.to_owned(),
                source,
            })
    }

    /// Whether Docker is installed and its daemon answers; a daemon is waited for as long as `patience`.
    ///
    /// # Errors
    /// None today: a daemon that cannot be asked is one that does not answer.
    pub fn present(&self, patience: Duration) -> Result<bool, EngineError> {
        if !self.has_program() {
            return Ok(false);
        }
        let deadline = Deadline::after(patience);
        loop {
            match self.socket.get("/_ping", ASK) {
                Ok(_) => return Ok(true),
                Err(_) if deadline.is_over() => return Ok(false),
                Err(_) => deadline.pause(STEP),
            }
        }
    }

    /// Changes are made by the program: without it the daemon is of no use.
    fn has_program(&self) -> bool {
        let path = self.environment.iter().find(|(name, _)| name == "PATH");
        path.is_some_and(|(_, path)| {
            std::env::split_paths(path).any(|folder| folder.join("docker").is_file())
        })
    }

    /// What the daemon says of itself.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn info(&self) -> Result<Info, EngineError> {
        let raw: RawInfo = self.read("/info")?;
        Ok(Info {
            containerd: raw
                .status
                .iter()
                .flatten()
                .any(|(_, value)| value.starts_with("io.containerd.snapshotter.")),
            firewall: raw.firewall.map(|firewall| firewall.driver),
            id: raw.id,
            root: raw.root,
            version: raw.version,
        })
    }

    /// Every image that Docker lists and can inspect; what it cannot run may be among them.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn images(&self) -> Result<Vec<ImageFacts>, EngineError> {
        let listed: Vec<Listed> = self.read("/images/json")?;
        // An image that is damaged, or gone since, must not hide the others; a daemon that is gone must not look like one without images.
        let mut found = Vec::new();
        for image in listed {
            match self.read(&format!("/images/{}/json", image.id)) {
                Ok(facts) => found.push(facts),
                Err(EngineError::Daemon {
                    source: SocketError::Status { .. },
                    ..
                }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// Makes a container of an image and removes it: what Docker can inspect need not be whole.
    ///
    /// # Errors
    /// [`EngineError::Program`] says why none can be made.
    pub fn prove(&self, image: &str) -> Result<(), EngineError> {
        let create = [
            "create",
            "--pull",
            "never",
            "--network",
            "none",
            "--label",
            "forge.proof=1",
            "--entrypoint",
            "/",
            image,
        ];
        let id = self.ask(&create, CHANGE)?;
        self.ask(&["rm", "--force", id.trim()], CHANGE)?;
        Ok(())
    }

    /// Loads what `write` writes: an archive of an image.
    ///
    /// # Errors
    /// [`EngineError`] if Docker does not take it. What `write` meets is its own affair.
    pub fn load<'a>(
        &self,
        write: impl FnOnce(&mut dyn Write) + Send + 'a,
    ) -> Result<(), EngineError> {
        self.call(&["load", "--quiet"], LOAD)
            .feed(write)?
            .ok_or(EngineError::Missing("docker"))?;
        Ok(())
    }

    /// Removes an image by its name or Id.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn remove_image(&self, image: &str) -> Result<(), EngineError> {
        self.ask(&["image", "rm", "--force", image], CHANGE)?;
        Ok(())
    }

    /// The containers that carry these labels (`NAME=VALUE`), in whatever state, in the order of their names.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn containers(&self, labels: &[&str]) -> Result<Vec<Container>, EngineError> {
        let listing = format!("/containers/json?all=1&{}", filter("label", labels));
        let mut last = None;
        // A container can go between the questions; then all are asked again.
        for _ in 0..3 {
            let listed: Vec<Listed> = self.read(&listing)?;
            let each = |listed: &Listed| self.read(&format!("/containers/{}/json", listed.id));
            match listed
                .iter()
                .map(each)
                .collect::<Result<Vec<Container>, _>>()
            {
                Ok(mut found) => {
                    found.sort_by(|a, b| a.name.cmp(&b.name));
                    return Ok(found);
                }
                Err(EngineError::Daemon { source, .. }) if !source.is_missing() => {
                    return Err(EngineError::Daemon {
                        asked: listing,
                        source,
                    });
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or(EngineError::Missing("docker")))
    }

    /// The networks whose names begin with `forge-`, or that carry forge's label.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn networks(&self) -> Result<Vec<NetworkFacts>, EngineError> {
        let listed: Vec<Listed> =
            self.read(&format!("/networks?{}", filter("name", &["forge-"])))?;
        // Who is on a network is said of one that is asked for alone.
        let each = |listed: &Listed| self.read(&format!("/networks/{}", listed.id));
        listed.iter().map(each).collect()
    }

    /// Makes a network with these arguments of `docker network create`.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn create_network(&self, arguments: &[String]) -> Result<(), EngineError> {
        let words: Vec<&str> = ["network", "create"]
            .into_iter()
            .chain(arguments.iter().map(String::as_str))
            .collect();
        self.ask(&words, CHANGE)?;
        Ok(())
    }

    /// # Errors
    /// [`EngineError`], if it is used too.
    pub fn remove_network(&self, id: &str) -> Result<(), EngineError> {
        self.ask(&["network", "rm", id], CHANGE)?;
        Ok(())
    }

    /// Stops containers, all at once, each within its grace period.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn stop(&self, ids: &[&str]) -> Result<(), EngineError> {
        self.each(&["stop"], ids, STOP)
    }

    /// # Errors
    /// [`EngineError`].
    pub fn restart(&self, ids: &[&str]) -> Result<(), EngineError> {
        self.each(&["restart"], ids, STOP)
    }

    /// Removes containers, and their anonymous volumes; data stands in folders, and stays.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn remove(&self, ids: &[&str]) -> Result<(), EngineError> {
        self.each(&["rm", "--force", "--volumes"], ids, CHANGE)
    }

    fn each(&self, command: &[&str], ids: &[&str], limit: Duration) -> Result<(), EngineError> {
        if ids.is_empty() {
            return Ok(());
        }
        let arguments: Vec<&str> = command.iter().chain(ids).copied().collect();
        self.ask(&arguments, limit)?;
        Ok(())
    }

    /// The end of what a container wrote, in the order in which it did.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn log_tail(&self, id: &str, lines: u32) -> Result<String, EngineError> {
        let lines = lines.to_string();
        let call = self.call(&["logs", "--tail", &lines, id], ASK);
        let (_, text) = call.judge(|_| {})?.ok_or(EngineError::Missing("docker"))?;
        Ok(text)
    }

    /// Hands on what a container writes. `limit` ends it: none is a day.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn logs(
        &self,
        id: &str,
        options: &LogOptions,
        to: &mut (dyn Write + Send),
        errors_to: &mut (dyn Write + Send),
    ) -> Result<(), EngineError> {
        let mut arguments = vec!["logs".to_owned()];
        if let Some(tail) = options.tail {
            arguments.extend(["--tail".to_owned(), tail.to_string()]);
        }
        if let Some(since) = &options.since {
            arguments.extend(["--since".to_owned(), since.clone()]);
        }
        if options.follow {
            arguments.push("--follow".to_owned());
        }
        arguments.push(id.to_owned());
        self.call(&arguments, LONGEST_FOLLOW)
            .stream(None, to, errors_to)?
            .ok_or(EngineError::Missing("docker"))?;
        Ok(())
    }

    /// Runs a program in a running container: words, no shell.
    ///
    /// # Errors
    /// [`EngineError`]. A program that fails is an answer.
    pub fn exec(
        &self,
        id: &str,
        command: &[String],
        user: Option<&str>,
        limit: Duration,
        streams: Streams<'_>,
    ) -> Result<Ended, EngineError> {
        let arguments = exec_arguments(id, command, user, streams.stdin.is_some());
        self.call(&arguments, limit)
            .stream(streams.stdin, streams.stdout, streams.stderr)?
            .ok_or(EngineError::Missing("docker"))
    }

    /// As [`Self::exec`]; gives the end of what it says.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn exec_judged(
        &self,
        id: &str,
        command: &[String],
        limit: Duration,
    ) -> Result<(Ended, String), EngineError> {
        let arguments = exec_arguments(id, command, None, false);
        self.call(&arguments, limit)
            .judge(|_| {})?
            .ok_or(EngineError::Missing("docker"))
    }
}

/// Streams of a program in a container.
pub struct Streams<'a> {
    /// It must end, or the program read it whole.
    pub stdin: Option<&'a mut (dyn Read + Send)>,
    pub stdout: &'a mut (dyn Write + Send),
    pub stderr: &'a mut (dyn Write + Send),
}

impl fmt::Debug for Streams<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams")
            .field("stdin", &self.stdin.is_some())
            .finish_non_exhaustive()
    }
}

/// Nobody follows longer.
const LONGEST_FOLLOW: Duration = Duration::from_secs(24 * 60 * 60);

/// Which lines of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOptions {
    pub tail: Option<u64>,
    /// As Docker reads it: RFC 3339, or `10m`.
    pub since: Option<String>,
    pub follow: bool,
}

fn exec_arguments(
    id: &str,
    command: &[String],
    user: Option<&str>,
    interactive: bool,
) -> Vec<String> {
    let mut arguments = vec!["exec".to_owned()];
    if interactive {
        arguments.push("--interactive".to_owned());
    }
    if let Some(user) = user {
        arguments.extend(["--user".to_owned(), user.to_owned()]);
    }
    arguments.push(id.to_owned());
    arguments.extend_from_slice(command);
    arguments
}
