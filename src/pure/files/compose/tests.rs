use serde_json::{Value as Json, json};

use super::*;

struct Names;

impl Resolve for Names {
    fn image(&self, name: &ImageName) -> Option<String> {
        (name.as_str() != "gone").then(|| format!("forge.invalid/{name}:sha256-00"))
    }

    fn file(&self, full_name: &str) -> Option<String> {
        let (_, name) = full_name.split_once('/')?;
        Some(format!("/var/lib/forge/files/00/{name}"))
    }

    fn secret(&self, service: &Service, name: &SecretName) -> Option<String> {
        let user = service.user.as_deref().unwrap_or("root");
        Some(format!("/run/forge/secrets/00/{user}/{name}"))
    }
}

fn service(name: &str, fields: Json) -> Service {
    let mut whole = json!({
        "name": name, "module": "m", "image": "web", "env": {}, "env_secret": {}, "mounts": [], "ports": [],
        "networks": [], "depends_on": [], "restart": "unless-stopped", "read_only": false, "cap_add": [], "cap_drop": ["ALL"],
        "no_new_privileges": true, "privileged": false, "devices": [], "pid_host": false, "network_host": false, "init": false,
        "stop_grace_period": "10s", "extra_hosts": {}, "sysctls": {}, "labels": {}, "limits": { "pids": 4096 },
        "reservations": { "gpus": 0 }, "log": { "max_size": "10MiB", "max_files": 3 },
    });
    let (Json::Object(whole_map), Json::Object(fields)) = (&mut whole, fields) else {
        panic!("a map is wanted");
    };
    whole_map.extend(fields);
    serde_json::from_value(whole).expect("a service")
}

fn networks() -> Vec<Network> {
    ["data", "ingress", "internal"]
        .map(|name| {
            let network = json!({ "name": name, "module": "m", "internal": name == "data" });
            serde_json::from_value(network).expect("a network")
        })
        .into()
}

fn file(services: &[Service]) -> Json {
    let text = render(services, &networks(), &Names).expect("it renders");
    serde_yaml_ng::from_str(&text).expect("it is YAML")
}

/// What Compose sees of one service with these fields.
fn one(fields: Json) -> Json {
    file(&[service("a", fields)])["services"]["a"].clone()
}

#[test]
fn a_service_that_says_nothing() {
    let text = render(&[service("a", json!({}))], &networks(), &Names).expect("it renders");
    assert_eq!(
        text,
        "# Written by forge. A change here is undone by the next deploy.
name: forge
services:
  a:
    image: \"forge.invalid/web:sha256-00\"
    pull_policy: never
    restart: unless-stopped
    stop_grace_period: \"10s\"
    network_mode: \"none\"
    cap_drop:
      - ALL
    security_opt:
      - \"no-new-privileges:true\"
    deploy:
      resources:
        limits:
          pids: 4096
    logging:
      driver: json-file
      options:
        max-size: \"10485760\"
        max-file: \"3\"
"
    );
}

/// Fields that Compose knows under the same name, with the value that is given.
#[test]
fn fields_that_pass_through() {
    for (field, value) in [
        ("entrypoint", json!(["/bin/sh", "-c"])),
        ("entrypoint", json!([])),
        ("command", json!(["a b", "no", "--x=1"])),
        ("user", json!("70:70")),
        ("working_dir", json!("/srv")),
        ("hostname", json!("db")),
        ("init", json!(true)),
        ("restart", json!("no")),
        ("stop_signal", json!("SIGINT")),
        ("read_only", json!(true)),
        ("privileged", json!(true)),
        ("cap_add", json!(["NET_ADMIN"])),
        ("cap_drop", json!(["CHOWN"])),
        ("devices", json!(["/dev/kmsg:/dev/kmsg"])),
        ("sysctls", json!({ "net.core.somaxconn": "1024" })),
        ("labels", json!({ "a.b": "c: d" })),
        (
            "extra_hosts",
            json!({ "host.docker.internal": "host-gateway" }),
        ),
    ] {
        assert_eq!(one(json!({ field: value }))[field], value, "{field}");
    }
}

#[test]
fn absent_fields_are_left_out() {
    let out = one(json!({ "cap_drop": [], "no_new_privileges": false }));
    for field in [
        "entrypoint",
        "command",
        "user",
        "working_dir",
        "hostname",
        "init",
        "stop_signal",
        "environment",
        "volumes",
        "ports",
        "networks",
        "depends_on",
        "healthcheck",
        "read_only",
        "privileged",
        "cap_add",
        "cap_drop",
        "security_opt",
        "devices",
        "pid",
        "sysctls",
        "shm_size",
        "labels",
        "extra_hosts",
    ] {
        assert!(out.get(field).is_none(), "{field}");
    }
}

