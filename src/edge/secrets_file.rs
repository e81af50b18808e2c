//! The secrets files of a project on disk.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::pure::name::HostName;

/// Why a secrets file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("cannot {operation} {path}: {source}")]
    Io {
        operation: &'static str,
        path: String,
        source: std::io::Error,
    },
    #[error("{0} is there already")]
    Exists(String),
    #[error(
        "{0} is no regular file (a symbolic link would be replaced, and not what it points to)"
    )]
    NotAFile(String),
    #[error("{0} is not text in UTF-8")]
    NotText(String),
    #[error("{0} was changed by somebody else in the meantime; nothing was written")]
    Changed(String),
}

/// The port: one text for each host.
pub trait SecretsFiles {
    /// The path in the project, as shown to people.
    fn path(&self, host: &HostName) -> String {
        format!("hosts/{host}.secrets.toml")
    }

    /// Whether the project has such a host.
    fn has_host(&self, host: &HostName) -> bool;

    /// The text; `None` if there is no such file.
    ///
    /// # Errors
    ///
    /// If there is one and it cannot be read.
    fn read(&self, host: &HostName) -> Result<Option<String>, FileError>;

    /// Makes a new file. Crash contract: afterwards it is there as a whole; before, not at all.
    ///
    /// # Errors
    ///
    /// If it is there already or cannot be written.
    fn create(&self, host: &HostName, text: &str) -> Result<(), FileError>;

    /// Replaces the text `was`, keeping the file's mode. Crash contract: the file holds the old or the new text, as a whole, and the new one
    /// once this has returned.
    ///
    /// # Errors
    ///
    /// If the file does not hold `was` any more, or cannot be written; then it is unchanged.
    fn replace(&self, host: &HostName, was: &str, text: &str) -> Result<(), FileError>;
}

/// The folder `hosts/` of a project.
#[derive(Clone, Debug)]
pub struct ProjectSecrets {
    hosts: PathBuf,
}

impl ProjectSecrets {
    pub fn new(project: &Path) -> Self {
        Self {
            hosts: project.join("hosts"),
        }
    }

    fn file(&self, host: &HostName) -> PathBuf {
        self.hosts.join(format!("{host}.secrets.toml"))
    }

    fn error(
        &self,
        operation: &'static str,
        host: &HostName,
    ) -> impl Fn(std::io::Error) -> FileError + use<> {
        let path = self.path(host);
        move |source| FileError::Io {
            operation,
            path: path.clone(),
            source,
        }
    }

    /// A synced file beside the one of this host, ready to be renamed.
    fn beside(
        &self,
        host: &HostName,
        text: &str,
        mode: Option<u32>,
    ) -> std::io::Result<tempfile::NamedTempFile> {
        let prefix = format!(".{host}.secrets.");
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix);
        // As any file that a person makes: readable as the umask allows. What is in it is encrypted.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
        let mut file = builder.tempfile_in(&self.hosts)?;
        file.write_all(text.as_bytes())?;
        if let Some(mode) = mode {
            file.as_file()
                .set_permissions(std::fs::Permissions::from_mode(mode))?;
        }
        file.as_file().sync_all()?;
        Ok(file)
    }

    fn sync_folder(&self) -> std::io::Result<()> {
        std::fs::File::open(&self.hosts)?.sync_all()
    }
}

impl SecretsFiles for ProjectSecrets {
    fn has_host(&self, host: &HostName) -> bool {
        self.hosts.join(format!("{host}.toml")).is_file()
    }

    fn read(&self, host: &HostName) -> Result<Option<String>, FileError> {
        let file = self.file(host);
        let error = self.error("read", host);
        match std::fs::symlink_metadata(&file) {
            Err(source) if source.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(error(source)),
            Ok(metadata) if !metadata.is_file() => {
                return Err(FileError::NotAFile(self.path(host)));
            }
            Ok(_) => {}
        }
        let bytes = std::fs::read(&file).map_err(error)?;
        String::from_utf8(bytes)
            .map(Some)
            .map_err(|_| FileError::NotText(self.path(host)))
    }

    fn create(&self, host: &HostName, text: &str) -> Result<(), FileError> {
        let error = self.error("write", host);
        let file = self.beside(host, text, None).map_err(&error)?;
        file.persist_noclobber(self.file(host))
            .map_err(|failed| match failed.error.kind() {
                ErrorKind::AlreadyExists => FileError::Exists(self.path(host)),
                _ => error(failed.error),
            })?;
        self.sync_folder().map_err(error)
    }

    fn replace(&self, host: &HostName, was: &str, text: &str) -> Result<(), FileError> {
        let error = self.error("write", host);
        let path = self.file(host);
        let mode = std::fs::symlink_metadata(&path)
            .map_err(&error)?
            .permissions()
            .mode();
        let file = self
            .beside(host, text, Some(mode & 0o7777))
            .map_err(&error)?;
        if self.read(host)?.as_deref() != Some(was) {
            return Err(FileError::Changed(self.path(host)));
        }
        file.persist(path).map_err(|failed| error(failed.error))?;
        self.sync_folder().map_err(error)
    }
}

/// The double: texts in memory.
#[derive(Debug, Default)]
pub struct MemorySecrets {
    files: RefCell<BTreeMap<HostName, String>>,
}

impl SecretsFiles for MemorySecrets {
    fn has_host(&self, _: &HostName) -> bool {
        true
    }

    fn read(&self, host: &HostName) -> Result<Option<String>, FileError> {
        Ok(self.files.borrow().get(host).cloned())
    }

    fn create(&self, host: &HostName, text: &str) -> Result<(), FileError> {
        let mut files = self.files.borrow_mut();
        if files.contains_key(host) {
            return Err(FileError::Exists(self.path(host)));
        }
        files.insert(host.clone(), text.to_owned());
        Ok(())
    }

    fn replace(&self, host: &HostName, was: &str, text: &str) -> Result<(), FileError> {
        let mut files = self.files.borrow_mut();
        if files.get(host).map(String::as_str) != Some(was) {
            return Err(FileError::Changed(self.path(host)));
        }
        files.insert(host.clone(), text.to_owned());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_as_a_whole_and_keeps_the_mode() {
        let project = tempfile::tempdir().unwrap();
        std::fs::create_dir(project.path().join("hosts")).unwrap();
        let files = ProjectSecrets::new(project.path());
        let host: HostName = "web".parse().unwrap();
        assert!(files.read(&host).unwrap().is_none());
        files.create(&host, "a").unwrap();
        assert!(matches!(
            files.create(&host, "b"),
            Err(FileError::Exists(_))
        ));
        let path = project.path().join("hosts/web.secrets.toml");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        files.replace(&host, "a", "b").unwrap();
        assert!(matches!(
            files.replace(&host, "a", "c"),
            Err(FileError::Changed(_))
        ));
        assert_eq!(files.read(&host).unwrap().as_deref(), Some("b"));
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
            0o640
        );
        // Nothing is left beside it.
        assert_eq!(
            std::fs::read_dir(project.path().join("hosts"))
                .unwrap()
                .count(),
            1
        );
    }

    #[test]
    fn a_symbolic_link_is_refused() {
        let project = tempfile::tempdir().unwrap();
        std::fs::create_dir(project.path().join("hosts")).unwrap();
        std::os::unix::fs::symlink(
            "/etc/hostname",
            project.path().join("hosts/web.secrets.toml"),
        )
        .unwrap();
        let files = ProjectSecrets::new(project.path());
        assert!(matches!(
            files.read(&"web".parse().unwrap()),
            Err(FileError::NotAFile(_))
        ));
    }
}
