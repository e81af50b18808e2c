//! The first push of `lab` to a bare host, beside what else carries images there.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use walkdir::WalkDir;

use super::deploy::{beside_floor, bytes, once};
use super::guest::{Guest, Laptop, ssh, ssh_words};
use super::link::{FAR, LOOPBACK, Link};
use super::{Bench, docker, size, time};
use crate::process;

const AGENT_PEAK: u64 = 64 << 20;
/// Nobody waits longer for a push of less than 200 MB.
const LONGEST: Duration = Duration::from_secs(900);
/// The beginning is a handshake, and no push yet.
const BEGIN: u64 = 256 << 10;

pub(crate) fn run(bench: &Bench, root: &Path) -> Result<()> {
    let laptop = Laptop::new(bench, root)?;
    let layout = bench.place.join("layout-lab");
    process::capture(laptop.here(&["build", "lab"]).arg("--out").arg(&layout))?;
    let (whole, zstd) = compressed(&layout)?;
    println!(
        "\nfirst push of `lab` over the link of 40 ms and 50 Mbit/s: {} in blobs, {} with `zstd -3`",
        size(whole),
        size(zstd)
    );
    let guest = Guest::bare()?;
    let mut table = Table { zstd, ours: None };

    let pushed = push(bench, &guest, &laptop)?;
    println!(
        "{:<44} {:>11} {:>10} {:>12} {:>10} {:>10}",
        "what", "sent", "time", "of the link", "of zstd", "peer/forge"
    );
    table.row("forge, parcels", pushed.sent, pushed.time);
    table.ours = Some(pushed.time);
    println!(
        "    the agent's largest memory meanwhile: {} (target: less than {})",
        size(pushed.peak),
        size(AGENT_PEAK)
    );
    table.peer(
        "bytes alone: ssh HOST 'cat >/dev/null'",
        raw(&guest, pushed.sent),
    );
    table.peer(
        "rsync of the layout, --compress=zstd",
        rsync(&guest, &layout),
    );
    let images = images(&layout)?;
    table.peer(
        "skopeo to a registry behind the link, zstd",
        skopeo(bench, &images),
    );
    table.peer(
        "docker save | zstd -3 | ssh HOST docker load",
        docker::save_and_load(&guest, &images),
    );
    Ok(())
}

struct Table {
    zstd: u64,
    ours: Option<Duration>,
}

impl Table {
    fn row(&self, name: &str, sent: u64, took: Duration) {
        let rate = sent as f64 / took.as_secs_f64() / FAR.rate.unwrap_or(f64::NAN);
        let ratio = self
            .ours
            .map(|ours| format!("{:.2}", took.as_secs_f64() / ours.as_secs_f64()));
        println!(
            "{name:<44} {:>11} {:>10} {:>11.0}% {:>10.2} {:>10}",
            size(sent),
            time(took),
            rate * 100.0,
            sent as f64 / self.zstd as f64,
            ratio.unwrap_or_default()
        );
    }

    fn peer(&self, name: &str, outcome: Result<(u64, Duration)>) {
        match outcome {
            Ok((sent, took)) => self.row(name, sent, took),
            Err(error) => println!("{name:<44} not measured: {error:#}"),
        }
    }
}

/// The blobs of a layout, and as large as `zstd -3` makes them, each alone.
fn compressed(layout: &Path) -> Result<(u64, u64)> {
    let (mut whole, mut small) = (0, 0);
    for entry in WalkDir::new(layout.join("blobs")) {
        let entry = entry?;
        if !entry.file_type().is_file() {
            continue;
        }
        let here = entry.metadata()?.len();
        whole += here;
        let zstd = process::capture(
            Command::new("zstd")
                .args(["-3", "-q", "-c"])
                .arg(entry.path()),
        )?;
        // Nobody sends more than the blob itself.
        small += here.min(zstd.len() as u64);
    }
    Ok((whole, small))
}

struct Pushed {
    sent: u64,
    time: Duration,
    peak: u64,
}

const PEAK: &str = "ls -l /proc/[0-9]*/exe 2>/dev/null | sed -n 's|.*\\(/proc/[0-9]*\\)/exe -> /var/lib/forge/.*|\\1|p' \
    | while read -r at; do grep VmHWM \"$at/status\"; done";

/// The largest resident set of any process of forge on the host, ever.
fn peak(guest: &Guest) -> u64 {
    let said = guest.ask(PEAK).unwrap_or_default();
    let kib = |line: &str| line.split_whitespace().nth(1)?.parse::<u64>().ok();
    said.lines().filter_map(kib).max().unwrap_or(0) << 10
}

/// Only to the end of the push: what follows takes minutes on an emulated host, and is none.
fn push(bench: &Bench, guest: &Guest, laptop: &Laptop<'_>) -> Result<Pushed> {
    let near = Link::open(LOOPBACK, guest.port)?;
    let (plan, said) = once(
        &near,
        laptop.forge(near.port, &["deploy", "--plan", "--json"])?,
    )?;
    let told: Value = serde_json::from_slice(&said)?;
    let planned = told["planned_bytes"]
        .as_u64()
        .with_context(|| format!("the plan says no bytes: {told}"))?;
    println!(
        "{:<44} {:>11} {:>10}   (over loopback, with the agent; planned then: {})",
        "forge deploy --plan, first contact",
        bytes(plan.passed.up),
        time(plan.time),
        size(planned)
    );
    let plan = |port: u16| laptop.forge(port, &["deploy", "--plan", "--json"]);
    beside_floor(
        bench,
        guest,
        "plan for a bare host that has the agent",
        ("forge deploy --plan", &plan),
    )?;
    let link = Link::open(FAR, guest.port)?;
    let mut deploy = laptop.forge(link.port, &["deploy", "--yes"])?;
    let mut child = deploy
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let begin = Instant::now();
    let mut largest = 0;
    let arrived = loop {
        if begin.elapsed() > LONGEST {
            break Err(anyhow::anyhow!("the push did not end"));
        }
        if link.arrived() >= planned {
            largest = largest.max(peak(guest));
            break Ok(());
        }
        if let Some(status) = child.try_wait()? {
            break Err(anyhow::anyhow!(
                "forge ended with {status} before it had sent all"
            ));
        }
        largest = largest.max(peak(guest));
        sleep(Duration::from_secs(3));
    };
    // The host is thrown away.
    child.kill().ok();
    child.wait().ok();
    arrived?;
    let time = link
        .time_between(BEGIN, planned)
        .context("the link has not seen it")?;
    Ok(Pushed {
        sent: planned - BEGIN,
        time,
        peak: largest,
    })
}

