//! What forge owns of a host's files, and what is to be done with a path: from what stands there, what forge remembers of it, and what
//! is wanted.
//!
//! Invariants: what stood at a path before forge came is in the list before the path is touched; and what others have
//! changed since is told, and kept.

use std::collections::BTreeMap;

use super::blocks;
use super::plan::Action;
use super::target::{Mode, Owner};
use crate::pure::name::BlobDigest;

pub use list::{Entry, ManagedList, Original, Standing};

mod list;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Nothing,
    File {
        bytes: Vec<u8>,
        owner: Owner,
        mode: Mode,
    },
    Link {
        target: String,
    },
    Folder,
    /// A device, a socket, a pipe.
    Other,
}

impl Found {
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::File { bytes, .. } => Some(bytes),
            _ => None,
        }
    }

    fn digest(&self) -> Option<BlobDigest> {
        self.bytes().map(BlobDigest::of)
    }
}

/// A block that is wanted. Owner and mode count if the file must be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    pub name: String,
    pub bytes: Vec<u8>,
    pub owner: Owner,
    pub mode: Mode,
}

/// What a path is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// As it was before forge came.
    Original,
    Whole {
        bytes: Vec<u8>,
        owner: Owner,
        mode: Mode,
    },
    Blocks(Vec<Block>),
}

/// How a path is made so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    Leave,
    File {
        bytes: Vec<u8>,
        owner: Owner,
        mode: Mode,
    },
    Link {
        target: String,
    },
    Remove,
}

/// What is to be done with a path, in this order: keep the original and what was edited, write `during` into the list, do the deed, write
/// `after` into the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// For a person; nothing if nothing is seen to change.
    pub change: Option<(Action, String)>,
    pub deed: Deed,
    /// The bytes of the original, to be kept.
    pub keep: Option<Vec<u8>>,
    /// What was edited by hand, to be kept.
    pub edited: Option<Vec<u8>>,
    pub during: Option<Entry>,
    pub after: Option<Entry>,
}

/// Decides about a path. `original` are the bytes that were kept of it.
///
/// # Errors
/// Why nothing can be done there, for a person.
pub fn decide(
    found: &Found,
    entry: Option<&Entry>,
    original: Option<&[u8]>,
    want: &Want,
) -> Result<Step, String> {
    match want {
        Want::Whole { bytes, owner, mode } => whole(found, entry, bytes, *owner, *mode),
        Want::Blocks(wanted) => with_blocks(found, entry, original, wanted),
        Want::Original => back(found, entry, original),
    }
}

fn no_place(found: &Found) -> Result<(), String> {
    match found {
        Found::Folder => {
            Err("a folder stands there; forge replaces no folder: move it away".to_owned())
        }
        Found::Other => {
            Err("it is neither a file nor a link; forge does not replace it".to_owned())
        }
        _ => Ok(()),
    }
}

/// The whole file, if it is neither what forge wrote nor what it was replacing when it was stopped.
fn edited(found: &Found, entry: Option<&Entry>) -> Option<Vec<u8>> {
    let (entry, digest) = (entry?, found.digest()?);
    let written = entry.written.as_ref()?;
    let known = digest == written.digest || entry.replaces == Some(digest);
    (!known)
        .then(|| found.bytes().map(ToOwned::to_owned))
        .flatten()
}

