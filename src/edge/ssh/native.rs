//! SSH spoken by forge itself, with russh.

use std::borrow::Cow;
use std::future::Future;
use std::io::{self, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::{Algorithm, PublicKey, PublicKeyOrCertificate};
use russh::{Preferred, cipher};
use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::edge::terminal::Prompt;

use super::ask::NewHost;
use super::config::{self, Hop, Surroundings};
use super::known_hosts::{self, KnownHosts, Verdict};
use super::stream::{self, Engine};
use super::{Ask, Channel, Destination, Remote, RemoteCommand, Settings, SshError, auth};

/// A host, reached with forge's own SSH.
#[derive(Debug)]
pub struct Native {
    engine: Arc<Engine>,
    name: String,
    hops: Vec<Hop>,
    settings: Settings,
    ask: Box<dyn Ask>,
    pub(super) prompt: Prompter,
    session: Mutex<Option<Arc<Session>>>,
}

pub(super) struct Prompter(pub(super) Mutex<Box<dyn Prompt + Send>>);

impl std::fmt::Debug for Prompter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prompter")
    }
}

/// A connection that is logged in. Those to jump hosts live as long as it does.
struct Session {
    handle: Handle<Watcher>,
    _before: Vec<Handle<Watcher>>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

impl Native {
    /// Reads the configuration; connects to nothing yet.
    ///
    /// # Errors
    /// [`SshError::Config`], [`SshError::NotFollowed`], [`SshError::Pin`].
    pub fn new(
        destination: &Destination,
        settings: Settings,
        ask: impl Ask + 'static,
        prompt: impl Prompt + Send + 'static,
    ) -> Result<Self, SshError> {
        let hops = config::hops(destination, &settings, &Surroundings::of_this_process())?;
        if let Some(pin) = &destination.host_key {
            pinned(&destination.name, pin)?;
        }
        let engine = Engine::start().map_err(|error| SshError::Connect {
            place: destination.name.clone(),
            why: error.to_string(),
        })?;
        Ok(Self {
            engine: Arc::new(engine),
            name: destination.name.clone(),
            hops,
            settings,
            ask: Box::new(ask),
            prompt: Prompter(Mutex::new(Box::new(prompt))),
            session: Mutex::new(None),
        })
    }

    /// Waits for one step, not longer than it may take.
    pub(super) fn step<T>(
        &self,
        hop: &Hop,
        step: &'static str,
        limit: Duration,
        what: impl Future<Output = T>,
    ) -> Result<T, SshError> {
        let handle = self
            .engine
            .handle()
            .map_err(|error| protocol(hop, step, &error))?;
        handle
            .block_on(async { timeout(limit, what).await })
            .map_err(|_| SshError::TooLong {
                place: hop.place(),
                step,
                limit,
            })
    }

    pub(super) fn limit(&self) -> Duration {
        self.settings.step_timeout
    }

    fn connect(&self) -> Result<Session, SshError> {
        let mut before: Vec<Handle<Watcher>> = Vec::new();
        for hop in &self.hops {
            let pin = match &hop.pinned {
                Some(text) => Some(pinned(&self.name, text)?),
                None => None,
            };
            let shown = Shown::default();
            let mut handle = match self.shake_hands(hop, before.last(), pin, &shown) {
                Err(error @ SshError::Unknown { .. }) => {
                    let taken = self.take_new(hop, &shown)?.ok_or(error)?;
                    // Anew, since a person may take long, and with this key alone.
                    self.shake_hands(hop, before.last(), Some(taken), &shown)?
                }
                other => other?,
            };
            auth::log_in(self, hop, &mut handle)?;
            before.push(handle);
        }
        match before.pop() {
            Some(handle) => Ok(Session {
                handle,
                _before: before,
            }),
            None => Err(SshError::Connect {
                place: self.name.clone(),
                why: "there is no way".to_owned(),
            }),
        }
    }

