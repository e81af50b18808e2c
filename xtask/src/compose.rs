//! Docker Compose v2, which judges the rendered `compose.yaml`.
//!
//! Debian 12 has none; that of Debian 13 runs there (it needs glibc 2.34 and nothing else). It is fetched with the
//! machine's own apt, from the mirror and with the key that the machine is configured with, in folders of its own: no
//! source is added to the system, signatures are verified as always, and nothing is installed.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::apt_sources::{self, Archive};
use crate::{packages, process, workspace};

/// Where the tests look first; without it at [`path`].
pub(crate) const VARIABLE: &str = "FORGE_TEST_COMPOSE";

/// The packages that bring Compose v2 where a release has them: Ubuntu's, Debian's.
const PACKAGES: &[&str] = &["docker-compose-v2", "docker-compose"];

const INSTALLED: &[&str] = &[
    "/usr/libexec/docker/cli-plugins/docker-compose",
    "/usr/lib/docker/cli-plugins/docker-compose",
    "/usr/local/libexec/docker/cli-plugins/docker-compose",
    "/usr/local/lib/docker/cli-plugins/docker-compose",
];

/// The Debian release whose package is unpacked where the machine's own has none.
const LENDER: &str = "trixie";

/// The binary that the tests run.
pub(crate) fn path() -> Result<PathBuf> {
    match env::var_os(VARIABLE) {
        Some(path) => Ok(path.into()),
        None => Ok(workspace::tools()?.join("docker-compose")),
    }
}

/// The binary and the version that it prints.
pub(crate) fn ensure(install: bool) -> Result<(PathBuf, String)> {
    let path = path()?;
    if env::var_os(VARIABLE).is_some() {
        let version =
            version(&path).with_context(|| format!("{VARIABLE} is set to {}", path.display()))?;
        return Ok((path, version));
    }
    if let Ok(version) = version(&path) {
        return Ok((path, version));
    }
    if !link_installed(&path)? {
        if !install {
            bail!(
                "missing: Docker Compose v2; install `docker-compose-v2` (Ubuntu) or `docker-compose` (Debian 13), set {VARIABLE} to its binary, or leave out --no-install"
            );
        }
        provide(&path)?;
    }
    let version = version(&path)?;
    Ok((path, version))
}

fn version(binary: &Path) -> Result<String> {
    let said = process::text(Command::new(binary).arg("version"))?;
    let said = said.trim();
    let number = said.rsplit([' ', 'v']).next().unwrap_or_default();
    if major(number).is_none_or(|major| major < 2) {
        bail!(
            "`{} version` says {said:?}: version 2 or later is needed",
            binary.display()
        );
    }
    Ok(said.to_owned())
}

/// The leading number of a Debian or upstream version.
fn major(version: &str) -> Option<u32> {
    let upstream = version
        .split_once(':')
        .map_or(version, |(_epoch, rest)| rest);
    upstream
        .split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// A Compose of the system, if there is one, becomes what the tests find without the variable, too.
fn link_installed(at: &Path) -> Result<bool> {
    let Some(found) = INSTALLED
        .iter()
        .map(Path::new)
        .find(|path| version(path).is_ok())
    else {
        return Ok(false);
    };
    fresh_parent(at)?;
    symlink(found, at)
        .with_context(|| format!("linking {} to {}", at.display(), found.display()))?;
    Ok(true)
}

fn fresh_parent(at: &Path) -> Result<()> {
    if let Some(parent) = at.parent() {
        fs::create_dir_all(parent).with_context(|| format!("making {}", parent.display()))?;
    }
    match fs::remove_file(at) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", at.display()))
        }
        _ => Ok(()),
    }
}

fn provide(at: &Path) -> Result<()> {
    let root = packages::is_root()?;
    let mut package = packaged()?;
    if package.is_none() && root {
        // A fresh container has no package lists at all, and then knows no package.
        let lists = process::text(Command::new("apt-get").arg("indextargets"))?;
        if lists.is_empty() {
            packages::update()?;
            package = packaged()?;
        }
    }
    match package {
        Some(package) if root => {
            packages::apt_install(&[package])?;
            if !link_installed(at)? {
                bail!(
                    "{package} was installed, but there is no Compose v2 at any of {}",
                    INSTALLED.join(", ")
                );
            }
            Ok(())
        }
        Some(package) => {
            bail!(
                "missing: Docker Compose v2; install as root: `apt-get install --no-install-recommends {package}`"
            )
        }
        None => borrow(at),
    }
}

