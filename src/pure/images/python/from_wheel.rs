//! A wheel's files as a tree ("Binary distribution format", section "Installing a wheel 'distribution-1.0-py32-none-any.whl'").
//!
//! They go where Debian's interpreter looks for what does not come from its packages: `/usr/local`. Bytecode is left out: it would
//! hold the time of its source.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom, Write};

use sha2::{Digest as _, Sha256};
use zip::ZipArchive;

use super::{WheelName, entry_points, normalise, record};
use crate::pure::images::layer::{Content, ImagePath, Meta, Node, Tree};
use crate::pure::name::BlobDigest;

/// Why a wheel is not installed.
#[derive(Debug, thiserror::Error)]
pub enum WheelError {
    #[error("{wheel} is no ZIP archive that can be read: {reason}")]
    Zip { wheel: String, reason: String },
    /// A member that no wheel may have.
    #[error("{wheel}: `{}` {why}", member.escape_debug())]
    Member {
        wheel: String,
        member: String,
        why: String,
    },
    #[error("{wheel}: {why}")]
    Metadata { wheel: String, why: String },
    #[error("{wheel}: cannot write to the spool: {source}")]
    Spool { wheel: String, source: io::Error },
}

/// All files of a wheel together, in bytes.
const LARGEST: u64 = 4 << 30;
/// Its members.
const MOST_MEMBERS: usize = 200_000;
/// A file of its metadata, in bytes.
const LARGEST_METADATA: u64 = 64 << 20;
/// Files up to this stay in memory.
const SMALL: u64 = 16 << 10;
/// Beside the files of a wheel, and not named by its `RECORD`.
const UNRECORDED: [&str; 3] = ["RECORD", "RECORD.jws", "RECORD.p7s"];
/// What an installer writes itself, or what holds only for the `RECORD` that came with the wheel.
const OURS: [&str; 6] = [
    "RECORD",
    "RECORD.jws",
    "RECORD.p7s",
    "INSTALLER",
    "REQUESTED",
    "direct_url.json",
];

/// The tree of a wheel for the interpreter `python`, as in `3.11`. Large files are appended to the spool.
///
/// # Errors
/// [`WheelError`]; what was appended to the spool is to be thrown away.
pub fn from_wheel<R: Read + Seek, S: Write + Seek>(
    wheel: R,
    name: &WheelName,
    python: &str,
    spool: &mut S,
) -> Result<Tree, WheelError> {
    let mut archive = Archive::open(wheel, name)?;
    let info = archive.find_info(name)?;
    let in_info = |file: &str| format!("{info}/{file}");
    archive.check_version(&in_info("WHEEL"))?;
    archive.text(&in_info("METADATA"))?;
    let recorded = archive.text(&in_info("RECORD"))?;
    let recorded = record::read(&recorded).map_err(|error| archive.metadata(error))?;
    archive.check_recorded(&recorded, &info)?;

    let mut installed = Installed::new(name, python, &info);
    for index in 0..archive.members.len() {
        let member = archive.members[index].clone();
        let (place, kind) = installed.place(&member.name, &info)?;
        let recorded = recorded.get(&member.name).copied();
        let digest = recorded.and_then(|recorded| recorded.digest);
        if kind == Kind::LeftOut {
            // Read all the same: what is said of it must be true.
            if let Some(digest) = digest {
                archive.copy(&member, Some(digest), &mut io::sink())?;
            }
            continue;
        }
        let mode = match kind {
            Kind::Script => 0o755,
            _ if member.executable => 0o755,
            _ => 0o644,
        };
        if kind == Kind::Script || member.size <= SMALL {
            let mut bytes = Vec::new();
            let digest = archive.copy(&member, digest, &mut bytes)?;
            if kind == Kind::Script {
                let bytes = with_interpreter(bytes, &installed.interpreter);
                installed.add_bytes(&member.name, &place, bytes, mode)?;
            } else {
                let content = Content::Bytes(bytes.into());
                installed.add(&member.name, &place, content, mode, digest, member.size)?;
            }
        } else {
            let failed = |source| WheelError::Spool {
                wheel: name.to_string(),
                source,
            };
            let at = spool.seek(SeekFrom::End(0)).map_err(failed)?;
            let digest = archive.copy(&member, digest, spool)?;
            let content = Content::Spooled {
                at,
                size: member.size,
            };
            installed.add(&member.name, &place, content, mode, digest, member.size)?;
        }
    }
    let points = in_info("entry_points.txt");
    if archive.members.iter().any(|member| member.name == points) {
        let text = archive.text(&points)?;
        let commands = entry_points::read(&text).map_err(|error| archive.metadata(error))?;
        for (command, object) in commands {
            let script = object.script(&installed.interpreter).into_bytes();
            let place = format!("usr/local/bin/{command}");
            installed.add_bytes(&command, &place, script, 0o755)?;
        }
    }
    installed.finish()
}

