//! The programs that read what `mainframe` and `lab` render accept it: each by its own checker, or by being started with it.
//!
//! A program that is not installed fails its test and says what to install; `cargo xtask test` installs them all.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

mod host;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use forge::pure::files::firewall::Firewall;
use host::{Rendered, run, tool};

#[test]
fn docker_compose_reads_compose_yaml() {
    let compose = std::env::var("FORGE_TEST_COMPOSE")
        .unwrap_or_else(|_| format!("{}/target/tools/docker-compose", env!("CARGO_MANIFEST_DIR")));
    assert!(
        Path::new(&compose).is_file(),
        "no Docker Compose at {compose}: `cargo xtask test` fetches it"
    );
    for name in ["mainframe", "minimal", "dr", "lab"] {
        let host = Rendered::of(name);
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("compose.yaml");
        fs::write(&file, host.file("forge/compose.yaml")).unwrap();
        let output = run(Command::new(&compose)
            .arg("-f")
            .arg(&file)
            .args(["config", "--format", "json"]));
        let read: serde_json::Value = serde_json::from_str(&output).unwrap();
        let services = read["services"].as_object().unwrap();
        assert_eq!(services.len(), host.system.services.len());
        for (service, read) in services {
            assert!(
                read["image"]
                    .as_str()
                    .unwrap()
                    .starts_with("forge.invalid/"),
                "{service}"
            );
        }
        assert!(read.get("version").is_none());
    }
}

#[test]
fn caddy_validates_the_caddyfile() {
    let caddy = tool("caddy", "caddy");
    for name in ["mainframe", "minimal", "lab"] {
        let host = Rendered::of(name);
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("Caddyfile");
        fs::write(&file, host.file("caddy/caddyfile")).unwrap();
        let validate = |file: &Path| {
            Command::new(&caddy)
                .args(["validate", "--adapter", "caddyfile", "--config"])
                .arg(file)
                .env("HOME", temp.path())
                .env("XDG_DATA_HOME", temp.path())
                .env("XDG_CONFIG_HOME", temp.path())
                .output()
                .unwrap()
        };
        let output = validate(&file);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        // The check can fail.
        fs::write(
            &file,
            host.file("caddy/caddyfile")
                .replacen("reverse_proxy", "reverse_prosy", 1)
                + "}",
        )
        .unwrap();
        assert!(!validate(&file).status.success());
    }
}

#[test]
fn promtool_checks_prometheus_and_its_rules() {
    let promtool = tool("promtool", "prometheus");
    for (name, targets) in [
        (
            "mainframe",
            &[
                "caddy:2019",
                "cadvisor:8080",
                "grafana:3000",
                "headscale:9090",
                "hermes-api:8000",
                "loki:3100",
                "node-exporter:9100",
                "prometheus:9090",
                "promtail:9080",
            ][..],
        ),
        (
            "lab",
            &[
                "alertmanager:9093",
                "caddy:2019",
                "hermes-api:8000",
                "node-exporter:9100",
                "prometheus:9090",
            ],
        ),
    ] {
        promtool_checks(&promtool, &Rendered::of(name), targets);
    }
}

fn promtool_checks(promtool: &Path, host: &Rendered, targets: &[&str]) {
    let temp = tempfile::tempdir().unwrap();
    let root = host.container_files("prometheus", temp.path());
    let config = host.mounted_at("prometheus", "prometheus/prometheus.yml");
    let config = root.join(config.trim_start_matches('/'));
    let output = run(Command::new(promtool)
        .args(["check", "config"])
        .arg(&config));
    assert!(output.contains("SUCCESS"), "{output}");
    let rules = root.join(
        host.mounted_at("prometheus", "prometheus/rules.yml")
            .trim_start_matches('/'),
    );
    let output = run(Command::new(promtool).args(["check", "rules"]).arg(&rules));
    assert!(output.contains("SUCCESS"), "{output}");
    let scrapes = fs::read_to_string(&config).unwrap();
    assert_eq!(scrapes.matches("job_name").count(), targets.len());
    for target in targets {
        let target = format!("[\"{target}\"]");
        assert!(scrapes.contains(&target), "{target} is not scraped");
    }
}

