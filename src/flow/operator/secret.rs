//! Keeping secrets: make the file, list, set, edit, generate, encrypt again, change who may read.
//!
//! Every change goes one way: read the file, change its text, read the changed text back, see that nothing but what was meant has
//! changed, write it as a whole. Nothing is written if any step fails.
//!
//! Which secrets a host wants is the evaluator's knowledge: it comes through [`Declares`].

mod error;
mod list;
mod open;
mod recipients;

use std::fmt;

pub use error::SecretError;
pub use list::{Row, State};
pub use recipients::{Changed, Rekeyed};

use crate::edge::age::{self, IdentitySource, Keyring};
use crate::edge::editor::Editor;
use crate::edge::secrets_file::SecretsFiles;
use crate::edge::terminal::Prompt;
use crate::pure::config::value::Value;
use crate::pure::name::{HostName, SecretName};
use crate::pure::secrets::{
    Declaration, Plaintext, Randomness, Recipient, Sealed, SecretsFile, WantedBy, edit,
};
use crate::pure::text::{Diagnostics, did_you_mean};

/// What the evaluated host says of its secrets.
#[derive(Clone, Debug, Default)]
pub struct HostSecrets {
    pub declarations: Vec<Declaration>,
    /// The hosts that this one extends, nearest first, without itself.
    pub ancestors: Vec<HostName>,
    /// The host's own SSH host key, if the project knows it.
    pub host_key: Option<Recipient>,
}

impl HostSecrets {
    /// From the contributions of the kind `secret`: the name, who contributes it, its checked fields. Mistakes in them are
    /// reported, and what is mistaken is left out.
    pub fn from_contributions<'a>(
        contributions: impl IntoIterator<Item = (&'a str, WantedBy, &'a Value)>,
        ancestors: Vec<HostName>,
        host_key: Option<Recipient>,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        Self {
            declarations: contributions
                .into_iter()
                .filter_map(|(name, by, value)| {
                    Declaration::from_value(name, by, value, diagnostics)
                })
                .collect(),
            ancestors,
            host_key,
        }
    }

    fn get(&self, name: &SecretName) -> Option<&Declaration> {
        self.declarations
            .iter()
            .find(|declaration| declaration.name == *name)
    }
}

/// The host could not be evaluated; holds the evaluator's own error, which says why.
#[derive(Debug, thiserror::Error)]
#[error("cannot tell which secrets the host `{host}` wants")]
pub struct DeclaresError {
    pub host: HostName,
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The port to the evaluator. Also any closure from a host name to a [`HostSecrets`].
pub trait Declares {
    /// # Errors
    ///
    /// If the host cannot be evaluated.
    fn declares(&self, host: &HostName) -> Result<HostSecrets, DeclaresError>;
}

impl<F: Fn(&HostName) -> Result<HostSecrets, DeclaresError>> Declares for F {
    fn declares(&self, host: &HostName) -> Result<HostSecrets, DeclaresError> {
        self(host)
    }
}

/// What the use cases work with.
pub struct Desk<'a> {
    pub files: &'a dyn SecretsFiles,
    pub declares: &'a dyn Declares,
    pub randomness: &'a mut dyn Randomness,
    pub prompt: &'a mut dyn Prompt,
    /// Where private keys may be; read only when something must be decrypted.
    pub identities: Vec<IdentitySource>,
    keyring: Option<Keyring>,
}

impl fmt::Debug for Desk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Desk(identities {:?})", self.identities)
    }
}

/// What became of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edited {
    Saved,
    Unchanged,
}

/// What `generate` did.
#[derive(Clone, Debug, Default)]
pub struct Generated {
    pub made: Vec<SecretName>,
    /// Missing, and nothing that forge can make.
    pub to_set: Vec<Declaration>,
}

impl<'a> Desk<'a> {
    pub fn new(
        files: &'a dyn SecretsFiles,
        declares: &'a dyn Declares,
        randomness: &'a mut dyn Randomness,
        prompt: &'a mut dyn Prompt,
        identities: Vec<IdentitySource>,
    ) -> Self {
        Self {
            files,
            declares,
            randomness,
            prompt,
            identities,
            keyring: None,
        }
    }

