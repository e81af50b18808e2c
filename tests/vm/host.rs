//! A virtual machine of a test, and `forge` against it.

use std::cell::Cell;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// One machine at a time: two would halve each other's speed, and time out.
static ONE: Mutex<()> = Mutex::new(());

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Where the tests keep machines and the store.
pub(crate) fn tmp() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

fn xtask(words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(root())
        .args(["run", "--quiet", "--package", "xtask", "--", "vm"])
        .args(words);
    said(&mut command)
}

/// Runs to the end, which must be good; what it printed.
pub(crate) fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The folder of a machine that an earlier run has saved under this name.
pub(crate) fn saved(name: &str) -> Option<PathBuf> {
    let place = tmp().join("vm").join(name);
    place.join("state").exists().then_some(place)
}

/// As many ports, each free and none twice: all are held until all are known.
fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind(("127.0.0.1", 0)).unwrap())
        .collect();
    held.iter()
        .map(|listener| listener.local_addr().unwrap().port())
        .collect()
}

/// What stays closed or open as seen from outside: ports of the host.
pub(crate) const PORTS: &[u16] = &[22, 80, 443, 5432, 9090, 9100];

#[derive(Debug)]
pub(crate) struct Vm {
    place: PathBuf,
    forward: Vec<(u16, u16)>,
    saved: Cell<bool>,
    _one: MutexGuard<'static, ()>,
}

impl Vm {
    /// A bare host, just booted.
    pub(crate) fn bare(name: &str) -> Self {
        Self::from(name, None)
    }

    /// A machine that goes on where that in `from` was saved.
    pub(crate) fn from(name: &str, from: Option<&Path>) -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let place = tmp().join("vm").join(name);
        if place.exists() {
            xtask(&["cut", place.to_str().unwrap()]);
            fs::remove_dir_all(&place).unwrap();
        }
        fs::create_dir_all(&place).unwrap();
        let vm = Self {
            place,
            forward: free_ports(PORTS.len())
                .into_iter()
                .zip(PORTS.iter().copied())
                .collect(),
            saved: Cell::new(false),
            _one: one,
        };
        vm.start(from);
        vm
    }

    fn start(&self, from: Option<&Path>) {
        let mut words = vec!["start".to_owned(), self.place.display().to_string()];
        if let Some(from) = from {
            words.extend(["--from".to_owned(), from.display().to_string()]);
        }
        for (here, there) in &self.forward {
            words.extend(["--forward".to_owned(), format!("{here}:{there}")]);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        xtask(&words);
        self.wait();
    }

    /// Until sshd answers.
    pub(crate) fn wait(&self) {
        let begin = Instant::now();
        while !self.ssh_output("true").status.success() {
            assert!(
                begin.elapsed() < Duration::from_secs(300),
                "the host does not answer; its console:\n{}",
                fs::read_to_string(self.place.join("console")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// Ends it; others can go on where it was.
    pub(crate) fn save(&self) -> PathBuf {
        xtask(&["save", self.place.to_str().unwrap()]);
        self.saved.set(true);
        self.place.clone()
    }

    /// The power goes, and comes back.
    pub(crate) fn cut_and_boot(&self) {
        xtask(&["cut", self.place.to_str().unwrap()]);
        self.start(None);
    }

    pub(crate) fn cut(&self) {
        xtask(&["cut", self.place.to_str().unwrap()]);
    }

    pub(crate) fn port(&self, of: u16) -> u16 {
        self.forward
            .iter()
            .find(|(_, there)| *there == of)
            .unwrap()
            .0
    }

    fn ssh_command(&self) -> Command {
        let mut ssh = Command::new("ssh");
        for option in [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "IdentitiesOnly=yes",
            "ConnectTimeout=10",
            "BatchMode=yes",
        ] {
            ssh.args(["-o", option]);
        }
        ssh.arg("-i")
            .arg(key())
            .args(["-p", &self.port(22).to_string(), "root@127.0.0.1"]);
        ssh
    }

    /// A command on the host, by other means than forge's.
    pub(crate) fn ssh_output(&self, command: &str) -> Output {
        self.ssh_command().arg(command).output().unwrap()
    }

    /// [`Self::ssh_output`] that must succeed.
    pub(crate) fn ssh(&self, command: &str) -> String {
        said(self.ssh_command().arg(command)).trim().to_owned()
    }

    /// Every container with its id and its start: what tells a restart.
    pub(crate) fn containers(&self) -> String {
        self.ssh(
            "docker ps -aq --no-trunc | xargs -r docker inspect -f '{{.Name}} {{.Id}} {{.State.StartedAt}}' | sort",
        )
    }

    /// True if something on the host answers on this port, as seen from outside: QEMU itself accepts, and hangs up.
    pub(crate) fn answers(&self, port: u16) -> bool {
        let url = format!("http://127.0.0.1:{}/", self.port(port));
        let output = Command::new("curl")
            .args([
                "--silent",
                "--output",
                "/dev/null",
                "--max-time",
                "5",
                "--write-out",
                "%{num_connects} %{http_code} %{errormsg}",
                &url,
            ])
            .output()
            .unwrap();
        // A reply in HTTP, or in another protocol.
        matches!(output.status.code(), Some(0 | 1 | 8))
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.cut();
        // Gigabytes: only the machine that others begin with stays, and one whose console may tell why a test failed.
        if !self.saved.get() && !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.place);
        }
    }
}

/// The key of root on the hosts of tests, readable by its owner alone as ssh wants it.
pub(crate) fn key() -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let to = tmp().join("example-insecure-key");
    let _ = fs::remove_file(&to);
    fs::copy(root().join("hosts/example-insecure-key"), &to).unwrap();
    fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
    to
}

/// The program without what debuggers read: what is sent to hosts is not that large.
pub(crate) fn agent() -> &'static PathBuf {
    static STRIPPED: OnceLock<PathBuf> = OnceLock::new();
    STRIPPED.get_or_init(|| {
        let to = tmp().join("agent");
        said(
            Command::new("strip")
                .arg("-o")
                .arg(&to)
                .arg(env!("CARGO_BIN_EXE_forge")),
        );
        to
    })
}