#[test]
fn amtool_checks_alertmanager() {
    let amtool = tool("amtool", "prometheus-alertmanager");
    let check = |host: &Rendered| {
        let temp = tempfile::tempdir().unwrap();
        let root = host.container_files("alertmanager", temp.path());
        let config = host.mounted_at("alertmanager", "alertmanager/alertmanager.yml");
        let output = Command::new(&amtool)
            .arg("check-config")
            .arg(root.join(config.trim_start_matches('/')))
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    };
    let (good, said) = check(&Rendered::of("lab"));
    assert!(good, "{said}");
    // With somebody to tell.
    let with = |options: &str| {
        let file =
            format!("extends = \"mainframe\"\n[modules.alertmanager]\nenable = true\n{options}");
        Rendered::with(&[("hosts/told.toml", &file)], "told")
    };
    let inside = with("image = \"alertmanager-bookworm\"\ntoken_files = false\n");
    let (good, said) = check(&inside);
    assert!(good, "{said}");
    let text = inside.file("alertmanager/alertmanager.yml");
    assert!(text.contains("secret-telegram_bot_token"), "{text}");
    let beside = with("");
    let text = beside.file("alertmanager/alertmanager.yml");
    assert!(!text.contains("secret-"), "{text}");
    // What the option is for; and the check can fail.
    let version = run(Command::new(&amtool).arg("--version"));
    if version.contains("version 0.25") {
        let (good, said) = check(&beside);
        assert!(!good && said.contains("bot_token_file"), "{said}");
    }
}

#[test]
fn sshd_tests_its_drop_in() {
    let sshd = tool("sshd", "openssh-server");
    let keygen = tool("ssh-keygen", "openssh-client");
    // Only root's sshd wants its folder for privilege separation.
    let _ = fs::create_dir_all("/run/sshd");
    for name in ["mainframe", "minimal"] {
        let host = Rendered::of(name);
        let temp = tempfile::tempdir().unwrap();
        let key = temp.path().join("key");
        run(Command::new(&keygen)
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key));
        let file = temp.path().join("sshd_config");
        fs::write(&file, host.file("ssh/sshd")).unwrap();
        run(Command::new(&sshd)
            .arg("-t")
            .arg("-f")
            .arg(&file)
            .arg("-h")
            .arg(&key));
        let effective = run(Command::new(&sshd)
            .arg("-T")
            .arg("-f")
            .arg(&file)
            .arg("-h")
            .arg(&key));
        assert!(
            effective.contains("passwordauthentication no"),
            "{effective}"
        );
    }
}

#[test]
fn visudo_checks_the_sudoers() {
    let visudo = tool("visudo", "sudo");
    let host = Rendered::of("mainframe");
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("sudoers");
    fs::write(&file, host.file("users/sudoers")).unwrap();
    run(Command::new(visudo).arg("-c").arg("-f").arg(&file));
}

#[test]
fn systemd_verifies_the_units() {
    let analyze = tool("systemd-analyze", "systemd");
    let host = Rendered::of("mainframe");
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    host.managed_files(root);
    let units = root.join("units");
    fs::create_dir(&units).unwrap();
    let mut paths = Vec::new();
    for (name, text) in host.units() {
        // systemd looks whether the programs are there; they are below the temporary root.
        let text = text.replace("/etc/forge/", &format!("{}/etc/forge/", root.display()));
        let path = units.join(name);
        fs::write(&path, text).unwrap();
        paths.push(path);
    }
    // Units of other packages, which units of ours may require.
    for name in ["docker.service", "ssh.service", "ssh.socket"] {
        let text = if name.ends_with("socket") {
            "[Socket]\nListenStream=22\n"
        } else {
            "[Service]\nExecStart=/bin/true\n"
        };
        fs::write(units.join(name), text).unwrap();
    }
    assert!(paths.len() > 10, "{paths:?}");
    let verify = || {
        Command::new(&analyze)
            .args(["verify", "--man=no", "--recursive-errors=no"])
            .args(&paths)
            .env("SYSTEMD_UNIT_PATH", format!("{}:", units.display()))
            .output()
            .unwrap()
    };
    let output = verify();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
    // The check can fail.
    let first = fs::read_to_string(&paths[0]).unwrap();
    fs::write(
        &paths[0],
        format!("{first}\n[Service]\nTypo=1\nExecStart=relative\n"),
    )
    .unwrap();
    assert!(!String::from_utf8_lossy(&verify().stderr).is_empty());
}

#[test]
fn systemd_understands_the_calendars() {
    let analyze = tool("systemd-analyze", "systemd");
    let host = Rendered::of("mainframe");
    for fact in host.system.facts.of("backup") {
        run(Command::new(&analyze)
            .arg("calendar")
            .arg(fact.value.str("schedule").unwrap()));
    }
}

#[test]
fn ufw_takes_the_rules() {
    let ufw = tool("ufw", "ufw");
    let host = Rendered::of("mainframe");
    let services: Vec<_> = host.system.services.values().cloned().collect();
    let firewall = Firewall::new(&host.system.firewall, &services).unwrap();
    let commands = firewall.ufw_commands();
    assert!(commands.len() >= 5, "{commands:?}");
    let mut said = String::new();
    for command in commands {
        assert_eq!(command[0], "ufw");
        said.push_str(&run(Command::new(&ufw)
            .arg("--dry-run")
            .args(&command[1..])));
    }
    for port in ["22", "80", "443", "8080", "3478"] {
        assert!(
            said.contains(&format!("--dport {port}")),
            "{port} is not opened:\n{said}"
        );
    }
}