#[test]
fn every_dollar_in_a_value_is_doubled() {
    let out = one(json!({
        "command": ["$HOME", "${X:-y}", "$$"], "env": { "A$B": "c$d" }, "labels": { "l": "$l" },
        "healthcheck": { "shell": "test $? = 0", "interval": "5s", "timeout": "5s", "retries": 3, "start_period": "0s" },
        "mounts": [{ "host": "/a$b", "at": "/c$d", "read_only": false }],
    }));
    assert_eq!(out["command"], json!(["$$HOME", "$${X:-y}", "$$$$"]));
    assert_eq!(out["environment"], json!({ "A$B": "c$$d" }));
    assert_eq!(out["labels"], json!({ "l": "$$l" }));
    assert_eq!(
        out["healthcheck"]["test"],
        json!(["CMD-SHELL", "test $$? = 0"])
    );
    assert_eq!(out["volumes"][0]["source"], json!("/a$$b"));
    assert_eq!(out["volumes"][0]["target"], json!("/c$$d"));
}

#[test]
fn secrets_in_the_environment_are_paths() {
    let out = one(
        json!({ "user": "5:5", "env": { "A": "1" }, "env_secret": { "A_FILE": "a", "B_FILE": "b", "C_FILE": "a" } }),
    );
    assert_eq!(
        out["environment"],
        json!({ "A": "1", "A_FILE": "/run/secrets/a", "B_FILE": "/run/secrets/b", "C_FILE": "/run/secrets/a" })
    );
    assert_eq!(
        out["volumes"],
        json!([
            { "type": "bind", "source": "/run/forge/secrets/00/5:5/a", "target": "/run/secrets/a", "read_only": true, "bind": { "create_host_path": false } },
            { "type": "bind", "source": "/run/forge/secrets/00/5:5/b", "target": "/run/secrets/b", "read_only": true, "bind": { "create_host_path": false } },
        ])
    );
}

#[test]
fn mounts() {
    let out = one(json!({ "mounts": [
        { "tmpfs": "64MiB", "at": "/tmp", "read_only": false },
        { "volume": "data", "at": "/data", "read_only": false },
        { "volume": "data", "at": "/copy", "read_only": true },
        { "file": "m/x.conf", "at": "/etc/x.conf", "read_only": false },
        { "secret": "s", "at": "/etc/s", "read_only": false },
        { "host": "/sys", "at": "/sys", "read_only": true, "propagation": "rslave" },
    ] }));
    let bind = json!({ "create_host_path": false });
    assert_eq!(
        out["volumes"],
        json!([
            { "type": "bind", "source": "/var/lib/forge/volumes/data", "target": "/copy", "read_only": true, "bind": bind },
            { "type": "bind", "source": "/var/lib/forge/volumes/data", "target": "/data", "bind": bind },
            { "type": "bind", "source": "/run/forge/secrets/00/root/s", "target": "/etc/s", "read_only": true, "bind": bind },
            { "type": "bind", "source": "/var/lib/forge/files/00/x.conf", "target": "/etc/x.conf", "read_only": true, "bind": bind },
            { "type": "bind", "source": "/sys", "target": "/sys", "read_only": true, "bind": { "propagation": "rslave", "create_host_path": false } },
            { "type": "tmpfs", "target": "/tmp", "tmpfs": { "size": "64m" } },
        ])
    );
}

#[test]
fn ports_are_loopback_unless_public() {
    let out = one(json!({ "networks": ["ingress"], "ports": [
        { "host": 443, "container": 8443, "protocol": "udp", "public": true },
        { "host": 443, "container": 8443, "protocol": "tcp", "public": true },
        { "host": 22, "container": 22, "protocol": "tcp", "public": false },
    ] }));
    assert_eq!(
        out["ports"],
        json!([
            { "host_ip": "127.0.0.1", "published": "22", "target": 22, "protocol": "tcp" },
            { "published": "443", "target": 8443, "protocol": "tcp" },
            { "published": "443", "target": 8443, "protocol": "udp" },
        ])
    );
}

#[test]
fn networks_are_external_and_only_those_that_are_used() {
    let out = file(&[
        service("b", json!({ "networks": ["internal", "data"] })),
        service("a", json!({ "networks": ["data"] })),
    ]);
    assert_eq!(
        out["services"]["b"]["networks"],
        json!(["data", "internal"])
    );
    assert_eq!(
        out["networks"],
        json!({
            "data": { "name": "forge-data", "external": true },
            "internal": { "name": "forge-internal", "external": true },
        })
    );
}

