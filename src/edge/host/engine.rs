//! Docker on the host (20.10 or newer): asked over its socket, changed by its command line.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answers::Answers;
use super::daemon_socket::{DaemonSocket, SocketError, filter};
use super::paths::Paths;
use super::wait::Deadline;
use crate::edge::program::{self, Call, ProgramError};

use facts::RawInfo;
pub use facts::{
    Config, Container, Endpoint, HealthLog, HealthState, ImageFacts, Info, Ipam, IpamConfig, Mount,
    NetworkFacts, NetworkSettings, RootFs, State,
};
pub use inside::{LogOptions, Streams};

mod facts;
mod inside;

/// Asking takes this long at most; a daemon that does not answer is an error.
const ASK: Duration = Duration::from_secs(60);
/// Creating and removing: a slow disk.
const CHANGE: Duration = Duration::from_secs(180);
/// Stopping: each container has its own grace period, within that of Docker.
const STOP: Duration = Duration::from_secs(15 * 60);
/// Large images on slow disks.
const LOAD: Duration = Duration::from_secs(60 * 60);
const STEP: Duration = Duration::from_millis(250);
/// Where Docker looks for plugins, after the folder of its configuration, in its order.
const PLUGINS: [&str; 4] = [
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

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
    /// The file of the plugin; none if it is not where Docker looks for it.
    compose: Option<PathBuf>,
    answers: Answers,
}

/// What a listing says of a thing that is then asked for alone.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
}

impl Engine {
    /// Docker of a host. Below a folder that is not `/`, only a daemon whose socket is in it is met, never that of this machine.
    ///
    /// It is given an environment of its own: what a person has set (`COMPOSE_…`, `DOCKER_…`) has no say.
    pub fn of(paths: &Paths) -> Self {
        let socket = if paths.is_real() {
            paths.at("/var/run/docker.sock")
        } else {
            paths.at("/run/docker.sock")
        };
        let home = paths.at("/root");
        let config = home.join(".docker");
        let compose = std::iter::once(config.join("cli-plugins"))
            .chain(PLUGINS.map(PathBuf::from))
            .map(|folder| folder.join("docker-compose"))
            .find(|file| file.is_file());
        let environment = [
            ("PATH", program::search_path()),
            ("HOME", home.display().to_string()),
            ("DOCKER_CONFIG", config.display().to_string()),
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
            compose,
            answers: Answers::of(paths),
        }
    }

    /// A call of `docker`, which does not know more of the world than it must.
    pub(super) fn call(&self, arguments: &[impl AsRef<str>], limit: Duration) -> Call {
        Call::new("docker", arguments, limit).only_with(&self.environment)
    }

    /// A call of `docker compose`. The plugin is run itself, which it allows: to let `docker` find it starts three programs instead of one.
    pub(super) fn compose(&self, arguments: &[impl AsRef<str>], limit: Duration) -> Call {
        match self.compose.as_ref().and_then(|plugin| plugin.to_str()) {
            Some(plugin) => Call::new(plugin, arguments, limit).only_with(&self.environment),
            None => {
                let words = arguments.iter().map(AsRef::as_ref);
                let words: Vec<&str> = ["compose"].into_iter().chain(words).collect();
                self.call(&words, limit)
            }
        }
    }

    /// What Compose answers to a question that nothing else has a say in.
    pub(super) fn compose_answer(
        &self,
        question: &[&str],
        ask: impl FnOnce() -> Result<String, EngineError>,
    ) -> Result<String, EngineError> {
        // Without its file nobody can tell whether it is the same program.
        match &self.compose {
            Some(plugin) => self.answers.answer(&[plugin], question, ask),
            None => ask(),
        }
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
        program::find(&program::search_path(), "docker").is_some()
    }

    /// What the daemon says of itself.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn info(&self) -> Result<Info, EngineError> {
        let raw: RawInfo = self.read("/info")?;
        Ok(raw.into())
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
}
