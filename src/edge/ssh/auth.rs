//! Logging in: the agent's keys, certificates, key files; passphrases are asked for last, and only for keys that the host would take.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{
    Certificate, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, decode_secret_key,
};
use russh::{MethodSet, SendError};
use secrecy::ExposeSecret as _;
use tokio::net::UnixStream;

use super::SshError;
use super::config::Hop;
use super::known_hosts::fingerprint;
use super::native::{Native, Watcher, protocol};

const STEP: &str = "authentication";
/// A passphrase may be mistyped so often.
const TRIES: usize = 3;

/// A key file of the configuration.
struct KeyFile {
    path: PathBuf,
    text: zeroize::Zeroizing<String>,
    public: Option<PublicKey>,
    /// None if it wants a passphrase.
    private: Option<Arc<PrivateKey>>,
    certificate: Option<Certificate>,
}

struct Attempt<'a> {
    native: &'a Native,
    hop: &'a Hop,
    handle: &'a mut Handle<Watcher>,
    tried: Vec<String>,
    methods: Vec<String>,
    rsa: Option<Option<HashAlg>>,
}

/// Logs in.
///
/// # Errors
/// [`SshError::Auth`] with everything that was tried; [`SshError::TooLong`].
pub(super) fn log_in(
    native: &Native,
    hop: &Hop,
    handle: &mut Handle<Watcher>,
) -> Result<(), SshError> {
    let mut attempt = Attempt {
        native,
        hop,
        handle,
        tried: Vec::new(),
        methods: Vec::new(),
        rsa: None,
    };
    let files = attempt.key_files();
    if attempt.with_agent(&files)? || attempt.with_files(&files)? {
        return Ok(());
    }
    if attempt.methods.is_empty() {
        // Nothing was tried: what would the host take?
        let asked = native.step(
            hop,
            STEP,
            native.limit(),
            attempt.handle.authenticate_none(hop.user.clone()),
        )?;
        if let Ok(result) = asked
            && attempt.took(result)
        {
            return Ok(());
        }
    }
    Err(SshError::Auth {
        place: hop.place(),
        user: hop.user.clone(),
        tried: attempt.tried,
        methods: attempt.methods,
    })
}