/// `#!python` stands for whichever interpreter it is installed for.
fn with_interpreter(script: Vec<u8>, interpreter: &str) -> Vec<u8> {
    let Some(rest) = script.strip_prefix(b"#!python") else {
        return script;
    };
    let rest = rest.strip_prefix(b"w").unwrap_or(rest);
    if !rest.first().is_none_or(u8::is_ascii_whitespace) {
        return script;
    }
    [b"#!", interpreter.as_bytes(), rest].concat()
}

/// A file of the archive.
#[derive(Clone, Debug)]
struct Member {
    index: usize,
    name: String,
    size: u64,
    executable: bool,
}

struct Archive<R> {
    wheel: String,
    zip: ZipArchive<R>,
    /// Files alone, in the order of their names.
    members: Vec<Member>,
}

impl<R: Read + Seek> Archive<R> {
    /// Looks at every member before any is unpacked.
    fn open(reader: R, name: &WheelName) -> Result<Self, WheelError> {
        let wheel = name.to_string();
        let broken = |error: zip::result::ZipError| WheelError::Zip {
            wheel: wheel.clone(),
            reason: error.to_string(),
        };
        let mut zip = ZipArchive::new(reader).map_err(broken)?;
        // Else members could share their bytes, or have two names.
        zip.validate_header_consistency().map_err(broken)?;
        if zip.len() > MOST_MEMBERS {
            return Err(WheelError::Zip {
                wheel,
                reason: format!("it has more than {MOST_MEMBERS} members"),
            });
        }
        let mut members = Vec::new();
        let mut total: u64 = 0;
        for index in 0..zip.len() {
            let file = zip.by_index_data(index).map_err(broken)?;
            let raw = String::from_utf8_lossy(file.name_raw()).into_owned();
            let refuse = |why: &str| WheelError::Member {
                wheel: wheel.clone(),
                member: raw.clone(),
                why: why.to_owned(),
            };
            if std::str::from_utf8(file.name_raw()).is_err() {
                return Err(refuse("has a name that is not UTF-8"));
            }
            check_name(&raw).map_err(refuse)?;
            if file.is_symlink() {
                return Err(refuse("is a symbolic link"));
            }
            let mode = file.unix_mode().unwrap_or(0);
            if !matches!(mode & 0o170_000, 0 | 0o100_000 | 0o040_000) {
                return Err(refuse("is neither a file nor a folder"));
            }
            if file.encrypted() {
                return Err(refuse("is encrypted"));
            }
            total = total.saturating_add(file.size());
            if total > LARGEST {
                return Err(refuse("makes it larger than 4 GiB when it is unpacked"));
            }
            if !raw.ends_with('/') {
                members.push(Member {
                    index,
                    size: file.size(),
                    executable: mode & 0o111 != 0,
                    name: raw,
                });
            }
        }
        members.sort_by(|a, b| a.name.cmp(&b.name));
        let mut archive = Self {
            wheel,
            zip,
            members,
        };
        archive.members.dedup_by(|a, b| a.name == b.name);
        Ok(archive)
    }

    fn metadata(&self, why: impl ToString) -> WheelError {
        WheelError::Metadata {
            wheel: self.wheel.clone(),
            why: why.to_string(),
        }
    }

    fn refuse(&self, member: &str, why: impl ToString) -> WheelError {
        WheelError::Member {
            wheel: self.wheel.clone(),
            member: member.to_owned(),
            why: why.to_string(),
        }
    }

    /// The folder `NAME-VERSION.dist-info`, of which there is one, for the project that the file's name names.
    fn find_info(&self, name: &WheelName) -> Result<String, WheelError> {
        let tops: BTreeSet<&str> = self
            .members
            .iter()
            .filter_map(|member| Some(member.name.split_once('/')?.0))
            .collect();
        let lower = |top: &&&str| top.to_ascii_lowercase().ends_with(".dist-info");
        let infos: Vec<&str> = tops.iter().filter(lower).copied().collect();
        let info = match infos.as_slice() {
            [one] => *one,
            [] => return Err(self.metadata("it has no folder `NAME-VERSION.dist-info`")),
            several => {
                let all = several.join("`, `");
                return Err(self.metadata(format!("it has several folders of metadata: `{all}`")));
            }
        };
        let names_it = info
            .strip_suffix(".dist-info")
            .and_then(|stem| stem.split_once('-'))
            .is_some_and(|(project, version)| {
                let version = version.replace('_', "-").parse();
                normalise(project).as_deref() == Some(name.name())
                    && version.is_ok_and(|version: pep440_rs::Version| version == *name.version())
            });
        if !names_it {
            return Err(self.metadata(format!(
                "its metadata, `{info}`, are those of something else"
            )));
        }
        // On a file system that does not tell them apart, such a folder would become the other.
        let data = data_of(info);
        for top in tops {
            if top != data && top.eq_ignore_ascii_case(&data) {
                return Err(self.refuse(top, format!("differs from `{data}` in its case alone")));
            }
        }
        Ok(info.to_owned())
    }

