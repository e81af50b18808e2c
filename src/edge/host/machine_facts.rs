//! What a machine is: read from `/proc`, os-release(5) and the file system; no program is run.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::statvfs;
use sha2::{Digest as _, Sha256};

use super::answers::Answers;
use super::paths::Paths;
use crate::edge::disk::{DiskError, Folder};
use crate::pure::name::{Arch, BlobDigest};

/// What is asked of a machine before it is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// As in `debian-13`: `ID` and `VERSION_ID` of os-release(5).
    pub system: String,
    /// Of the running program, which is the machine's; none of one that forge has no name for.
    pub arch: Option<Arch>,
    pub hostname: String,
    /// Bytes that root may still write where forge keeps its state.
    pub free: u64,
    pub uptime: Duration,
}

impl Facts {
    /// Asks the machine. What cannot be read is empty or 0: it is compared with what a bundle wants, and differs from it.
    pub fn read(paths: &Paths) -> Self {
        let read = |path: &str| fs::read_to_string(paths.at(path)).unwrap_or_default();
        let release = match read("/etc/os-release") {
            text if text.is_empty() => read("/usr/lib/os-release"),
            text => text,
        };
        Self {
            system: system_of(&release),
            arch: arch_of(std::env::consts::ARCH),
            hostname: read("/proc/sys/kernel/hostname").trim().to_owned(),
            free: free(paths),
            uptime: uptime_of(&read("/proc/uptime")),
        }
    }
}

/// `ID-VERSION_ID`; only `ID` where there is no version (Debian's testing has none).
fn system_of(release: &str) -> String {
    let field = |name: &str| {
        release.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == name).then(|| value.trim().trim_matches(['"', '\'']).to_owned())
        })
    };
    match (field("ID"), field("VERSION_ID")) {
        (Some(id), Some(version)) => format!("{id}-{version}"),
        (Some(id), None) => id,
        (None, _) => String::new(),
    }
}

fn arch_of(name: &str) -> Option<Arch> {
    match name {
        "x86_64" => "amd64".parse().ok(),
        "aarch64" => "arm64".parse().ok(),
        _ => None,
    }
}

fn uptime_of(text: &str) -> Duration {
    let seconds = text.split([' ', '.']).next().unwrap_or_default();
    Duration::from_secs(seconds.parse().unwrap_or(0))
}

/// Of the file system of the nearest folder that is there.
fn free(paths: &Paths) -> u64 {
    let state = paths.state();
    state
        .ancestors()
        .find_map(|folder| statvfs(folder).ok())
        .map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Names the running kernel since its start: other at each boot.
pub fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// When a process began, in ticks since the boot; none if there is no such process. Together with the number it names
/// a process: numbers alone are used again.
pub fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the program's name in brackets, which may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

const OWN: &str = "/proc/self/exe";

/// The digest of the running program's own file. It is read once for as long as the file stays as it is: tens of megabytes, for each
/// conversation.
///
/// # Errors
/// [`DiskError`].
pub fn own_program(paths: &Paths) -> Result<BlobDigest, DiskError> {
    let ask = || read_own_program().map(|digest| digest.to_string());
    let known = Answers::of(paths).answer(&[Path::new(OWN)], &["sha256"], ask)?;
    // Whoever wrote something else there, it was not forge.
    known.parse().or_else(|_| read_own_program())
}

fn read_own_program() -> Result<BlobDigest, DiskError> {
    let failed = |source| DiskError {
        operation: "read",
        path: OWN.into(),
        source,
    };
    let mut file = fs::File::open(OWN).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(BlobDigest::from_hasher(hasher)),
            count => hasher.update(&buffer[..count]),
        }
    }
}

/// Puts the running program where generations look for it, `bin/HEX/forge`, if it is not there, and gives its digest.
///
/// After a crash it is there whole or not at all.
///
/// # Errors
/// [`DiskError`].
pub fn keep_own_program(paths: &Paths) -> Result<BlobDigest, DiskError> {
    let digest = own_program(paths)?;
    let place = paths.agent(digest);
    let failed = |source| DiskError {
        operation: "keep the program as",
        path: place.clone(),
        source,
    };
    let size = fs::metadata(OWN).map_err(failed)?.len();
    if fs::symlink_metadata(&place).is_ok_and(|there| there.is_file() && there.len() == size) {
        return Ok(digest);
    }
    let parent = place.parent().unwrap_or(&place);
    let folder = Folder::create(parent)?;
    let mut temporary = folder.temporary()?;
    let mut own = fs::File::open(OWN).map_err(failed)?;
    io::copy(&mut own, &mut temporary).map_err(failed)?;
    temporary.make_executable()?;
    temporary.sync()?;
    temporary.rename_into(&folder, "forge")?;
    folder.sync()?;
    Ok(digest)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_system_says_it_is() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\n";
        assert_eq!(system_of(debian), "debian-13");
        assert_eq!(system_of("ID=ubuntu\nVERSION_ID='24.04'\n"), "ubuntu-24.04");
        assert_eq!(system_of("ID=debian\n"), "debian");
        assert_eq!(system_of(""), "");
    }

    #[test]
    fn a_machine_is_read_below_its_root() {
        let at = tempfile::tempdir().unwrap();
        fs::create_dir_all(at.path().join("etc")).unwrap();
        fs::create_dir_all(at.path().join("proc")).unwrap();
        fs::write(
            at.path().join("etc/os-release"),
            "ID=debian\nVERSION_ID=12\n",
        )
        .unwrap();
        fs::write(at.path().join("proc/uptime"), "321.45 12.0\n").unwrap();
        let facts = Facts::read(&Paths::below(at.path()));
        assert_eq!(facts.system, "debian-12");
        assert_eq!(facts.uptime, Duration::from_secs(321));
        assert!(facts.free > 0);
    }

    #[test]
    fn the_program_s_digest_is_that_of_its_file() {
        let at = tempfile::tempdir().unwrap();
        let paths = Paths::below(at.path());
        let own = BlobDigest::of(fs::read(std::env::current_exe().unwrap()).unwrap());
        for _ in 0..2 {
            assert_eq!(own_program(&paths).unwrap(), own);
        }
        // What stands there and is no digest is not believed.
        let answers = at.path().join("run/forge/answers");
        let kept = fs::read_dir(answers).unwrap().next().unwrap().unwrap();
        fs::write(kept.path(), "nonsense").unwrap();
        assert_eq!(own_program(&paths).unwrap(), own);
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = std::process::id();
        assert!(started(own).is_some());
        assert_eq!(started(own), started(own));
        assert_eq!(started(u32::MAX), None);
        assert_eq!(boot_id(), boot_id());
    }
}
