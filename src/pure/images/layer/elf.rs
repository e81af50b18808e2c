//! What the dynamic linker reads of an ELF file ("System V Application Binary Interface", "Dynamic Linking"), without the rest of it.

use std::io::{self, Read, Seek, SeekFrom};

use object::Endianness;
use object::elf;
use object::pod;
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

use super::{Elf, ImagePath};

/// A dynamic section of more bytes, or a text of more, is nothing that a linker would have written.
const LARGEST_SECTION: u64 = 1 << 20;
const LONGEST_TEXT: u64 = 4096;
const MOST_TEXTS: usize = 4096;

/// Where a file's bytes are read from.
pub(super) struct Source<'a> {
    pub(super) bytes: &'a mut dyn ReadSeek,
    pub(super) at: u64,
    pub(super) size: u64,
}

pub(super) trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

/// Whether a file begins as an ELF file does.
pub(super) fn is_elf(start: &[u8]) -> bool {
    start.starts_with(&elf::ELFMAG)
}

/// What the dynamic linker needs to know; nothing for a file that is not loaded by it, or that is damaged.
///
/// # Errors
/// Of reading from the source.
pub(super) fn read(path: &ImagePath, source: &mut Source<'_>) -> io::Result<Option<Elf>> {
    let Some(start) = source.take(0, elf::ELFMAG.len() as u64 + 1)? else {
        return Ok(None);
    };
    match start.bytes().get(elf::ELFMAG.len()) {
        Some(&elf::ELFCLASS32) => dynamic::<elf::FileHeader32<Endianness>>(path, source),
        Some(&elf::ELFCLASS64) => dynamic::<elf::FileHeader64<Endianness>>(path, source),
        _ => Ok(None),
    }
}

/// Bytes that lie where the structures of ELF may lie.
struct Aligned {
    words: Vec<u64>,
    size: usize,
}

impl Aligned {
    fn bytes(&self) -> &[u8] {
        &pod::bytes_of_slice(&self.words)[..self.size]
    }
}

impl Source<'_> {
    /// A part of the file; nothing if it has no such part.
    fn take(&mut self, at: u64, size: u64) -> io::Result<Option<Aligned>> {
        let end = at.checked_add(size).filter(|end| *end <= self.size);
        let (Some(_), Ok(size)) = (end, usize::try_from(size)) else {
            return Ok(None);
        };
        let mut words = vec![0; size.div_ceil(8)];
        self.bytes.seek(SeekFrom::Start(self.at + at))?;
        self.bytes
            .read_exact(&mut pod::bytes_of_slice_mut(&mut words)[..size])?;
        Ok(Some(Aligned { words, size }))
    }

    /// The text at this place, up to its NUL.
    fn text(&mut self, at: u64) -> io::Result<Option<String>> {
        let size = self.size.saturating_sub(at).min(LONGEST_TEXT);
        let Some(bytes) = self.take(at, size)? else {
            return Ok(None);
        };
        let mut parts = bytes.bytes().split(|byte| *byte == 0);
        let text = parts.next().filter(|text| text.len() < bytes.size);
        Ok(text.and_then(|text| String::from_utf8(text.to_vec()).ok()))
    }
}

fn dynamic<H: FileHeader<Endian = Endianness>>(
    path: &ImagePath,
    source: &mut Source<'_>,
) -> io::Result<Option<Elf>> {
    let Some(bytes) = source.take(0, size_of::<H>() as u64)? else {
        return Ok(None);
    };
    let Ok((header, _)) = pod::from_bytes::<H>(bytes.bytes()) else {
        return Ok(None);
    };
    let Ok(endian) = header.endian() else {
        return Ok(None);
    };
    let kind = header.e_type(endian);
    let count = header.e_phnum(endian);
    let fits = usize::from(header.e_phentsize(endian)) == size_of::<H::ProgramHeader>();
    if !matches!(kind, elf::ET_EXEC | elf::ET_DYN) || !fits || count == u16::MAX {
        return Ok(None);
    }
    let size = u64::from(count) * size_of::<H::ProgramHeader>() as u64;
    let Some(bytes) = source.take(header.e_phoff(endian).into(), size)? else {
        return Ok(None);
    };
    let Ok(segments) = pod::slice_from_all_bytes::<H::ProgramHeader>(bytes.bytes()) else {
        return Ok(None);
    };
    let Some(dynamic) = segments
        .iter()
        .find(|segment| segment.p_type(endian) == elf::PT_DYNAMIC)
    else {
        return Ok(None);
    };
    let size: u64 = dynamic.p_filesz(endian).into();
    if size > LARGEST_SECTION {
        return Ok(None);
    }
    let Some(section) = source.take(dynamic.p_offset(endian).into(), size)? else {
        return Ok(None);
    };
    let each = size_of::<H::Dyn>();
    let whole = section.size / each * each;
    let Ok(entries) = pod::slice_from_all_bytes::<H::Dyn>(&section.bytes()[..whole]) else {
        return Ok(None);
    };
    let entries: Vec<(i64, u64)> = entries
        .iter()
        .map(|entry| (entry.d_tag(endian).into(), entry.d_val(endian).into()))
        .take_while(|(tag, _)| *tag != elf::DT_NULL)
        .collect();

    let value = |wanted: i64| entries.iter().find(|(tag, _)| *tag == wanted);
    let Some((_, address)) = value(elf::DT_STRTAB) else {
        return Ok(None);
    };
    // The table's address in memory; its place in the file follows from the segment that loads it.
    let table = segments.iter().find_map(|segment| {
        let (start, size): (u64, u64) = (
            segment.p_vaddr(endian).into(),
            segment.p_filesz(endian).into(),
        );
        let within = address
            .checked_sub(start)
            .filter(|offset| *offset < size && segment.p_type(endian) == elf::PT_LOAD)?;
        within.checked_add(segment.p_offset(endian).into())
    });
    let Some(table) = table else {
        return Ok(None);
    };

    let mut found = Elf {
        path: path.clone(),
        needed: Vec::new(),
        soname: None,
        runpath: Vec::new(),
    };
    let (mut runpath, mut rpath) = (None, None);
    for (tag, value) in &entries {
        if !matches!(
            *tag,
            elf::DT_NEEDED | elf::DT_SONAME | elf::DT_RUNPATH | elf::DT_RPATH
        ) {
            continue;
        }
        let Some(at) = table.checked_add(*value) else {
            return Ok(None);
        };
        let Some(text) = source.text(at)? else {
            return Ok(None);
        };
        match *tag {
            elf::DT_NEEDED if found.needed.len() < MOST_TEXTS => found.needed.push(text),
            elf::DT_NEEDED => return Ok(None),
            elf::DT_SONAME => found.soname = Some(text),
            elf::DT_RUNPATH => runpath = Some(text),
            _ => rpath = Some(text),
        }
    }
    // ld.so(8): DT_RPATH is ignored where there is a DT_RUNPATH.
    let folders = runpath.or(rpath).unwrap_or_default();
    let folders = folders.split(':').filter(|folder| !folder.is_empty());
    found.runpath = folders.map(str::to_owned).collect();
    Ok(Some(found))
}