    fn check_version(&mut self, path: &str) -> Result<(), WheelError> {
        let text = self.text(path)?;
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix("Wheel-Version:"))
            .map(str::trim);
        match version.and_then(|version| version.split('.').next()) {
            Some("1") => Ok(()),
            _ => Err(self.metadata(format!(
                "its format is of version {}, and forge knows 1.x",
                version.unwrap_or("unknown").escape_debug()
            ))),
        }
    }

    /// Every file is recorded with its digest, and everything recorded is there.
    fn check_recorded(
        &self,
        recorded: &BTreeMap<String, record::Recorded>,
        info: &str,
    ) -> Result<(), WheelError> {
        let names: BTreeSet<&str> = self.members.iter().map(|it| it.name.as_str()).collect();
        for member in &self.members {
            let inside = member
                .name
                .strip_prefix(info)
                .and_then(|it| it.strip_prefix('/'));
            if inside.is_some_and(|file| UNRECORDED.contains(&file)) {
                continue;
            }
            match recorded.get(&member.name) {
                None => return Err(self.refuse(&member.name, "is not in its RECORD")),
                Some(record::Recorded { digest: None, .. }) => {
                    return Err(self.refuse(&member.name, "has no digest in its RECORD"));
                }
                Some(recorded) => {
                    if recorded.size.is_some_and(|size| size != member.size) {
                        return Err(
                            self.refuse(&member.name, "has another size than its RECORD says")
                        );
                    }
                }
            }
        }
        for path in recorded.keys() {
            if !names.contains(path.as_str()) {
                return Err(self.refuse(path, "is in its RECORD, and missing"));
            }
        }
        Ok(())
    }

    /// Unpacks a member, which must have this digest if one is given.
    fn copy(
        &mut self,
        member: &Member,
        wanted: Option<BlobDigest>,
        to: &mut dyn Write,
    ) -> Result<BlobDigest, WheelError> {
        let wheel = self.wheel.clone();
        let refuse = |why: String| WheelError::Member {
            wheel: wheel.clone(),
            member: member.name.clone(),
            why,
        };
        let file = self.zip.by_index(member.index);
        let file = file.map_err(|error| refuse(format!("cannot be unpacked: {error}")))?;
        // One byte more, so that a member that is longer than it says is found out.
        let mut file = file.take(member.size.saturating_add(1));
        let mut hasher = Sha256::new();
        let mut buffer = [0; 32 << 10];
        let mut size: u64 = 0;
        loop {
            let count = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Err(refuse(format!("cannot be unpacked: {error}"))),
            };
            size += count as u64;
            if size > member.size {
                return Err(refuse("is longer than the archive says".to_owned()));
            }
            hasher.update(&buffer[..count]);
            to.write_all(&buffer[..count])
                .map_err(|source| WheelError::Spool {
                    wheel: wheel.clone(),
                    source,
                })?;
        }
        if size != member.size {
            return Err(refuse("is shorter than the archive says".to_owned()));
        }
        let found = BlobDigest::from_hasher(hasher);
        match wanted {
            Some(wanted) if wanted != found => {
                Err(refuse("has another digest than its RECORD says".to_owned()))
            }
            _ => Ok(found),
        }
    }

    /// A file of metadata.
    fn text(&mut self, path: &str) -> Result<String, WheelError> {
        let member = self.members.iter().find(|member| member.name == path);
        let Some(member) = member.cloned() else {
            return Err(self.metadata(format!("`{path}` is missing")));
        };
        if member.size > LARGEST_METADATA {
            return Err(self.refuse(path, "is too long"));
        }
        let mut bytes = Vec::new();
        self.copy(&member, None, &mut bytes)?;
        String::from_utf8(bytes).map_err(|_| self.refuse(path, "is not UTF-8"))
    }
}

fn data_of(info: &str) -> String {
    format!("{}.data", info.strip_suffix(".dist-info").unwrap_or(info))
}

fn check_name(name: &str) -> Result<(), &'static str> {
    let path = name.strip_suffix('/').unwrap_or(name);
    if path.starts_with('/') {
        return Err("is an absolute path");
    }
    if path.contains('\\') || path.contains(|c: char| c.is_control()) {
        return Err("has a character that no path in a wheel may have");
    }
    if path.split('/').any(|part| part == "..") {
        return Err("leads out of the place that it is installed in");
    }
    if path.split('/').any(|part| matches!(part, "" | ".")) || path.len() > 2000 {
        return Err("is no path");
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    /// Executable, and its first line may name the interpreter.
    Script,
    LeftOut,
}

