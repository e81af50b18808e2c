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
    let debug = debug(daemon);
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

/// The status of a server's answer.
fn curl_status(daemon: &Daemon, server: &str, arguments: &[&str]) -> String {
    let network = format!("container:{server}");
    let debug = debug(daemon);
    let mut words = vec![
        "run",
        "--rm",
        "--network",
        &network,
        "--entrypoint",
        "curl",
        &debug,
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
    ];
    words.extend(arguments);
    daemon.ask(&words)
}

/// What Docker knows the toolbox by.
fn debug(daemon: &Daemon) -> String {
    let digest = forge(daemon, &["--quiet", "image", "build", "debug"]);
    format!(
        "forge.invalid/debug:sha256-{}",
        digest.trim().strip_prefix("sha256:").unwrap()
    )
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
    let folder = tempfile::tempdir().unwrap();
    let file = readable(
        &folder,
        "alertmanager.yml",
        "route: { receiver: nobody }\nreceivers: [{ name: nobody }]\n",
    );
    let mount = format!("--volume={file}:/etc/alertmanager/alertmanager.yml:ro");
    // A volume without a name begins as the folder of the image, owner and all.
    for (image, port, path, data, command) in [
        (
            "prometheus-bookworm",
            9090,
            "/-/ready",
            "/prometheus",
            &[][..],
        ),
        (
            "alertmanager-bookworm",
            9093,
            "/-/ready",
            "/alertmanager",
            &[
                "--config.file=/etc/alertmanager/alertmanager.yml",
                "--storage.path=/alertmanager",
                // Alone on its loopback it has no address to tell others.
                "--cluster.listen-address=",
            ],
        ),
        ("node-exporter-bookworm", 9100, "/metrics", "/data", &[]),
    ] {
        let volume = format!("--volume={data}");
        serve(daemon, image, "none", &[&volume, &mount], command);
        let url = format!("http://127.0.0.1:{port}{path}");
        curl(daemon, image, &[&url], |page| !page.is_empty());
    }
    let version = forge(daemon, &["image", "run", "restic", "version"]);
    assert!(version.starts_with("restic "), "{version}");
}

/// A file that every user of a container may read.
fn readable(folder: &tempfile::TempDir, name: &str, text: &str) -> String {
    let mode = |mode| std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(folder.path(), mode(0o755)).unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, mode(0o444)).unwrap();
    path.display().to_string()
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
    // Over the socket, on which the superuser needs no password: the server of the first set-up listens there too, so until the role stays.
    let psql = |database: &str, sql: &str, wanted: &str| {
        let words = [
            "exec", server, "psql", "-U", "postgres", "-d", database, "-tAc", sql,
        ];
        daemon.ask_until(&words, |text| text.trim() == wanted)
    };
    daemon.ask_until(&["exec", server, "pg_isready", "-h", "127.0.0.1"], |_| true);
    psql("postgres", "SELECT 6 * 7", "42");
    psql(
        "postgres",
        "CREATE ROLE hermes LOGIN PASSWORD 'another-password'",
        "CREATE ROLE",
    );
    psql(
        "postgres",
        "CREATE DATABASE hermes OWNER hermes",
        "CREATE DATABASE",
    );

    let secrets = tempfile::tempdir().unwrap();
    let mounts = [
        ("token", "0123456789abcdef0123456789abcdef"),
        ("password", "another-password"),
    ]
    .map(|(name, value)| {
        let file = readable(&secrets, name, value);
        format!("--volume={file}:/run/secrets/{name}:ro")
    });
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
    // What is written is read again: by another request, and by the database itself.
    let token = "Authorization: Bearer 0123456789abcdef0123456789abcdef";
    let json = "Content-Type: application/json";
    let agents = "http://127.0.0.1:8000/v1/agents";
    let refused = curl_status(daemon, server, &[agents]);
    assert_eq!(refused, "401");
    let agent = r#"{"name":"worker-1","trust":"trusted"}"#;
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
    psql("hermes", "SELECT name FROM agents", "worker-1");
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
    let text = "{\n\tadmin off\n}\n:8080 {\n\trespond \"a page\"\n}\n";
    let file = readable(&folder, "Caddyfile", text);
    let mount = format!("--volume={file}:/etc/caddy/Caddyfile:ro");
    serve(
        daemon,
        "caddy-bookworm",
        "none",
        &[
            "--volume=/config",
            "--volume=/data",
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
