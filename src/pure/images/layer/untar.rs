//! Reads a tar that a stranger has made: ustar, GNU long names, pax headers (IEEE 1003.1; GNU tar manual, "Basic Tar Format").
//!
//! Not the reader of the crate: it takes as much memory for a long name as an archive says.

use std::collections::BTreeMap;
use std::io::{self, Read};

const BLOCK: usize = 512;
/// More than this is no name and no set of attributes.
const LARGEST_EXTENSION: u64 = 1 << 20;
/// For one entry, an extension of each kind.
const MOST_EXTENSIONS: usize = 4;

/// Why bytes are no tar, or none that is read.
#[derive(Debug, thiserror::Error)]
pub enum TarFault {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("the header at byte {0} is damaged")]
    Header(u64),
    #[error("it is cut off at byte {0}")]
    CutOff(u64),
    #[error("the extension at byte {at} {why}")]
    Extension { at: u64, why: &'static str },
    #[error("the header at byte {at} has the type `{kind}`, which is not read")]
    Kind { at: u64, kind: String },
    #[error("there is something after its end")]
    AfterEnd,
}

/// What an entry says of itself.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) xattrs: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    Hardlink,
    Device,
    Fifo,
}

/// What stands before an entry and belongs to it.
#[derive(Debug, Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    uid: Option<u64>,
    gid: Option<u64>,
    size: Option<u64>,
    xattrs: BTreeMap<String, Vec<u8>>,
}

/// Gives out entries; the content of one is read before the next.
pub(super) struct Reader<R: Read> {
    from: R,
    at: u64,
    /// Of the last entry: its content that has not been read, and the zeros after it.
    left: u64,
    padding: u64,
}

impl<R: Read> Reader<R> {
    pub(super) fn new(from: R) -> Self {
        Self {
            from,
            at: 0,
            left: 0,
            padding: 0,
        }
    }

    /// The next entry; nothing at the end, after which there must be zeros alone.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, TarFault> {
        self.skip(self.left + self.padding)?;
        (self.left, self.padding) = (0, 0);
        let mut extensions = Extensions::default();
        for _ in 0..=MOST_EXTENSIONS {
            let at = self.at;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let bad = |_| TarFault::Header(at);
            let size = header.entry_size().map_err(bad)?;
            let kind = match header.entry_type() {
                tar::EntryType::Regular if header.path_bytes().ends_with(b"/") => Kind::Directory,
                tar::EntryType::Regular => Kind::File,
                tar::EntryType::Directory => Kind::Directory,
                tar::EntryType::Symlink => Kind::Symlink,
                tar::EntryType::Link => Kind::Hardlink,
                tar::EntryType::Char | tar::EntryType::Block => Kind::Device,
                tar::EntryType::Fifo => Kind::Fifo,
                tar::EntryType::GNULongName => {
                    let path = self.extension(at, size)?;
                    extensions.path = Some(until_nul(path));
                    continue;
                }
                tar::EntryType::GNULongLink => {
                    let link = self.extension(at, size)?;
                    extensions.link = Some(until_nul(link));
                    continue;
                }
                tar::EntryType::XHeader => {
                    let body = self.extension(at, size)?;
                    extensions.pax(at, &body)?;
                    continue;
                }
                other => {
                    let kind = char::from(other.as_byte()).escape_debug().to_string();
                    return Err(TarFault::Kind { at, kind });
                }
            };
            // Readers disagree about whose size counts: such an archive says something else to each.
            let size = match (kind, extensions.size) {
                (_, Some(other)) if other != size => return Err(TarFault::Header(at)),
                (Kind::File, _) => size,
                // POSIX: the size of a link says nothing of what follows; of the others there is no content.
                _ if size == 0 => 0,
                _ => return Err(TarFault::Header(at)),
            };
            self.left = size;
            self.padding = padding(size);
            return Ok(Some(Entry {
                kind,
                path: extensions
                    .path
                    .unwrap_or_else(|| header.path_bytes().into_owned()),
                link: extensions
                    .link
                    .or_else(|| header.link_name_bytes().map(Into::into))
                    .unwrap_or_default(),
                mode: header.mode().map_err(bad)?,
                uid: extensions
                    .uid
                    .map_or_else(|| header.uid(), Ok)
                    .map_err(bad)?,
                gid: extensions
                    .gid
                    .map_or_else(|| header.gid(), Ok)
                    .map_err(bad)?,
                size,
                xattrs: extensions.xattrs,
            }));
        }
        Err(TarFault::Extension {
            at: self.at,
            why: "is one of too many",
        })
    }

    /// A header whose sum is right; nothing at the end.
    fn header(&mut self) -> Result<Option<tar::Header>, TarFault> {
        let at = self.at;
        let mut header = tar::Header::new_old();
        let read = fill(&mut self.from, header.as_mut_bytes())?;
        self.at += read as u64;
        if read == 0 || header.as_bytes().iter().all(|byte| *byte == 0) {
            if read % BLOCK != 0 {
                return Err(TarFault::CutOff(at));
            }
            return self.end().map(|()| None);
        }
        if read < BLOCK {
            return Err(TarFault::CutOff(at));
        }
        let sum: u32 = header
            .as_bytes()
            .iter()
            .enumerate()
            // The sum is made as if its own field were spaces.
            .map(|(at, byte)| {
                u32::from(if (148..156).contains(&at) {
                    b' '
                } else {
                    *byte
                })
            })
            .sum();
        match header.cksum() {
            Ok(found) if found == sum => Ok(Some(header)),
            _ => Err(TarFault::Header(at)),
        }
    }

    fn end(&mut self) -> Result<(), TarFault> {
        let mut buffer = [0; 4096];
        loop {
            match fill(&mut self.from, &mut buffer)? {
                0 => return Ok(()),
                count if buffer[..count].iter().all(|byte| *byte == 0) => {}
                _ => return Err(TarFault::AfterEnd),
            }
        }
    }

    fn extension(&mut self, at: u64, size: u64) -> Result<Vec<u8>, TarFault> {
        if size > LARGEST_EXTENSION {
            return Err(TarFault::Extension {
                at,
                why: "is too large",
            });
        }
        let mut body = Vec::new();
        let count = (&mut self.from).take(size).read_to_end(&mut body)?;
        self.at += count as u64;
        if (count as u64) < size {
            return Err(TarFault::CutOff(self.at));
        }
        self.skip(padding(size))?;
        Ok(body)
    }

    fn skip(&mut self, count: u64) -> Result<(), TarFault> {
        let copied = io::copy(&mut (&mut self.from).take(count), &mut io::sink())?;
        self.at += copied;
        match copied == count {
            true => Ok(()),
            false => Err(TarFault::CutOff(self.at)),
        }
    }

    /// A part of the entry's content; nothing at its end.
    pub(super) fn content(&mut self, buffer: &mut [u8]) -> Result<usize, TarFault> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = fill(&mut self.from, &mut buffer[..most])?;
        self.at += count as u64;
        self.left -= count as u64;
        match count == most {
            true => Ok(count),
            false => Err(TarFault::CutOff(self.at)),
        }
    }
}