    /// Makes the secrets file of a host, without a value yet. Returns its path.
    ///
    /// # Errors
    ///
    /// If there is no such host, no recipient, two of one name or one key, or a file already.
    pub fn init(
        &mut self,
        host: &HostName,
        recipients: &[(String, Recipient)],
    ) -> Result<String, SecretError> {
        self.known(host)?;
        if recipients.is_empty() {
            return Err(SecretError::NoRecipients { host: host.clone() });
        }
        for (index, (name, recipient)) in recipients.iter().enumerate() {
            for (other, earlier) in &recipients[..index] {
                if name == other || recipient == earlier {
                    return Err(SecretError::SameRecipient {
                        path: self.files.path(host),
                        name: name.clone(),
                        other: other.clone(),
                    });
                }
            }
        }
        let text = edit::new_file(recipients.iter().map(|(name, key)| (name.as_str(), key)));
        self.files.create(host, &text)?;
        Ok(self.files.path(host))
    }

    /// Encrypts a value that a person gave and stores it.
    ///
    /// # Errors
    ///
    /// If nobody declares the secret (unless `undeclared`), or the value has not the declared form.
    pub fn set(
        &mut self,
        host: &HostName,
        name: &SecretName,
        value: &Plaintext,
        undeclared: bool,
    ) -> Result<(), SecretError> {
        let open = self.open(host)?;
        let wants = self.declares.declares(host)?;
        check_form(host, &wants, name, value, undeclared)?;
        let sealed = self.seal(&open.file, name, value)?;
        self.store(host, &open, &[(name.clone(), sealed)])
    }

    /// Lets a person change a value in their editor; a value that is missing starts empty.
    ///
    /// # Errors
    ///
    /// As for [`Desk::set`]; if the value is inherited; if the editor fails.
    pub fn edit(
        &mut self,
        host: &HostName,
        name: &SecretName,
        editor: &mut dyn Editor,
        undeclared: bool,
    ) -> Result<Edited, SecretError> {
        let open = self.open(host)?;
        let wants = self.declares.declares(host)?;
        let old = match open.file.get(name) {
            Some(sealed) => Some(self.unseal(&open.file, name, &sealed.clone())?),
            None => {
                self.refuse_inherited(host, name, &wants)?;
                None
            }
        };
        let empty = Plaintext::new(zeroize::Zeroizing::default());
        let before = old.as_ref().unwrap_or(&empty);
        let new = editor
            .edit(name, before)
            .map_err(|source| SecretError::Editor {
                host: host.clone(),
                name: name.clone(),
                source,
            })?;
        if new.same_as(before) {
            return Ok(Edited::Unchanged);
        }
        check_form(host, &wants, name, &new, undeclared)?;
        let sealed = self.seal(&open.file, name, &new)?;
        self.store(host, &open, &[(name.clone(), sealed)])?;
        Ok(Edited::Saved)
    }

    /// Makes every missing value that declares how, and a new one for each name in `rotate`. Needs no private key.
    ///
    /// # Errors
    ///
    /// If a name to rotate is inherited, not declared, or nothing that forge can make.
    pub fn generate(
        &mut self,
        host: &HostName,
        rotate: &[SecretName],
    ) -> Result<Generated, SecretError> {
        let open = self.open(host)?;
        let wants = self.declares.declares(host)?;
        let inherited = self.ancestors(&wants)?;
        let mut generated = Generated::default();
        let mut sealed = Vec::new();
        for name in rotate {
            let declaration = wants
                .get(name)
                .ok_or_else(|| undeclared_error(host, name, &wants))?;
            if open.file.get(name).is_none() && !open.file.is_unreadable(name) {
                self.refuse_inherited(host, name, &wants)?;
            }
            if declaration.generate().is_none() {
                return Err(SecretError::CannotMake {
                    host: host.clone(),
                    name: name.clone(),
                });
            }
        }
        for declaration in &wants.declarations {
            let name = &declaration.name;
            let there = open.file.get(name).is_some()
                || open.file.is_unreadable(name)
                || inherited
                    .iter()
                    .any(|(_, file)| file.get(name).is_some() || file.is_unreadable(name));
            if there && !rotate.contains(name) {
                continue;
            }
            let Some(form) = declaration.generate() else {
                generated.to_set.push(declaration.clone());
                continue;
            };
            let value = form.make(self.randomness)?;
            sealed.push((name.clone(), self.seal(&open.file, name, &value)?));
            generated.made.push(name.clone());
        }
        if !sealed.is_empty() {
            self.store(host, &open, &sealed)?;
        }
        Ok(generated)
    }

