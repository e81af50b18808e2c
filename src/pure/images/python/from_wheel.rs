//! A wheel's files as a tree ("Binary distribution format", section "Installing a wheel 'distribution-1.0-py32-none-any.whl'").
//!
//! They go where Debian's interpreter looks for what does not come from its packages: `/usr/local`. Bytecode is left out: it would
//! hold the time of its source.

mod archive;

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};

use archive::Archive;

use super::{WheelName, entry_points, record};
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

/// Files up to this stay in memory.
const SMALL: u64 = 16 << 10;
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

fn data_of(info: &str) -> String {
    format!("{}.data", info.strip_suffix(".dist-info").unwrap_or(info))
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