#[test]
fn shells_and_shellcheck_read_the_scripts() {
    let shellcheck = tool("shellcheck", "shellcheck");
    let host = Rendered::of("mainframe");
    let temp = tempfile::tempdir().unwrap();
    let mut scripts = 0;
    for (name, text) in host.texts() {
        if !text.starts_with("#!") && !name.ends_with(".sh") {
            continue;
        }
        scripts += 1;
        let file = temp.path().join("script");
        fs::write(&file, &text).unwrap();
        let shell = if text.starts_with("#!/bin/bash") || text.starts_with("#!/usr/bin/env bash") {
            "bash"
        } else {
            "sh"
        };
        run(Command::new(shell).arg("-n").arg(&file));
        run(Command::new(&shellcheck)
            .args(["-s", shell, "-S", "warning"])
            .arg(&file));
    }
    assert!(scripts > 10, "{scripts}");
}

#[test]
fn redis_starts_with_its_config_and_wants_its_password() {
    let redis = tool("redis-server", "redis-server");
    let client = tool("redis-cli", "redis-tools");
    let host = Rendered::of("mainframe");
    let temp = tempfile::tempdir().unwrap();
    let root = host.container_files("redis", temp.path());
    let config = root.join(
        host.mounted_at("redis", "redis/redis.conf")
            .trim_start_matches('/'),
    );
    let socket = temp.path().join("socket");
    let mut server = Command::new(redis)
        .arg(&config)
        .args(["--port", "0", "--daemonize", "no", "--unixsocket"])
        .arg(&socket)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let ask = |password: Option<&str>| {
        let mut command = Command::new(&client);
        command.arg("-s").arg(&socket).arg("ping");
        if let Some(password) = password {
            command.env("REDISCLI_AUTH", password);
        }
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let deadline = Instant::now() + Duration::from_secs(30);
    while ask(None).is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    let (without, with) = (ask(None), ask(Some("secret-redis_password")));
    server.kill().unwrap();
    server.wait().unwrap();
    assert!(without.contains("NOAUTH"), "{without}");
    assert_eq!(with.trim(), "PONG");
}

#[test]
fn postgres_starts_with_its_config_and_understands_pg_hba() {
    let bin = host::postgres_bin();
    let host = Rendered::of("mainframe");
    let temp = tempfile::tempdir().unwrap();
    let root = host.container_files("postgres", temp.path());
    let data = temp.path().join("data");
    let sockets = temp.path().join("sockets");
    fs::create_dir(&sockets).unwrap();
    host::give_away(temp.path());
    let own = |program: &str| host::as_nobody(&bin.join(program));
    run(own("initdb")
        .args(["-U", "postgres", "-A", "trust", "--no-sync", "-D"])
        .arg(&data));
    let config = root.join(
        host.mounted_at("postgres", "postgres/postgresql.conf")
            .trim_start_matches('/'),
    );
    let value = run(own("postgres")
        .arg("-D")
        .arg(&data)
        .arg("-c")
        .arg(format!("config_file={}", config.display()))
        .args(["-C", "max_connections"]));
    assert!(value.trim().parse::<u32>().unwrap() > 10, "{value}");
    let options = format!(
        "-c config_file={} -c data_directory={} -c listen_addresses= -c unix_socket_directories={}",
        config.display(),
        data.display(),
        sockets.display()
    );
    run(own("pg_ctl")
        .args(["start", "-w", "-s", "-t", "60", "-o", &options, "-l"])
        .arg(temp.path().join("log"))
        .arg("-D")
        .arg(&data));
    run(own("pg_ctl")
        .args(["stop", "-m", "immediate", "-s", "-D"])
        .arg(&data));
    // It starts only if it understands every rule, which is seen by giving it one that it does not.
    let rules = root.join(
        host.mounted_at("postgres", "postgres/pg_hba.conf")
            .trim_start_matches('/'),
    );
    let text = fs::read_to_string(&rules).unwrap();
    assert!(
        text.lines().any(|line| line.contains("scram-sha-256")),
        "{text}"
    );
    fs::write(&rules, format!("{text}nonsense\n")).unwrap();
    let broken = own("pg_ctl")
        .args(["start", "-w", "-s", "-t", "60", "-o", &options, "-l"])
        .arg(temp.path().join("broken.log"))
        .arg("-D")
        .arg(&data)
        .output()
        .unwrap();
    assert!(!broken.status.success(), "a broken pg_hba.conf was taken");
}
