//! A layer: a tree of entries, written as a tar whose bytes follow from the tree alone.
//!
//! The contents of large files lie in a spool, a file of the caller's, so that memory is bounded whatever a package holds.

mod elf;
mod from_deb;
mod merged;
mod untar;
mod write;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
pub(crate) mod testing;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Seek, Write};
use std::str::FromStr;
use std::sync::Arc;

pub use from_deb::{DebError, DebFault, EntryFault, Options, Unpacked, from_deb};
use serde::{Deserialize, Serialize};
pub use untar::TarFault;

/// A path in an image, relative to its root: `usr/bin/env`. Never empty, absolute, or with `.`, `..` or empty parts or NUL.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImagePath(String);

/// A text that is no [`ImagePath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no path within an image", .0.escape_debug())]
pub struct PathError(pub String);

impl ImagePath {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The folder that holds it; nothing for what lies in the root.
    pub fn parent(&self) -> Option<Self> {
        self.0
            .rsplit_once('/')
            .map(|(parent, _)| Self(parent.to_owned()))
    }
}

impl FromStr for ImagePath {
    type Err = PathError;

    /// A leading `./` or `/` and a trailing `/` are taken off first.
    fn from_str(text: &str) -> Result<Self, PathError> {
        let refuse = || PathError(text.to_owned());
        let path = text
            .strip_prefix("./")
            .or_else(|| text.strip_prefix('/'))
            .unwrap_or(text);
        let path = path.strip_suffix('/').unwrap_or(path);
        let bad = |part: &str| matches!(part, "" | "." | "..") || part.len() > 255;
        if path.len() > 4096 || path.contains('\0') || path.split('/').any(bad) {
            return Err(refuse());
        }
        Ok(Self(path.to_owned()))
    }
}

impl TryFrom<String> for ImagePath {
    type Error = PathError;

    fn try_from(text: String) -> Result<Self, PathError> {
        text.parse()
    }
}

impl From<ImagePath> for String {
    fn from(path: ImagePath) -> Self {
        path.0
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Who owns an entry, and who may do what with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    pub uid: u32,
    pub gid: u32,
    /// The lower twelve bits.
    pub mode: u32,
    /// By name, as in `security.capability`.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// Where the bytes of a file are.
#[derive(Clone, Debug)]
pub enum Content {
    Bytes(Arc<[u8]>),
    /// In the spool that comes with the tree.
    Spooled {
        at: u64,
        size: u64,
    },
}

#[derive(Clone, Debug)]
pub enum Node {
    File(Content),
    Directory,
    /// Any text: a link is resolved by whoever follows it, within the image.
    Symlink(String),
    /// To a file of the same tree.
    Hardlink(ImagePath),
}

/// The entries of a layer by path.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    pub entries: BTreeMap<ImagePath, (Node, Meta)>,
}

/// What is known of a layer besides its digest; remembered with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// ELF files that are loaded by the dynamic linker or can be.
    pub elves: Vec<Elf>,
    /// Symbolic links, by path: libraries are found through them.
    pub links: BTreeMap<ImagePath, String>,
}

/// What the dynamic linker needs to know of an ELF file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elf {
    pub path: ImagePath,
    /// `DT_NEEDED`.
    pub needed: Vec<String>,
    pub soname: Option<String>,
    /// `DT_RUNPATH` or `DT_RPATH`, `$ORIGIN` unexpanded.
    pub runpath: Vec<String>,
}

/// Why a layer cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    #[error("cannot write `{path}` to the layer: {source}")]
    Write {
        path: ImagePath,
        source: std::io::Error,
    },
    #[error("`{path}` is a hard link to `{target}`, which is no file of the same layer")]
    Hardlink { path: ImagePath, target: ImagePath },
    #[error("`{path}` lies below `{parent}`, which is no folder")]
    Parent { path: ImagePath, parent: ImagePath },
    #[error("cannot write the end of the layer: {source}")]
    End { source: std::io::Error },
}

impl Tree {
    /// Writes the layer as an uncompressed tar: entries in ascending order of their paths, times zero, names of owners empty. Of
    /// the names of a file that has several, the first carries the content. Folders that the tree lacks are not made up.
    ///
    /// # Errors
    /// [`LayerError`]; what was written is to be thrown away.
    pub fn write<S: Read + Seek>(
        &self,
        spool: &mut S,
        out: &mut dyn Write,
    ) -> Result<Facts, LayerError> {
        write::write(self, spool, out)
    }
}
