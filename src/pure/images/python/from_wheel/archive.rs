//! The ZIP archive that a wheel is: what its members are, and that they are what `RECORD` says.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, Write};

use sha2::{Digest as _, Sha256};
use zip::ZipArchive;

use super::{WheelError, data_of};
use crate::pure::images::python::{WheelName, normalise, record};
use crate::pure::name::BlobDigest;

/// All files of a wheel together, in bytes.
const LARGEST: u64 = 4 << 30;
/// Its members.
const MOST_MEMBERS: usize = 200_000;
/// A file of its metadata, in bytes.
const LARGEST_METADATA: u64 = 64 << 20;
/// Beside the files of a wheel, and not named by its `RECORD`.
const UNRECORDED: [&str; 3] = ["RECORD", "RECORD.jws", "RECORD.p7s"];

/// A file of the archive.
#[derive(Clone, Debug)]
pub(super) struct Member {
    index: usize,
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) executable: bool,
}

pub(super) struct Archive<R> {
    wheel: String,
    zip: ZipArchive<R>,
    /// Files alone, in the order of their names.
    pub(super) members: Vec<Member>,
}

impl<R: Read + Seek> Archive<R> {
    /// Looks at every member before any is unpacked.
    pub(super) fn open(reader: R, name: &WheelName) -> Result<Self, WheelError> {
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

    pub(super) fn metadata(&self, why: impl ToString) -> WheelError {
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
    pub(super) fn find_info(&self, name: &WheelName) -> Result<String, WheelError> {
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

    pub(super) fn check_version(&mut self, path: &str) -> Result<(), WheelError> {
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
    pub(super) fn check_recorded(
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
    pub(super) fn copy(
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
    pub(super) fn text(&mut self, path: &str) -> Result<String, WheelError> {
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