    /// Opens the connection, up to the exchange of keys.
    fn shake_hands(
        &self,
        hop: &Hop,
        through: Option<&Handle<Watcher>>,
        pin: Option<PublicKey>,
        shown: &Shown,
    ) -> Result<Handle<Watcher>, SshError> {
        let known = Arc::new(KnownHosts::read(&hop.known_hosts).map_err(|(path, error)| {
            SshError::Config {
                path,
                why: error.to_string(),
            }
        })?);
        let wanted = match &pin {
            Some(key) => vec![key.algorithm()],
            None => known.algorithms(&hop.alias, hop.port),
        };
        let config = Arc::new(client::Config {
            preferred: preferred(&wanted),
            nodelay: true,
            keepalive_interval: Some(hop.alive_interval),
            keepalive_max: hop.alive_count,
            ..client::Config::default()
        });
        let watcher = Watcher {
            hop: hop.clone(),
            known,
            pin,
            shown: shown.clone(),
        };
        let stream: Box<dyn Stream> = match through {
            None => Box::new(self.dial(hop)?),
            Some(before) => {
                let opened = self.step(hop, "the way through the jump host", self.limit(), {
                    before.channel_open_direct_tcpip(
                        hop.host.clone(),
                        hop.port.into(),
                        "127.0.0.1",
                        0,
                    )
                })?;
                let channel = opened.map_err(|error| SshError::Connect {
                    place: hop.place(),
                    why: format!("the jump host cannot reach it ({error})"),
                })?;
                Box::new(channel.into_stream())
            }
        };
        let step = "the key exchange";
        let shaken = self.step(hop, step, self.limit(), async {
            client::connect_stream(config, stream, watcher).await
        })?;
        shaken.map_err(|failure| match failure {
            Failure::Host(error) => *error,
            Failure::Russh(error) => protocol(hop, step, &error),
        })
    }

    fn dial(&self, hop: &Hop) -> Result<TcpStream, SshError> {
        let host = hop.host.as_str();
        let step = "looking up the address";
        let found = self.step(hop, step, self.settings.connect_timeout, async {
            tokio::net::lookup_host((host, hop.port)).await
        })?;
        let addresses: Vec<_> = found
            .map_err(|error| SshError::Resolve {
                host: host.to_owned(),
                why: error.to_string(),
            })?
            .collect();
        let mut last = SshError::Resolve {
            host: host.to_owned(),
            why: "it has none".to_owned(),
        };
        for address in addresses {
            let connected = self.step(
                hop,
                "connecting",
                self.settings.connect_timeout,
                TcpStream::connect(address),
            );
            last = match connected {
                Ok(Ok(stream)) => {
                    // Slower without, and no worse.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    SshError::Refused { place: hop.place() }
                }
                Ok(Err(error)) => SshError::Connect {
                    place: hop.place(),
                    why: error.to_string(),
                },
                Err(error) => error,
            };
        }
        Err(last)
    }

    /// Asks whether a key that nobody knows is the host's, and keeps it if so. None if nobody can be asked.
    fn take_new(&self, hop: &Hop, shown: &Shown) -> Result<Option<PublicKey>, SshError> {
        let Some(shown) = shown.lock().ok().and_then(|shown| shown.clone()) else {
            return Ok(None);
        };
        let place = known_hosts::name_of(&hop.alias, hop.port);
        let algorithm = shown.algorithm().to_string();
        let fingerprint = known_hosts::fingerprint(&shown);
        if !hop.accept_new {
            match self.ask.is_it(NewHost {
                place: &place,
                algorithm: &algorithm,
                fingerprint: &fingerprint,
            }) {
                None => return Ok(None),
                Some(true) => {}
                Some(false) => {
                    return Err(SshError::Unknown {
                        place,
                        algorithm,
                        fingerprint,
                        asked: true,
                    });
                }
            }
        }
        if let Some(file) = &hop.keep_in {
            known_hosts::append(file, &hop.alias, hop.port, &shown).map_err(|error| {
                SshError::Keep {
                    place,
                    file: file.clone(),
                    why: error.to_string(),
                }
            })?;
        }
        Ok(Some(shown))
    }
}

impl Remote for Native {
    fn start(&self, command: &RemoteCommand) -> Result<Channel, SshError> {
        let mut session = self.session.lock().map_err(|error| SshError::Connect {
            place: self.name.clone(),
            why: error.to_string(),
        })?;
        if session
            .as_ref()
            .is_none_or(|session| session.handle.is_closed())
        {
            *session = Some(Arc::new(self.connect()?));
        }
        let (Some(open), Some(hop)) = (session.as_ref(), self.hops.last()) else {
            return Err(SshError::Connect {
                place: self.name.clone(),
                why: "there is no way".to_owned(),
            });
        };
        let step = "opening a channel";
        let channel = self
            .step(hop, step, self.limit(), open.handle.channel_open_session())?
            .map_err(|error| protocol(hop, step, &error))?;
        // Not waited for: what is written follows at once.
        self.step(
            hop,
            step,
            self.limit(),
            channel.exec(true, command.text().into_bytes()),
        )?
        .map_err(|error| protocol(hop, step, &error))?;
        let io = |error: io::Error| protocol(hop, step, &error);
        let mut channel = stream::split(
            self.engine.clone(),
            open.clone(),
            hop.place(),
            channel,
            self.limit(),
            command.answers_at_once(),
        )
        .map_err(io)?;
        if let Some(password) = command.first_line() {
            let line = zeroize::Zeroizing::new(format!("{}\n", password.expose_secret()));
            channel.writer.write_all(line.as_bytes()).map_err(io)?;
        }
        Ok(channel)
    }

