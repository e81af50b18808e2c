//! Docker Compose itself reads what forge renders, and sees in it what was meant.

// A test meets the world itself, and fails by panicking.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;
use std::process::Command;

use forge::pure::files::compose::{Resolve, render};
use forge::pure::name::{ImageName, SecretName};
use forge::pure::system::service::{Network, Service};
use serde_json::{Value as Json, json};

/// The real Compose v2. Without it these tests cannot say anything, so they fail.
fn compose() -> PathBuf {
    let tool = std::env::var_os("FORGE_TEST_COMPOSE").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools/docker-compose"),
        PathBuf::from,
    );
    assert!(
        tool.is_file(),
        "no Docker Compose at {}: `cargo xtask test` fetches it, or name one in FORGE_TEST_COMPOSE",
        tool.display()
    );
    tool
}

struct Names;

impl Resolve for Names {
    fn image(&self, name: &ImageName) -> Option<String> {
        Some(format!(
            "forge.invalid/{name}:sha256-{}",
            "0123456789abcdef".repeat(4)
        ))
    }

    fn file(&self, full_name: &str) -> Option<String> {
        Some(format!("/var/lib/forge/files/00/{full_name}"))
    }

    fn secret(&self, _: &Service, name: &SecretName) -> Option<String> {
        Some(format!("/run/forge/secrets/00/{name}"))
    }
}

/// Texts that mean something to YAML, to a shell, or to Compose's interpolation.
fn hostile() -> Vec<String> {
    [
        "no",
        "on",
        "1:30",
        "0x1",
        "1e3",
        "~",
        "null",
        "",
        " a ",
        "# a",
        "a: b",
        "*a",
        "&a",
        "!a",
        "- a",
        "a\nb\n",
        "\t",
        "ä😀",
        "$",
        "$$",
        "$HOME",
        "${HOME}",
        "${X:?stop}",
        "${",
        "$(id)",
        "'",
        "\"",
        "\\",
        "\u{7f}",
        "\u{2028}",
        "{{.Name}}",
        "2001-01-01",
    ]
    .map(str::to_owned)
    .into()
}

fn services() -> Vec<Service> {
    let env: serde_json::Map<_, _> = hostile()
        .into_iter()
        .enumerate()
        .map(|(index, text)| (format!("V{index}"), Json::from(text)))
        .collect();
    let mut command = vec!["sh".to_owned()];
    command.extend(hostile());
    let full = json!({
        "name": "full", "module": "m", "image": "web", "entrypoint": ["/bin/x", "$0"], "command": command, "user": "1000:1000",
        "env": env, "env_secret": { "A_FILE": "a_1" },
        "mounts": [
            { "at": "/data", "volume": "data", "read_only": false },
            { "at": "/etc/x", "file": "m/x.conf", "read_only": true },
            { "at": "/etc/s", "secret": "s", "read_only": true },
            { "at": "/host$x", "host": "/sys", "read_only": true, "propagation": "rslave" },
            { "at": "/tmp", "tmpfs": "64MiB", "read_only": false },
        ],
        "ports": [
            { "host": 80, "container": 8080, "protocol": "tcp", "public": true },
            { "host": 5432, "container": 5432, "protocol": "tcp", "public": false },
            { "host": 3478, "container": 3478, "protocol": "udp", "public": true },
        ],
        "networks": ["data", "ingress"], "depends_on": ["checked", "host"], "restart": "no", "read_only": true,
        "cap_add": ["NET_BIND_SERVICE"], "cap_drop": ["ALL"], "no_new_privileges": true, "privileged": false,
        "devices": ["/dev/kmsg:/dev/kmsg"], "pid_host": true, "network_host": false, "hostname": "full", "working_dir": "/srv",
        "init": true, "stop_signal": "SIGINT", "stop_grace_period": "1m30s", "shm_size": "256MiB",
        "extra_hosts": { "host.docker.internal": "host-gateway", "six": "2001:db8::1" },
        "sysctls": { "net.core.somaxconn": "1024" }, "labels": { "a.b/c": "$x: y" },
        "limits": { "memory": "1GiB", "cpus": "1.5", "pids": 100 },
        "reservations": { "memory": "256MiB", "cpus": "0.25", "gpus": 1 },
        "healthcheck": { "shell": "test \"$(id -u)\" = 1000 && echo $$", "interval": "5s", "timeout": "500ms", "retries": 3, "start_period": "1d" },
        "log": { "max_size": "10MiB", "max_files": 3 },
    });
    let checked = json!({
        "name": "checked", "module": "m", "image": "db", "env": {}, "env_secret": {}, "mounts": [], "ports": [], "networks": [],
        "depends_on": [], "restart": "unless-stopped", "read_only": false, "cap_add": [], "cap_drop": [], "no_new_privileges": false,
        "privileged": true, "devices": [], "pid_host": false, "network_host": false, "init": false, "stop_grace_period": "10s",
        "extra_hosts": {}, "sysctls": {}, "labels": {}, "limits": { "pids": 4096 }, "reservations": { "gpus": 0 },
        "healthcheck": { "exec": ["true", "$x"], "interval": "30s", "timeout": "5s", "retries": 3, "start_period": "0s" },
        "log": { "max_size": "10MiB", "max_files": 3 },
    });
    let mut host = checked.clone();
    host["name"] = json!("host");
    host["network_host"] = json!(true);
    host["healthcheck"] = Json::Null;
    [full, checked, host]
        .map(|service| serde_json::from_value(service).expect("a service"))
        .into()
}

