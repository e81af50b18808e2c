//! Several layers as one: for packages that share a layer because there would be too many.

use std::io::{self, Read, Seek, SeekFrom, Write};

use super::layer::{Content, ImagePath, Meta, Node, PathError, Tree};

/// Contents up to this size stay in memory; an image's small packages have few files that are larger.
const SMALL: u64 = 4096;
/// The prefix of extended attributes in pax headers.
const XATTR: &str = "SCHILY.xattr.";

/// Why a layer cannot be read as a tree.
#[derive(Debug, thiserror::Error)]
pub enum AbsorbError {
    #[error("the layer cannot be read: {0}")]
    Read(#[from] io::Error),
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("the layer has `{0}`, which is neither file, folder nor link")]
    Kind(String),
}

/// Adds the entries of a layer that forge wrote to a tree. Of two with one path, the new one stays, as it would if the layers lay
/// above each other. Large contents go to the end of the spool.
///
/// # Errors
/// [`AbsorbError`]; the tree is then to be thrown away.
pub fn absorb<S: Write + Seek>(
    tree: &mut Tree,
    layer: impl Read,
    spool: &mut S,
) -> Result<(), AbsorbError> {
    let mut archive = tar::Archive::new(layer);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec())
                .map_err(|_| AbsorbError::Kind(String::from_utf8_lossy(bytes).into_owned()))
        };
        let path: ImagePath = text(&entry.path_bytes())?.parse()?;
        let header = entry.header();
        let mut meta = Meta {
            uid: number(header.uid()?)?,
            gid: number(header.gid()?)?,
            mode: header.mode()? & 0o7777,
            ..Meta::default()
        };
        let kind = header.entry_type();
        if let Some(records) = entry.pax_extensions()? {
            for record in records {
                let record = record?;
                let key = text(record.key_bytes())?;
                let value = record.value_bytes();
                let decimal = || {
                    text(value)?
                        .parse()
                        .map_err(|_| AbsorbError::Kind(key.clone()))
                };
                match key.as_str() {
                    "uid" => meta.uid = decimal()?,
                    "gid" => meta.gid = decimal()?,
                    _ => {
                        if let Some(name) = key.strip_prefix(XATTR) {
                            meta.xattrs.insert(name.to_owned(), value.to_vec());
                        }
                    }
                }
            }
        }
        let target = match entry.link_name_bytes() {
            Some(bytes) => text(&bytes)?,
            None => String::new(),
        };
        let size = entry.size();
        let node = match kind {
            tar::EntryType::Directory => Node::Directory,
            tar::EntryType::Symlink => Node::Symlink(target),
            tar::EntryType::Link => Node::Hardlink(target.parse()?),
            tar::EntryType::Regular if size <= SMALL => {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                Node::File(Content::Bytes(bytes.into()))
            }
            tar::EntryType::Regular => {
                let at = spool.seek(SeekFrom::End(0))?;
                io::copy(&mut entry, spool)?;
                Node::File(Content::Spooled { at, size })
            }
            _ => return Err(AbsorbError::Kind(path.to_string())),
        };
        tree.entries.insert(path, (node, meta));
    }
    // To its end, so that who checks what is read sees all of it.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    Ok(())
}

fn number(value: u64) -> Result<u32, AbsorbError> {
    u32::try_from(value).map_err(|_| AbsorbError::Kind(format!("the number {value}")))
}
