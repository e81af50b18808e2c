//! Where things stand on a host.

use std::path::{Path, PathBuf};

use crate::pure::name::BlobDigest;

/// The paths of a host, below a root: `/`, or a folder in tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self::below("/")
    }
}

impl Paths {
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where an absolute path of the host stands.
    pub fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// True on a real host.
    pub fn is_real(&self) -> bool {
        self.root == Path::new("/")
    }

    /// All that forge keeps.
    pub fn state(&self) -> PathBuf {
        self.at("/var/lib/forge")
    }

    pub fn store(&self) -> PathBuf {
        self.at("/var/lib/forge/store")
    }

    /// Parcels of which a part has arrived.
    pub fn partial(&self) -> PathBuf {
        self.at("/var/lib/forge/partial")
    }

    pub fn files(&self) -> PathBuf {
        self.at("/var/lib/forge/files")
    }

    pub fn generations(&self) -> PathBuf {
        self.at("/var/lib/forge/generations")
    }

    pub fn generation(&self, number: u64) -> PathBuf {
        self.generations().join(number.to_string())
    }

    pub fn current(&self) -> PathBuf {
        self.at("/var/lib/forge/current")
    }

    pub fn journal(&self) -> PathBuf {
        self.at("/var/lib/forge/journal.json")
    }

    /// The durable list of the files that forge owns, and the originals of those that it replaced.
    pub fn managed(&self) -> PathBuf {
        self.at("/var/lib/forge/managed")
    }

    pub fn volumes(&self) -> PathBuf {
        self.at("/var/lib/forge/volumes")
    }

    /// Each agent in a folder that its digest names.
    pub fn agents(&self) -> PathBuf {
        self.at("/var/lib/forge/bin")
    }

    pub fn agent(&self, digest: BlobDigest) -> PathBuf {
        self.agents().join(digest.hex()).join("forge")
    }

    /// Decrypted secrets: tmpfs.
    pub fn secrets(&self) -> PathBuf {
        self.at("/run/forge/secrets")
    }

    /// What must not survive a reboot: locks, the stream of events.
    pub fn run(&self) -> PathBuf {
        self.at("/run/forge")
    }

    /// What the activation that runs was asked to do, and what it says.
    pub fn activation(&self) -> PathBuf {
        self.at("/run/forge/activation")
    }

    /// The key with which the host decrypts.
    pub fn host_key(&self) -> PathBuf {
        self.at("/etc/ssh/ssh_host_ed25519_key")
    }
}
