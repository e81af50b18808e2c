use crate::edge::age::{DecryptError, EncryptError, IdentityError};
use crate::edge::editor::EditorError;
use crate::edge::secrets_file::FileError;
use crate::pure::name::{HostName, SecretName};
use crate::pure::secrets::edit::EditError;
use crate::pure::secrets::{RandomnessError, WantedBy};
use crate::pure::text::{Code, Diagnostics, Sources, codes};

use super::DeclaresError;

/// Why a use case of secrets could not be done. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("there is no host `{host}`: hosts/{host}.toml does not exist")]
    NoHost { host: HostName },
    #[error("the host `{host}` has no secrets file: {path} does not exist")]
    NoFile { host: HostName, path: String },
    #[error("{path} has mistakes, so it was left alone")]
    BadFile {
        path: String,
        sources: Sources,
        diagnostics: Diagnostics,
    },
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Declares(#[from] DeclaresError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("cannot generate a secret: {0}")]
    Randomness(#[from] RandomnessError),
    #[error("no recipient was named for the secrets of `{host}`")]
    NoRecipients { host: HostName },
    #[error("{path}: the recipients `{other}` and `{name}` have the same name or are the same key")]
    SameRecipient {
        path: String,
        name: String,
        other: String,
    },
    #[error("{path} has no recipient `{name}`")]
    NoSuchRecipient {
        path: String,
        name: String,
        near: Option<String>,
    },
    #[error("`{name}` is the last recipient in {path}: without it nobody could read the secrets")]
    LastRecipient { path: String, name: String },
    #[error("no module of the host `{host}` wants a secret `{name}`")]
    Undeclared {
        host: HostName,
        name: SecretName,
        near: Option<String>,
    },
    #[error("the host `{host}` has no value for the secret `{name}`")]
    NotSet {
        host: HostName,
        name: SecretName,
        near: Option<String>,
    },
    #[error(
        "the host `{host}` has no value of its own for `{name}`: it is inherited from `{from}`"
    )]
    Inherited {
        host: HostName,
        name: SecretName,
        from: HostName,
    },
    #[error("forge cannot make the secret `{name}` of `{host}`: its module does not say how")]
    CannotMake { host: HostName, name: SecretName },
    #[error("the value of `{name}` {why} ({wanted_by} says so); it was not stored")]
    Form {
        host: HostName,
        name: SecretName,
        wanted_by: WantedBy,
        why: String,
        can_generate: bool,
    },
    #[error("{path}: cannot encrypt `{name}`: {source}")]
    Encrypt {
        path: String,
        name: SecretName,
        source: EncryptError,
    },
    #[error("{path}: cannot decrypt `{name}`: {source}")]
    Decrypt {
        path: String,
        name: SecretName,
        /// Who could.
        readers: Vec<String>,
        source: DecryptError,
    },
    #[error("{path} could not be changed: {source}")]
    Edit { path: String, source: EditError },
    #[error("cannot edit `{name}` of `{host}`: {source}")]
    Editor {
        host: HostName,
        name: SecretName,
        source: EditorError,
    },
    #[error(
        "{path}: the change would have touched more than was asked for, so it was not written; this is a bug in forge"
    )]
    WouldChangeMore { path: String },
}

impl SecretError {
    /// What a person can do about it, as commands where there are some.
    pub fn hints(&self) -> Vec<String> {
        let near = |near: &Option<String>| {
            near.iter()
                .map(|near| format!("did you mean `{near}`?"))
                .collect()
        };
        match self {
            Self::NoFile { host, .. } => vec![format!("make it: forge secret init {host}")],
            Self::Declares(DeclaresError { host, .. }) => {
                vec![format!("all of its mistakes: forge check {host}")]
            }
            Self::NoRecipients { host } => vec![format!(
                "name one: forge secret init {host} --recipient ~/.ssh/id_ed25519.pub"
            )],
            Self::NoSuchRecipient { near: name, .. } => near(name),
            Self::NotSet {
                host,
                name,
                near: other,
            } => {
                let mut hints: Vec<String> = near(other);
                hints.push(format!("what there is: forge secret list {host}"));
                hints.push(format!("set it: forge secret set {host} {name}"));
                hints
            }
            Self::Undeclared {
                host, near: name, ..
            } => {
                let mut hints: Vec<String> = near(name);
                hints.push(format!("what is wanted: forge secret list {host}"));
                hints.push("to store it all the same, say --undeclared".to_owned());
                hints
            }
            Self::Inherited { host, name, from } => vec![
                format!("change it for both: name `{from}` instead of `{host}`"),
                format!("give `{host}` a value of its own: forge secret set {host} {name}"),
            ],
            Self::CannotMake { host, name } => {
                vec![format!("set it: forge secret set {host} {name}")]
            }
            Self::Form {
                host,
                name,
                can_generate: true,
                ..
            } => vec![format!(
                "let forge make it: forge secret generate {host} --rotate {name}"
            )],
            Self::Decrypt {
                readers, source, ..
            } => {
                let mut hints = Vec::new();
                if !readers.is_empty() {
                    hints.push(format!("it can be read by {}", readers.join(", ")));
                }
                if matches!(
                    source,
                    DecryptError::NoIdentity { .. } | DecryptError::NotForUs { .. }
                ) {
                    hints.push("name another private key: --identity FILE".to_owned());
                    hints.push(
                        "keys in an SSH agent or on a security device cannot decrypt".to_owned(),
                    );
                }
                hints
            }
            _ => Vec::new(),
        }
    }

    /// The code whose explanation says more.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Form { .. } => Some(codes::SECRET_FORMAT),
            Self::NotSet { .. } => Some(codes::MISSING_SECRET),
            _ => None,
        }
    }

    /// The mistakes in a file, to be drawn like any others.
    pub fn diagnostics(&self) -> Option<(&Sources, &Diagnostics)> {
        match self {
            Self::BadFile {
                sources,
                diagnostics,
                ..
            } => Some((sources, diagnostics)),
            _ => None,
        }
    }
}
