//! A tree from a Debian package: its files as they are, under the merged `/usr`, without what is pruned. No script of it is run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom, Write};

use super::merged::{self, Place};
use super::untar::{Entry, Kind, Reader, TarFault};
use super::{Content, ImagePath, Meta, Node, Tree};
use crate::pure::images::debian::archive::{ArchiveError, Deb};
use crate::pure::images::rules::Prune;
use crate::pure::pins::PackagePin;

/// What a package's files may take: twice what it says, which is an estimate, and headers.
const SLACK: u64 = 2;
const MARGIN: u64 = 16 << 20;
/// Above this nothing is unpacked, whatever a package says.
const LARGEST: u64 = 8 << 30;
const MOST_ENTRIES: usize = 200_000;
/// The last number of an owner that packages may use is 65534 (Debian Policy, section 9.2).
const LAST_ID: u64 = 65_535;
const LONGEST_TARGET: usize = 4095;
const CHUNK: usize = 128 * 1024;
/// Gives a program rights as the mode's bits do (capabilities(7)).
const CAPABILITY: &str = "security.capability";

/// What a package was unpacked to.
#[derive(Debug)]
pub struct Unpacked {
    pub tree: Tree,
    /// What was changed on the way that somebody may miss, a sentence each.
    pub notes: Vec<String>,
}

/// How packages are unpacked.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    pub prune: &'a Prune,
    /// Files that keep their setuid and setgid bits and their capabilities.
    pub allowed_special: &'a BTreeSet<ImagePath>,
    /// The most that a decoder may remember, in bytes.
    pub memory: u64,
}

/// Why a package was not unpacked.
#[derive(Debug, thiserror::Error)]
#[error("the package `{package}` cannot be unpacked: {why}")]
pub struct DebError {
    pub package: String,
    #[source]
    pub why: DebFault,
}

#[derive(Debug, thiserror::Error)]
pub enum DebFault {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("it says that its {field} is `{found}`, and should be `{expected}`")]
    Other {
        field: &'static str,
        expected: String,
        found: String,
    },
    #[error(
        "it unpacks to more than {bound} bytes, although it says that it takes {said}; that is no package, or a trap"
    )]
    TooLarge { bound: u64, said: u64 },
    #[error("it has more than {MOST_ENTRIES} entries")]
    TooMany,
    #[error("its data is damaged: {0}")]
    Tar(#[source] TarFault),
    #[error("`{path}` {why}")]
    Entry { path: String, why: EntryFault },
    #[error("the file that its contents are put in cannot be used: {0}")]
    Spool(#[source] io::Error),
}

impl DebFault {
    /// Whether the package would have been unpacked with more memory.
    pub fn is_memory(&self) -> bool {
        matches!(self, Self::Archive(ArchiveError::Memory(_)))
    }
}

/// What is refused of an entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    #[error("is no path within an image")]
    Path,
    #[error("is a device, and an image has none")]
    Device,
    #[error("is a pipe, and an image has none")]
    Fifo,
    #[error("lies below `{0}`, which is no folder")]
    Below(String),
    #[error("is no folder, but `{0}` lies below it")]
    Above(String),
    #[error("is a hard link to `{0}`, which is no file that came before it")]
    Hardlink(String),
    #[error("is a link whose target is empty, too long or no text")]
    Target,
    #[error("belongs to {uid}:{gid}, and packages may use numbers up to 65535")]
    Owner { uid: u64, gid: u64 },
    #[error("is the same path as `{0}`, and they differ")]
    Twice(String),
    #[error("must be a folder, because other packages put files into it")]
    Root,
}

/// Unpacks a package that must be the one that is pinned. Contents go to the end of the spool.
///
/// The package is read to its end, so that a reader that checks a digest has checked it when this returns.
///
/// # Errors
/// [`DebError`], with [`ArchiveError::Memory`] within if only `options.memory` was too small.
pub fn from_deb<S: Read + Write + Seek>(
    deb: impl Read,
    pin: &PackagePin,
    options: Options<'_>,
    spool: &mut S,
) -> Result<Unpacked, DebError> {
    unpack(deb, pin, options, spool).map_err(|why| DebError {
        package: pin.name.clone(),
        why,
    })
}

