//! A `.deb`: an `ar` archive of a version, a control archive and a data archive (deb(5)). Read once, from front to back.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{IGNORE_CHECK, Stream};

/// Why bytes are no `.deb`, or none that is read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Of whoever gives the bytes.
    #[error("it cannot be read: {0}")]
    Read(#[source] io::Error),
    #[error("it is no Debian package: it does not begin with `!<arch>`")]
    Magic,
    #[error("it is cut off within {0}")]
    CutOff(&'static str),
    #[error("the header of a member is damaged: {0}")]
    Header(&'static str),
    #[error("its member {found} is where `{expected}` must be")]
    Member {
        expected: &'static str,
        found: String,
    },
    #[error("its format is version `{0}`, and forge reads 2.x; take a newer forge")]
    Version(String),
    #[error("its member `{0}` is larger than a package has")]
    TooLarge(String),
    #[error("its control file {0}")]
    Control(String),
    #[error("its member `{member}` cannot be unpacked: {source}")]
    Unpack { member: String, source: io::Error },
    #[error("its member `{0}` goes on after the end of what was compressed")]
    After(String),
    /// Not an error of the archive: the caller may have more.
    #[error("unpacking its member `{0}` takes more memory than there is for it")]
    Memory(String),
}

/// What a package says of itself that unpacking needs (Debian Policy, section 5.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    pub package: String,
    pub version: String,
    pub arch: String,
    /// In KiB, about; 0 if the package does not say.
    pub installed_size: u64,
}

/// As much as a control archive may unpack to: scripts, and the digests of all files.
const LARGEST_CONTROL: u64 = 32 << 20;
const BUFFER: usize = 128 * 1024;

/// A package whose control file has been read, and whose data has not.
pub struct Deb<R: Read> {
    ar: Ar<R>,
    control: Control,
    data: Member,
    memory: u64,
}

impl<R: Read> std::fmt::Debug for Deb<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deb")
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}

impl<R: Read> Deb<R> {
    /// Reads up to the data. No decoder takes more than `memory` bytes for what it has to remember.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn open(from: R, memory: u64) -> Result<Self, ArchiveError> {
        let mut ar = Ar::open(from)?;
        let version = ar.expect("debian-binary", |name| name == "debian-binary")?;
        if version.size > 64 {
            return Err(ArchiveError::TooLarge(version.name));
        }
        let text = ar.unpack(&version, memory, whole)?;
        // deb(5): the lines after the first are to be ignored, and the minor number too.
        let text = String::from_utf8_lossy(&text);
        let first = text.lines().next().unwrap_or_default();
        if !first.starts_with("2.") {
            return Err(ArchiveError::Version(first.escape_debug().to_string()));
        }
        let member = ar.expect("control.tar", |name| is_tar(name, "control"))?;
        let control = ar.unpack(&member, memory, |tar| read_control(&member.name, tar))?;
        let control = parse_control(&control)?;
        let data = ar.expect("data.tar", |name| is_tar(name, "data"))?;
        Ok(Self {
            ar,
            control,
            data,
            memory,
        })
    }

    pub fn control(&self) -> &Control {
        &self.control
    }

    /// What turns errors of reading the data into errors of this package.
    pub fn explain(&self) -> impl Fn(io::Error) -> ArchiveError + use<R> {
        let name = self.data.name.clone();
        move |source| unpack_error(&name, source)
    }

    /// Gives out the data, an uncompressed tar, and then reads the package to its end. What `read` leaves of the tar is an error.
    ///
    /// # Errors
    /// [`ArchiveError`]; an error of `read` itself comes first. [`Self::explain`] says what an error of reading means.
    pub fn data<T, E: From<ArchiveError>>(
        mut self,
        read: impl FnOnce(&mut dyn Read) -> Result<T, E>,
    ) -> Result<T, E> {
        let done = self.ar.unpack(&self.data, self.memory, read)?;
        while let Some(member) = self.ar.next()? {
            // Signatures and the like of other tools.
            if !member.name.starts_with('_') {
                let found = format!("`{}`", member.name.escape_debug());
                let expected = "the end";
                return Err(ArchiveError::Member { expected, found }.into());
            }
            self.ar.skip(&member)?;
        }
        Ok(done)
    }
}

