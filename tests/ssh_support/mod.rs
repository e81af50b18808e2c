#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forge::edge::ssh::{Destination, Settings};
use tempfile::TempDir;

/// A step may take so long on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn succeed(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < PATIENCE, "{what} took too long");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn write_program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A folder of keys and files, and the real `sshd` that takes them, on loopback.
///
/// What it runs believes that `/var/lib/forge/bin` is the folder `bin` here.
pub(crate) struct Sshd {
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
    child: Child,
}

impl Sshd {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With lines for `sshd_config`, which come first: the first one counts.
    pub(crate) fn with(lines: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::create_dir_all("/run/sshd").unwrap();
        for (kind, name) in [("ed25519", "host_ed25519"), ("rsa", "host_rsa")] {
            succeed("ssh-keygen", &["-q", "-t", kind, "-N", "", "-f", &at(name)]);
        }
        succeed(
            "ssh-keygen",
            &["-q", "-t", "ed25519", "-N", "", "-f", &at("id")],
        );
        fs::copy(at("id.pub"), at("authorized_keys")).unwrap();
        let path = folder.path();
        fs::create_dir(path.join("bin")).unwrap();
        fs::create_dir(path.join("path")).unwrap();
        write_program(
            &path.join("force"),
            &format!(
                "#!/bin/sh\nexec /bin/sh -c \"$(printf %s \"$SSH_ORIGINAL_COMMAND\" | sed 's,/var/lib/forge/bin,{},g')\"\n",
                at("bin")
            ),
        );
        let config = format!(
            "{}\nListenAddress 127.0.0.1\nHostKey {}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
             PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nForceCommand {}\n\
             SetEnv PATH={}:/usr/sbin:/usr/bin:/sbin:/bin\n",
            lines.join("\n"),
            at("host_ed25519"),
            at("host_rsa"),
            at("authorized_keys"),
            at("force"),
            at("path"),
        );
        fs::write(path.join("sshd_config"), config).unwrap();
        fs::write(path.join("ssh_config"), "").unwrap();
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port();
            let log = File::create(path.join("log")).unwrap();
            let mut child = Command::new("/usr/sbin/sshd")
                .args(["-D", "-e", "-f", &at("sshd_config"), "-p"])
                .arg(port.to_string())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .spawn()
                .expect("sshd of Debian's openssh-server");
            let mut over = false;
            until("starting sshd", || {
                over = child.try_wait().unwrap().is_some();
                over || fs::read_to_string(path.join("log"))
                    .unwrap()
                    .contains("Server listening")
            });
            if !over {
                return Self {
                    folder,
                    port,
                    child,
                };
            }
            let log = fs::read_to_string(path.join("log")).unwrap();
            assert!(log.contains("in use"), "{log}");
        }
        panic!("no port is free");
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap()
    }

    pub(crate) fn host_key(&self) -> String {
        fs::read_to_string(self.at("host_ed25519.pub")).unwrap()
    }

    /// Writes the file of known hosts: its own key.
    pub(crate) fn know(&self) {
        let line = format!("[127.0.0.1]:{} {}", self.port, self.host_key());
        fs::write(self.at("known_hosts"), line).unwrap();
    }

    pub(crate) fn destination(&self) -> Destination {
        Destination {
            name: "web".to_owned(),
            address: "127.0.0.1".to_owned(),
            port: Some(self.port),
            user: Some(user()),
            host_key: None,
        }
    }

    /// Nothing of the person who runs the tests is in them.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            accept_new_host_key: false,
            config: Some(self.at("ssh_config")),
            known_hosts: Some(self.at("known_hosts")),
            identity: vec![self.at("id")],
            connect_timeout: PATIENCE,
            step_timeout: PATIENCE,
        }
    }

    /// No key of the usual places, no agent but this one, if any.
    pub(crate) fn configure(&self, lines: &str) {
        fs::write(self.at("ssh_config"), lines).unwrap();
    }

    /// Ends the connections, as a cut cable would at last.
    pub(crate) fn cut(&self) {
        for pid in descendants(self.child.id()) {
            let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
            // It may have ended by itself.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.cut();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn descendants(parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // After the name in brackets: state, parent.
        let of = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1))
            .and_then(|word| word.parse::<u32>().ok());
        if of == Some(parent) {
            found.push(pid);
            found.extend(descendants(pid));
        }
    }
    found
}

pub(crate) fn user() -> String {
    succeed("id", &["-un"]).trim().to_owned()
}

/// A real `ssh-agent`.
pub(crate) struct SshAgent {
    pub(crate) socket: PathBuf,
    child: Child,
}

impl SshAgent {
    pub(crate) fn start(folder: &Path) -> Self {
        let socket = folder.join("agent");
        let child = Command::new("ssh-agent")
            .arg("-D")
            .arg("-a")
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("starting ssh-agent", || socket.exists());
        Self { socket, child }
    }

    pub(crate) fn add(&self, key: &Path) {
        let status = Command::new("ssh-add")
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.socket)
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success());
    }
}

impl Drop for SshAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What passed: when, true if towards the host, and how much.
pub(crate) type Traffic = std::sync::Arc<std::sync::Mutex<Vec<(Instant, bool, usize)>>>;

/// A port that leads to another one, each way taking so long.
pub(crate) fn far_away(to: u16, delay: Duration, traffic: &Traffic) -> u16 {
    let traffic = traffic.clone();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let server = TcpStream::connect(("127.0.0.1", to)).unwrap();
            for (there, mut from, mut to) in [
                (
                    true,
                    client.try_clone().unwrap(),
                    server.try_clone().unwrap(),
                ),
                (false, server, client),
            ] {
                let traffic = traffic.clone();
                to.set_nodelay(true).unwrap();
                let (send, receive) = std::sync::mpsc::channel::<(Instant, Vec<u8>)>();
                std::thread::spawn(move || {
                    let mut bytes = [0; 65536];
                    while let Ok(count) = from.read(&mut bytes)
                        && count > 0
                    {
                        let now = Instant::now();
                        traffic.lock().unwrap().push((now, there, count));
                        if send.send((now, bytes[..count].to_vec())).is_err() {
                            return;
                        }
                    }
                });
                std::thread::spawn(move || {
                    for (when, bytes) in receive {
                        std::thread::sleep(
                            (when + delay).saturating_duration_since(Instant::now()),
                        );
                        if to.write_all(&bytes).is_err() {
                            return;
                        }
                    }
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    port
}