fn networks() -> Vec<Network> {
    ["data", "ingress"]
        .map(|name| {
            let network = json!({ "name": name, "module": "m", "internal": false });
            serde_json::from_value(network).expect("a network")
        })
        .into()
}

/// Compose's own reading of the file, in a clean environment and an empty folder.
fn read(text: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("compose.yaml");
    std::fs::write(&file, text).expect("written");
    let output = Command::new(compose())
        .arg("-f")
        .arg(&file)
        .args(["config", "--format", "json"])
        .env_clear()
        .env("HOME", "/home-that-must-not-appear")
        .current_dir(folder.path())
        .output()
        .expect("Compose runs");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    // A warning is a mistake too: Compose warns about variables that are not set.
    if output.status.success() && complaints.is_empty() {
        Ok(String::from_utf8(output.stdout).expect("UTF-8"))
    } else {
        Err(complaints)
    }
}

#[test]
fn compose_accepts_every_field() {
    let text = render(&services(), &networks(), &Names).expect("it renders");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("compose.yaml");
    std::fs::write(&file, &text).expect("written");
    let output = Command::new(compose())
        .arg("-f")
        .arg(&file)
        .args(["config", "-q"])
        .output()
        .expect("Compose runs");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "{complaints}\n{text}"
    );
}

#[test]
fn compose_sees_what_was_meant() {
    let text = render(&services(), &networks(), &Names).expect("it renders");
    let seen = read(&text).unwrap_or_else(|complaints| panic!("{complaints}\n{text}"));
    assert!(!seen.contains("home-that-must-not-appear"), "{seen}");
    // What Compose prints has its dollars doubled again.
    let seen: Json = serde_json::from_str(&seen.replace("$$", "$")).expect("JSON");
    assert_eq!(seen["name"], json!("forge"));
    let full = &seen["services"]["full"];
    let mut command = vec!["sh".to_owned()];
    command.extend(hostile());
    assert_eq!(full["command"], json!(command));
    for (index, text) in hostile().iter().enumerate() {
        assert_eq!(full["environment"][format!("V{index}")], json!(text));
    }
    assert_eq!(full["environment"]["A_FILE"], json!("/run/secrets/a_1"));
    assert_eq!(full["entrypoint"], json!(["/bin/x", "$0"]));
    assert_eq!(
        full["healthcheck"]["test"],
        json!(["CMD-SHELL", "test \"$(id -u)\" = 1000 && echo $$"])
    );
    assert_eq!(full["healthcheck"]["start_period"], json!("24h0m0s"));
    assert_eq!(full["labels"], json!({ "a.b/c": "$x: y" }));
    assert_eq!(
        full["depends_on"]["checked"]["condition"],
        json!("service_healthy")
    );
    assert_eq!(
        full["depends_on"]["host"]["condition"],
        json!("service_started")
    );
    assert_eq!(
        full["deploy"]["resources"]["limits"]["memory"],
        json!("1073741824")
    );
    assert_eq!(full["deploy"]["resources"]["limits"]["pids"], json!(100));
    assert_eq!(full["shm_size"], json!("268435456"));
    let mounts = full["volumes"].as_array().expect("mounts");
    assert_eq!(mounts.len(), 6);
    for mount in mounts {
        if mount["type"] == json!("tmpfs") {
            assert_eq!(mount["tmpfs"]["size"], json!("67108864"));
        } else {
            assert_ne!(mount["bind"]["create_host_path"], json!(true), "{mount}");
        }
    }
    let ports = full["ports"].as_array().expect("ports");
    let of = |published: &str| {
        ports
            .iter()
            .find(|port| port["published"] == json!(published))
    };
    assert_eq!(of("5432").expect("loopback")["host_ip"], json!("127.0.0.1"));
    assert_eq!(of("80").expect("public").get("host_ip"), None);
    assert_eq!(of("3478").expect("udp")["protocol"], json!("udp"));
    assert_eq!(
        seen["networks"]["data"],
        json!({ "name": "forge-data", "ipam": {}, "external": true })
    );
    assert_eq!(seen["services"]["checked"]["network_mode"], json!("none"));
    assert_eq!(seen["services"]["host"]["network_mode"], json!("host"));
}

/// The check above is able to fail.
#[test]
fn compose_refuses_what_is_wrong() {
    let text = render(&services(), &networks(), &Names).expect("it renders");
    for (right, wrong) in [
        ("$$HOME", "$NOT_SET"),
        ("pull_policy: never", "pull_policy: sometimes"),
        (
            "    name: forge-data\n",
            "    name: forge-data\n    internal: 7x\n",
        ),
        ("condition: service_healthy", "condition: healthy"),
    ] {
        assert!(text.contains(right), "{right}");
        assert!(read(&text.replace(right, wrong)).is_err(), "{wrong}");
    }
}