/// What an error of reading from a decoder means.
fn unpack_error(member: &str, source: io::Error) -> ArchiveError {
    let memory = source.get_ref().is_some_and(|inner| {
        let xz = inner.downcast_ref::<liblzma::stream::Error>();
        // zstd tells its errors by their texts alone.
        matches!(xz, Some(liblzma::stream::Error::MemLimit))
            || inner.to_string().contains("Frame requires too much memory")
    });
    match memory {
        true => ArchiveError::Memory(member.to_owned()),
        false => ArchiveError::Unpack {
            member: member.to_owned(),
            source,
        },
    }
}

/// Unpacks by the ending of a name. What remembers takes at most so much memory for that.
fn decoder<'a>(
    name: &str,
    packed: impl BufRead + 'a,
    memory: u64,
) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match name.rsplit('.').next() {
        Some("xz") => {
            // A package is known by its digest; another sum over what comes out costs a tenth of the time.
            let stream = Stream::new_stream_decoder(memory, IGNORE_CHECK)?;
            Box::new(XzDecoder::new_stream(packed, stream))
        }
        Some("gz") => Box::new(GzDecoder::new(packed)),
        Some("zst") => {
            let mut zstd = zstd::Decoder::with_buffer(packed)?.single_frame();
            // What it remembers is a power of two; 2^10 is the least that the format has, 2^31 the most.
            zstd.window_log_max(memory.max(1).ilog2().clamp(10, 31))?;
            Box::new(zstd)
        }
        _ => Box::new(packed),
    })
}

fn is_tar(name: &str, stem: &str) -> bool {
    let rest = name
        .strip_prefix(stem)
        .and_then(|rest| rest.strip_prefix(".tar"));
    matches!(rest, Some("" | ".gz" | ".xz" | ".zst"))
}

fn whole(from: &mut dyn Read) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).map_err(ArchiveError::Read)?;
    Ok(bytes)
}

/// The file `control` of a control archive.
fn read_control(member: &str, tar: &mut dyn Read) -> Result<Vec<u8>, ArchiveError> {
    let failed = |source: io::Error| unpack_error(member, source);
    // In memory first, where the reader of archives can take no more than there is.
    let mut bytes = Vec::new();
    let mut limited = tar.take(LARGEST_CONTROL + 1);
    limited.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST_CONTROL {
        return Err(ArchiveError::TooLarge(member.to_owned()));
    }
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut found = None;
    for entry in archive.entries().map_err(failed)? {
        let mut entry = entry.map_err(failed)?;
        let path = entry.path_bytes().into_owned();
        let path = path.strip_prefix(b"./").unwrap_or(&path);
        if path != b"control" {
            continue;
        }
        let mut text = Vec::new();
        entry.read_to_end(&mut text).map_err(failed)?;
        if !entry.header().entry_type().is_file() || found.replace(text).is_some() {
            return Err(ArchiveError::Control(
                "is there twice, or is no file".to_owned(),
            ));
        }
    }
    found.ok_or_else(|| ArchiveError::Control("is missing".to_owned()))
}

fn parse_control(bytes: &[u8]) -> Result<Control, ArchiveError> {
    let refuse = |why: String| ArchiveError::Control(why);
    let text = str::from_utf8(bytes).map_err(|_| refuse("is not UTF-8".to_owned()))?;
    let mut fields: BTreeMap<String, &str> = BTreeMap::new();
    for line in text.trim_end().lines() {
        if line.starts_with([' ', '\t']) {
            continue;
        }
        let Some((key, value)) = line.split_once(':') else {
            let line: String = line.chars().take(80).collect();
            return Err(refuse(format!(
                "has a line that is no field: `{}`",
                line.escape_debug()
            )));
        };
        if fields
            .insert(key.to_ascii_lowercase(), value.trim())
            .is_some()
        {
            return Err(refuse(format!(
                "has the field `{}` twice",
                key.escape_debug()
            )));
        }
    }
    let field = |name: &str| match fields.get(name.to_ascii_lowercase().as_str()) {
        Some(value) if !value.is_empty() => Ok((*value).to_owned()),
        _ => Err(refuse(format!("has no field `{name}`"))),
    };
    let size = fields.get("installed-size").copied().unwrap_or("0");
    Ok(Control {
        package: field("Package")?,
        version: field("Version")?,
        arch: field("Architecture")?,
        installed_size: size.parse().map_err(|_| {
            refuse(format!(
                "has no number as `Installed-Size`: `{}`",
                size.escape_debug()
            ))
        })?,
    })
}

/// A member that has not been read yet.
#[derive(Debug)]
struct Member {
    name: String,
    size: u64,
}

