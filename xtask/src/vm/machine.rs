//! A virtual machine that runs, or does not, in the background.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::emulator;
use crate::process;

/// The host's key is the same for every machine of this kind, and nobody's secret.
pub(crate) const SSH_OPTIONS: &[&str] = &[
    "-o",
    "StrictHostKeyChecking=no",
    "-o",
    "UserKnownHostsFile=/dev/null",
    "-o",
    "LogLevel=ERROR",
    "-o",
    "IdentitiesOnly=yes",
    "-o",
    "ConnectTimeout=10",
];

const DISK: &str = "disk.qcow2";
/// The memory of a machine that was saved.
const STATE: &str = "state";

/// A path as a word of the shell within double quotes of QEMU's monitor.
fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().context("the path is no text")?;
    if text.contains(['\'', '"', '\\', '\n']) {
        bail!("QEMU cannot be given the path {text:?}");
    }
    Ok(format!("'{text}'"))
}

/// True if a machine was saved in this folder.
pub(crate) fn is_saved(place: &Path) -> bool {
    place.join(STATE).exists()
}

/// The folder of a machine: its disk, its process, its monitor.
#[derive(Debug)]
pub(crate) struct Machine {
    place: PathBuf,
}

impl Machine {
    pub(crate) fn at(place: &Path) -> Self {
        Self {
            place: place.to_owned(),
        }
    }

    fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.place.join("pid"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    pub(crate) fn runs(&self) -> bool {
        let command = self
            .pid()
            .and_then(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok());
        command.is_some_and(|line| String::from_utf8_lossy(&line).contains("qemu-system"))
    }

    /// Starts from a disk of its own, or, if it has none yet, goes on where the machine in `from` was saved: what it writes is kept beside
    /// that one's disk. `base` has the kernel.
    pub(crate) fn start(&self, base: &Path, from: &Path, ports: &[(u16, u16)]) -> Result<()> {
        fs::create_dir_all(&self.place)?;
        let disk = self.place.join(DISK);
        let mut saved = None;
        if !disk.exists() {
            process::capture(
                emulator::program(base, "qemu-img")?
                    .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
                    .arg(from.join(DISK))
                    .arg(&disk),
            )?;
            saved = Some(from.join(STATE));
        }
        let mut qemu = emulator::program(base, "qemu-system-x86_64")?;
        for folder in emulator::firmware(base) {
            qemu.arg("-L").arg(folder);
        }
        qemu.args(arguments(base, &self.place, ports));
        if let Some(state) = saved {
            qemu.args(["-incoming", &format!("exec:cat {}", quoted(&state)?)]);
        }
        process::capture(&mut qemu)?;
        Ok(())
    }

    /// Ends it, and keeps what it was at: its disk and, beside it, its memory. Others go on there.
    pub(crate) fn save(&self) -> Result<()> {
        let state = self.place.join(STATE);
        // Nobody else wants the machine's bandwidth.
        self.monitor("migrate_set_parameter max-bandwidth 64G")?;
        self.monitor(&format!("migrate \"exec:cat > {}\"", quoted(&state)?))?;
        let said = self.monitor("info migrate")?;
        self.stop()?;
        if !said.contains("Migration status: completed") {
            fs::remove_file(&state).ok();
            bail!("QEMU did not save the machine: {said}");
        }
        Ok(())
    }

    /// Says something to QEMU's monitor, and waits until it has been done.
    pub(crate) fn monitor(&self, command: &str) -> Result<String> {
        let socket = self.place.join("monitor");
        let mut stream = UnixStream::connect(&socket)
            .with_context(|| format!("connecting to {}", socket.display()))?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let mut said = String::new();
        read_prompt(&mut stream, &mut said)?;
        said.clear();
        stream.write_all(format!("{command}\n").as_bytes())?;
        read_prompt(&mut stream, &mut said)?;
        Ok(said)
    }

    pub(crate) fn stop(&self) -> Result<()> {
        let Some(pid) = self.pid().filter(|_| self.runs()) else {
            return Ok(());
        };
        process::capture(Command::new("kill").arg(pid.to_string()))?;
        let begin = Instant::now();
        while self.runs() {
            if begin.elapsed() > Duration::from_secs(20) {
                bail!("the machine (process {pid}) does not stop");
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    pub(crate) fn wait_for_ssh(&self, port: u16, limit: Duration) -> Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < limit {
            if !self.runs() {
                let log = fs::read_to_string(self.place.join("console")).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(20).collect();
                bail!(
                    "the machine has stopped; the end of its console:\n{}",
                    tail.into_iter().rev().collect::<Vec<_>>().join("\n")
                );
            }
            // Only a banner tells that sshd is there: QEMU itself accepts every connection.
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
                stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                let mut banner = [0; 4];
                if stream.read_exact(&mut banner).is_ok() && &banner == b"SSH-" {
                    return Ok(());
                }
            }
            sleep(Duration::from_millis(200));
        }
        bail!(
            "nobody answers for SSH on port {port} within {} s",
            limit.as_secs()
        )
    }
}

fn read_prompt(stream: &mut UnixStream, said: &mut String) -> Result<()> {
    let mut buffer = [0; 4096];
    while !said.ends_with("(qemu) ") {
        let count = stream.read(&mut buffer).context("the monitor is silent")?;
        if count == 0 {
            bail!("the monitor ended: {said}");
        }
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    Ok(())
}

/// Emulation alone, so that it runs wherever the tests do.
pub(super) const MACHINE: &[&str] = &[
    "-accel",
    "tcg,thread=multi",
    "-cpu",
    "EPYC-Rome",
    "-smp",
    "2",
    "-m",
    "2560",
];

/// An emulated processor speculates about nothing: what kernels do against that only costs time. So do huge pages: it forgets them all
/// whenever one of them changes.
pub(super) const KERNEL: &str =
    "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off transparent_hugepage=never quiet";

fn arguments(base: &Path, place: &Path, ports: &[(u16, u16)]) -> Vec<String> {
    let mut all: Vec<String> = MACHINE.iter().map(|word| (*word).to_owned()).collect();
    let path = |name: &str| place.join(name).display().to_string();
    let forwards: String = ports
        .iter()
        .map(|(here, there)| format!(",hostfwd=tcp:127.0.0.1:{here}-:{there}"))
        .collect();
    all.extend(
        [
            "-display",
            "none",
            "-daemonize",
            "-kernel",
            &base.join("vmlinuz").display().to_string(),
            "-initrd",
            &base.join("initrd").display().to_string(),
            "-append",
            KERNEL,
            "-drive",
            &format!("file={},if=virtio,cache=unsafe,discard=unmap", path(DISK)),
            "-netdev",
            &format!("user,id=net0{forwards}"),
            "-device",
            "virtio-net-pci,netdev=net0",
            "-device",
            "virtio-rng-pci",
            "-serial",
            &format!("file:{}", path("console")),
            "-monitor",
            &format!("unix:{},server=on,wait=off", path("monitor")),
            "-pidfile",
            &path("pid"),
        ]
        .map(str::to_owned),
    );
    all
}
