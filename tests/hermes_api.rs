//! The tests of the application in `images/hermes-api`, in Python, with a real PostgreSQL server.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const NOBODY: u32 = 65534;
const PASSWORD: &str = "of-the-server-in-the-tests";

/// The packages are Debian's, so it must be Debian's interpreter, whichever comes first in `PATH`.
const PYTHON: &str = "/usr/bin/python3";

#[test]
fn the_application_passes_its_own_tests() {
    let server = Server::start();
    let output = pytest(&server, &[]);
    let text = said(&output);
    assert!(output.status.success(), "{text}");
    let passed: u32 = text
        .split_whitespace()
        .zip(text.split_whitespace().skip(1))
        .find(|(_, word)| *word == "passed")
        .and_then(|(number, _)| number.parse().ok())
        .unwrap_or_else(|| panic!("{text}"));
    assert!(passed >= 60, "only {passed} tests ran:\n{text}");
    assert!(!text.contains("skipped"), "{text}");
}

#[test]
fn its_tests_fail_without_the_right_server() {
    let mut server = Server::start();
    server.password = "another".to_owned();
    let output = pytest(&server, &["-k", "test_the_registry"]);
    let text = said(&output);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("InvalidPasswordError"), "{text}");
}

fn pytest(server: &Server, more: &[&str]) -> Output {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/hermes-api/tests");
    Command::new(PYTHON)
        .args(["-m", "pytest", "-q", "-p", "no:cacheprovider"])
        .args(more)
        .current_dir(folder)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("HERMES_TEST_HOST", "127.0.0.1")
        .env("HERMES_TEST_PORT", server.port.to_string())
        .env("HERMES_TEST_USER", "postgres")
        .env("HERMES_TEST_PASSWORD", &server.password)
        .output()
        .unwrap_or_else(|error| {
            panic!("{PYTHON} does not start ({error}): `cargo xtask tools` installs it")
        })
}

/// A cluster in a folder of its own, which listens on the loopback address alone; stopped and removed in the end.
struct Server {
    folder: tempfile::TempDir,
    bin: PathBuf,
    port: u16,
    password: String,
}

impl Server {
    fn start() -> Self {
        let bin = postgres_bin();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("password"), PASSWORD).unwrap();
        if rustix::process::geteuid().is_root() {
            run(Command::new("chown")
                .args(["-R", &format!("{NOBODY}:{NOBODY}")])
                .arg(folder.path()));
        }
        let server = Self {
            // The port may be taken between here and there; then the start fails and says so.
            port: TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port(),
            folder,
            bin,
            password: PASSWORD.to_owned(),
        };
        let folder = server.folder.path();
        run(server
            .program("initdb")
            .args(["-U", "postgres", "-A", "scram-sha-256", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C.UTF-8", "--pwfile"])
            .arg(folder.join("password"))
            .arg("-D")
            .arg(folder.join("data")));
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off",
            server.port,
            folder.display()
        );
        run(server
            .program("pg_ctl")
            .args(["start", "-w", "-s", "-t", "60", "-o", &options, "-l"])
            .arg(folder.join("log"))
            .arg("-D")
            .arg(folder.join("data")));
        server
    }

    /// PostgreSQL refuses to run as root.
    fn program(&self, name: &str) -> Command {
        let program = self.bin.join(name);
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command
                .args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")])
                .arg("--clear-groups")
                .arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self
            .program("pg_ctl")
            .args(["stop", "-m", "immediate", "-s", "-D"])
            .arg(self.folder.path().join("data"))
            .output();
    }
}

/// The programs of the newest server that Debian has put here.
fn postgres_bin() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .expect("no PostgreSQL server: apt-get install postgresql (`cargo xtask tools` does it)");
    versions
        .map(|version| version.unwrap().path().join("bin"))
        .filter(|bin| bin.join("initdb").is_file())
        .max()
        .expect("a PostgreSQL server")
}

fn run(command: &mut Command) {
    // Not `output()`: the server inherits the pipes from `pg_ctl`, and they would never end.
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let file = fs::File::create(&log).unwrap();
    let status = command
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .status()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        status.success(),
        "{command:?}\n{}",
        fs::read_to_string(log).unwrap()
    );
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
