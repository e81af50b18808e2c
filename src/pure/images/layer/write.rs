//! A tree as a tar: POSIX ustar, with pax headers where something does not fit (IEEE 1003.1, "pax Interchange Format").

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Cursor, Read, Seek, SeekFrom, Write};

use super::elf;
use super::{Content, Elf, Facts, ImagePath, LayerError, Meta, Node, Tree};

const BLOCK: usize = 512;
const CHUNK: usize = 128 * 1024;
/// What eleven octal digits hold: the size of a file.
const LARGEST_SIZE: u64 = 0o777_7777_7777;
/// What seven octal digits hold: a number of an owner.
const LARGEST_ID: u32 = 0o777_7777;
/// A hard link names a file, or another that does; a longer chain is a circle.
const LONGEST_CHAIN: usize = 16;

pub(super) fn write<S: Read + Seek>(
    tree: &Tree,
    spool: &mut S,
    out: &mut dyn Write,
) -> Result<Facts, LayerError> {
    let first = first_names(tree)?;
    let mut facts = Facts::default();
    // Of files with several names, each of which the linker may find.
    let mut shared: BTreeMap<&ImagePath, Elf> = BTreeMap::new();
    let mut archive = Archive {
        out: BufWriter::with_capacity(CHUNK / 2, out),
        chunk: vec![0; CHUNK],
    };
    for (path, (node, meta)) in &tree.entries {
        check_parent(tree, path)?;
        let failed = |source| LayerError::Write {
            path: path.clone(),
            source,
        };
        match node {
            Node::Directory => {
                let name = format!("{path}/");
                archive.header(tar::EntryType::Directory, &name, "", meta, 0)
            }
            Node::Symlink(target) => {
                facts.links.insert(path.clone(), target.clone());
                archive.header(tar::EntryType::Symlink, path.as_str(), target, meta, 0)
            }
            Node::File(_) | Node::Hardlink(_) => {
                let (root, content, meta) = file_of(tree, path)?;
                let leader = first.get(root).copied();
                if let Some(leader) = leader.filter(|leader| *leader != path) {
                    if let Some(elf) = shared.get(root) {
                        facts.elves.push(Elf {
                            path: path.clone(),
                            ..elf.clone()
                        });
                    }
                    // Attributes belong to the file, which has them already.
                    let meta = Meta {
                        xattrs: BTreeMap::new(),
                        ..meta.clone()
                    };
                    let kind = tar::EntryType::Link;
                    archive.header(kind, path.as_str(), leader.as_str(), &meta, 0)
                } else {
                    archive.file(path, content, meta, spool).map(|elf| {
                        if let Some(elf) = elf {
                            if leader.is_some() {
                                shared.insert(root, elf.clone());
                            }
                            facts.elves.push(elf);
                        }
                    })
                }
            }
        }
        .map_err(failed)?;
    }
    archive
        .finish()
        .map_err(|source| LayerError::End { source })?;
    Ok(facts)
}

/// For each file that hard links name: the first of its names, which carries the content.
fn first_names(tree: &Tree) -> Result<BTreeMap<&ImagePath, &ImagePath>, LayerError> {
    let mut first: BTreeMap<&ImagePath, &ImagePath> = BTreeMap::new();
    for (path, (node, _)) in &tree.entries {
        if matches!(node, Node::Hardlink(_)) {
            let (root, ..) = file_of(tree, path)?;
            // The paths ascend: the first link that is seen is the lowest.
            first.entry(root).or_insert(path.min(root));
        }
    }
    Ok(first)
}

/// The file that a path names, directly or by hard links.
fn file_of<'a>(
    tree: &'a Tree,
    path: &'a ImagePath,
) -> Result<(&'a ImagePath, &'a Content, &'a Meta), LayerError> {
    let mut at = path;
    let mut last = path;
    for _ in 0..LONGEST_CHAIN {
        match tree.entries.get(at) {
            Some((Node::Hardlink(target), _)) => (last, at) = (target, target),
            Some((Node::File(content), meta)) => return Ok((at, content, meta)),
            _ => break,
        }
    }
    Err(LayerError::Hardlink {
        path: path.clone(),
        target: last.clone(),
    })
}

/// What a path lies in must be a folder, if the tree has it: through a link it would be written to somewhere else.
fn check_parent(tree: &Tree, path: &ImagePath) -> Result<(), LayerError> {
    let mut at = path.parent();
    while let Some(parent) = at {
        match tree.entries.get(&parent) {
            Some((Node::Directory, _)) => return Ok(()),
            Some(_) => {
                return Err(LayerError::Parent {
                    path: path.clone(),
                    parent,
                });
            }
            None => at = parent.parent(),
        }
    }
    Ok(())
}

