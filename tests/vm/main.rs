//! Deploys to a real host: a bare Debian 13 as a virtual machine, over real SSH, with real systemd, Docker, Compose, UFW and PostgreSQL.
//!
//! The first deploy takes minutes under emulation, so it is made once; every other test goes on from the host that runs it, as it was saved.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods
)]

mod changes;
mod deadline;
mod host;
mod link;
mod readme;
mod reboots;
mod transfers;

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use host::{Project, Vm};
use serde_json::Value as Json;

/// The folder of a saved machine on which generation 1 of `lab` runs. For who works on these tests, `FORGE_TEST_KEEP=1` takes the
/// one of the run before, whatever program made it.
fn deployed() -> &'static PathBuf {
    static DONE: OnceLock<PathBuf> = OnceLock::new();
    DONE.get_or_init(|| {
        if let Some(kept) = std::env::var_os("FORGE_TEST_KEEP").and_then(|_| host::saved("lab")) {
            return kept;
        }
        let vm = Vm::bare("lab");
        let project = Project::new();
        let begin = Instant::now();
        // However slow the machine is that emulates this one.
        let words = ["deploy", "--yes", "--json", "--deadline", "60m"];
        let ran = project.forge(&vm, &words).ends(0);
        println!("from bare to lab: {:.0} s", begin.elapsed().as_secs_f64());
        let told = ran.json();
        assert_eq!(told["outcome"], "done", "{told}");
        assert_eq!(told["generation"], 1, "{told}");
        vm.save()
    })
}

/// A fresh host on which generation 1 of `lab` runs.
fn lab(name: &str) -> Vm {
    let from = deployed();
    Vm::from(name, Some(from))
}

/// The names of the containers whose line differs between two calls of [`Vm::containers`].
fn changed(before: &str, after: &str) -> Vec<String> {
    let name = |line: &str| {
        let name = line.split(' ').next().unwrap_or_default();
        name.trim_start_matches("/forge-")
            .trim_end_matches("-1")
            .to_owned()
    };
    let mut names: Vec<String> = after
        .lines()
        .filter(|line| !before.lines().any(|old| old == *line))
        .chain(before.lines().filter(|line| {
            !after
                .lines()
                .any(|new| new.split(' ').next() == line.split(' ').next())
        }))
        .map(name)
        .collect();
    names.sort();
    names.dedup();
    names
}

fn secret(project: &Project, name: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_forge"))
        .current_dir(project.folder.path())
        .args(["--quiet", "secret", "show", "lab", name, "--identity"])
        .arg(host::key())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Asks hermes-api through caddy, from outside the host: (status, body).
fn api(vm: &Vm, token: &str, path: &str, body: Option<&str>) -> (String, String) {
    let port = vm.port(443);
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--insecure",
        "--max-time",
        "30",
        "--write-out",
        "\n%{http_code}",
    ])
    .args(["--resolve", &format!("lab.example.com:{port}:127.0.0.1")])
    .args(["--header", &format!("Authorization: Bearer {token}")]);
    if let Some(body) = body {
        curl.args(["--json", body]);
    }
    let output = curl
        .arg(format!("https://lab.example.com:{port}{path}"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", ""));
    (status.to_owned(), body.to_owned())
}

/// Reads what a deploy says until a line of it has the text; the rest is read on, so that it never waits for a reader.
fn until(child: &mut Child, text: &str) -> std::thread::JoinHandle<String> {
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = String::new();
    loop {
        let Some(Ok(line)) = lines.next() else {
            panic!("it ended, and never said {text:?}:\n{said}");
        };
        said.push_str(&line);
        said.push('\n');
        if line.contains(text) {
            break;
        }
    }
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            said.push_str(&line);
            said.push('\n');
        }
        said
    })
}

/// SIGKILL: nothing is said to the host any more.
fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The generation that `current` names.
fn current(vm: &Vm) -> String {
    vm.ssh("readlink /var/lib/forge/current")
}

/// Asks for the status until it is as wanted.
fn status_until(project: &Project, vm: &Vm, wanted: impl Fn(&Json) -> bool) -> Json {
    let begin = Instant::now();
    loop {
        let ran = project.forge(vm, &["status", "--json"]);
        // The host may be too busy to answer; then there is no JSON.
        if let Ok(status) = serde_json::from_str::<Json>(&ran.out)
            && wanted(&status)
        {
            return status;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(400),
            "{}\n{}",
            ran.out,
            ran.err
        );
        std::thread::sleep(Duration::from_secs(2));
    }
}
