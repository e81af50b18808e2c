//! `forge explain`, `module`, `schema`, `completions` and `init`, as a person meets them.

#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use snapbox::cmd::Command;
use snapbox::str;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB6BRGd83gdhGAJpgdzn1ac9C5rwwpDLhVxSGmBtLKDv me@laptop";

/// The program, with nothing of the machine around it.
fn forge(folder: &Path) -> Command {
    Command::new(env!("CARGO_BIN_EXE_forge"))
        .env_clear()
        .env("HOME", folder.join("home"))
        .current_dir(folder)
}

fn empty() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Two hosts and a module of its own.
fn project() -> tempfile::TempDir {
    let dir = empty();
    write(dir.path(), "forge.toml", "[project]\nname = \"p\"\n");
    write(
        dir.path(),
        "modules/db/module.toml",
        r#"[module]
summary = "A database"
doc = "Keeps data."

[options]
memory = { type = "size", default = "1GiB", max = "8GiB", doc = "Memory limit" }
users = { type = "map", default = {}, doc = "Users", of = { type = "table", doc = "A user", fields = { admin = { type = "bool", default = false, doc = "May do everything" } } } }

[contribution.table]
doc = "A table"
[contribution.table.fields]
rows = { type = "int", min = 1, doc = "Rows" }

[[secret]]
name = "db_password"
generate = { kind = "hex", bytes = 32 }

[[sysctl]]
name = "vm.x"
value = "{{options.memory}}"
"#,
    );
    write(
        dir.path(),
        "hosts/one.toml",
        r#"[host]
address = "192.0.2.1"
system = "debian-13"

[modules.db]
memory = "2GiB"
users.anna = {}

[[table]]
name = "t"
rows = 3
"#,
    );
    write(
        dir.path(),
        "hosts/two.toml",
        r#"extends = "one"

[modules.db]
memory = "3GiB"
users.anna.admin = true

[override.sysctl."vm.x"]
value = "7"
"#,
    );
    dir
}