/// What has been put into the tree.
struct Installed {
    wheel: String,
    tree: Tree,
    /// Where modules go, relative to the root.
    site: String,
    headers: String,
    interpreter: String,
    info: String,
    /// For the new `RECORD`: by path relative to `site`.
    recorded: BTreeMap<String, (BlobDigest, u64)>,
}

impl Installed {
    fn new(name: &WheelName, python: &str, info: &str) -> Self {
        Self {
            wheel: name.to_string(),
            tree: Tree::default(),
            site: format!("usr/local/lib/python{python}/dist-packages"),
            headers: format!("usr/local/include/python{python}/{}", name.name()),
            interpreter: format!("/usr/bin/python{python}"),
            info: info.to_owned(),
            recorded: BTreeMap::new(),
        }
    }

    fn refuse(&self, member: &str, why: impl ToString) -> WheelError {
        WheelError::Member {
            wheel: self.wheel.clone(),
            member: member.to_owned(),
            why: why.to_string(),
        }
    }

    /// Where a member goes, relative to the root. `Root-Is-Purelib` does not matter: Debian's interpreter has one place for both kinds.
    fn place(&self, member: &str, info: &str) -> Result<(String, Kind), WheelError> {
        let inside = |folder: &str| member.strip_prefix(folder)?.strip_prefix('/');
        if let Some(file) = inside(info)
            && OURS.contains(&file)
        {
            return Ok((String::new(), Kind::LeftOut));
        }
        let (place, kind) = match inside(&data_of(info)) {
            None => (format!("{}/{member}", self.site), Kind::File),
            Some(data) => match data.split_once('/') {
                Some(("purelib" | "platlib", rest)) => {
                    (format!("{}/{rest}", self.site), Kind::File)
                }
                Some(("headers", rest)) => (format!("{}/{rest}", self.headers), Kind::File),
                Some(("data", rest)) => (format!("usr/local/{rest}"), Kind::File),
                Some(("scripts", rest)) => (format!("usr/local/bin/{rest}"), Kind::Script),
                _ => return Err(self.refuse(member, "is data of a kind that nobody knows")),
            },
        };
        let cached = place.split('/').any(|part| part == "__pycache__") && place.ends_with(".pyc");
        Ok((place, if cached { Kind::LeftOut } else { kind }))
    }

    fn add_bytes(
        &mut self,
        member: &str,
        place: &str,
        bytes: Vec<u8>,
        mode: u32,
    ) -> Result<(), WheelError> {
        let (digest, size) = (BlobDigest::of(&bytes), bytes.len() as u64);
        let content = Content::Bytes(bytes.into());
        self.add(member, place, content, mode, digest, size)
    }

    fn add(
        &mut self,
        member: &str,
        place: &str,
        content: Content,
        mode: u32,
        digest: BlobDigest,
        size: u64,
    ) -> Result<(), WheelError> {
        let path: ImagePath = place.parse().map_err(|error| self.refuse(member, error))?;
        let mut above = path.parent();
        while let Some(folder) = above {
            above = folder.parent();
            let entry = self.tree.entries.entry(folder);
            let (node, _) = entry.or_insert_with(|| (Node::Directory, meta(0o755)));
            if !matches!(node, Node::Directory) {
                return Err(self.refuse(member, "lies below what is a file"));
            }
        }
        let entry = (Node::File(content), meta(mode));
        if self.tree.entries.insert(path, entry).is_some() {
            return Err(self.refuse(
                member,
                "would be installed over something else of the wheel",
            ));
        }
        self.recorded.insert(self.relative(place), (digest, size));
        Ok(())
    }

    /// As `RECORD` names it: relative to the folder that holds the metadata's.
    fn relative(&self, place: &str) -> String {
        let inside = place
            .strip_prefix(&self.site)
            .and_then(|rest| rest.strip_prefix('/'));
        match (inside, place.strip_prefix("usr/local/")) {
            (Some(inside), _) => inside.to_owned(),
            (None, Some(local)) => format!("../../../{local}"),
            (None, None) => format!("/{place}"),
        }
    }

    fn finish(mut self) -> Result<Tree, WheelError> {
        let info = format!("{}/{}", self.site, self.info);
        self.add_bytes(
            "INSTALLER",
            &format!("{info}/INSTALLER"),
            b"forge\n".to_vec(),
            0o644,
        )?;
        let record = record::write(&self.recorded, &format!("{}/RECORD", self.info));
        self.add_bytes(
            "RECORD",
            &format!("{info}/RECORD"),
            record.into_bytes(),
            0o644,
        )?;
        Ok(self.tree)
    }
}

fn meta(mode: u32) -> Meta {
    Meta {
        mode,
        ..Meta::default()
    }
}

#[cfg(test)]
#[path = "from_wheel/tests.rs"]
mod tests;