fn unpack<S: Read + Write + Seek>(
    deb: impl Read,
    pin: &PackagePin,
    options: Options<'_>,
    spool: &mut S,
) -> Result<Unpacked, DebFault> {
    let deb = Deb::open(deb, options.memory)?;
    let control = deb.control();
    for (field, expected, found) in [
        ("package", &pin.name, &control.package),
        ("version", &pin.version, &control.version),
        ("architecture", &pin.arch, &control.arch),
    ] {
        if expected != found {
            return Err(DebFault::Other {
                field,
                expected: expected.clone(),
                found: found.escape_debug().to_string(),
            });
        }
    }
    let said = control.installed_size.saturating_mul(1024);
    let bound = said
        .saturating_mul(SLACK)
        .saturating_add(MARGIN)
        .min(LARGEST);
    let explain = deb.explain();
    let mut collector = Collector {
        end: spool.seek(SeekFrom::End(0)).map_err(DebFault::Spool)?,
        spool,
        options,
        entries: BTreeMap::new(),
        notes: Vec::new(),
        chunk: vec![0; CHUNK],
    };
    deb.data(|data| {
        let mut bounded = Bounded {
            inner: data,
            left: bound,
            exceeded: false,
        };
        let done = collector.collect(&mut bounded);
        match done {
            Err(_) if bounded.exceeded => Err(DebFault::TooLarge { bound, said }),
            Err(DebFault::Tar(TarFault::Read(error))) => Err(explain(error).into()),
            done => done,
        }
    })?;
    let Collector { entries, notes, .. } = collector;
    Ok(Unpacked {
        tree: Tree {
            entries: pruned(entries, &|path| options.prune.keeps(path)),
        },
        notes,
    })
}

/// Where an entry came from, what it is.
struct Found {
    /// As the archive says it.
    origin: String,
    node: Node,
    meta: Meta,
}

struct Collector<'a, S> {
    spool: &'a mut S,
    end: u64,
    options: Options<'a>,
    entries: BTreeMap<ImagePath, Found>,
    notes: Vec<String>,
    chunk: Vec<u8>,
}

