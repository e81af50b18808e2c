//! The disk of a bare host, and the host as it is when it has booted.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::emulator;
use super::machine::{KERNEL, MACHINE, Machine};
use crate::{apt_sources, packages, process, workspace};

/// The release of the host, and of the emulator.
const RELEASE: &str = emulator::RELEASE;

/// What a bare server has: a kernel, systemd, sshd, a network. No Docker, no sudo, no firewall.
const INCLUDE: &str = "linux-image-cloud-amd64,systemd-sysv,openssh-server,udev,dbus,iproute2,ca-certificates,systemd-timesyncd";

const SIZE: &str = "12G";

/// A change of what is done here makes a new disk.
const RECIPE: u32 = 4;

/// The key of root, and of the host itself: it stands in the repository for everybody to read.
pub(crate) fn key() -> Result<PathBuf> {
    let key = workspace::root()?.join("hosts/example-insecure-key");
    // Git keeps no modes, and ssh refuses a key that others may read.
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600))
        .with_context(|| format!("protecting {}", key.display()))?;
    Ok(key)
}

pub(crate) fn ensure(folder: &Path) -> Result<()> {
    let done = folder.join("recipe");
    let machine = MACHINE.join(" ");
    let emulator = emulator::PACKAGES;
    let recipe = format!("{RECIPE} {RELEASE} {INCLUDE} {SIZE} {emulator} {machine} {KERNEL}\n");
    if fs::read_to_string(&done).is_ok_and(|text| text == recipe) {
        return Ok(());
    }
    if !packages::is_root()? {
        bail!("making the disk of a virtual machine needs root: files in it belong to many users");
    }
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("clearing {}", folder.display()))?;
    }
    fs::create_dir_all(folder)?;
    println!("making a bare Debian 13 as a virtual machine: about two minutes, once");
    let sources = sources(folder)?;
    emulator::unpack(folder, &sources)?;
    disk(folder, &sources)?;
    boot(folder)?;
    fs::write(done, recipe)?;
    Ok(())
}

/// apt's sources of the release, of the mirror and with the key that this machine is configured with.
fn sources(folder: &Path) -> Result<PathBuf> {
    let mut sources = String::new();
    let codename = codename()?;
    let archives = apt_sources::debian_archives(&codename)?;
    for archive in &archives {
        sources.push_str(&archive.stanza(RELEASE));
        sources.push('\n');
    }
    if sources.is_empty() {
        bail!("no apt source of this machine is a Debian archive of {codename}");
    }
    let list = folder.join("debian.sources");
    fs::write(&list, &sources)?;
    Ok(list)
}

fn disk(folder: &Path, sources: &Path) -> Result<()> {
    let root = folder.join("root");
    process::capture(
        Command::new("mmdebstrap")
            .args(["--variant=minbase", "--mode=root", "--quiet"])
            .arg(format!("--include={INCLUDE}"))
            .args(["--aptopt=Acquire::Retries \"3\""])
            .arg(RELEASE)
            .arg(&root)
            .arg(sources),
    )?;
    furnish(&root)?;
    for (name, pattern) in [("vmlinuz", "vmlinuz-"), ("initrd", "initrd.img-")] {
        let found = fs::read_dir(root.join("boot"))?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with(pattern))
            })
            .with_context(|| format!("the kernel package brought no {pattern}*"))?;
        fs::copy(found, folder.join(name))?;
    }
    let raw = folder.join("disk.raw");
    process::capture(
        Command::new("mke2fs")
            .args([
                "-q",
                "-t",
                "ext4",
                "-E",
                "lazy_itable_init=1,root_owner=0:0",
                "-d",
            ])
            .arg(&root)
            .arg(&raw)
            .arg(SIZE),
    )?;
    process::capture(
        emulator::program(folder, "qemu-img")?
            .args(["convert", "-f", "raw", "-O", "qcow2"])
            .arg(&raw)
            .arg(folder.join("disk.qcow2")),
    )?;
    fs::remove_file(raw)?;
    fs::remove_dir_all(root)?;
    Ok(())
}

fn codename() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("reading /etc/os-release")?;
    let line = release
        .lines()
        .find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    line.map(|name| name.trim_matches('"').to_owned())
        .context("/etc/os-release names no release")
}

/// What an installer would have asked: network, keys, a name.
fn furnish(root: &Path) -> Result<()> {
    let write = |path: &str, text: &str, mode: u32| -> Result<()> {
        let at = root.join(path);
        if let Some(parent) = at.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&at, text).with_context(|| format!("writing {}", at.display()))?;
        fs::set_permissions(&at, fs::Permissions::from_mode(mode))?;
        Ok(())
    };
    let private = fs::read_to_string(key()?)?;
    let public = fs::read_to_string(key()?.with_extension("pub"))?;
    write("etc/hostname", "bare\n", 0o644)?;
    write("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n", 0o644)?;
    write(
        "etc/fstab",
        "/dev/vda / ext4 rw,errors=remount-ro 0 1\n",
        0o644,
    )?;
    // The name server that QEMU puts into its network.
    fs::remove_file(root.join("etc/resolv.conf")).ok();
    write("etc/resolv.conf", "nameserver 10.0.2.3\n", 0o644)?;
    write(
        "etc/systemd/network/10-eth0.network",
        "[Match]\nName=eth0\n\n[Network]\nDHCP=ipv4\n",
        0o644,
    )?;
    write("etc/ssh/ssh_host_ed25519_key", &private, 0o600)?;
    write("etc/ssh/ssh_host_ed25519_key.pub", &public, 0o644)?;
    fs::create_dir_all(root.join("root/.ssh"))?;
    fs::set_permissions(root.join("root/.ssh"), fs::Permissions::from_mode(0o700))?;
    write("root/.ssh/authorized_keys", &public, 0o600)?;
    for other in ["rsa", "ecdsa"] {
        fs::remove_file(root.join(format!("etc/ssh/ssh_host_{other}_key"))).ok();
        fs::remove_file(root.join(format!("etc/ssh/ssh_host_{other}_key.pub"))).ok();
    }
    process::capture(
        Command::new("systemctl")
            .arg(format!("--root={}", root.display()))
            .args(["enable", "systemd-networkd.service", "ssh.service"]),
    )?;
    // Timers that would keep an emulated processor busy.
    process::capture(
        Command::new("systemctl")
            .arg(format!("--root={}", root.display()))
            .args([
                "mask",
                "apt-daily.timer",
                "apt-daily-upgrade.timer",
                "man-db.timer",
                "e2scrub_all.timer",
                "fstrim.timer",
            ]),
    )?;
    Ok(())
}

/// Boots once, waits until everything is up, and keeps the machine as it is then.
fn boot(folder: &Path) -> Result<()> {
    let machine = Machine::at(folder);
    let port = free_port()?;
    machine.start(folder, folder, &[(port, 22)])?;
    settle(&machine, port)
        .and_then(|()| machine.save())
        .or_else(|error| machine.stop().and(Err(error)))
}

fn settle(machine: &Machine, port: u16) -> Result<()> {
    machine.wait_for_ssh(port, Duration::from_secs(300))?;
    let mut ssh = Command::new("ssh");
    ssh.args(super::machine::SSH_OPTIONS)
        .arg("-i")
        .arg(key()?)
        .args(["-p", &port.to_string(), "root@127.0.0.1"])
        // Package lists spare every test their fetching; they are part of no host's state.
        .arg("systemctl is-system-running --wait; apt-get update -q && sync");
    process::capture(&mut ssh)?;
    Ok(())
}

pub(super) fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?
        .local_addr()?
        .port())
}