fn whole(
    found: &Found,
    entry: Option<&Entry>,
    bytes: &[u8],
    owner: Owner,
    mode: Mode,
) -> Result<Step, String> {
    no_place(found)?;
    let (first, keep) = match entry {
        Some(entry) if entry.written.is_some() => (entry.original.clone(), None),
        // What was a file of others with blocks in it becomes ours: without the blocks it is the original.
        Some(entry) => first_of(&without_blocks(found, entry)?, &entry.original),
        None => first_of(found, &Original::Theirs),
    };
    let edited = edited(found, entry).filter(|found| found != bytes);
    let change = match found {
        Found::File {
            bytes: old,
            owner: old_owner,
            mode: old_mode,
        } => {
            let mut why = Vec::new();
            if old != bytes {
                why.push(match (entry, &edited) {
                    (_, Some(_)) => "edited by hand since".to_owned(),
                    (Some(_), None) => "changed".to_owned(),
                    (None, None) => "replaces the file of the host, which is kept".to_owned(),
                });
            }
            if *old_owner != owner {
                why.push(format!("owner {old_owner} → {owner}"));
            }
            if *old_mode != mode {
                why.push(format!("mode {old_mode} → {mode}"));
            }
            (!why.is_empty()).then(|| (Action::Change, why.join(", ")))
        }
        Found::Link { .. } => Some((
            Action::Change,
            if entry.is_some() {
                "a symbolic link was put there by hand since".to_owned()
            } else {
                "replaces a symbolic link of the host, which is kept".to_owned()
            },
        )),
        _ if entry.is_some_and(|entry| entry.replaces.is_none() && entry.written.is_some()) => {
            Some((Action::Add, "removed by hand since".to_owned()))
        }
        _ => Some((Action::Add, "new".to_owned())),
    };
    let after = Entry {
        original: first,
        written: Some(Standing {
            digest: BlobDigest::of(bytes),
            owner,
            mode,
        }),
        blocks: BTreeMap::new(),
        replaces: None,
    };
    Ok(Step {
        deed: match change {
            Some(_) => Deed::File {
                bytes: bytes.to_vec(),
                owner,
                mode,
            },
            None => Deed::Leave,
        },
        change,
        keep,
        edited,
        during: Some(Entry {
            replaces: found.digest(),
            ..after.clone()
        }),
        after: Some(after),
    })
}

/// What is to be remembered as the original, and its bytes.
fn first_of(found: &Found, before: &Original) -> (Original, Option<Vec<u8>>) {
    match found {
        // Forge made the file for its blocks, and nobody has written anything else into it.
        Found::File { bytes, .. }
            if *before == Original::Nothing && bytes.trim_ascii().is_empty() =>
        {
            (Original::Nothing, None)
        }
        Found::File { bytes, owner, mode } => (
            Original::File {
                digest: BlobDigest::of(bytes),
                owner: *owner,
                mode: *mode,
            },
            Some(bytes.clone()),
        ),
        Found::Link { target } => (
            Original::Link {
                target: target.clone(),
            },
            None,
        ),
        _ => (Original::Nothing, None),
    }
}

fn without_blocks(found: &Found, entry: &Entry) -> Result<Found, String> {
    let Found::File { bytes, owner, mode } = found else {
        return Ok(found.clone());
    };
    let mut rest = bytes.clone();
    for name in entry.blocks.keys() {
        rest = blocks::remove(&rest, name).map_err(|error| error.to_string())?;
    }
    Ok(Found::File {
        bytes: rest,
        owner: *owner,
        mode: *mode,
    })
}

/// What stood at the path before forge replaced the whole file.
fn restored(entry: &Entry, original: Option<&[u8]>) -> Result<Found, String> {
    Ok(match &entry.original {
        Original::Nothing | Original::Theirs => Found::Nothing,
        Original::Link { target } => Found::Link {
            target: target.clone(),
        },
        Original::File {
            digest,
            owner,
            mode,
        } => Found::File {
            bytes: original
                .ok_or_else(|| format!("the original {digest} that forge kept is gone"))?
                .to_vec(),
            owner: *owner,
            mode: *mode,
        },
    })
}

/// The file, if somebody has changed one of the blocks in it.
fn edited_blocks(found: &Found, entry: &Entry) -> Option<Vec<u8>> {
    let bytes = found.bytes()?;
    if entry.replaces == Some(BlobDigest::of(bytes)) {
        return None;
    }
    let differs = entry.blocks.iter().any(|(name, digest)| {
        let inner = blocks::get(bytes, name).ok().flatten();
        inner.is_some_and(|inner| BlobDigest::of(inner) != *digest)
    });
    differs.then(|| bytes.to_vec())
}