#[test]
fn explain_a_code() {
    let dir = empty();
    forge(dir.path())
        .args(["explain", "f0306"])
        .assert()
        .success()
        .stdout_eq(str![[r#"
F0306: volume that nobody backs up

No `[[backup]]` of the host names or covers the volume. Add one, or say in the
volume why it needs none: `no_backup = "reason"`.

A policy rule: a host may switch it off for one contribution, with a written
reason:

    [[allow]]
    rule = "F0306"
    subject = "KIND.NAME"
    reason = "…"

"#]])
        .stderr_eq("");
    forge(dir.path())
        .args(["explain", "F0005", "--json"])
        .assert()
        .success()
        .stdout_eq(str![[r#"
{
  "code": "F0005",
  "explanation": "A key that has no default was not given. `forge module show NAME` lists the options of a module with their defaults.",
  "policy": false,
  "title": "missing key"
}

"#]]);
    let all = forge(dir.path())
        .args(["explain", "--all", "--markdown"])
        .assert()
        .success();
    let text = String::from_utf8(all.get_output().stdout.clone()).unwrap();
    assert!(text.starts_with("# Diagnostics\n"), "{text}");
    assert!(text.contains("\n### F0602: control character in a value\n"));
}

#[test]
fn explain_what_nobody_knows() {
    let dir = project();
    forge(dir.path())
        .args(["explain", "F036"])
        .assert()
        .code(2)
        .stdout_eq("")
        .stderr_eq(str![[r#"
error: there is no diagnostic `F036`
help: did you mean `F0306`?
help: `forge explain --all` lists them

"#]]);
    forge(dir.path())
        .args(["explain", "one"])
        .assert()
        .code(2)
        .stderr_eq(str![[r#"
error: `one` is no code of a diagnostic; what is to be explained of it?
help: of a host: `forge explain HOST MODULE.OPTION` or `forge explain HOST KIND.NAME`
help: of a diagnostic: `forge explain F0306`; `forge explain --all` lists them

"#]]);
    forge(dir.path())
        .args(["explain", "one", "db.memroy"])
        .assert()
        .code(2)
        .stderr_eq(str![[r#"
error: module `db` has no option `memroy`
help: did you mean `memory`?
help: `forge module show NAME` lists the options of a module
help: `forge explain one KIND` lists the contributions of a kind

"#]]);
    forge(dir.path())
        .args(["explain", "onne", "db.memory"])
        .assert()
        .code(1)
        .stderr_eq(str![[r#"
error[F0007]: there is no host `onne`: no `hosts/onne.toml`
 |
 = help: did you mean `one`?

error: `db.memory` of host `onne` cannot be explained: 1 error

"#]]);
}

#[test]
fn explain_an_option() {
    let dir = project();
    forge(dir.path())
        .args(["explain", "two", "db.memory"])
        .assert()
        .success()
        .stdout_eq(str![[r#"
db.memory = "3GiB"
Memory limit (size, at most 8GiB)

in force    "3GiB"  host two  hosts/two.toml:4:10
overridden  "2GiB"  host one  hosts/one.toml:6:10
overridden  "1GiB"  default   modules/db/module.toml:6:37

"#]])
        .stderr_eq("");
    forge(dir.path())
        .args(["explain", "two", "db.users.anna.admin"])
        .assert()
        .success()
        .stdout_eq(str![[r#"
db.users.anna.admin = true
May do everything (bool)

in force    true   host two  hosts/two.toml:5:20
overridden  false  default   modules/db/module.toml:7:139

"#]]);
    forge(dir.path())
        .args(["explain", "one", "telegram.chat_id"])
        .assert()
        .success()
        .stdout_eq(str![[r#"
telegram.chat_id is not set
Chat that is written to: a number (groups have negative ones), or `@channel`
(string, matches `^(-?[0-9]{1,19}|@[A-Za-z0-9_]{5,32})$`)
Module `telegram` is not enabled on `one`, so nothing comes of it.

"#]]);
}

#[test]
fn explain_a_contribution() {
    let dir = project();
    forge(dir.path())
        .args(["explain", "one", "sysctl.vm.x.value"])
        .assert()
        .success()
        .stdout_eq(str![[r#"
sysctl.vm.x.value = "2GiB"
Value (string)

in force  "{{options.memory}}"  module db  modules/db/module.toml:20:9

See also: forge explain one db.memory

"#]]);
    forge(dir.path())
        .args(["explain", "two", "sysctl.vm.x"])
        .assert()
        .success()
        .stdout_eq(str![[r#"
sysctl.vm.x, contributed by module db at modules/db/module.toml:18:1
A kernel parameter; its name is the key

FIELD  VALUE  FROM
value  "7"    hosts/two.toml:8:9, instead of "{{options.memory}}" at line 20

"#]]);
    forge(dir.path())
        .args(["explain", "two", "table.t.rows", "--json"])
        .assert()
        .success()
        .stdout_eq(str![[r#"
{
  "doc": "Rows",
  "enabled": true,
  "history": [
    {
      "by": "host",
      "effect": "decides",
      "name": "one",
      "place": {
        "column": 8,
        "file": "hosts/one.toml",
        "line": 11
      },
      "value": 3
    }
  ],
  "made_from": [],
  "subject": "table.t.rows",
  "type": "int, at least 1",
  "value": 3
}

"#]]);
}

#[test]
fn explain_a_service_of_the_catalogue() {
    let dir = empty();
    forge(dir.path()).args(["init", "p"]).assert().success();
    forge(dir.path())
        .args(["-C", "p", "explain", "web", "service.caddy"])
        .assert()
        .success()
        .stdout_eq(str![[r#"
service.caddy, contributed by module caddy at <catalogue>/modules/caddy/module.toml:[..]
A container, run by Docker Compose

FIELD [..]
...
limits.memory  [..]"256MiB" [..] line [..], from {{options.memory}}
...
At their defaults: cap_drop = ["ALL"], [..]
...
MOUNTED INTO IT       AS               BY            AT
/srv/page/index.html  mount.page-page  module caddy  <catalogue>/modules/caddy/module.toml:[..]

NAMED BY         CONTRIBUTED BY  AT
check.caddyfile  module caddy    <catalogue>/modules/caddy/module.toml:[..]
...
"#]]);
}

#[test]
fn modules_are_listed() {
    let dir = project();
    forge(dir.path())
        .args(["module", "list"])
        .assert()
        .success()
        .stdout_eq(str![[r#"
MODULE [..]FROM [..]ENABLED ON [..]SUMMARY
...
db [..] project    one, two    A database
...
users [..] catalogue  -           Accounts: [..]
...
"#]])
        .stderr_eq("");
    forge(dir.path())
        .args(["module", "list", "two"])
        .assert()
        .success()
        .stdout_eq(str![[r#"
MODULE  STATE    NAMED AT             SUMMARY
db      enabled  hosts/two.toml:3:10  A database

"#]]);
}

#[test]
fn a_module_is_shown() {
    let dir = project();
    forge(dir.path())
        .args(["module", "show", "db"])
        .assert()
        .success()
        .stdout_eq(str![[r#"
db: A database
from        modules/db of the project
enabled on  one, two

Keeps data.

Options
OPTION            TYPE                DEFAULT  MEANING
memory            size, at most 8GiB  "1GiB"   Memory limit
users             map of table        {}       Users
users.NAME.admin  bool                false    May do everything

Contributes
KIND    NAME  WHEN
sysctl  vm.x  always

Secrets
SECRET       MADE BY  FORM                    WHAT IT IS
db_password  forge    hex of 32 random bytes

Kind table
A table
FIELD  TYPE             DEFAULT   MEANING
rows   int, at least 1  required  Rows

"#]]);
    forge(dir.path())
        .args(["module", "show", "dbb"])
        .assert()
        .code(2)
        .stdout_eq("")
        .stderr_eq(str![[r#"
error: there is no module `dbb`
help: did you mean `db`?
help: `forge module list` lists the modules

"#]]);
}

#[test]
fn kinds_are_shown() {
    let dir = project();
    forge(dir.path())
        .args(["module", "kinds", "table"])
        .assert()
        .success()
        .stdout_eq(str![[r#"
table: A table
Declared by module db: without it, a contribution has no effect.
Every contribution also has `name`, and may have `when` and `for_each`.

FIELD  TYPE             DEFAULT   MEANING
rows   int, at least 1  required  Rows

"#]]);
    forge(dir.path())
        .args(["module", "kinds", "tabel"])
        .assert()
        .code(2)
        .stderr_eq(str![[r#"
error: there is no kind of contribution `tabel`
help: did you mean `table`?
help: `forge module kinds` lists the kinds

"#]]);
}

#[test]
fn the_catalogue_is_there_without_a_project() {
    let dir = empty();
    let output = forge(dir.path())
        .args(["module", "list", "--markdown"])
        .assert()
        .success()
        .stderr_eq("");
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    for part in [
        "\n## caddy\n",
        "\n### Options of caddy\n",
        "\n## Kind service\n",
    ] {
        assert!(text.contains(part), "{part}");
    }
    let output = forge(dir.path())
        .args(["schema", "host"])
        .assert()
        .success();
    let schema: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(schema["title"], "hosts/NAME.toml");
}

#[test]
fn mistakes_in_modules_are_not_described() {
    let dir = project();
    write(
        dir.path(),
        "modules/bad/module.toml",
        "[module]\nsummary = \"A\"\n[options]\na = { type = \"strng\", doc = \"A\" }\n",
    );
    forge(dir.path())
        .args(["schema", "host"])
        .assert()
        .code(1)
        .stdout_eq("")
        .stderr_eq(str![[r#"
error[F0004]: `strng`[..]
...
error: the project cannot be described: 1 error

"#]]);
}

#[test]
fn every_shell_gets_its_completions() {
    let dir = empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = forge(dir.path())
            .args(["completions", shell])
            .assert()
            .success()
            .stderr_eq("");
        let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        assert!(text.contains("explain"), "{shell}");
    }
}

#[test]
fn every_help_has_examples() {
    let dir = empty();
    for command in [
        &["explain"][..],
        &["module"],
        &["module", "list"],
        &["module", "show"],
        &["module", "kinds"],
        &["schema"],
        &["completions"],
        &["init"],
    ] {
        let output = forge(dir.path())
            .args(command)
            .arg("--help")
            .assert()
            .success();
        let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        assert!(text.contains("\nExamples:\n"), "{command:?}");
        assert!(text.contains("FORGE_PROJECT"), "{command:?}");
    }
}

#[test]
fn init_makes_a_project_that_is_right() {
    let dir = empty();
    write(dir.path(), "home/.ssh/id_ed25519.pub", &format!("{KEY}\n"));
    forge(dir.path())
        .args([
            "init",
            "my servers",
            "--address",
            "198.51.100.7",
            "--system",
            "debian-13",
        ])
        .assert()
        .success()
        .stdout_eq(str![[r#"
Made a project in my servers:
  forge.toml      settings of the project
  forge.lock      the digest of every image
  hosts/web.toml  the host
You log in with the key of [..]/home/.ssh/id_ed25519.pub.

Modules and images come with forge: `forge module list` lists them.

Your own values belong into hosts/web.toml: the domain of the page, the e-mail address.

Next:
  cd 'my servers'
  forge check
  forge build web

"#]])
        .stderr_eq("");
    let root = dir.path().join("my servers");
    let host = fs::read_to_string(root.join("hosts/web.toml")).unwrap();
    assert!(host.contains(&format!("keys = [\"{KEY}\"]")), "{host}");
    assert!(host.contains("address = \"198.51.100.7\"\nsystem = \"debian-13\"\n"));
    let settings = fs::read_to_string(root.join("forge.toml")).unwrap();
    assert!(
        settings.starts_with("[project]\nname = \"my-servers\"\n"),
        "{settings}"
    );
    forge(&root)
        .arg("check")
        .assert()
        .success()
        .stderr_eq("checked 1 host: no mistakes\n");
}

#[test]
fn init_in_a_git_repository_without_a_key() {
    let dir = empty();
    write(dir.path(), ".git/HEAD", "ref: refs/heads/main\n");
    forge(dir.path())
        .args(["init", "--host", "db-1", "--quiet"])
        .assert()
        .success()
        .stdout_eq("")
        .stderr_eq(str![[r#"
warning: you have no SSH key that forge can use, so hosts/db-1.toml trusts the EXAMPLE KEY, whose private half everybody has
help: make one with `ssh-keygen -t ed25519`
help: put the line of its `.pub` file into `admins.admin` of hosts/db-1.toml before you deploy

"#]]);
    assert!(dir.path().join("hosts/db-1.toml").is_file());
}

#[test]
fn init_never_touches_what_is_there() {
    let dir = empty();
    write(dir.path(), "hosts/mine.toml", "mine");
    write(dir.path(), "forge.lock", "mine");
    forge(dir.path())
        .arg("init")
        .assert()
        .code(1)
        .stdout_eq("")
        .stderr_eq(str![[r#"
error: . already holds forge.lock, hosts
help: nothing was changed; make the project in another folder: `forge init DIR`

"#]]);
    assert!(!dir.path().join("forge.toml").exists());
    assert_eq!(
        fs::read_to_string(dir.path().join("forge.lock")).unwrap(),
        "mine"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn init_refuses_wrong_wishes_and_writes_nothing() {
    let dir = empty();
    forge(dir.path())
        .args(["init", "p", "--system", "ubuntu-24.10"])
        .assert()
        .code(2)
        .stdout_eq("")
        .stderr_eq(str![[r#"
error[F0004]: `system` is "ubuntu-24.10": this is none of the permitted values
 --> hosts/web.toml:5:10
  |
5 | system = "ubuntu-24.10"
  |          ^^^^^^^^^^^^^^
  |
  = help: did you mean `ubuntu-24.04`?

error: these arguments do not make a valid host; nothing was written

"#]]);
    write(dir.path(), "id", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    forge(dir.path())
        .args(["init", "p", "--key", "id"])
        .assert()
        .code(2)
        .stderr_eq(str![[r#"
error: cannot use id: it holds a private key, which must never leave its place: the public half is in the `.pub` file beside it
help: name a `.pub` file of OpenSSH, such as ~/.ssh/id_ed25519.pub

"#]]);
    forge(dir.path())
        .args(["init", "p", "--key", "nowhere.pub"])
        .assert()
        .code(3)
        .stderr_eq(str![[r#"
error: cannot read nowhere.pub: No such file or directory (os error 2)

"#]]);
    forge(dir.path())
        .args(["init", "p", "--host", "../x"])
        .assert()
        .code(2)
        .stderr_eq(str![[r#"
error: `../x` is not a name: use a-z, 0-9 and `-`, a letter or digit at both ends, at most 63 characters

"#]]);
    assert!(!dir.path().join("p").exists());
}