    fn hang_up(&self) {
        if let Ok(mut session) = self.session.lock() {
            // Its channels hold on to it as long as they need it.
            *session = None;
        }
    }

    fn describe(&self) -> String {
        self.hops
            .last()
            .map_or_else(|| self.name.clone(), Hop::place)
    }
}

pub(super) fn protocol(hop: &Hop, step: &'static str, error: &dyn std::error::Error) -> SshError {
    SshError::Protocol {
        place: hop.place(),
        step,
        why: error.to_string(),
    }
}

fn pinned(name: &str, text: &str) -> Result<PublicKey, SshError> {
    PublicKey::from_openssh(text.trim()).map_err(|error| SshError::Pin {
        name: name.to_owned(),
        why: error.to_string(),
    })
}

/// The fast cipher first; host keys that are known before all others; RSA never with SHA-1.
fn preferred(known: &[Algorithm]) -> Preferred {
    let all = Preferred::DEFAULT;
    let rank = |algorithm: &Algorithm| {
        let same = |known: &Algorithm| match (known, algorithm) {
            (Algorithm::Rsa { .. }, Algorithm::Rsa { .. }) => true,
            (known, algorithm) => known == algorithm,
        };
        !known.iter().any(same)
    };
    let mut key: Vec<Algorithm> = all
        .key
        .iter()
        .filter(|algorithm| **algorithm != Algorithm::Rsa { hash: None })
        .cloned()
        .collect();
    key.sort_by_key(rank);
    let mut ciphers = vec![cipher::AES_256_GCM];
    ciphers.extend(
        all.cipher
            .iter()
            .filter(|name| **name != cipher::AES_256_GCM)
            .copied(),
    );
    Preferred {
        key: Cow::Owned(key),
        cipher: Cow::Owned(ciphers),
        // Frames are compressed where it is worth it.
        compression: Cow::Borrowed(&[russh::compression::NONE]),
        ..all
    }
}

/// Why a connection is given up while it is made.
#[derive(Debug)]
pub(super) enum Failure {
    Russh(russh::Error),
    Host(Box<SshError>),
}

impl From<russh::Error> for Failure {
    fn from(error: russh::Error) -> Self {
        Self::Russh(error)
    }
}

/// Looks at the host's key.
pub(super) struct Watcher {
    hop: Hop,
    known: Arc<KnownHosts>,
    pin: Option<PublicKey>,
    shown: Shown,
}

/// The key that a host has shown.
type Shown = Arc<Mutex<Option<PublicKey>>>;

impl Watcher {
    fn look(&self, key: &PublicKey) -> Result<(), SshError> {
        let place = known_hosts::name_of(&self.hop.alias, self.hop.port);
        let fingerprint = known_hosts::fingerprint(key);
        let algorithm = key.algorithm().to_string();
        let shown = format!("{algorithm} {fingerprint}");
        if let Some(pin) = &self.pin {
            return if pin.key_data() == key.key_data() {
                Ok(())
            } else {
                Err(SshError::NotPinned {
                    place,
                    pinned: format!("{} {}", pin.algorithm(), known_hosts::fingerprint(pin)),
                    shown,
                })
            };
        }
        match self.known.verdict(&self.hop.alias, self.hop.port, key) {
            Verdict::Known => Ok(()),
            Verdict::Changed { known, place: at } => Err(SshError::Changed {
                place,
                known,
                file: at.file,
                line: at.line,
                shown,
            }),
            Verdict::Revoked(at) => Err(SshError::Revoked {
                place,
                shown,
                file: at.file,
                line: at.line,
            }),
            Verdict::Authority(at) => Err(SshError::Authority {
                place,
                file: at.file,
                line: at.line,
            }),
            Verdict::Unknown => Err(SshError::Unknown {
                place,
                algorithm,
                fingerprint,
                asked: false,
            }),
        }
    }
}

impl client::Handler for Watcher {
    type Error = Failure;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
            // None was asked for.
            return Ok(false);
        };
        if let Ok(mut shown) = self.shown.lock() {
            *shown = Some(key.clone());
        }
        match self.look(key) {
            Ok(()) => Ok(true),
            Err(error) => Err(Failure::Host(Box::new(error))),
        }
    }
}