fn with_blocks(
    found: &Found,
    entry: Option<&Entry>,
    original: Option<&[u8]>,
    wanted: &[Block],
) -> Result<Step, String> {
    no_place(found)?;
    let was_whole = entry.filter(|entry| entry.written.is_some());
    let (base, first, edited) = match (was_whole, entry) {
        (Some(entry), _) => {
            let base = restored(entry, original)?;
            let first = match base {
                Found::Nothing => Original::Nothing,
                _ => Original::Theirs,
            };
            (base, first, edited(found, Some(entry)))
        }
        (None, Some(entry)) => {
            let mut gone = entry.clone();
            gone.blocks
                .retain(|name, _| wanted.iter().all(|block| block.name != *name));
            let base = without_blocks(found, &gone)?;
            (base, entry.original.clone(), edited_blocks(found, entry))
        }
        (None, None) => {
            let first = match found {
                Found::Nothing => Original::Nothing,
                _ => Original::Theirs,
            };
            (found.clone(), first, None)
        }
    };
    let (mut bytes, owner, mode) = match base {
        Found::File { bytes, owner, mode } => (bytes, owner, mode),
        Found::Link { target } => {
            return Err(format!(
                "it is a symbolic link to {target}; forge edits no file through a link"
            ));
        }
        _ => {
            let (owner, mode) = wanted
                .first()
                .map_or((Owner::default(), Mode(0o644)), |block| {
                    (block.owner, block.mode)
                });
            (Vec::new(), owner, mode)
        }
    };
    let mut digests = BTreeMap::new();
    for block in wanted {
        bytes =
            blocks::put(&bytes, &block.name, &block.bytes).map_err(|error| error.to_string())?;
        digests.insert(
            block.name.clone(),
            BlobDigest::of(blocks::whole_lines(&block.bytes)),
        );
    }
    let deed = Deed::File {
        bytes: bytes.clone(),
        owner,
        mode,
    };
    let change = match found {
        Found::Nothing => Some((Action::Add, "new".to_owned())),
        found if found.bytes() == Some(&bytes) => None,
        _ if edited.is_some() => Some((Action::Change, "edited by hand since".to_owned())),
        _ if entry.is_none() => Some((Action::Change, "a block in a file of the host".to_owned())),
        _ => Some((Action::Change, "changed".to_owned())),
    };
    let after = Entry {
        original: first,
        written: None,
        blocks: digests,
        replaces: None,
    };
    // While it is replaced, what was a whole file of ours is still known by its original: a crash must not lose it.
    let during = match was_whole {
        Some(entry) if change.is_some() => entry.clone(),
        _ => {
            let mut during = after.clone();
            during.replaces = found.digest();
            // Blocks that go are remembered until they are gone.
            if let Some(entry) = entry {
                for (name, digest) in &entry.blocks {
                    during.blocks.entry(name.clone()).or_insert(*digest);
                }
            }
            during
        }
    };
    Ok(Step {
        deed: if change.is_some() { deed } else { Deed::Leave },
        edited: edited.filter(|_| change.is_some()),
        change,
        keep: None,
        during: Some(during),
        after: Some(after),
    })
}

fn back(found: &Found, entry: Option<&Entry>, original: Option<&[u8]>) -> Result<Step, String> {
    let forget = Step {
        change: None,
        deed: Deed::Leave,
        keep: None,
        edited: None,
        during: entry.cloned(),
        after: None,
    };
    let Some(entry) = entry else {
        return Ok(forget);
    };
    // Somebody has put something else there: it is theirs.
    if matches!(found, Found::Folder | Found::Other) {
        return Ok(forget);
    }
    let (base, edited) = if entry.written.is_some() {
        (restored(entry, original)?, edited(found, Some(entry)))
    } else {
        let rest = without_blocks(found, entry)?;
        let empty = rest
            .bytes()
            .is_some_and(|bytes| bytes.trim_ascii().is_empty());
        let base = if entry.original == Original::Nothing && empty {
            Found::Nothing
        } else {
            rest
        };
        (base, edited_blocks(found, entry))
    };
    if base == *found {
        return Ok(forget);
    }
    let (deed, why) = match base {
        Found::File { bytes, owner, mode } => (
            Deed::File { bytes, owner, mode },
            if entry.written.is_some() {
                "no longer declared: the host's own comes back"
            } else {
                "no longer declared: the block goes"
            },
        ),
        Found::Link { target } => (
            Deed::Link { target },
            "no longer declared: the host's own link comes back",
        ),
        _ => (Deed::Remove, "no longer declared"),
    };
    let action = match deed {
        Deed::Remove => Action::Remove,
        _ => Action::Change,
    };
    Ok(Step {
        change: Some((action, why.to_owned())),
        deed,
        edited,
        ..forget
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