/// The common archive format (ar(5)), as far as packages use it.
struct Ar<R: Read> {
    from: BufReader<R>,
}

impl<R: Read> Ar<R> {
    fn open(from: R) -> Result<Self, ArchiveError> {
        let mut from = BufReader::with_capacity(BUFFER, from);
        let mut magic = [0; 8];
        match from.read_exact(&mut magic) {
            Ok(()) if &magic == b"!<arch>\n" => Ok(Self { from }),
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                Err(ArchiveError::Read(error))
            }
            _ => Err(ArchiveError::Magic),
        }
    }

    /// The header of the next member; nothing at the end.
    fn next(&mut self) -> Result<Option<Member>, ArchiveError> {
        if self.from.fill_buf().map_err(ArchiveError::Read)?.is_empty() {
            return Ok(None);
        }
        let mut header = [0; 60];
        self.exact(&mut header, "the header of a member")?;
        if &header[58..] != b"`\n" {
            return Err(ArchiveError::Header("it does not end as one does"));
        }
        let text = |range: std::ops::Range<usize>| {
            let field = str::from_utf8(&header[range]).ok()?;
            let field = field.trim_end_matches(' ');
            let plain = field.bytes().all(|byte| byte.is_ascii_graphic());
            (plain && !field.is_empty()).then_some(field)
        };
        let name = text(0..16).ok_or(ArchiveError::Header("its name is none"))?;
        let name = name.strip_suffix('/').unwrap_or(name);
        let size = text(48..58).filter(|size| size.bytes().all(|byte| byte.is_ascii_digit()));
        let size = size.and_then(|size| size.parse().ok());
        Ok(Some(Member {
            name: name.to_owned(),
            size: size.ok_or(ArchiveError::Header("its size is no number"))?,
        }))
    }

    /// The next member that is not somebody's own (deb(5): names that begin with `_`), which must be this one.
    fn expect(
        &mut self,
        expected: &'static str,
        is: impl Fn(&str) -> bool,
    ) -> Result<Member, ArchiveError> {
        loop {
            let found = match self.next()? {
                Some(member) if is(&member.name) => return Ok(member),
                Some(member) if member.name.starts_with('_') && expected != "debian-binary" => {
                    self.skip(&member)?;
                    continue;
                }
                Some(member) => format!("`{}`", member.name.escape_debug()),
                None => "(none)".to_owned(),
            };
            return Err(ArchiveError::Member { expected, found });
        }
    }

    /// Gives out a member, unpacked as its name says, and requires that nothing of it is left.
    fn unpack<T, E: From<ArchiveError>>(
        &mut self,
        member: &Member,
        memory: u64,
        read: impl FnOnce(&mut dyn Read) -> Result<T, E>,
    ) -> Result<T, E> {
        let failed = |source: io::Error| unpack_error(&member.name, source);
        let mut packed = (&mut self.from).take(member.size);
        let done = {
            let mut tar = decoder(&member.name, &mut packed, memory).map_err(failed)?;
            let done = read(&mut tar)?;
            // Only its end says that it was whole.
            if tar.read(&mut [0]).map_err(failed)? > 0 {
                return Err(ArchiveError::After(member.name.clone()).into());
            }
            done
        };
        match packed.limit() {
            0 => self.pad(member.size)?,
            _ if packed.fill_buf().map_err(ArchiveError::Read)?.is_empty() => {
                return Err(ArchiveError::CutOff("a member").into());
            }
            _ => return Err(ArchiveError::After(member.name.clone()).into()),
        }
        Ok(done)
    }

    fn skip(&mut self, member: &Member) -> Result<(), ArchiveError> {
        let mut rest = (&mut self.from).take(member.size);
        let copied = io::copy(&mut rest, &mut io::sink()).map_err(ArchiveError::Read)?;
        if copied < member.size {
            return Err(ArchiveError::CutOff("a member"));
        }
        self.pad(member.size)
    }

    fn pad(&mut self, size: u64) -> Result<(), ArchiveError> {
        // The last one may lack it.
        if size % 2 == 1 && !self.from.fill_buf().map_err(ArchiveError::Read)?.is_empty() {
            self.from.consume(1);
        }
        Ok(())
    }

    fn exact(&mut self, buffer: &mut [u8], what: &'static str) -> Result<(), ArchiveError> {
        let read = self.from.read_exact(buffer);
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ArchiveError::CutOff(what),
            _ => ArchiveError::Read(error),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