impl<S: Read + Write + Seek> Collector<'_, S> {
    fn collect(&mut self, data: &mut dyn Read) -> Result<(), DebFault> {
        let mut reader = Reader::new(data);
        let mut count = 0;
        while let Some(entry) = reader.next().map_err(DebFault::Tar)? {
            count += 1;
            if count > MOST_ENTRIES {
                return Err(DebFault::TooMany);
            }
            self.entry(entry, &mut reader)?;
        }
        Ok(())
    }

    fn entry<R: Read>(&mut self, entry: Entry, reader: &mut Reader<R>) -> Result<(), DebFault> {
        let origin = String::from_utf8_lossy(&entry.path)
            .escape_debug()
            .to_string();
        let refuse = |why| DebFault::Entry {
            path: origin.clone(),
            why,
        };
        match entry.kind {
            Kind::Device => return Err(refuse(EntryFault::Device)),
            Kind::Fifo => return Err(refuse(EntryFault::Fifo)),
            Kind::File | Kind::Directory | Kind::Symlink | Kind::Hardlink => {}
        }
        let target = || match str::from_utf8(&entry.link) {
            Ok(text) if (1..=LONGEST_TARGET).contains(&text.len()) && !text.contains('\0') => {
                Ok(text.to_owned())
            }
            _ => Err(refuse(EntryFault::Target)),
        };
        let is_directory = entry.kind == Kind::Directory;
        let path = match merged::place(&entry.path) {
            Some(Place::At(path)) => path,
            Some(Place::Root) if is_directory => return Ok(()),
            Some(Place::Merged(_)) if is_directory => return Ok(()),
            Some(Place::Merged(to))
                if entry.kind == Kind::Symlink && merged::leads_to(&target()?, to) =>
            {
                return Ok(());
            }
            Some(Place::Root | Place::Merged(_)) => return Err(refuse(EntryFault::Root)),
            None => return Err(refuse(EntryFault::Path)),
        };
        self.check_place(&path, is_directory).map_err(refuse)?;
        let (uid, gid) = match (u32::try_from(entry.uid), u32::try_from(entry.gid)) {
            (Ok(uid), Ok(gid)) if entry.uid <= LAST_ID && entry.gid <= LAST_ID => (uid, gid),
            _ => {
                let (uid, gid) = (entry.uid, entry.gid);
                return Err(refuse(EntryFault::Owner { uid, gid }));
            }
        };
        let node = match entry.kind {
            Kind::Directory => Node::Directory,
            Kind::Symlink => Node::Symlink(target()?),
            Kind::Hardlink => Node::Hardlink(self.link_target(&entry.link).map_err(refuse)?),
            Kind::File | Kind::Device | Kind::Fifo => {
                let at = self.end;
                self.spool(reader)?;
                Node::File(Content::Spooled {
                    at,
                    size: entry.size,
                })
            }
        };
        let mut meta = Meta {
            uid,
            gid,
            mode: entry.mode & 0o7777,
            xattrs: entry.xattrs.clone(),
        };
        self.take_rights(&path, &node, &mut meta);
        match self.entries.get(&path) {
            None => {
                let found = Found { origin, node, meta };
                self.entries.insert(path, found);
                Ok(())
            }
            // Of /lib/x and /usr/lib/x, or of one path twice.
            Some(before) => {
                let (other, meta_before) = (before.origin.clone(), before.meta.clone());
                let before = before.node.clone();
                match meta_before == meta && self.same(&before, &node)? {
                    true => Ok(()),
                    false => Err(refuse(EntryFault::Twice(other))),
                }
            }
        }
    }

    /// Nothing may lie below what is no folder: through a link it would come to lie somewhere else.
    fn check_place(&self, path: &ImagePath, is_directory: bool) -> Result<(), EntryFault> {
        let mut above = path.parent();
        while let Some(parent) = above {
            match self.entries.get(&parent) {
                Some(found) if !matches!(found.node, Node::Directory) => {
                    return Err(EntryFault::Below(found.origin.clone()));
                }
                _ => above = parent.parent(),
            }
        }
        let start = format!("{path}/");
        let from = std::ops::Bound::Excluded(path.clone());
        let mut after = self.entries.range((from, std::ops::Bound::Unbounded));
        let below = (!is_directory)
            .then(|| {
                // Names such as `path-1` and `path.d` come before those below the path.
                after
                    .by_ref()
                    .take_while(|(other, _)| other.as_str().starts_with(path.as_str()))
                    .find(|(other, _)| other.as_str().starts_with(&start))
            })
            .flatten();
        match below {
            Some((_, found)) => Err(EntryFault::Above(found.origin.clone())),
            None => Ok(()),
        }
    }

    /// The file that a hard link names, which must have come before; its first name if that is a link itself.
    fn link_target(&self, link: &[u8]) -> Result<ImagePath, EntryFault> {
        let shown = || String::from_utf8_lossy(link).escape_debug().to_string();
        let Some(Place::At(target)) = merged::place(link) else {
            return Err(EntryFault::Hardlink(shown()));
        };
        match self.entries.get(&target).map(|found| &found.node) {
            Some(Node::File(_)) => Ok(target),
            Some(Node::Hardlink(first)) => Ok(first.clone()),
            _ => Err(EntryFault::Hardlink(shown())),
        }
    }

    fn spool<R: Read>(&mut self, reader: &mut Reader<R>) -> Result<(), DebFault> {
        loop {
            let count = reader.content(&mut self.chunk).map_err(DebFault::Tar)?;
            if count == 0 {
                return Ok(());
            }
            self.spool
                .write_all(&self.chunk[..count])
                .map_err(DebFault::Spool)?;
            self.end += count as u64;
        }
    }

    /// Takes away what lets a program do more than who starts it, and says so.
    fn take_rights(&mut self, path: &ImagePath, node: &Node, meta: &mut Meta) {
        let special = match node {
            Node::File(_) => 0o6000,
            // On a folder, setgid says who will own what is made in it.
            Node::Directory => 0o4000,
            Node::Symlink(_) | Node::Hardlink(_) => {
                return;
            }
        };
        if self.options.allowed_special.contains(path) {
            return;
        }
        let found = meta.mode & special;
        meta.mode &= !special;
        for (bit, name) in [(0o4000, "setuid"), (0o2000, "setgid")] {
            if found & bit != 0 {
                self.notes.push(format!("{name} was taken from `/{path}`"));
            }
        }
        if meta.xattrs.remove(CAPABILITY).is_some() {
            self.notes
                .push(format!("capabilities were taken from `/{path}`"));
        }
    }

    fn same(&mut self, one: &Node, other: &Node) -> Result<bool, DebFault> {
        Ok(match (one, other) {
            (Node::Directory, Node::Directory) => true,
            (Node::Symlink(one), Node::Symlink(other)) => one == other,
            (Node::Hardlink(one), Node::Hardlink(other)) => one == other,
            (
                Node::File(Content::Spooled { at, size }),
                Node::File(Content::Spooled {
                    at: other_at,
                    size: other_size,
                }),
            ) if size == other_size => {
                let same = same_bytes(self.spool, *at, *other_at, *size);
                let end = self.spool.seek(SeekFrom::Start(self.end));
                end.and(same).map_err(DebFault::Spool)?
            }
            _ => false,
        })
    }
}

