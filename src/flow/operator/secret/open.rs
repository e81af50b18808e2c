//! Reading a secrets file to change it, and writing it back.

use super::{Desk, HostSecrets, SecretError};
use crate::pure::name::{HostName, SecretName};
use crate::pure::secrets::{Sealed, SecretsFile, edit};
use crate::pure::text::{Diagnostics, Severity, Sources, codes};

/// A file, and the text that it was read from.
pub(super) struct Open {
    pub(super) text: String,
    pub(super) file: SecretsFile,
}

impl Desk<'_> {
    pub(super) fn known(&self, host: &HostName) -> Result<(), SecretError> {
        if self.files.has_host(host) {
            Ok(())
        } else {
            Err(SecretError::NoHost { host: host.clone() })
        }
    }

    /// The file of a host that has one.
    pub(super) fn open(&self, host: &HostName) -> Result<Open, SecretError> {
        self.known(host)?;
        self.read(host)?.ok_or_else(|| SecretError::NoFile {
            host: host.clone(),
            path: self.files.path(host),
        })
    }

    /// The file of a host, if it has one. A value that is no ciphertext is no obstacle, since setting it again is its mend;
    /// any other mistake is.
    pub(super) fn read(&self, host: &HostName) -> Result<Option<Open>, SecretError> {
        match self.files.read(host)? {
            Some(text) => self.parse(host, text).map(Some),
            None => Ok(None),
        }
    }

    fn parse(&self, host: &HostName, text: String) -> Result<Open, SecretError> {
        let path = self.files.path(host);
        let mut sources = Sources::default();
        let mut diagnostics = Diagnostics::default();
        let file = SecretsFile::read(&mut sources, &path, &text, &mut diagnostics);
        let harmless = diagnostics.iter().all(|found| {
            found.severity == Severity::Warning || found.code == codes::BAD_CIPHERTEXT
        });
        match file {
            Some(file) if harmless => Ok(Open { text, file }),
            _ => Err(SecretError::BadFile {
                path,
                sources,
                diagnostics,
            }),
        }
    }

    /// The files of the hosts that a host extends, nearest first.
    pub(super) fn ancestors(
        &self,
        wants: &HostSecrets,
    ) -> Result<Vec<(HostName, SecretsFile)>, SecretError> {
        let mut files = Vec::new();
        for host in &wants.ancestors {
            if let Some(open) = self.read(host)? {
                files.push((host.clone(), open.file));
            }
        }
        Ok(files)
    }

    /// The text with these values set.
    pub(super) fn with_values(
        &self,
        host: &HostName,
        text: &str,
        sealed: &[(SecretName, Sealed)],
    ) -> Result<String, SecretError> {
        let mut text = text.to_owned();
        for (name, sealed) in sealed {
            text = edit::set_value(&text, name, sealed).map_err(|source| SecretError::Edit {
                path: self.files.path(host),
                source,
            })?;
        }
        Ok(text)
    }

    /// Writes these values and nothing else.
    pub(super) fn store(
        &self,
        host: &HostName,
        open: &Open,
        sealed: &[(SecretName, Sealed)],
    ) -> Result<(), SecretError> {
        let text = self.with_values(host, &open.text, sealed)?;
        let new = self.parse(host, text)?;
        let same_recipients = new.file.recipients().eq(open.file.recipients());
        if !same_recipients {
            return Err(SecretError::WouldChangeMore {
                path: self.files.path(host),
            });
        }
        self.write(host, open, &new, sealed)
    }

    /// Writes `new`, if it holds these values, and all others as they were.
    pub(super) fn write(
        &self,
        host: &HostName,
        open: &Open,
        new: &Open,
        sealed: &[(SecretName, Sealed)],
    ) -> Result<(), SecretError> {
        let set = |name: &SecretName| sealed.iter().find(|(other, _)| other == name);
        let kept = open
            .file
            .values()
            .iter()
            .filter(|(name, _)| set(name).is_none())
            .map(|(name, value)| (name, &value.sealed));
        let wanted = kept.chain(sealed.iter().map(|(name, sealed)| (name, sealed)));
        let mut count = 0;
        for (name, sealed) in wanted {
            count += 1;
            if new.file.get(name) != Some(sealed) {
                count = usize::MAX;
                break;
            }
        }
        if count != new.file.values().len() {
            return Err(SecretError::WouldChangeMore {
                path: self.files.path(host),
            });
        }
        Ok(self.files.replace(host, &open.text, &new.text)?)
    }

    /// Reads a changed text back.
    pub(super) fn reread(&self, host: &HostName, text: String) -> Result<Open, SecretError> {
        self.parse(host, text)
    }
}