impl Extensions {
    /// Records `LENGTH KEY=VALUE\n`.
    fn pax(&mut self, at: u64, mut body: &[u8]) -> Result<(), TarFault> {
        let refuse = |why| TarFault::Extension { at, why };
        while !body.is_empty() {
            let damaged = || refuse("is damaged");
            let space = body.iter().position(|byte| *byte == b' ');
            let digits = &body[..space.ok_or_else(damaged)?];
            let length: usize = str::from_utf8(digits)
                .ok()
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|text| text.parse().ok())
                .ok_or_else(damaged)?;
            let record = body.get(digits.len() + 1..length).ok_or_else(damaged)?;
            body = &body[length..];
            let record = record.strip_suffix(b"\n").ok_or_else(damaged)?;
            let equals = record.iter().position(|byte| *byte == b'=');
            let (key, value) = record.split_at(equals.ok_or_else(damaged)?);
            let (key, value) = (str::from_utf8(key).map_err(|_| damaged())?, &value[1..]);
            let number = || {
                str::from_utf8(value)
                    .ok()
                    .and_then(|text| text.parse().ok())
            };
            match key {
                "path" => self.path = Some(value.to_vec()),
                "linkpath" => self.link = Some(value.to_vec()),
                "uid" => self.uid = Some(number().ok_or_else(damaged)?),
                "gid" => self.gid = Some(number().ok_or_else(damaged)?),
                "size" => self.size = Some(number().ok_or_else(damaged)?),
                // They say how a content is to be read that is not as it stands.
                _ if key.starts_with("GNU.sparse") => return Err(refuse("is of a sparse file")),
                _ => {
                    if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                        self.xattrs.insert(name.to_owned(), value.to_vec());
                    }
                }
            }
        }
        Ok(())
    }
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|byte| *byte == 0);
    bytes.truncate(end.unwrap_or(bytes.len()));
    bytes
}

/// As much as there is, at most a whole buffer.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
