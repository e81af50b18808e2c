//! The files of a host: those that containers mount ([`content`]), and those that forge places among the host's own ([`Files`]).
//!
//! Order, so that a kill at any point loses no original: what is to be kept is kept, the list says so, files are replaced, the list is settled.

pub mod content;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::edge::disk::Power;
use crate::edge::host::managed_list::ManagedStore;
use crate::edge::host::place::{self, Differs, Placed};
use crate::flow::host::resource::{Resource, Way};
use crate::flow::host::tell::Tell;
use crate::flow::host::{Host, HostError};
use crate::pure::generation::managed::{
    Block, Deed, Entry, Found, ManagedList, Original, Standing, Step, Want, decide,
};
use crate::pure::generation::{Change, Kind, Place, Target, blocks, text_diff};
use crate::pure::name::BlobDigest;

/// Looks at a file that is about to be placed, by its path on the host: an error is why it must not be.
pub type Validate<'a> = &'a (dyn Fn(&str, &[u8]) -> Result<(), String> + Sync);

/// The mode of folders that must be made.
const FOLDERS: u32 = 0o755;

/// Which half of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Half {
    Apt,
    Others,
}

impl Half {
    fn has(self, path: &str) -> bool {
        path.starts_with("/etc/apt/") == (self == Self::Apt)
    }
}

/// The managed files and blocks of one half of the host, without those that embed secrets.
struct Placing<'a> {
    half: Half,
    validate: Validate<'a>,
    power: Power,
}

/// What apt is configured with: placed before packages are installed.
pub struct AptFiles<'a>(Placing<'a>);

/// Everything else.
pub struct Files<'a>(Placing<'a>);

impl fmt::Debug for AptFiles<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AptFiles")
    }
}

impl fmt::Debug for Files<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Files")
    }
}

impl<'a> AptFiles<'a> {
    pub fn new(validate: Validate<'a>) -> Self {
        Self(Placing {
            half: Half::Apt,
            validate,
            power: Power::default(),
        })
    }
}

impl<'a> Files<'a> {
    /// `validate` is asked about every file that is to be placed, before the first is.
    pub fn new(validate: Validate<'a>) -> Self {
        Self(Placing {
            half: Half::Others,
            validate,
            power: Power::default(),
        })
    }

    /// The same, whose writes go through this meter.
    #[must_use]
    pub fn with_power(mut self, power: Power) -> Self {
        self.0.power = power;
        self
    }
}

impl Resource for AptFiles<'_> {
    fn step(&self) -> &'static str {
        "files of apt"
    }

    fn plan(&self, host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError> {
        self.0.plan(host, way)
    }

    fn apply(&self, host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
        self.0.apply(host, way, tell)
    }
}

impl Resource for Files<'_> {
    fn step(&self) -> &'static str {
        "files"
    }

    fn plan(&self, host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError> {
        self.0.plan(host, way)
    }

    fn apply(&self, host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
        self.0.apply(host, way, tell)
    }
}

/// Before anything reads them: the managed files that tmpfs has forgotten, of each of these targets. What embeds secrets is not among them,
/// nor what forge has not placed: it would be taken for the host's own.
///
/// # Errors
/// [`HostError`].
pub fn at_boot(host: &Host, targets: &[&Target]) -> Result<(), HostError> {
    let list = ManagedStore::at(host.paths.managed()).load()?;
    let placed = |path: &str| {
        let entry = list.files.get(path);
        path.starts_with("/run/") && entry.is_some_and(|entry| entry.written.is_some())
    };
    // The last first: of two targets that want the same path, the earlier in the list has it.
    for target in targets.iter().rev() {
        for (path, want) in wanted(target, Half::Others)? {
            let (true, Want::Whole { bytes, owner, mode }) = (placed(&path), want) else {
                continue;
            };
            let at = host.paths.at(&path);
            let placed = Placed {
                path: &at,
                bytes: &bytes,
                owner,
                mode,
                folders: FOLDERS,
            };
            if place::compare(placed)? != Differs::Nothing {
                place::put(placed, &Power::default())?;
            }
        }
    }
    Ok(())
}

