//! A person's editor on a secret, without the secret touching a disk.

use std::ffi::OsString;
use std::fmt;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Pid;
use zeroize::Zeroizing;

use crate::pure::name::SecretName;
use crate::pure::secrets::Plaintext;

/// `f_type` of file systems that live in memory (Linux `magic.h`). ramfs is never swapped out, tmpfs may be.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
const PREFIX: &str = "forge-secret-";

/// Why a secret could not be edited.
#[derive(Debug, thiserror::Error)]
pub enum EditorError {
    #[error(
        "there is no folder in memory to edit a secret in (looked at {0}), and it must not touch a disk; \
         mount a tmpfs, or use `forge secret set`"
    )]
    NoMemoryFolder(String),
    #[error("the editor `{command}` is not a command: mismatched quotes")]
    BadCommand { command: String },
    #[error("cannot run the editor `{command}`: {source}")]
    Run {
        command: String,
        source: std::io::Error,
    },
    #[error("the editor `{command}` ended with {status}; nothing was changed")]
    Failed { command: String, status: String },
    #[error("cannot {operation} in {path}: {source}")]
    Io {
        operation: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the file is longer than {} bytes", Plaintext::LONGEST)]
    TooLong,
}

/// The port: shows a secret to a person and returns what they made of it.
pub trait Editor {
    /// # Errors
    ///
    /// If it could not be shown, or the person's program failed. Nothing is left behind in any case.
    fn edit(&mut self, name: &SecretName, text: &Plaintext) -> Result<Plaintext, EditorError>;
}

/// `$VISUAL` or `$EDITOR`, on a file in a folder of mode 0700 on tmpfs.
///
/// What the editor leaves in that folder (backups, swap files) is wiped with it, on every way out, and what a killed forge left is
/// wiped by the next. Vim is told to keep no copies elsewhere; other editors that do so by their configuration cannot be
/// stopped here, and `docs/format/secrets.md` says so.
#[derive(Clone, Debug)]
pub struct TmpfsEditor {
    command: String,
    places: Vec<PathBuf>,
}

impl TmpfsEditor {
    /// As the environment says: `$VISUAL`, else `$EDITOR`, else `vi`; in `$XDG_RUNTIME_DIR`, else `/dev/shm`.
    pub fn from_environment() -> Self {
        let set = |name: &str| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.trim().is_empty())
        };
        let command = set("VISUAL")
            .or_else(|| set("EDITOR"))
            .unwrap_or_else(|| "vi".to_owned());
        let runtime = set("XDG_RUNTIME_DIR").map(PathBuf::from);
        Self::new(command, runtime.into_iter().chain(["/dev/shm".into()]))
    }

    pub fn new(command: impl Into<String>, places: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            command: command.into(),
            places: places.into_iter().collect(),
        }
    }

    fn folder(&self) -> Result<Folder, EditorError> {
        for place in &self.places {
            let Ok(status) = rustix::fs::statfs(place) else {
                continue;
            };
            // The width and sign of `f_type` differ between architectures; the magic numbers have 32 bits.
            if !IN_MEMORY.contains(&(status.f_type as u64 & 0xffff_ffff)) {
                continue;
            }
            sweep(place);
            let made = tempfile::Builder::new()
                .prefix(&format!("{PREFIX}{}-", std::process::id()))
                .permissions(std::fs::Permissions::from_mode(0o700))
                .tempdir_in(place);
            if let Ok(folder) = made {
                return Ok(Folder(folder));
            }
        }
        let places: Vec<String> = self
            .places
            .iter()
            .map(|place| place.display().to_string())
            .collect();
        Err(EditorError::NoMemoryFolder(places.join(", ")))
    }
}

impl Editor for TmpfsEditor {
    fn edit(&mut self, name: &SecretName, text: &Plaintext) -> Result<Plaintext, EditorError> {
        let mut words = shlex::split(&self.command)
            .filter(|words| !words.is_empty())
            .ok_or_else(|| EditorError::BadCommand {
                command: self.command.clone(),
            })?
            .into_iter()
            .map(OsString::from);
        let program = words.next().unwrap_or_default();
        let folder = self.folder()?;
        let path = folder.0.path().join(name.as_str());
        let failed = |operation: &'static str| {
            let path = path.clone();
            move |source| EditorError::Io {
                operation,
                path: path.clone(),
                source,
            }
        };
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(failed("make a file"))?;
        // Editors end every file with a newline; it is taken off again, so that saving without a change changes nothing.
        file.write_all(text.expose())
            .and_then(|()| file.write_all(b"\n"))
            .map_err(failed("write"))?;
        drop(file);
        let status = Command::new(&program)
            .args(words)
            .args(keeping_no_copies(&program))
            .arg(&path)
            .env("TMPDIR", folder.0.path())
            .status()
            .map_err(|source| EditorError::Run {
                command: self.command.clone(),
                source,
            })?;
        if !status.success() {
            return Err(EditorError::Failed {
                command: self.command.clone(),
                status: status.to_string(),
            });
        }
        let file = std::fs::File::open(&path).map_err(failed("read"))?;
        let limit = Plaintext::LONGEST + 1;
        let length = file.metadata().map_err(failed("read"))?.len();
        if length > limit as u64 {
            return Err(EditorError::TooLong);
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
        file.take(limit as u64)
            .read_to_end(&mut bytes)
            .map_err(failed("read"))?;
        Ok(Plaintext::from_input(bytes))
    }
}

