use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;

use docker_credential::{CredentialRetrievalError, DockerCredential};
use secrecy::SecretString;

use super::RegistryError;

/// What a registry knows somebody by.
#[derive(Clone, Debug)]
pub enum Credential {
    Password {
        user: String,
        password: SecretString,
    },
    /// To be exchanged for access tokens (Docker's `identitytoken`).
    Token(SecretString),
}

/// Who knows the credentials.
pub trait Credentials: Debug + Send + Sync {
    /// Those for a registry, by what `docker login` is given; none if there are none.
    ///
    /// # Errors
    /// [`RegistryError::Credentials`] if there are some and they cannot be had.
    fn of(&self, login: &str) -> Result<Option<Credential>, RegistryError>;
}

/// Those of `docker login`: `config.json` in `DOCKER_CONFIG` or `~/.docker`, and the credential helpers that it names.
#[derive(Clone, Copy, Debug, Default)]
pub struct DockerCredentials;

fn config_file() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker"));
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    Some(folder.or_else(home)?.join("config.json"))
}

impl Credentials for DockerCredentials {
    fn of(&self, login: &str) -> Result<Option<Credential>, RegistryError> {
        if !config_file().is_some_and(|path| path.exists()) {
            return Ok(None);
        }
        let refuse = |reason: String| RegistryError::Credentials {
            host: login.to_owned(),
            reason,
        };
        match docker_credential::get_credential(login) {
            Ok(DockerCredential::IdentityToken(token)) => Ok(Some(Credential::Token(token.into()))),
            // How helpers hand out a token.
            Ok(DockerCredential::UsernamePassword(user, token)) if user == "<token>" => {
                Ok(Some(Credential::Token(token.into())))
            }
            Ok(DockerCredential::UsernamePassword(user, _)) if user.is_empty() => Ok(None),
            Ok(DockerCredential::UsernamePassword(user, password)) => {
                let password = password.into();
                Ok(Some(Credential::Password { user, password }))
            }
            Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
            Err(CredentialRetrievalError::HelperFailure { stdout, .. })
                if stdout.contains("credentials not found") =>
            {
                Ok(None)
            }
            // What it printed may be anything, and is not repeated.
            Err(CredentialRetrievalError::HelperFailure { helper, .. }) => Err(refuse(format!(
                "the credential helper `docker-credential-{helper}` failed; run `docker login` again"
            ))),
            Err(error) => Err(refuse(format!(
                "{error}; see config.json in ~/.docker or DOCKER_CONFIG"
            ))),
        }
    }
}

/// The double: those that it was given.
#[derive(Clone, Debug, Default)]
pub struct FixedCredentials(pub BTreeMap<String, Credential>);

impl Credentials for FixedCredentials {
    fn of(&self, login: &str) -> Result<Option<Credential>, RegistryError> {
        Ok(self.0.get(login).cloned())
    }
}