/// A path, and what is to be done with it.
struct Todo {
    path: String,
    step: Step,
    change: Option<Change>,
}

fn refused(path: &str, why: impl ToString) -> HostError {
    HostError::thing(Kind::File, path, why)
}

/// What a target wants of the paths of one half.
fn wanted(target: &Target, half: Half) -> Result<BTreeMap<String, Want>, HostError> {
    let mut wanted: BTreeMap<String, Want> = BTreeMap::new();
    for (name, file) in &target.files {
        let path = file.place.path();
        if !file.secrets.is_empty() || !half.has(path) {
            continue;
        }
        let bytes = || {
            let bytes = target.file_bytes(name);
            bytes.ok_or_else(|| refused(path, format!("the bundle has no bytes of {name}")))
        };
        let twice = || refused(path, "two files of the bundle want to be there");
        match &file.place {
            Place::Content { .. } | Place::Sealed { .. } => {}
            Place::Managed { path } => {
                let whole = Want::Whole {
                    bytes: bytes()?.to_vec(),
                    owner: file.owner,
                    mode: file.mode,
                };
                if wanted.insert(path.clone(), whole).is_some() {
                    return Err(twice());
                }
            }
            Place::Block { path } => {
                let block = Block {
                    name: name.clone(),
                    bytes: bytes()?.to_vec(),
                    owner: file.owner,
                    mode: file.mode,
                };
                let there = wanted
                    .entry(path.clone())
                    .or_insert_with(|| Want::Blocks(Vec::new()));
                match there {
                    Want::Blocks(blocks) => blocks.push(block),
                    _ => return Err(twice()),
                }
            }
        }
    }
    Ok(wanted)
}

/// What must have been forge's, although the list does not know it: exactly what a generation before had placed.
fn recognised(found: &Found, want: &Want) -> Option<Entry> {
    let Found::File { bytes, .. } = found else {
        return None;
    };
    let entry = Entry {
        original: Original::Nothing,
        written: None,
        blocks: BTreeMap::new(),
        replaces: None,
    };
    match want {
        Want::Whole {
            bytes: ours,
            owner,
            mode,
        } if ours == bytes => Some(Entry {
            written: Some(Standing {
                digest: BlobDigest::of(ours),
                owner: *owner,
                mode: *mode,
            }),
            ..entry
        }),
        Want::Blocks(ours) => {
            let there: BTreeMap<String, BlobDigest> = ours
                .iter()
                .filter_map(|block| {
                    let inner = blocks::get(bytes, &block.name).ok()??;
                    Some((block.name.clone(), BlobDigest::of(inner)))
                })
                .collect();
            (!there.is_empty()).then_some(Entry {
                original: Original::Theirs,
                blocks: there,
                ..entry
            })
        }
        _ => None,
    }
}

fn change(path: &str, found: &Found, step: &Step) -> Option<Change> {
    let (action, why) = step.change.clone()?;
    let change = Change::new(Kind::File, path, action, why);
    let old: &[u8] = match found {
        Found::File { bytes, .. } => bytes,
        _ => &[],
    };
    let new: &[u8] = match &step.deed {
        Deed::File { bytes, .. } => bytes,
        _ => &[],
    };
    Some(match text_diff::unified(path, old, new) {
        Some(diff) => change.with_diff(diff),
        None => change,
    })
}

