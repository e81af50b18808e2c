//! `forge lock`, as a person meets it.

#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use snapbox::cmd::Command;
use snapbox::str;

/// The program, with nothing of the machine around it.
fn forge(folder: &Path) -> Command {
    Command::new(env!("CARGO_BIN_EXE_forge"))
        .env_clear()
        .env("HOME", folder.join("home"))
        .current_dir(folder)
}

/// A project as `forge init` makes it.
fn project() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    forge(dir.path()).args(["-q", "init"]).assert().success();
    dir
}

fn lock(dir: &Path) -> String {
    fs::read_to_string(dir.join("forge.lock")).unwrap()
}

fn add_module(dir: &Path) {
    let host = dir.join("hosts/web.toml");
    let text = fs::read_to_string(&host).unwrap();
    fs::write(host, format!("{text}\n[modules.redis]\n")).unwrap();
}

fn add_image(dir: &Path) {
    let folder = dir.join("images/mine");
    fs::create_dir_all(&folder).unwrap();
    fs::write(
        folder.join("image.toml"),
        "[image]\nsummary = \"Mine\"\n[registry]\nrepository = \"registry.invalid/mine\"\ntag = \"1\"\n",
    )
    .unwrap();
}

#[test]
fn a_new_project_is_locked() {
    let dir = project();
    let before = lock(dir.path());
    forge(dir.path())
        .args(["lock", "--check"])
        .assert()
        .success()
        .stdout_eq("")
        .stderr_eq("forge.lock is up to date\n");
    forge(dir.path())
        .arg("lock")
        .assert()
        .success()
        .stdout_eq("")
        .stderr_eq("forge.lock is up to date: 1 image\n");
    assert_eq!(lock(dir.path()), before);
}

#[test]
fn what_comes_with_forge_is_locked_without_a_network() {
    let dir = project();
    add_module(dir.path());
    forge(dir.path())
        .args(["lock", "--check"])
        .assert()
        .code(1)
        .stdout_eq("redis: not in the lock\n")
        .stderr_eq(str![[r#"
error: forge.lock is out of date for 1 image
help: run `forge lock`, look at the difference, and commit it

"#]]);
    forge(dir.path())
        .args(["lock", "--check", "--json"])
        .assert()
        .code(1)
        .stdout_eq(str![[r#"
{
  "images": [
    {
      "image": "redis",
      "reason": "not in the lock"
    }
  ],
  "up_to_date": false
}

"#]]);
    forge(dir.path())
        .args(["lock", "--offline"])
        .assert()
        .success()
        .stdout_eq(str![[r#"
+ redis
    + docker.io/library/redis:[..]@sha256:[..]

"#]])
        .stderr_eq("wrote forge.lock: 1 image added\n");
    assert!(lock(dir.path()).contains("name = \"redis\""));
    forge(dir.path())
        .args(["lock", "--check"])
        .assert()
        .success();
}

#[test]
fn what_cannot_be_resolved_leaves_the_lock_as_it_was() {
    let dir = project();
    add_module(dir.path());
    add_image(dir.path());
    let before = lock(dir.path());
    forge(dir.path())
        .args(["lock", "--offline"])
        .assert()
        .code(3)
        .stdout_eq("")
        .stderr_eq(str![[r#"
error: 1 image could not be resolved, so forge.lock stays as it was:
  mine: where registry.invalid/mine:1 points to only its registry knows, and `--offline` forbids to ask

"#]]);
    assert_eq!(lock(dir.path()), before);
    forge(dir.path()).args(["lock", "redis"]).assert().success();
    assert_ne!(lock(dir.path()), before);
}

#[test]
fn names_and_files_that_are_wrong() {
    let dir = project();
    forge(dir.path())
        .args(["lock", "cady"])
        .assert()
        .code(2)
        .stderr_eq(str![[r#"
error: there is no image `cady`
help: did you mean `caddy`?

"#]]);
    forge(dir.path())
        .args(["lock", "--check", "--update"])
        .assert()
        .code(2);
    let torn = format!("<<<<<<< ours\n{}", lock(dir.path()));
    fs::write(dir.path().join("forge.lock"), &torn).unwrap();
    forge(dir.path())
        .arg("lock")
        .assert()
        .code(1)
        .stderr_eq(str![[r#"
...
error: the project cannot be locked: [..]

"#]]);
    assert_eq!(lock(dir.path()), torn);
}