/// What tells Vim to write no swap, backup, undo or history file; nothing for other programs.
fn keeping_no_copies(program: &OsString) -> &'static [&'static str] {
    let name = Path::new(program)
        .file_name()
        .and_then(|name| name.to_str());
    match name {
        Some("vim" | "nvim" | "gvim" | "vimx") => &[
            "-n",
            "-i",
            "NONE",
            "-c",
            "set nobackup nowritebackup noundofile",
        ],
        _ => &[],
    }
}

/// A folder whose files are overwritten and removed when it goes out of scope.
struct Folder(tempfile::TempDir);

impl Drop for Folder {
    fn drop(&mut self) {
        wipe(self.0.path());
    }
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Folder({})", self.0.path().display())
    }
}

/// Overwrites every file in a folder. Removing is left to the caller, so errors here only lose the overwriting.
fn wipe(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => wipe(&path),
            Ok(kind) if kind.is_file() => drop(overwrite(&path)),
            _ => {}
        }
    }
}

fn overwrite(path: &Path) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
    let mut left = file.metadata()?.len();
    file.rewind()?;
    let zeros = [0; 4096];
    while left > 0 {
        let now = left.min(zeros.len() as u64);
        file.write_all(&zeros[..usize::try_from(now).unwrap_or(0)])?;
        left -= now;
    }
    Ok(())
}

/// Removes the folders of processes that are gone: killed between making one and wiping it.
fn sweep(place: &Path) {
    let Ok(entries) = std::fs::read_dir(place) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let pid = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX))
            .and_then(|rest| rest.split('-').next())
            .and_then(|pid| pid.parse::<i32>().ok())
            .and_then(Pid::from_raw);
        // Not ours to remove unless the process is certainly gone; another user's folder refuses by itself.
        if let Some(pid) = pid
            && rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
        {
            wipe(&entry.path());
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// The double: replaces the text, as a person would, and shows nothing to anybody.
pub struct ScriptedEditor<F>(pub F);

impl<F: FnMut(&Plaintext) -> Result<Plaintext, EditorError>> Editor for ScriptedEditor<F> {
    fn edit(&mut self, _: &SecretName, text: &Plaintext) -> Result<Plaintext, EditorError> {
        (self.0)(text)
    }
}

impl<F> fmt::Debug for ScriptedEditor<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScriptedEditor")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(command: &str, place: &Path) -> Result<Plaintext, EditorError> {
        let text = Plaintext::new(Zeroizing::new(b"old".to_vec()));
        TmpfsEditor::new(command, [place.to_owned()]).edit(&"pw".parse().unwrap(), &text)
    }

    /// A folder of this test on tmpfs: others may be editing in `/dev/shm` at the same time.
    fn memory() -> tempfile::TempDir {
        tempfile::tempdir_in("/dev/shm").unwrap()
    }

    #[test]
    fn leaves_nothing_behind() {
        let place = memory();
        let new = edit("sh -c 'cp $0 $0.bak; printf new > $0'", place.path()).unwrap();
        assert_eq!(new.expose_str(), Some("new"));
        let same = edit("true", place.path()).unwrap();
        assert_eq!(same.expose_str(), Some("old"));
        assert!(matches!(
            edit("false", place.path()),
            Err(EditorError::Failed { .. })
        ));
        assert!(matches!(
            edit("/nonexistent", place.path()),
            Err(EditorError::Run { .. })
        ));
        assert!(matches!(
            edit("sh -c 'rm $0'", place.path()),
            Err(EditorError::Io { .. })
        ));
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_its_owner_can_look_in() {
        let place = memory();
        let modes = edit(
            "sh -c 'stat -c %a $(dirname $0) $0 > $0.m; cat $0.m > $0'",
            place.path(),
        );
        assert_eq!(modes.unwrap().expose_str(), Some("700\n600"));
    }

    #[test]
    fn refuses_a_disk() {
        // /proc is there on every machine and is no tmpfs.
        assert!(matches!(
            edit("true", Path::new("/proc")),
            Err(EditorError::NoMemoryFolder(_))
        ));
        assert!(matches!(
            edit("a 'b", Path::new("/proc")),
            Err(EditorError::BadCommand { .. })
        ));
    }

    #[test]
    fn sweeps_up_after_a_process_that_was_killed() {
        let place = memory();
        // No process has this number: it is above the largest that Linux gives (2^22).
        let left = place.path().join(format!("{PREFIX}999999999-x"));
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join("pw"), "old").unwrap();
        edit("true", place.path()).unwrap();
        assert!(!left.exists());
    }
}