impl Attempt<'_> {
    /// Notes what the host says; true if it lets us in.
    fn took(&mut self, result: AuthResult) -> bool {
        match result {
            AuthResult::Success => true,
            AuthResult::Failure {
                remaining_methods,
                partial_success,
            } => {
                self.methods = names(&remaining_methods);
                if partial_success && let Some(last) = self.tried.last_mut() {
                    last.push_str(" (taken, but the host wants more: use `--ssh openssh`)");
                }
                false
            }
        }
    }

    fn hash_for(&mut self, key: &PublicKey) -> Result<Option<HashAlg>, SshError> {
        if !key.algorithm().is_rsa() {
            return Ok(None);
        }
        if let Some(known) = self.rsa {
            return Ok(known);
        }
        let best = self
            .native
            .step(
                self.hop,
                STEP,
                self.native.limit(),
                self.handle.best_supported_rsa_hash(),
            )?
            .map_err(|error| protocol(self.hop, STEP, &error))?;
        // A host that says nothing is old, and takes SHA-2 all the same. SHA-1 is not for us.
        let hash = best.flatten().or(Some(HashAlg::Sha512));
        self.rsa = Some(hash);
        Ok(hash)
    }

    fn key_files(&mut self) -> Vec<KeyFile> {
        let mut files = Vec::new();
        for path in &self.hop.identities {
            match key_file(path, self.hop.certificate.as_deref()) {
                Ok(Some(file)) => files.push(file),
                Ok(None) => {}
                Err(why) => self.tried.push(format!("{} ({why})", path.display())),
            }
        }
        files
    }

    fn with_agent(&mut self, files: &[KeyFile]) -> Result<bool, SshError> {
        let Some(socket) = self.hop.agent.clone() else {
            return Ok(false);
        };
        let identities =
            self.native
                .step(self.hop, "asking the agent", self.native.limit(), async {
                    let mut agent = AgentClient::connect(UnixStream::connect(&socket).await?);
                    let identities = agent.request_identities().await?;
                    Ok::<_, russh::keys::Error>((agent, identities))
                })?;
        let (mut agent, mut identities) = match identities {
            Ok(both) => both,
            Err(error) => {
                self.tried
                    .push(format!("the agent at {} ({error})", socket.display()));
                return Ok(false);
            }
        };
        let rank = |identity: &AgentIdentity| {
            files
                .iter()
                .position(|file| {
                    file.public
                        .as_ref()
                        .is_some_and(|key| key.key_data() == identity.public_key().key_data())
                })
                .unwrap_or(usize::MAX)
        };
        if self.hop.identities_only {
            identities.retain(|identity| rank(identity) != usize::MAX);
        }
        // Those that are named first: hosts count the attempts.
        identities.sort_by_key(rank);
        for identity in identities {
            let public = identity.public_key().into_owned();
            let hash = self.hash_for(&public)?;
            self.tried.push(format!(
                "{} {} of the agent",
                public.algorithm(),
                fingerprint(&public)
            ));
            let user = self.hop.user.clone();
            let result = match identity {
                AgentIdentity::PublicKey { key, .. } => self.native.step(
                    self.hop,
                    STEP,
                    self.native.limit(),
                    self.handle
                        .authenticate_publickey_with(user, key, hash, &mut agent),
                )?,
                AgentIdentity::Certificate { certificate, .. } => self.native.step(
                    self.hop,
                    STEP,
                    self.native.limit(),
                    self.handle
                        .authenticate_certificate_with(user, certificate, hash, &mut agent),
                )?,
            };
            match result {
                Ok(result) => {
                    if self.took(result) {
                        return Ok(true);
                    }
                }
                Err(error) => {
                    if let Some(last) = self.tried.last_mut() {
                        *last = format!("{last} ({error})");
                    }
                }
            }
            self.still_there()?;
        }
        Ok(false)
    }

    /// A host that has seen enough hangs up.
    fn still_there(&self) -> Result<(), SshError> {
        if self.handle.is_closed() {
            Err(SshError::Auth {
                place: self.hop.place(),
                user: self.hop.user.clone(),
                tried: self
                    .tried
                    .iter()
                    .cloned()
                    .chain(["then the host hung up".to_owned()])
                    .collect(),
                methods: self.methods.clone(),
            })
        } else {
            Ok(())
        }
    }

    fn with_files(&mut self, files: &[KeyFile]) -> Result<bool, SshError> {
        let (open, locked): (Vec<_>, Vec<_>) =
            files.iter().partition(|file| file.private.is_some());
        for file in open {
            if let Some(private) = file.private.clone()
                && self.with_key(file, private)?
            {
                return Ok(true);
            }
        }
        for file in locked {
            if self.would_take(file)?
                && let Some(private) = self.unlock(file)
                && self.with_key(file, private)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn with_key(&mut self, file: &KeyFile, private: Arc<PrivateKey>) -> Result<bool, SshError> {
        let user = self.hop.user.clone();
        if let Some(certificate) = &file.certificate {
            self.tried
                .push(format!("the certificate of {}", file.path.display()));
            let result = self
                .native
                .step(
                    self.hop,
                    STEP,
                    self.native.limit(),
                    self.handle.authenticate_openssh_cert(
                        user.clone(),
                        private.clone(),
                        certificate.clone(),
                    ),
                )?
                .map_err(|error| protocol(self.hop, STEP, &error))?;
            if self.took(result) {
                return Ok(true);
            }
            self.still_there()?;
        }
        let hash = self.hash_for(private.public_key())?;
        self.tried.push(file.path.display().to_string());
        let result = self
            .native
            .step(
                self.hop,
                STEP,
                self.native.limit(),
                self.handle
                    .authenticate_publickey(user, PrivateKeyWithHashAlg::new(private, hash)),
            )?
            .map_err(|error| protocol(self.hop, STEP, &error))?;
        if self.took(result) {
            return Ok(true);
        }
        self.still_there()?;
        Ok(false)
    }

    /// Would the host take this key? So that nobody is asked for a passphrase in vain.
    fn would_take(&mut self, file: &KeyFile) -> Result<bool, SshError> {
        let Some(public) = file.public.clone() else {
            // Its public half is locked away too.
            return Ok(true);
        };
        if file.certificate.is_some() {
            return Ok(true);
        }
        let hash = self.hash_for(&public)?;
        let asked = self.native.step(
            self.hop,
            STEP,
            self.native.limit(),
            self.handle.authenticate_publickey_with(
                self.hop.user.clone(),
                public,
                hash,
                &mut Probe,
            ),
        )?;
        match asked {
            // The host wants a signature.
            Err(Probed::Wanted) => Ok(true),
            Err(Probed::Gone) => self.still_there().map(|()| false),
            Ok(result) => {
                self.tried.push(file.path.display().to_string());
                self.took(result);
                self.still_there()?;
                Ok(false)
            }
        }
    }

    fn unlock(&mut self, file: &KeyFile) -> Option<Arc<PrivateKey>> {
        let question = format!("Passphrase of {}", file.path.display());
        let mut prompt = self.native.prompt.0.lock().ok()?;
        for _ in 0..TRIES {
            let passphrase = match prompt.hidden(&question) {
                Ok(passphrase) => passphrase,
                Err(error) => {
                    self.tried
                        .push(format!("{} (locked: {error})", file.path.display()));
                    return None;
                }
            };
            if let Ok(key) = decode_secret_key(&file.text, Some(passphrase.expose_secret())) {
                return Some(Arc::new(key));
            }
        }
        self.tried
            .push(format!("{} (wrong passphrase)", file.path.display()));
        None
    }
}

fn names(methods: &MethodSet) -> Vec<String> {
    methods
        .iter()
        .map(|method| <&str>::from(method).to_owned())
        .collect()
}

/// None if there is no such file.
fn key_file(path: &Path, certificate: Option<&Path>) -> Result<Option<KeyFile>, String> {
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let text = match fs::read_to_string(path) {
        Ok(text) => zeroize::Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let from_public = || {
        let text = fs::read_to_string(beside(".pub")).ok()?;
        PublicKey::from_openssh(text.trim()).ok()
    };
    // Only its public half: the key itself is in the agent.
    if let Ok(public) = PublicKey::from_openssh(text.trim()) {
        return Ok(Some(KeyFile {
            path: path.to_path_buf(),
            text,
            public: Some(public),
            private: None,
            certificate: None,
        }));
    }
    let (public, private) = match PrivateKey::from_openssh(text.as_bytes()) {
        Ok(key) if key.is_encrypted() => (Some(key.public_key().clone()), None),
        Ok(key) => (Some(key.public_key().clone()), Some(Arc::new(key))),
        Err(_) => match decode_secret_key(&text, None) {
            Ok(key) => (Some(key.public_key().clone()), Some(Arc::new(key))),
            Err(russh::keys::Error::KeyIsEncrypted) => (from_public(), None),
            Err(error) => return Err(error.to_string()),
        },
    };
    let certificate = [
        certificate.map(Path::to_path_buf),
        Some(beside("-cert.pub")),
    ]
    .into_iter()
    .flatten()
    .filter_map(|path| fs::read_to_string(path).ok())
    .filter_map(|text| Certificate::from_openssh(text.trim()).ok())
    // One of another key is not for this one.
    .find(|certificate| {
        public
            .as_ref()
            .is_some_and(|public| public.key_data() == certificate.public_key())
    });
    Ok(Some(KeyFile {
        path: path.to_path_buf(),
        text,
        public,
        private,
        certificate,
    }))
}

/// A signer that signs nothing: that it is asked at all is the answer.
struct Probe;

enum Probed {
    Wanted,
    Gone,
}

impl From<SendError> for Probed {
    fn from(_: SendError) -> Self {
        Self::Gone
    }
}

impl russh::Signer for Probe {
    type Error = Probed;

    async fn auth_sign(
        &mut self,
        _: &AgentIdentity,
        _: Option<HashAlg>,
        _: Vec<u8>,
    ) -> Result<Vec<u8>, Self::Error> {
        Err(Probed::Wanted)
    }
}
