use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::pure::oci::media;

/// What a part is: decides its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartKind {
    /// A rendered file.
    File,
    /// The age ciphertext of a secret.
    Secret,
}

impl PartKind {
    /// The media type of the layer (`docs/format/bundle.md`).
    pub fn media_type(self) -> &'static str {
        match self {
            Self::File => media::FILE,
            Self::Secret => media::SECRET,
        }
    }

    /// The kind that has this media type.
    pub fn of(media_type: &str) -> Option<Self> {
        [Self::File, Self::Secret]
            .into_iter()
            .find(|kind| kind.media_type() == media_type)
    }
}

/// Where a part belongs within its bundle: a relative path such as `files/caddy/Caddyfile`.
///
/// Never absolute, without `.`, `..`, empty parts, control characters and backslashes, no part longer than 255 bytes, at most 1024
/// bytes in all: wherever it is unpacked, it stays within.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Title(String);

/// A text that is no [`Title`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the title of a part: a relative path is wanted, without `.`, `..`, `\\`, control characters and empty parts"
)]
pub struct TitleError(String);

const LONGEST: usize = 1024;
/// NAME_MAX of every file system that forge meets.
const LONGEST_PART: usize = 255;

impl Title {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folders above it: `files` and `files/caddy`.
    pub(super) fn folders(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }
}

impl FromStr for Title {
    type Err = TitleError;

    fn from_str(text: &str) -> Result<Self, TitleError> {
        let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= LONGEST_PART;
        let is_title = text.len() <= LONGEST
            && !text.contains(|c: char| c.is_control() || c == '\\')
            && text.split('/').all(is_part);
        if is_title {
            Ok(Self(text.to_owned()))
        } else {
            Err(TitleError(text.to_owned()))
        }
    }
}

impl fmt::Display for Title {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One layer of a bundle.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    pub kind: PartKind,
    pub title: Title,
    pub bytes: Vec<u8>,
    /// What else the agent must know of it; `org.opencontainers.image.title` is taken.
    pub annotations: BTreeMap<String, String>,
}

impl Part {
    /// A part without annotations.
    pub fn new(kind: PartKind, title: Title, bytes: Vec<u8>) -> Self {
        Self {
            kind,
            title,
            bytes,
            annotations: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for Part {
    /// Without the bytes: a debug print must not be a megabyte long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part")
            .field("kind", &self.kind)
            .field("title", &self.title.as_str())
            .field("size", &self.bytes.len())
            .field("annotations", &self.annotations)
            .finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_title_stays_where_it_is_put() {
        let title: Title = "files/caddy/Caddyfile".parse().unwrap();
        assert_eq!(
            title.folders().collect::<Vec<_>>(),
            ["files", "files/caddy"]
        );
        for bad in [
            "",
            "/",
            "/a",
            "a/",
            "..",
            "../a",
            "a/../b",
            "a/./b",
            "a//b",
            "a\\b",
            "a\0",
            "a\nb",
            &"a".repeat(256),
            &"a/".repeat(600),
        ] {
            assert!(bad.parse::<Title>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_kind_is_found_by_its_media_type() {
        for kind in [PartKind::File, PartKind::Secret] {
            assert_eq!(PartKind::of(kind.media_type()), Some(kind));
        }
        assert_eq!(PartKind::of("application/vnd.forge.file.v2"), None);
    }
}
