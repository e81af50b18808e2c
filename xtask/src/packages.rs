//! The Debian packages that the tests need: rendered files are judged by the programs that read them.
//!
//! What counts is the program, not the package: a machine where it came from elsewhere is as good. Installing starts
//! no service, whatever runs as PID 1: a database or a firewall must not come up because somebody ran the tests.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::process;

#[derive(Debug)]
pub(crate) struct Tool {
    /// The name of a program, or the path of a file.
    pub(crate) program: &'static str,
    pub(crate) package: &'static str,
}

const fn tool(program: &'static str, package: &'static str) -> Tool {
    Tool { program, package }
}

pub(crate) const TOOLS: &[Tool] = &[
    tool("caddy", "caddy"),
    tool("promtool", "prometheus"),
    tool("sshd", "openssh-server"),
    tool("ssh-keygen", "openssh-client"),
    tool("visudo", "sudo"),
    tool("systemd-analyze", "systemd"),
    tool("ufw", "ufw"),
    tool("iptables-restore", "iptables"),
    tool("ip", "iproute2"),
    tool("python3", "python3"),
    tool("unshare", "util-linux"),
    tool("redis-server", "redis-server"),
    tool("postgres", "postgresql"),
    tool("skopeo", "skopeo"),
    tool("umoci", "umoci"),
    tool("podman", "podman"),
    tool("docker-registry", "docker-registry"),
    tool("htpasswd", "apache2-utils"),
    tool("openssl", "openssl"),
    tool("dockerd", "docker.io"),
    tool("docker", "docker.io"),
    tool("gpg", "gpg"),
    tool("age", "age"),
    tool("shellcheck", "shellcheck"),
    tool("amtool", "prometheus-alertmanager"),
    tool("mmdebstrap", "mmdebstrap"),
    tool("mke2fs", "e2fsprogs"),
    tool("ssh-agent", "openssh-client"),
    // The schemas of the image specification.
    tool(
        "/usr/share/gocode/src/github.com/opencontainers/image-spec/schema/config-schema.json",
        "golang-github-opencontainers-image-spec-dev",
    ),
    // What `images/hermes-api` and its tests import: no programs, so files tell whether they are there.
    tool(
        "/usr/lib/python3/dist-packages/fastapi/__init__.py",
        "python3-fastapi",
    ),
    tool(
        "/usr/lib/python3/dist-packages/uvicorn/__init__.py",
        "python3-uvicorn",
    ),
    tool(
        "/usr/lib/python3/dist-packages/asyncpg/__init__.py",
        "python3-asyncpg",
    ),
    tool(
        "/usr/lib/python3/dist-packages/prometheus_client/__init__.py",
        "python3-prometheus-client",
    ),
    tool(
        "/usr/lib/python3/dist-packages/httpx/__init__.py",
        "python3-httpx",
    ),
    tool(
        "/usr/lib/python3/dist-packages/pytest/__init__.py",
        "python3-pytest",
    ),
];

pub(crate) fn ensure(install: bool) -> Result<()> {
    let missing = missing()?;
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    let programs: Vec<&str> = missing.iter().map(|tool| tool.program).collect();
    let mend = format!(
        "apt-get install --no-install-recommends {}",
        names.join(" ")
    );
    if !install {
        bail!(
            "missing: {}; install: `{mend}`, or leave out --no-install",
            programs.join(", ")
        );
    }
    if !is_root()? {
        bail!(
            "missing: {}; install as root: `{mend}`",
            programs.join(", ")
        );
    }
    println!("installing {} for {}", names.join(" "), programs.join(", "));
    apt_install(&names)?;
    let still: Vec<&str> = self::missing()?.iter().map(|tool| tool.program).collect();
    if !still.is_empty() {
        bail!(
            "the packages were installed, but these programs are still missing: {}",
            still.join(", ")
        );
    }
    Ok(())
}

fn missing() -> Result<Vec<&'static Tool>> {
    let folders: Vec<PathBuf> = env::split_paths(&search_path()?).collect();
    Ok(TOOLS
        .iter()
        .filter(|tool| {
            !folders
                .iter()
                .any(|folder| is_here(&folder.join(tool.program)))
        })
        .collect())
}

/// `PATH` and, behind it, where Debian puts what users seldom call: an ordinary user's `PATH` has no `sbin`, and
/// nobody's has the server programs of PostgreSQL.
pub(crate) fn search_path() -> Result<OsString> {
    let mut folders: Vec<PathBuf> = env::var_os("PATH")
        .map(|path| env::split_paths(&path).collect())
        .unwrap_or_default();
    folders.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        let mut versions: Vec<PathBuf> = versions
            .flatten()
            .map(|version| version.path().join("bin"))
            .collect();
        versions.sort();
        folders.extend(versions);
    }
    env::join_paths(folders).context("PATH holds a folder with a colon")
}

/// A program that may be run, or a file of Python or JSON with another folder before it, which `join` leaves as the whole path.
fn is_here(path: &Path) -> bool {
    is_program(path)
        || (path
            .extension()
            .is_some_and(|end| end == "py" || end == "json")
            && path.is_file())
}

pub(crate) fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

pub(crate) fn is_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self")
        .context("asking /proc who runs this")?
        .uid()
        == 0)
}

/// Install, with fresh package lists only where the present ones do not suffice.
pub(crate) fn apt_install(packages: &[&str]) -> Result<()> {
    let _quiet = NoServices::hold()?;
    if !process::succeeds(apt_get("install").arg("--simulate").args(packages)) {
        update()?;
    }
    // The lists may know the packages and still be too old to fetch them.
    if process::show(apt_get("install").args(packages)).is_err() {
        update()?;
        process::show(apt_get("install").args(packages))?;
    }
    Ok(())
}

pub(crate) fn update() -> Result<()> {
    process::show(&mut apt_get("update"))
}

fn apt_get(verb: &str) -> Command {
    let mut command = Command::new("apt-get");
    command.args(["--yes", "--quiet", "--no-install-recommends"]);
    // Somebody else may be installing, too.
    command.args(["-o", "DPkg::Lock::Timeout=300", verb]);
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C")
        .env("NEEDRESTART_SUSPEND", "1");
    command
}

const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_TEXT: &str = "#!/bin/sh\n# Left by `cargo xtask test`, which removes it when it ends: no service starts while it installs.\nexit 101\n";

/// While it lives, no maintainer script starts a service. A policy that the machine already has is left alone: containers
/// bring one that says the same.
#[derive(Debug)]
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn hold() -> Result<Self> {
        // Ours, if an earlier run was killed: taken over, so that it goes in the end.
        let found = fs::read_to_string(POLICY);
        if let Ok(text) = &found {
            return Ok(Self {
                ours: text == POLICY_TEXT,
            });
        }
        fs::write(POLICY, POLICY_TEXT).with_context(|| format!("writing {POLICY}"))?;
        fs::set_permissions(POLICY, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("writing {POLICY}"))?;
        Ok(Self { ours: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("warning: remove {POLICY} by hand: {error}");
        }
    }
}
