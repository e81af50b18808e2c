//! Every recipe of the catalogue in a real Docker: loaded, started as its own user on a read-only root, and asked what it is for.
//!
//! The servers have no network but their loopback; whoever asks them joins them there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

mod daemon;

use std::path::PathBuf;
use std::process::Command;

use daemon::Daemon;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// `forge` on the shipped project, with a store that outlives the test run: packages are fetched once.
fn forge(daemon: &Daemon, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forge"));
    command
        .current_dir(root())
        .env(
            "FORGE_STORE",
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("store"),
        )
        .env("DOCKER_HOST", daemon.host())
        .args(arguments);
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "forge {}:\n{}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Starts a server on a read-only root, with nothing but its loopback or that of another.
fn serve(daemon: &Daemon, image: &str, network: &str, options: &[&str], command: &[&str]) {
    let network = format!("--docker=--network={network}");
    let mut arguments = vec![
        "--quiet", "image", "run", "--detach", "--name", image, &network,
    ];
    arguments.extend([
        "--docker=--read-only",
        "--docker=--cap-drop=ALL",
        "--docker=--security-opt=no-new-privileges",
    ]);
    arguments.extend(options);
    arguments.push(image);
    arguments.extend(command);
    forge(daemon, &arguments);
}

/// Fetches a page of a server, from within its network.
fn curl(
    daemon: &Daemon,
    server: &str,
    arguments: &[&str],
    satisfied: impl Fn(&str) -> bool,
) -> String {
    let debug = format!(
        "forge.invalid/debug:sha256-{}",
        forge(daemon, &["--quiet", "image", "build", "debug"])
            .trim()
            .strip_prefix("sha256:")
            .unwrap()
    );
    let network = format!("container:{server}");
    let mut words = vec![
        "run",
        "--rm",
        "--network",
        &network,
        "--entrypoint",
        "curl",
        &debug,
        "-sS",
        "--fail-with-body",
    ];
    words.extend(arguments);
    daemon.ask_until(&words, satisfied)
}

#[test]
fn every_recipe_is_started_and_answers() {
    assert!(
        rustix::process::geteuid().is_root(),
        "a Docker daemon needs root"
    );
    let daemon = Daemon::start();
    let daemon = &daemon;
    let text = forge(
        daemon,
        &["image", "run", "debug", "busybox", "echo", "it runs"],
    );
    assert_eq!(text, "it runs\n");
    postgres_and_hermes(daemon);
    redis(daemon);
    caddy(daemon);
    for (image, port, path) in [
        ("prometheus-bookworm", 9090, "/-/ready"),
        ("alertmanager-bookworm", 9093, "/-/ready"),
        ("node-exporter-bookworm", 9100, "/metrics"),
    ] {
        let options: &[&str] = match image {
            "prometheus-bookworm" => &["--docker=--tmpfs=/prometheus:mode=1777"],
            "alertmanager-bookworm" => &["--docker=--tmpfs=/alertmanager:mode=1777"],
            _ => &[],
        };
        serve(daemon, image, "none", options, &[]);
        let url = format!("http://127.0.0.1:{port}{path}");
        curl(daemon, image, &[&url], |page| !page.is_empty());
    }
    let version = forge(daemon, &["image", "run", "restic", "version"]);
    assert!(version.starts_with("restic "), "{version}");
}

fn postgres_and_hermes(daemon: &Daemon) {
    let server = "postgres-bookworm";
    serve(
        daemon,
        server,
        "none",
        &[
            "--env=POSTGRES_PASSWORD=a-password",
            "--docker=--tmpfs=/var/lib/postgresql/data:mode=0700,uid=70,gid=70",
            "--docker=--tmpfs=/var/run/postgresql:mode=0775,uid=70,gid=70",
            "--docker=--tmpfs=/tmp:mode=1777",
        ],
        &[],
    );
    let psql = |sql: &str, wanted: &str| {
        let words = [
            "exec",
            server,
            "psql",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-tAc",
            sql,
        ];
        daemon.ask_until(&words, |text| text.trim() == wanted)
    };
    psql("SELECT 6 * 7", "42");
    psql(
        "CREATE ROLE hermes LOGIN PASSWORD 'another-password'",
        "CREATE ROLE",
    );
    psql("CREATE DATABASE hermes OWNER hermes", "CREATE DATABASE");

    let secrets = tempfile::tempdir().unwrap();
    let mut mounts = Vec::new();
    for (name, value) in [
        ("token", "0123456789abcdef0123456789abcdef"),
        ("password", "another-password"),
    ] {
        let path = secrets.path().join(name);
        std::fs::write(&path, value).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o444);
        std::fs::set_permissions(&path, mode).unwrap();
        mounts.push(format!(
            "--volume={}:/run/secrets/{name}:ro",
            path.display()
        ));
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(secrets.path(), mode).unwrap();
    serve(
        daemon,
        "hermes-api",
        "container:postgres-bookworm",
        &[
            "--env=DATABASE_HOST=127.0.0.1",
            "--env=DATABASE_NAME=hermes",
            "--env=DATABASE_USER=hermes",
            "--env=DATABASE_PASSWORD_FILE=/run/secrets/password",
            "--env=HERMES_TOKEN_FILE=/run/secrets/token",
            "--docker=--tmpfs=/tmp",
            &mounts[0],
            &mounts[1],
        ],
        &[],
    );
    curl(daemon, server, &["http://127.0.0.1:8000/health"], |page| {
        page.contains("ok")
    });
    // What is written is read again, by another request.
    let token = "Authorization: Bearer 0123456789abcdef0123456789abcdef";
    let agent = r#"{"name":"worker-1","tier":"trusted"}"#;
    let json = "Content-Type: application/json";
    let agents = "http://127.0.0.1:8000/agents";
    curl(
        daemon,
        server,
        &["-H", token, "-H", json, "-d", agent, agents],
        |page| page.contains("worker-1"),
    );
    let list = curl(daemon, server, &["-H", token, agents], |page| {
        !page.is_empty()
    });
    assert!(list.contains("worker-1"), "{list}");
    psql(
        "SELECT count(*) FROM pg_stat_user_tables WHERE n_tup_ins > 0",
        "0",
    );
    let metrics = curl(
        daemon,
        server,
        &["-i", "http://127.0.0.1:8000/metrics"],
        |page| page.contains("# TYPE"),
    );
    assert!(
        metrics
            .to_lowercase()
            .contains("content-type: text/plain; version=0.0.4"),
        "{metrics}"
    );
}

fn redis(daemon: &Daemon) {
    let server = "redis-bookworm";
    serve(
        daemon,
        server,
        "none",
        &[
            "--docker=--tmpfs=/data:mode=0700,uid=999,gid=1000",
            "--docker=--tmpfs=/tmp",
        ],
        &["redis-server", "--requirepass", "a-password"],
    );
    let refused = daemon.ask_until(&["exec", server, "redis-cli", "PING"], |text| {
        !text.is_empty()
    });
    assert!(refused.contains("NOAUTH"), "{refused}");
    let words = [
        "exec",
        "-e",
        "REDISCLI_AUTH=a-password",
        server,
        "redis-cli",
        "PING",
    ];
    assert_eq!(daemon.ask(&words).trim(), "PONG");
}

fn caddy(daemon: &Daemon) {
    let folder = tempfile::tempdir().unwrap();
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(folder.path(), mode(0o755)).unwrap();
    let file = folder.path().join("Caddyfile");
    std::fs::write(
        &file,
        "{\n\tadmin off\n}\n:8080 {\n\trespond \"a page\"\n}\n",
    )
    .unwrap();
    std::fs::set_permissions(&file, mode(0o644)).unwrap();
    let mount = format!("--volume={}:/etc/caddy/Caddyfile:ro", file.display());
    serve(
        daemon,
        "caddy-bookworm",
        "none",
        &[
            "--docker=--tmpfs=/config:mode=1777",
            "--docker=--tmpfs=/data:mode=1777",
            "--docker=--cap-add=NET_BIND_SERVICE",
            &mount,
        ],
        &[],
    );
    let page = curl(
        daemon,
        "caddy-bookworm",
        &["http://127.0.0.1:8080/"],
        |page| !page.is_empty(),
    );
    assert_eq!(page, "a page");
}
