//! What runs is named by its content: a change of a config restarts its readers and nobody else.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

const MODULE: &str = r#"
[module]
summary = "two services, one file each"
[options]
text = { type = "string", default = "a", doc = "content of the first" }
[[network]]
name = "net"
[[file]]
name = "one.conf"
text = "{{options.text}}"
[[file]]
name = "two.conf"
text = "constant"
[[service]]
name = "one"
image = "x"
user = "1:1"
networks = ["net"]
mounts = [{ file = "one.conf", at = "/one.conf" }]
limits = { memory = "64MiB", cpus = "1" }
healthcheck = { exec = ["true"] }
[[service]]
name = "two"
image = "x"
user = "1:1"
networks = ["net"]
depends_on = ["one"]
mounts = [{ file = "two.conf", at = "/two.conf" }]
limits = { memory = "64MiB", cpus = "1" }
healthcheck = { exec = ["true"] }
"#;

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn forge(project: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_forge"))
        .env_clear()
        .env("FORGE_STORE", project.join("store"))
        .current_dir(project)
        .args(args)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_config_change_restarts_its_readers_alone() {
    let temp = tempfile::tempdir().unwrap();
    let project = temp.path();
    write(&project.join("forge.toml"), "[project]\nname = \"t\"\n");
    write(&project.join("modules/m/module.toml"), MODULE);
    write(
        &project.join("images/x/image.toml"),
        "[image]\nsummary = \"x\"\n[registry]\nrepository = \"registry.example/x\"\ntag = \"1.0\"\n",
    );
    let digest = "0".repeat(64);
    write(
        &project.join("forge.lock"),
        &format!(
            "version = 1\n[[image]]\nname = \"x\"\nrepository = \"registry.example/x\"\ntag = \"1.0\"\ndigest = \"sha256:{digest}\"\n"
        ),
    );
    let host = "[host]\naddress = \"192.0.2.1\"\nsystem = \"debian-12\"\n[modules.m]\n";
    write(&project.join("hosts/h.toml"), host);
    let first = forge(project, &["build", "h"]);
    assert_eq!(
        forge(project, &["diff", "h", "--json"])
            .parse::<Json>()
            .unwrap()["diff"]["services"],
        Json::Array(vec![])
    );

    write(
        &project.join("hosts/h.toml"),
        &format!("{host}text = \"b\"\n"),
    );
    let diff: Json = forge(project, &["diff", "h", "--json"]).parse().unwrap();
    let services = diff["diff"]["services"].as_array().unwrap();
    assert_eq!(services.len(), 1, "{services:?}");
    assert_eq!(services[0]["name"], "one");
    assert_eq!(services[0]["what"], serde_json::json!(["volumes"]));

    // And back: a rollback is exact.
    write(&project.join("hosts/h.toml"), host);
    assert_eq!(forge(project, &["build", "h"]), first);
}