#[test]
fn a_service_on_the_network_or_among_the_processes_of_the_host() {
    let port = json!({ "host": 1, "container": 1, "protocol": "tcp", "public": true });
    let out = one(
        json!({ "network_host": true, "pid_host": true, "networks": ["data"], "ports": [port] }),
    );
    assert_eq!(out["network_mode"], json!("host"));
    assert_eq!(out["pid"], json!("host"));
    assert!(out.get("networks").is_none() && out.get("ports").is_none());
}

#[test]
fn dependencies_wait_for_health_where_there_is_a_check() {
    let check = json!({ "exec": ["true"], "interval": "1m30s", "timeout": "500ms", "retries": 9, "start_period": "1d", "start_interval": "2s" });
    let out = file(&[
        service("a", json!({ "depends_on": ["c", "b"] })),
        service("b", json!({ "healthcheck": check })),
        service("c", json!({})),
    ]);
    assert_eq!(
        out["services"]["a"]["depends_on"],
        json!({ "b": { "condition": "service_healthy" }, "c": { "condition": "service_started" } })
    );
    assert_eq!(
        out["services"]["b"]["healthcheck"],
        json!({ "test": ["CMD", "true"], "interval": "90s", "timeout": "500ms", "start_period": "86400s", "start_interval": "2s", "retries": 9 })
    );
}

#[test]
fn limits_and_reservations() {
    let out = one(json!({
        "limits": { "memory": "1536MiB", "cpus": "0.5", "pids": 10 },
        "reservations": { "memory": "1GiB", "cpus": "0.25", "gpus": 2 },
        "shm_size": "100B",
    }));
    assert_eq!(
        out["deploy"]["resources"],
        json!({
            "limits": { "cpus": "0.5", "memory": "1536m", "pids": 10 },
            "reservations": {
                "cpus": "0.25", "memory": "1g",
                "devices": [{ "driver": "nvidia", "count": 2, "capabilities": ["gpu"] }],
            },
        })
    );
    assert_eq!(out["shm_size"], json!("100b"));
}

#[test]
fn grace_and_logs() {
    let out =
        one(json!({ "stop_grace_period": "1m", "log": { "max_size": "1GiB", "max_files": 7 } }));
    assert_eq!(out["stop_grace_period"], json!("60s"));
    assert_eq!(
        out["logging"],
        json!({ "driver": "json-file", "options": { "max-size": "1073741824", "max-file": "7" } })
    );
}

#[test]
fn the_order_of_what_comes_does_not_matter() {
    let make = |name| service(name, json!({ "networks": ["data"], "depends_on": [] }));
    let forth = render(&[make("a"), make("b"), make("c")], &networks(), &Names);
    let mut turned = networks();
    turned.reverse();
    assert_eq!(
        forth,
        render(&[make("c"), make("b"), make("a")], &turned, &Names)
    );
}

#[test]
fn what_is_not_there_is_an_error() {
    for (fields, message) in [
        (
            json!({ "image": "gone" }),
            "service `a`: there is no image `gone`",
        ),
        (
            json!({ "networks": ["x"] }),
            "service `a`: there is no network `x`",
        ),
        (
            json!({ "depends_on": ["x"] }),
            "service `a`: there is no service `x`",
        ),
        (
            json!({ "mounts": [{ "at": "/x", "file": "x", "read_only": true }] }),
            "service `a`: there is no file `x`",
        ),
        (
            json!({ "mounts": [{ "at": "/x", "read_only": true }] }),
            "service `a`: the mount at `/x` has no source",
        ),
        (
            json!({ "shm_size": "1GB" }),
            "service `a`: `1GB` in `shm_size` is no amount",
        ),
        (
            json!({ "stop_grace_period": "1" }),
            "service `a`: `1` in `stop_grace_period` is no amount",
        ),
    ] {
        let error = render(&[service("a", fields)], &networks(), &Names).expect_err(message);
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn bridges_have_names_that_linux_takes() {
    let name = |text: &str| bridge_name(&text.parse().expect("a name"));
    assert_eq!(name("internal"), "fg-internal");
    assert_eq!(name("twelve-chars"), "fg-twelve-chars");
    let (one, two) = (name("thirteen-char"), name("thirteen-chars-and-more"));
    assert_ne!(one, two);
    for name in [one, two] {
        assert!(
            name.len() <= 15 && name.starts_with("fg-thirtee-"),
            "{name}"
        );
    }
}