struct Archive<'a> {
    out: BufWriter<&'a mut dyn Write>,
    chunk: Vec<u8>,
}

impl Archive<'_> {
    /// The header of an entry, and before it what does not fit in there.
    fn header(
        &mut self,
        kind: tar::EntryType,
        name: &str,
        link: &str,
        meta: &Meta,
        size: u64,
    ) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        let mut pax: Vec<(String, &[u8])> = Vec::new();
        let (uid, gid, large) = (meta.uid.to_string(), meta.gid.to_string(), size.to_string());
        // Bytes beyond ASCII have no meaning in a ustar header; pax texts are UTF-8 by definition.
        if !name.is_ascii() || header.set_path(name).is_err() {
            header = tar::Header::new_ustar();
            header.set_path("pax")?;
            pax.push(("path".to_owned(), name.as_bytes()));
        }
        if !link.is_empty() && (!link.is_ascii() || header.set_link_name_literal(link).is_err()) {
            header.set_link_name_literal("pax")?;
            pax.push(("linkpath".to_owned(), link.as_bytes()));
        }
        header.set_entry_type(kind);
        header.set_mode(meta.mode & 0o7777);
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        for (key, value, text, fits) in [
            ("uid", u64::from(meta.uid), &uid, meta.uid <= LARGEST_ID),
            ("gid", u64::from(meta.gid), &gid, meta.gid <= LARGEST_ID),
            ("size", size, &large, size <= LARGEST_SIZE),
        ] {
            match (key, fits) {
                (_, false) => pax.push((key.to_owned(), text.as_bytes())),
                ("uid", _) => header.set_uid(value),
                ("gid", _) => header.set_gid(value),
                _ => header.set_size(value),
            }
        }
        for (name, value) in &meta.xattrs {
            if name.is_empty() || name.contains(['=', '\0']) {
                let name = name.escape_debug();
                return Err(io::Error::other(format!(
                    "the extended attribute `{name}` has a name that no archive can hold"
                )));
            }
            pax.push((format!("SCHILY.xattr.{name}"), value));
        }
        if !pax.is_empty() {
            self.pax(&pax)?;
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }

    fn pax(&mut self, records: &[(String, &[u8])]) -> io::Result<()> {
        let mut body = Vec::new();
        for (key, value) in records {
            // `LENGTH KEY=VALUE\n`, where the length counts its own digits.
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            body.extend_from_slice(format!("{length} {key}=").as_bytes());
            body.extend_from_slice(value);
            body.push(b'\n');
        }
        let mut header = tar::Header::new_ustar();
        header.set_path("pax")?;
        header.set_entry_type(tar::EntryType::XHeader);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(body.len() as u64);
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(&body)?;
        self.pad(body.len() as u64)
    }

    fn file<S: Read + Seek>(
        &mut self,
        path: &ImagePath,
        content: &Content,
        meta: &Meta,
        spool: &mut S,
    ) -> io::Result<Option<Elf>> {
        match content {
            Content::Bytes(bytes) => {
                let size = bytes.len() as u64;
                self.header(tar::EntryType::Regular, path.as_str(), "", meta, size)?;
                self.out.write_all(bytes)?;
                self.pad(size)?;
                let source = &mut elf::Source {
                    bytes: &mut Cursor::new(bytes),
                    at: 0,
                    size,
                };
                match elf::is_elf(bytes) {
                    true => elf::read(path, source),
                    false => Ok(None),
                }
            }
            Content::Spooled { at, size } => {
                self.header(tar::EntryType::Regular, path.as_str(), "", meta, *size)?;
                spool.seek(SeekFrom::Start(*at))?;
                let mut left = *size;
                let mut is_elf = false;
                while left > 0 {
                    let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
                    spool.read_exact(&mut self.chunk[..most])?;
                    is_elf |= left == *size && elf::is_elf(&self.chunk[..most]);
                    self.out.write_all(&self.chunk[..most])?;
                    left -= most as u64;
                }
                self.pad(*size)?;
                let source = &mut elf::Source {
                    bytes: spool,
                    at: *at,
                    size: *size,
                };
                match is_elf {
                    true => elf::read(path, source),
                    false => Ok(None),
                }
            }
        }
    }

    /// Zeros up to the next block.
    fn pad(&mut self, size: u64) -> io::Result<()> {
        let over = usize::try_from(size % BLOCK as u64).unwrap_or(0);
        match over {
            0 => Ok(()),
            over => self.out.write_all(&[0; BLOCK][over..]),
        }
    }

    /// The end of an archive: two empty blocks.
    fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()
    }
}
