//! A Docker daemon of the tests' own: its images, containers and socket in a folder that goes with it. Needs root.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) struct Daemon {
    child: Child,
    folder: tempfile::TempDir,
}

impl Daemon {
    pub(crate) fn start() -> Self {
        // A socket's path has at most 107 bytes, so not below the target folder.
        let folder = tempfile::Builder::new().prefix("dk").tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let log = fs::File::create(path("log")).unwrap();
        let child = Command::new("dockerd")
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("--host")
            .arg(format!("unix://{}", path("sock").display()))
            // Nothing of the machine's network is touched.
            .args(["--bridge=none", "--iptables=false", "--ip-forward=false"])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("dockerd: `cargo xtask tools` installs it");
        let daemon = Self { child, folder };
        let deadline = Instant::now() + Duration::from_secs(120);
        while !daemon.docker(&["version"]).status.success() {
            assert!(
                Instant::now() < deadline,
                "dockerd does not answer:\n{}",
                fs::read_to_string(daemon.folder.path().join("log")).unwrap()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
        daemon
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("sock")
    }

    /// Runs `docker` against this daemon.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Output {
        Command::new("docker")
            .env("DOCKER_HOST", self.host())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What `docker` prints; it must succeed.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let output = self.docker(arguments);
        assert!(
            output.status.success(),
            "docker {}:\n{}{}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Asks again and again until what is printed satisfies, for at most a minute.
    pub(crate) fn ask_until(&self, arguments: &[&str], satisfied: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let output = self.docker(arguments);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            if output.status.success() && satisfied(&text) {
                return text;
            }
            assert!(
                Instant::now() < deadline,
                "docker {}:\n{text}{}\n{}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr),
                self.logs()
            );
            std::thread::sleep(Duration::from_millis(250));
        }
    }

    /// The last lines of every container.
    fn logs(&self) -> String {
        let names = self.docker(&["ps", "--all", "--format", "{{.Names}}"]);
        let mut all = String::new();
        for name in String::from_utf8_lossy(&names.stdout).lines() {
            let logs = self.docker(&["logs", "--tail", "20", name]);
            all.push_str(&format!(
                "--- {name}\n{}{}",
                String::from_utf8_lossy(&logs.stdout),
                String::from_utf8_lossy(&logs.stderr)
            ));
        }
        all
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let ids = self.docker(&["ps", "--all", "--quiet"]);
        for id in String::from_utf8_lossy(&ids.stdout).lines() {
            self.docker(&["rm", "--force", id]);
        }
        // It unmounts what it has mounted when it is told to end.
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}