impl Placing<'_> {
    fn store(&self, host: &Host) -> ManagedStore {
        ManagedStore::at(host.paths.managed()).with_power(self.power.clone())
    }

    fn todo(
        &self,
        host: &Host,
        way: Way<'_>,
        store: &ManagedStore,
        list: &ManagedList,
    ) -> Result<Vec<Todo>, HostError> {
        let wanted = wanted(way.want, self.half)?;
        let mut earlier: BTreeMap<String, Vec<Want>> = BTreeMap::new();
        for before in way.before {
            for (path, want) in self::wanted(before, self.half)? {
                earlier.entry(path).or_default().push(want);
            }
        }
        let mut paths: BTreeSet<&str> = BTreeSet::new();
        paths.extend(wanted.keys().map(String::as_str));
        paths.extend(earlier.keys().map(String::as_str));
        paths.extend(list.files.keys().map(String::as_str));
        paths.retain(|path| self.half.has(path));
        let mut todo = Vec::new();
        for path in paths {
            let found = place::look(&host.paths.at(path))?;
            let known = list.files.get(path).cloned().or_else(|| {
                let earlier = earlier.get(path)?;
                earlier.iter().find_map(|want| recognised(&found, want))
            });
            let original = match known.as_ref().map(|entry| &entry.original) {
                Some(Original::File { digest, .. }) => store.original(*digest)?,
                _ => None,
            };
            let want = wanted.get(path).unwrap_or(&Want::Original);
            let step = decide(&found, known.as_ref(), original.as_deref(), want)
                .map_err(|why| refused(path, why))?;
            todo.push(Todo {
                change: change(path, &found, &step),
                path: path.to_owned(),
                step,
            });
        }
        Ok(todo)
    }

    fn plan(&self, host: &Host, way: Way<'_>) -> Result<Vec<Change>, HostError> {
        let store = self.store(host);
        let list = store.load()?;
        let todo = self.todo(host, way, &store, &list)?;
        Ok(todo.into_iter().filter_map(|todo| todo.change).collect())
    }

    fn apply(&self, host: &Host, way: Way<'_>, tell: &dyn Tell) -> Result<(), HostError> {
        let store = self.store(host);
        let before = store.load()?;
        let todo = self.todo(host, way, &store, &before)?;
        for Todo { path, step, .. } in &todo {
            // What comes back was the host's own, and is not ours to judge.
            if let (Deed::File { bytes, .. }, Some(_)) = (&step.deed, &step.after) {
                (self.validate)(path, bytes).map_err(|why| refused(path, why))?;
            }
        }
        let mut list = before.clone();
        for Todo { path, step, .. } in &todo {
            if let Some(bytes) = &step.keep {
                store.keep_original(bytes)?;
            }
            // Nothing may happen to what has nothing to be done: then the list is right already, or learns of it at the end.
            if step.deed != Deed::Leave
                && let Some(during) = &step.during
            {
                list.files.insert(path.clone(), during.clone());
            }
        }
        if list != before {
            store.save(&list)?;
        }
        for Todo { path, step, change } in &todo {
            if let Some(bytes) = &step.edited {
                let kept = store.keep_edited(bytes)?;
                tell.warn(format!(
                    "{path} was edited by hand; what it held is kept in {}",
                    kept.display()
                ));
            }
            self.deed(host, path, &step.deed)?;
            if let Some(change) = change {
                tell.changed(change);
            }
        }
        for Todo { path, step, .. } in &todo {
            match &step.after {
                Some(after) => list.files.insert(path.clone(), after.clone()),
                None => list.files.remove(path),
            };
        }
        if list != before {
            store.save(&list)?;
        }
        // Also what a kill has left behind.
        Ok(store.sweep(&list)?)
    }

    fn deed(&self, host: &Host, path: &str, deed: &Deed) -> Result<(), HostError> {
        let at = host.paths.at(path);
        match deed {
            // A kill may have left something beside it.
            Deed::Leave => place::clean(&at, &self.power)?,
            Deed::File { bytes, owner, mode } => place::put(
                Placed {
                    path: &at,
                    bytes,
                    owner: *owner,
                    mode: *mode,
                    folders: FOLDERS,
                },
                &self.power,
            )?,
            Deed::Link { target } => place::put_link(&at, target, &self.power)?,
            Deed::Remove => place::remove(&at, &self.power)?,
        }
        Ok(())
    }
}
