//! A tar writer whose bytes depend on what is packed and on nothing else.
//!
//! POSIX ustar (IEEE 1003.1, "pax Interchange Format"), with a pax header where a path or a size does not fit. Owner, group and
//! time are zero, names of owners empty, the mode one of two. The entries come in ascending order of their paths, each once; the
//! writer checks that and does not sort, so that it can stream what does not fit in memory.

use std::io::{self, Read, Write};

/// Why an entry cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// Absolute, empty, with `.`, `..`, an empty part or a control character.
    #[error("`{0}` is not a path within an archive")]
    Path(String),
    /// The caller's order is not the one that makes the bytes unique.
    #[error("`{path}` comes after `{after}`, but an archive is written in ascending order")]
    Order { path: String, after: String },
    /// The content is shorter or longer than announced: the archive is spoilt.
    #[error("`{path}` should have {expected} bytes, and has {}", if *longer { "more" } else { "less" })]
    Size {
        path: String,
        expected: u64,
        longer: bool,
    },
    #[error("cannot write `{path}` to the archive: {source}")]
    Write { path: String, source: io::Error },
}

/// The largest size that the twelve bytes of a ustar header can hold: eleven octal digits.
const LARGEST: u64 = 0o777_7777_7777;

/// Writes an archive entry by entry.
pub struct Writer<W: Write> {
    archive: tar::Builder<W>,
    last: Option<String>,
}

impl<W: Write> std::fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

/// Who may do what with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 0644
    Plain,
    /// 0755
    Executable,
}

impl<W: Write> Writer<W> {
    pub fn new(to: W) -> Self {
        Self {
            archive: tar::Builder::new(to),
            last: None,
        }
    }

    /// Adds a folder, with mode 0755.
    ///
    /// # Errors
    /// [`TarError`], after which the archive is spoilt.
    pub fn folder(&mut self, path: &str) -> Result<(), TarError> {
        self.entry(
            path,
            tar::EntryType::Directory,
            Mode::Executable,
            0,
            io::empty(),
        )
    }

    /// Adds a file of exactly `size` bytes.
    ///
    /// # Errors
    /// [`TarError`], after which the archive is spoilt.
    pub fn file(
        &mut self,
        path: &str,
        mode: Mode,
        size: u64,
        content: impl Read,
    ) -> Result<(), TarError> {
        self.entry(path, tar::EntryType::Regular, mode, size, content)
    }

    /// Writes the end of the archive and gives back what it was written to.
    ///
    /// # Errors
    /// [`TarError::Write`].
    pub fn finish(self) -> Result<W, TarError> {
        self.archive.into_inner().map_err(|source| TarError::Write {
            path: "the end".to_owned(),
            source,
        })
    }

    fn entry(
        &mut self,
        path: &str,
        kind: tar::EntryType,
        mode: Mode,
        size: u64,
        content: impl Read,
    ) -> Result<(), TarError> {
        if !is_inside(path) {
            return Err(TarError::Path(path.to_owned()));
        }
        if let Some(after) = self.last.as_deref().filter(|last| path <= *last) {
            return Err(TarError::Order {
                path: path.to_owned(),
                after: after.to_owned(),
            });
        }
        let write = |source| TarError::Write {
            path: path.to_owned(),
            source,
        };

        let is_folder = kind == tar::EntryType::Directory;
        let name = if is_folder {
            format!("{path}/")
        } else {
            path.to_owned()
        };
        let mut header = tar::Header::new_ustar();
        let mut pax: Vec<(&str, Vec<u8>)> = Vec::new();
        // Bytes beyond ASCII have no meaning in a ustar header; pax names are UTF-8 by definition.
        if !name.is_ascii() || header.set_path(&name).is_err() {
            header = tar::Header::new_ustar();
            header.set_path("pax").map_err(write)?;
            pax.push(("path", name.into_bytes()));
        }
        if size > LARGEST {
            pax.push(("size", size.to_string().into_bytes()));
        }
        header.set_entry_type(kind);
        header.set_mode(match mode {
            Mode::Plain => 0o644,
            Mode::Executable => 0o755,
        });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();

        self.archive
            .append_pax_extensions(pax.iter().map(|(key, value)| (*key, value.as_slice())))
            .map_err(write)?;
        let mut content = Counted {
            inner: content,
            left: size,
            longer: false,
        };
        self.archive.append(&header, &mut content).map_err(write)?;
        if content.left > 0 || content.is_longer().map_err(write)? {
            return Err(TarError::Size {
                path: path.to_owned(),
                expected: size,
                longer: content.left == 0,
            });
        }
        self.last = Some(path.to_owned());
        Ok(())
    }
}

/// Gives out at most the announced number of bytes, and knows whether there were as many.
struct Counted<R> {
    inner: R,
    left: u64,
    longer: bool,
}

impl<R: Read> Counted<R> {
    fn is_longer(&mut self) -> io::Result<bool> {
        if !self.longer {
            self.longer = self.inner.read(&mut [0])? > 0;
        }
        Ok(self.longer)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        self.left -= count as u64;
        Ok(count)
    }
}

fn is_inside(path: &str) -> bool {
    !path.contains(char::is_control) && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_read_back_is_what_was_written_and_nothing_of_the_machine() {
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
        let pack = || {
            let mut tar = Writer::new(Vec::new());
            tar.folder("a").unwrap();
            tar.file("a/x", Mode::Executable, 2, &b"hi"[..]).unwrap();
            tar.file(&long, Mode::Plain, 1, &b"l"[..]).unwrap();
            tar.file("\u{fc}", Mode::Plain, 0, &b""[..]).unwrap();
            tar.finish().unwrap()
        };
        let bytes = pack();
        assert_eq!(bytes, pack());
        assert_eq!(bytes.len() % 512, 0);

        let mut archive = tar::Archive::new(bytes.as_slice());
        let mut seen = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header().clone();
            assert_eq!(
                (
                    header.mtime().unwrap(),
                    header.uid().unwrap(),
                    header.gid().unwrap()
                ),
                (0, 0, 0)
            );
            let path = entry.path().unwrap().to_str().unwrap().to_owned();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            seen.push((path, header.mode().unwrap(), text));
        }
        assert_eq!(
            seen,
            [
                ("a/".to_owned(), 0o755, String::new()),
                ("a/x".to_owned(), 0o755, "hi".to_owned()),
                (long.clone(), 0o644, "l".to_owned()),
                ("\u{fc}".to_owned(), 0o644, String::new()),
            ]
        );
    }

    #[test]
    fn refuses_what_would_make_the_bytes_ambiguous_or_dangerous() {
        let mut tar = Writer::new(Vec::new());
        for path in ["", "/a", "a/", "../a", "a/./b", "a//b", "a\nb"] {
            assert!(
                matches!(tar.folder(path), Err(TarError::Path(_))),
                "{path:?}"
            );
        }
        tar.folder("b").unwrap();
        assert!(matches!(tar.folder("a"), Err(TarError::Order { .. })));
        assert!(matches!(tar.folder("b"), Err(TarError::Order { .. })));
        let short = tar.file("c", Mode::Plain, 3, &b"ab"[..]);
        assert!(
            matches!(short, Err(TarError::Size { longer: false, .. })),
            "{short:?}"
        );
        let long = tar.file("c", Mode::Plain, 1, &b"ab"[..]);
        assert!(
            matches!(long, Err(TarError::Size { longer: true, .. })),
            "{long:?}"
        );
    }
}