/// A copy of the project, to change it.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) folder: tempfile::TempDir,
}

impl Project {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["forge.toml", "forge.lock", "hosts", "modules", "images"] {
            said(
                Command::new("/bin/cp")
                    .arg("-a")
                    .arg(root().join(name))
                    .arg(folder.path()),
            );
        }
        Self { folder }
    }

    /// Replaces text in a file of the project; it must be there.
    pub(crate) fn edit(&self, file: &str, from: &str, to: &str) {
        let path = self.folder.path().join(file);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{file} has no {from:?}");
        fs::write(path, text.replacen(from, to, 1)).unwrap();
    }

    pub(crate) fn append(&self, file: &str, text: &str) {
        let path = self.folder.path().join(file);
        let old = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{old}\n{text}\n")).unwrap();
    }

    fn command(&self, port: u16, words: &[&str]) -> Command {
        let mut forge = Command::new(env!("CARGO_BIN_EXE_forge"));
        forge
            .current_dir(self.folder.path())
            .env("FORGE_STORE", tmp().join("store"))
            .env("HOME", self.folder.path())
            .env_remove("SSH_AUTH_SOCK")
            .args(words)
            .args(["--host", "lab"])
            .args(["--address", &format!("127.0.0.1:{port}")])
            .arg("--identity")
            .arg(key())
            .arg("--agent")
            .arg(agent());
        forge
    }

    /// `forge WORDS` on the project alone; it must succeed.
    pub(crate) fn local(&self, words: &[&str]) -> String {
        said(
            Command::new(env!("CARGO_BIN_EXE_forge"))
                .current_dir(self.folder.path())
                .env("FORGE_STORE", tmp().join("store"))
                .env("HOME", self.folder.path())
                .args(words),
        )
    }

    /// `forge WORDS --host lab` against a machine.
    pub(crate) fn forge(&self, vm: &Vm, words: &[&str]) -> Ran {
        self.forge_at(vm.port(22), words)
    }

    /// As [`Self::forge`], with the host at this port of loopback.
    pub(crate) fn forge_at(&self, port: u16, words: &[&str]) -> Ran {
        let begin = Instant::now();
        let output = self
            .command(port, words)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let ran = Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        // The figures of a run that went well are worth reading, too.
        println!(
            "forge {} → {} after {:.1} s",
            words.join(" "),
            ran.code,
            begin.elapsed().as_secs_f64()
        );
        ran
    }

    pub(crate) fn spawn_at(&self, port: u16, words: &[&str]) -> Child {
        self.command(port, words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

/// How `forge` ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn ends(self, code: i32) -> Self {
        assert_eq!(
            self.code, code,
            "stdout:\n{}\nstderr:\n{}",
            self.out, self.err
        );
        self
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}:\n{}\n{}", self.out, self.err))
    }
}