/// The package of this release that brings Compose v2.
fn packaged() -> Result<Option<&'static str>> {
    for package in PACKAGES {
        let policy = process::text(
            Command::new("apt-cache")
                .args(["policy", package])
                .env("LC_ALL", "C"),
        )?;
        let candidate = policy
            .lines()
            .find_map(|line| line.trim().strip_prefix("Candidate: "));
        if candidate.and_then(major).is_some_and(|major| major >= 2) {
            return Ok(Some(package));
        }
    }
    Ok(None)
}

/// Fetch the package of a later Debian into the build folder and unpack it there.
fn borrow(at: &Path) -> Result<()> {
    let release = fs::read_to_string("/etc/os-release").context("reading /etc/os-release")?;
    let field = |name: &str| {
        let value = release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| value.trim_matches('"').to_owned())
    };
    if field("ID").as_deref() != Some("debian") {
        bail!(
            "missing: Docker Compose v2, which this release does not package; set {VARIABLE} to its binary"
        );
    }
    let codename = field("VERSION_CODENAME").context("/etc/os-release names no release")?;
    let archives = apt_sources::debian_archives(&codename)?;
    let mut tried = format!("no apt source of this machine is a Debian archive of {codename}");
    for archive in &archives {
        println!("fetching docker-compose of Debian {LENDER} from the mirror of this machine");
        match fetch(archive) {
            Ok(package) => return unpack(&package, at),
            Err(error) => tried = format!("{error:#}"),
        }
    }
    bail!(
        "missing: Docker Compose v2, which {codename} does not package; set {VARIABLE} to its binary, or mend this: {tried}"
    )
}

fn fetch(archive: &Archive) -> Result<PathBuf> {
    let place = workspace::target()?.join("xtask").join("apt");
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("clearing {}", place.display()))?;
    }
    for folder in [
        "sources",
        "state/lists/partial",
        "cache/archives/partial",
        "download",
    ] {
        let folder = place.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    }
    let sources = place.join("sources").join("lender.sources");
    fs::write(&sources, archive.stanza(LENDER))
        .with_context(|| format!("writing {}", sources.display()))?;
    process::show(private_apt(&place).args(["--quiet", "update"]))?;
    process::show(private_apt(&place).args(["--quiet", "download", "docker-compose"]))?;
    let download = fs::read_dir(place.join("download")).context("reading the download folder")?;
    let package = download
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|e| e == "deb"));
    package.context("apt-get download left no package")
}

/// apt with the machine's configuration (proxies, credentials), but with sources, lists and cache of its own.
fn private_apt(place: &Path) -> Command {
    let mut command = Command::new("apt-get");
    let mut option = |name: &str, value: &Path| {
        command.arg("-o").arg(format!("{name}={}", value.display()));
    };
    option("Dir::Etc::sourcelist", Path::new("/dev/null"));
    option("Dir::Etc::sourceparts", &place.join("sources"));
    option("Dir::Etc::preferences", Path::new("/dev/null"));
    option("Dir::Etc::preferencesparts", Path::new("/dev/null"));
    option("Dir::State", &place.join("state"));
    option("Dir::State::status", Path::new("/dev/null"));
    option("Dir::Cache", &place.join("cache"));
    // The unprivileged user that root's apt downloads as cannot enter a workspace in somebody's home.
    option("APT::Sandbox::User", Path::new("root"));
    command.current_dir(place.join("download"));
    command
}

fn unpack(package: &Path, at: &Path) -> Result<()> {
    let tree = package.with_extension("unpacked");
    process::show(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(package)
            .arg(&tree),
    )?;
    let inside = INSTALLED
        .iter()
        .filter_map(|path| path.strip_prefix('/'))
        .map(|path| tree.join(path));
    let binary = inside.into_iter().find(|path| packages::is_program(path));
    let binary = binary.context("the package holds no docker-compose where one is expected")?;
    // Beside it and then renamed: an interrupted copy must not be taken for the program.
    let beside = at.with_extension("new");
    fresh_parent(&beside)?;
    fs::copy(&binary, &beside).with_context(|| format!("copying {}", binary.display()))?;
    fs::rename(&beside, at).with_context(|| format!("writing {}", at.display()))?;
    fs::remove_dir_all(&tree).with_context(|| format!("removing {}", tree.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_numbers_are_told_apart() {
        assert_eq!(major("2.26.1-4"), Some(2));
        assert_eq!(major("1.29.2-3"), Some(1));
        assert_eq!(major("1:27.5.1-0ubuntu3"), Some(27));
        assert_eq!(major("(none)"), None);
    }
}