    /// Decrypts one value, the host's own or the inherited one. For a person who asked for exactly this.
    ///
    /// # Errors
    ///
    /// If there is no such value, or no private key for it.
    pub fn show(&mut self, host: &HostName, name: &SecretName) -> Result<Plaintext, SecretError> {
        // Without a file of its own the host may still inherit; and a host that inherits nothing needs no evaluation.
        let own = self.read(host)?;
        if let Some(open) = &own
            && let Some(sealed) = open.file.get(name)
        {
            return self.unseal(&open.file, name, &sealed.clone());
        }
        let wants = self.declares.declares(host)?;
        for (_, file) in self.ancestors(&wants)? {
            if let Some(sealed) = file.get(name) {
                return self.unseal(&file, name, &sealed.clone());
            }
        }
        let there = own.iter().flat_map(|open| open.file.values().keys());
        Err(SecretError::NotSet {
            host: host.clone(),
            name: name.clone(),
            near: did_you_mean(name.as_str(), there.map(SecretName::as_str)).map(str::to_owned),
        })
    }

    fn refuse_inherited(
        &self,
        host: &HostName,
        name: &SecretName,
        wants: &HostSecrets,
    ) -> Result<(), SecretError> {
        let ancestors = self.ancestors(wants)?;
        match ancestors.iter().find(|(_, file)| file.get(name).is_some()) {
            Some((from, _)) => Err(SecretError::Inherited {
                host: host.clone(),
                name: name.clone(),
                from: from.clone(),
            }),
            None => Ok(()),
        }
    }

    fn seal(
        &self,
        file: &SecretsFile,
        name: &SecretName,
        value: &Plaintext,
    ) -> Result<Sealed, SecretError> {
        age::encrypt(value, file.recipients().map(|(_, key)| key)).map_err(|source| {
            SecretError::Encrypt {
                path: file.path().to_owned(),
                name: name.clone(),
                source,
            }
        })
    }

    fn unseal(
        &mut self,
        file: &SecretsFile,
        name: &SecretName,
        sealed: &Sealed,
    ) -> Result<Plaintext, SecretError> {
        let keyring = match &mut self.keyring {
            Some(keyring) => keyring,
            none => none.insert(Keyring::load(&self.identities)?),
        };
        keyring
            .decrypt(sealed, self.prompt)
            .map_err(|source| SecretError::Decrypt {
                path: file.path().to_owned(),
                name: name.clone(),
                readers: readers(file, sealed),
                source,
            })
    }
}

fn check_form(
    host: &HostName,
    wants: &HostSecrets,
    name: &SecretName,
    value: &Plaintext,
    undeclared: bool,
) -> Result<(), SecretError> {
    match wants.get(name) {
        Some(declaration) => declaration.check(value).map_err(|why| SecretError::Form {
            host: host.clone(),
            name: name.clone(),
            wanted_by: declaration.wanted_by.clone(),
            why,
            can_generate: declaration.generate().is_some(),
        }),
        None if undeclared => Ok(()),
        None => Err(undeclared_error(host, name, wants)),
    }
}

/// Who could decrypt a value, by name where the file names them.
fn readers(file: &SecretsFile, sealed: &Sealed) -> Vec<String> {
    let found = sealed.envelope().addressees(file.recipients());
    found
        .present
        .into_iter()
        .chain(found.surplus.iter().map(ToString::to_string))
        .collect()
}

fn undeclared_error(host: &HostName, name: &SecretName, wants: &HostSecrets) -> SecretError {
    let names = wants.declarations.iter().map(|one| one.name.as_str());
    SecretError::Undeclared {
        host: host.clone(),
        name: name.clone(),
        near: did_you_mean(name.as_str(), names).map(str::to_owned),
    }
}
