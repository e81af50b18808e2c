//! The commands that concern hosts, as a person meets them where there is no host: mistakes of usage, refusals, what cannot be reached.

#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use snapbox::cmd::Command;
use snapbox::str;

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Two hosts without modules, at a port where nobody is.
fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "forge.toml", "[project]\nname = \"p\"\n");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let host = format!(
        "[host]\naddress = \"127.0.0.1\"\nsystem = \"debian-13\"\nport = {port}\ntags = [\"edge\"]\n"
    );
    write(dir.path(), "hosts/web.toml", &host);
    write(dir.path(), "hosts/db.toml", &host.replace("edge", "data"));
    dir
}

/// The program, with nothing of the machine around it.
fn forge(folder: &Path, words: &str) -> Command {
    Command::new(env!("CARGO_BIN_EXE_forge"))
        .env_clear()
        .env("HOME", folder.join("home"))
        .env("USER", "anna")
        .env("PATH", "/usr/bin:/bin")
        .env("FORGE_STORE", folder.join("store"))
        .current_dir(folder)
        .args(words.split_whitespace())
}

#[test]
fn a_deploy_wants_to_know_which_host() {
    let dir = project();
    forge(dir.path(), "deploy --yes")
        .assert()
        .code(2)
        .stderr_eq(str![[r#"
error: no host is named
help: the hosts of this project: db, web

"#]]);
    forge(dir.path(), "deploy --tag nosuch --yes")
        .assert()
        .code(2)
        .stderr_eq(str![[r#"
error: no host of this project has the tag `nosuch`

"#]]);
    forge(dir.path(), "deploy web db --yes --address 10.0.0.1")
        .assert()
        .code(2)
        .stderr_eq(str![[r#"
error: `--address` is of one host, and several are to be deployed

"#]]);
    forge(dir.path(), "deploy web --deadline 1s")
        .assert()
        .code(2)
        .stderr_eq(str![[r#"
error: invalid value '1s' for '--deadline <TIME>': it must be between 30s and 24h

For more information, try '--help'.

"#]]);
}

#[test]
fn a_host_that_the_project_has_not_is_told_with_those_it_has() {
    let dir = project();
    for words in [
        "deploy wep --yes",
        "status --host wep",
        "history --host wep",
        "logs caddy --host wep",
        "exec caddy --host wep -- true",
        "ssh wep",
        "attach --host wep",
        "unlock --host wep",
        "rollback --host wep --yes",
        "gc --host wep",
        "verify --host wep",
        "diff --host wep",
    ] {
        forge(dir.path(), words)
            .assert()
            .code(2)
            .stdout_eq("")
            .stderr_eq(str![[r#"
error[F0007]: there is no host `wep`: no `hosts/wep.toml`
 |
 = help: did you mean `web`?

error: host `wep` cannot be reached
help: the hosts of this project: db, web

"#]]);
    }
}

#[test]
fn without_a_terminal_nothing_is_done_unasked() {
    let dir = project();
    for words in ["deploy web", "rollback --host web"] {
        forge(dir.path(), words)
            .assert()
            .code(1)
            .stdout_eq("")
            .stderr_eq(str![[r#"
error: there is no terminal to ask on, so nothing is done
help: `--yes` goes on without asking
help: `--plan` only shows what would be done

"#]]);
    }
}

#[test]
fn a_mistake_in_the_project_is_found_before_any_host_is_touched() {
    let dir = project();
    write(
        dir.path(),
        "hosts/bad.toml",
        "[host]\naddress = \"127.0.0.1\"\nsystem = \"debian-13\"\n[modules.nosuch]\n",
    );
    let output = forge(dir.path(), "deploy web bad --yes").assert().code(1);
    let stderr = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(stderr.contains("host `bad` cannot be built"), "{stderr}");
    // The same host can be asked how it is.
    let output = forge(dir.path(), "status --host bad --address 127.0.0.1:1").assert();
    output.code(3);
}

#[test]
fn this_machine_is_no_host() {
    let dir = project();
    for words in [
        "status",
        "history",
        "logs caddy",
        "exec caddy -- true",
        "attach",
        "unlock",
        "rollback --yes",
    ] {
        forge(dir.path(), words)
            .assert()
            .code(2)
            .stdout_eq("")
            .stderr_eq(str![[r#"
error: this machine is no host of forge
help: name a host of the project with `--host NAME`

"#]]);
    }
}

#[test]
fn generations_are_kept_by_hosts_alone() {
    let dir = project();
    forge(dir.path(), "gc --keep 3")
        .assert()
        .code(2)
        .stderr_eq(str![[r#"
error: `--keep` is of hosts: a store has no generations
help: name a host of the project with `--host NAME`

"#]]);
}

#[test]
fn what_cannot_be_reached_is_as_it_was() {
    let dir = project();
    let output = forge(dir.path(), "deploy web --yes --json")
        .assert()
        .code(3);
    let json: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(json["outcome"], "failed");
    assert_eq!(json["host"], "web");
    let stderr = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(stderr.contains("nothing was changed"), "{stderr}");

    // After the canary nobody is begun.
    let output = forge(dir.path(), "deploy --tag edge db --yes --json")
        .assert()
        .code(3);
    let json: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    let words = |at: usize| (json[at]["host"].clone(), json[at]["outcome"].clone());
    assert_eq!(words(0), ("db".into(), "failed".into()));
    assert_eq!(words(1), ("web".into(), "not_begun".into()));
    let output = forge(dir.path(), "deploy db web --yes").assert().code(3);
    let stdout = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    assert!(stdout.contains("not begun"), "{stdout}");

    for words in [
        "status --host web",
        "history --host web",
        "unlock --host web",
        "gc --host web",
        "verify --host web",
        "diff --host web",
        "attach --host web",
    ] {
        forge(dir.path(), words).assert().code(3).stdout_eq("");
    }
}

#[test]
fn ssh_is_the_systems_and_its_exit_code_too() {
    let dir = project();
    let bin = dir.path().join("bin");
    write(
        dir.path(),
        "bin/ssh",
        "#!/bin/sh\nprintf '%s\\n' \"$@\"\nexit 7\n",
    );
    fs::set_permissions(
        bin.join("ssh"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    forge(
        dir.path(),
        "ssh web --address [::1]:2200 --user me -- uptime -p",
    )
    .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
    .assert()
    .code(7)
    .stdout_eq("-l\nme\n-p\n2200\n--\n::1\nuptime\n-p\n");
}