fn same_bytes<S: Read + Seek>(spool: &mut S, one: u64, other: u64, size: u64) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; 4096], vec![0; 4096]);
    let mut done = 0;
    while done < size {
        let most = usize::try_from(size - done).unwrap_or(4096).min(4096);
        for (from, buffer) in [(one, &mut left), (other, &mut right)] {
            spool.seek(SeekFrom::Start(from + done))?;
            spool.read_exact(&mut buffer[..most])?;
        }
        if left[..most] != right[..most] {
            return Ok(false);
        }
        done += most as u64;
    }
    Ok(true)
}

/// Leaves out what the rules do not keep, and the folders that are empty because of it.
fn pruned(
    mut all: BTreeMap<ImagePath, Found>,
    keeps: &dyn Fn(&ImagePath) -> bool,
) -> BTreeMap<ImagePath, (Node, Meta)> {
    let mut kept = BTreeSet::new();
    // Of a folder: something in it is kept; something in it is left out.
    let (mut full, mut robbed) = (BTreeSet::new(), BTreeSet::new());
    // Descending: what lies in a folder comes before it.
    for (path, found) in all.iter().rev() {
        let keep = match found.node {
            Node::Directory if full.contains(path) => true,
            Node::Directory => !robbed.contains(path) && keeps(path),
            _ => keeps(path),
        };
        // The nearest folder that the package lists.
        let mut parent = path.parent();
        while let Some(at) = parent.take_if(|at| !all.contains_key(at)) {
            parent = at.parent();
        }
        if let Some(parent) = parent {
            let _new = if keep { &mut full } else { &mut robbed }.insert(parent);
        }
        if keep {
            kept.insert(path.clone());
        }
    }

    // Where the name that carries a content is left out, the first of the others that stay takes its place.
    let mut heirs: BTreeMap<ImagePath, ImagePath> = BTreeMap::new();
    let mut bequests: BTreeMap<ImagePath, (Node, Meta)> = BTreeMap::new();
    for path in &kept {
        if let Some(Node::Hardlink(target)) = all.get(path).map(|found| &found.node)
            && !kept.contains(target)
            && !heirs.contains_key(target)
            && let Some(file) = all.get(target)
        {
            heirs.insert(target.clone(), path.clone());
            bequests.insert(path.clone(), (file.node.clone(), file.meta.clone()));
        }
    }
    let mut entries = BTreeMap::new();
    for path in kept {
        let Some(found) = all.remove(&path) else {
            continue;
        };
        let entry = match (bequests.remove(&path), found.node) {
            (Some(file), _) => file,
            (None, Node::Hardlink(target)) => {
                let target = heirs.get(&target).cloned().unwrap_or(target);
                (Node::Hardlink(target), found.meta)
            }
            (None, node) => (node, found.meta),
        };
        entries.insert(path, entry);
    }
    entries
}

/// Gives out at most so many bytes, and fails where there are more.
struct Bounded<'a> {
    inner: &'a mut dyn Read,
    left: u64,
    exceeded: bool,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX);
        let most = most.min(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => {
                self.exceeded = true;
                return Err(io::Error::other("there is more than there may be"));
            }
        }
        Ok(count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
