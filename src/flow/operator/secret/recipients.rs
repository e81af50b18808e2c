//! Who may read: adding, removing, and encrypting again.

use super::open::Open;
use super::{Desk, SecretError};
use crate::pure::name::{HostName, SecretName};
use crate::pure::secrets::{Recipient, Sealed, edit};
use crate::pure::text::did_you_mean;

/// What `rekey` did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rekeyed {
    pub names: Vec<SecretName>,
    /// How many were encrypted to the right recipients already.
    pub untouched: usize,
}

/// What a change of the recipients came to.
#[derive(Debug)]
pub struct Changed {
    pub rekeyed: Rekeyed,
    /// Why the values could not be encrypted again; then somebody who can decrypt them must `rekey`.
    pub pending: Option<SecretError>,
}

impl Desk<'_> {
    /// Decrypts values and encrypts them to the recipients of the file: those whose recipients differ, or `all`. Values
    /// that are right stay byte for byte, so that a diff shows what changed.
    ///
    /// # Errors
    ///
    /// If one of them cannot be decrypted; then none is changed.
    pub fn rekey(&mut self, host: &HostName, all: bool) -> Result<Rekeyed, SecretError> {
        let open = self.open(host)?;
        let (sealed, rekeyed) = self.reseal(&open, all)?;
        if !sealed.is_empty() {
            self.store(host, &open, &sealed)?;
        }
        Ok(rekeyed)
    }

    /// Adds a recipient and encrypts all values again, if they can be decrypted; else only adds.
    ///
    /// # Errors
    ///
    /// If the name or the key is there already.
    pub fn add_recipient(
        &mut self,
        host: &HostName,
        name: &str,
        recipient: &Recipient,
    ) -> Result<Changed, SecretError> {
        let open = self.open(host)?;
        let same = open
            .file
            .recipients()
            .find(|(other, key)| *other == name || *key == recipient)
            .map(|(other, _)| other.to_owned());
        if let Some(other) = same {
            return Err(SecretError::SameRecipient {
                path: self.files.path(host),
                name: name.to_owned(),
                other,
            });
        }
        let text = edit::set_recipient(&open.text, name, recipient);
        self.change(host, name, open, text)
    }

    /// Removes a recipient and encrypts all values again, if they can be decrypted; else only removes. What was encrypted before
    /// stays readable to whoever has the old file: only new values shut somebody out.
    ///
    /// # Errors
    ///
    /// If there is no such recipient, or no other.
    pub fn remove_recipient(
        &mut self,
        host: &HostName,
        name: &str,
    ) -> Result<Changed, SecretError> {
        let open = self.open(host)?;
        let path = self.files.path(host);
        if !open.file.listed().contains_key(name) {
            let names = open.file.listed().keys().map(String::as_str);
            return Err(SecretError::NoSuchRecipient {
                near: did_you_mean(name, names).map(str::to_owned),
                path,
                name: name.to_owned(),
            });
        }
        if open.file.listed().len() == 1 {
            return Err(SecretError::LastRecipient {
                path,
                name: name.to_owned(),
            });
        }
        let text = edit::remove_recipient(&open.text, name);
        self.change(host, name, open, text)
    }

    fn change(
        &mut self,
        host: &HostName,
        name: &str,
        open: Open,
        text: Result<String, edit::EditError>,
    ) -> Result<Changed, SecretError> {
        let text = text.map_err(|source| SecretError::Edit {
            path: self.files.path(host),
            source,
        })?;
        let mut new = self.reread(host, text)?;
        let others = |open: &Open| -> Vec<(String, Recipient)> {
            let others = open.file.recipients().filter(|(other, _)| *other != name);
            others
                .map(|(other, key)| (other.to_owned(), key.clone()))
                .collect()
        };
        if others(&open) != others(&new) {
            return Err(SecretError::WouldChangeMore {
                path: self.files.path(host),
            });
        }
        let (sealed, rekeyed, pending) = match self.reseal(&new, false) {
            Ok((sealed, rekeyed)) => (sealed, rekeyed, None),
            // The table is changed all the same: who may read is one person's decision, and decrypting may be another's task.
            Err(error @ (SecretError::Decrypt { .. } | SecretError::Identity(_))) => {
                (Vec::new(), Rekeyed::default(), Some(error))
            }
            Err(error) => return Err(error),
        };
        if !sealed.is_empty() {
            let text = self.with_values(host, &new.text, &sealed)?;
            new = self.reread(host, text)?;
        }
        self.write(host, &open, &new, &sealed)?;
        Ok(Changed { rekeyed, pending })
    }

    fn reseal(
        &mut self,
        open: &Open,
        all: bool,
    ) -> Result<(Vec<(SecretName, Sealed)>, Rekeyed), SecretError> {
        let mut sealed = Vec::new();
        let mut rekeyed = Rekeyed::default();
        for (name, value) in open.file.values() {
            let found = value.sealed.envelope().addressees(open.file.recipients());
            if !all && found.exact() {
                rekeyed.untouched += 1;
                continue;
            }
            let plaintext = self.unseal(&open.file, name, &value.sealed)?;
            sealed.push((name.clone(), self.seal(&open.file, name, &plaintext)?));
            rekeyed.names.push(name.clone());
        }
        Ok((sealed, rekeyed))
    }
}