/// What the link and the host's sshd carry at most.
fn raw(guest: &Guest, count: u64) -> Result<(u64, Duration)> {
    let link = Link::open(FAR, guest.port)?;
    let mut child = ssh(link.port)?
        .arg("cat >/dev/null")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    let mut stdin = child.stdin.take().context("ssh has no input")?;
    let piece = vec![7; 64 << 10];
    let mut left = count;
    while left > 0 {
        let now = left.min(piece.len() as u64);
        stdin.write_all(&piece[..now as usize])?;
        left -= now;
    }
    drop(stdin);
    child.wait()?;
    let time = link.time_between(BEGIN, count).context("too few bytes")?;
    Ok((count - BEGIN, time))
}

fn rsync(guest: &Guest, layout: &Path) -> Result<(u64, Duration)> {
    if Command::new("rsync").arg("--version").output().is_err() {
        bail!("rsync is not installed here");
    }
    guest
        .ask("command -v rsync || { apt-get -qq update && apt-get -qq install --yes --no-install-recommends rsync; } >/dev/null 2>&1")
        .context("rsync cannot be installed on the host")?;
    let link = Link::open(FAR, guest.port)?;
    let shell = format!("ssh {}", ssh_words(link.port)?.join(" "));
    let mut command = Command::new("rsync");
    command
        .args(["--archive", "--compress", "--compress-choice=zstd"])
        .args(["--compress-level=3", "--rsh", &shell])
        .arg(format!("{}/", layout.display()))
        .arg("root@127.0.0.1:/var/tmp/layout/");
    let (ran, _) = once(&link, command)?;
    Ok((ran.passed.up, ran.time))
}

/// Every image of the layout, layers compressed on the way as skopeo does it. The registry runs here, not on the emulated host.
fn skopeo(bench: &Bench, images: &[PathBuf]) -> Result<(u64, Duration)> {
    let registry = Registry::start(&bench.place.join("registry"))?;
    let link = Link::open(FAR, registry.port)?;
    link.take();
    let begin = Instant::now();
    for (number, image) in images.iter().enumerate() {
        process::capture(
            Command::new("skopeo")
                .args([
                    "copy",
                    "--quiet",
                    "--insecure-policy",
                    "--dest-tls-verify=false",
                ])
                .args([
                    "--dest-compress-format",
                    "zstd",
                    "--dest-compress-level",
                    "3",
                ])
                .arg(format!("oci:{}:{number}", image.display()))
                .arg(format!("docker://127.0.0.1:{}/lab/{number}:1", link.port)),
        )?;
    }
    Ok((link.take().up, begin.elapsed()))
}

/// A layout of its own for each image of the bundle: skopeo finds images by the index, and there they are parts of the bundle.
fn images(layout: &Path) -> Result<Vec<PathBuf>> {
    let read = |path: &Path| -> Result<Value> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(serde_json::from_slice(&bytes)?)
    };
    let blob = |digest: &str| layout.join("blobs").join(digest.replace(':', "/"));
    let mut found = Vec::new();
    let mut queue = vec![read(&layout.join("index.json"))?];
    while let Some(index) = queue.pop() {
        for entry in index["manifests"].as_array().into_iter().flatten() {
            let Some(digest) = entry["digest"].as_str() else {
                continue;
            };
            let Ok(inner) = read(&blob(digest)) else {
                continue;
            };
            if inner["manifests"].is_array() {
                queue.push(inner);
            } else if inner["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json" {
                let number = found.len();
                let place = layout.with_file_name(format!("image-{number}"));
                fs::create_dir_all(&place)?;
                std::os::unix::fs::symlink(layout.join("blobs"), place.join("blobs"))?;
                fs::copy(layout.join("oci-layout"), place.join("oci-layout"))?;
                let mut named = entry.clone();
                named["annotations"] =
                    serde_json::json!({ "org.opencontainers.image.ref.name": number.to_string() });
                let index = serde_json::json!({ "schemaVersion": 2, "manifests": [named] });
                fs::write(place.join("index.json"), serde_json::to_vec(&index)?)?;
                found.push(place);
            }
        }
    }
    if found.is_empty() {
        bail!("the layout names no images");
    }
    Ok(found)
}

struct Registry {
    port: u16,
    child: Child,
}

impl Registry {
    fn start(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let config = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            folder.join("data").display()
        );
        fs::write(folder.join("config.yml"), config)?;
        let mut child = Command::new("docker-registry")
            .args(["serve", "config.yml"])
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("starting docker-registry")?;
        let stderr = child.stderr.take().context("docker-registry is mute")?;
        let mut lines = BufReader::new(stderr).lines();
        let listens = lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.contains("listening on"));
        if !listens {
            child.kill().ok();
            child.wait().ok();
            bail!("docker-registry does not start");
        }
        // Read on, so that it never waits for somebody to do so.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(Self { port, child })
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
