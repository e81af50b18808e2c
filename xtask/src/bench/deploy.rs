//! `cargo xtask bench --deploy`: what a deploy to a virtual machine costs, over loopback and over a link of 40 ms and 50 Mbit/s.
//!
//! The machine is emulated, so what happens on it takes many times as long as on a real one; what is compared with a target is said
//! with it. Round trips are computed from two links that differ in length alone, and so free of the host's own time but for its noise.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde_json::Value;

use super::guest::{Guest, Laptop, ssh, ssh_words};
use super::link::{FAR, LONG, LOOPBACK, Link, Passed, Shape};
use super::{Bench, parcels, push, time};
use crate::{process, workspace};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Packing and taking the update of a layer
    Parcels,
    /// A deploy that has nothing to do
    Unchanged,
    /// One line of a configuration
    Change,
    /// The first push, to a bare host
    Push,
}

pub(crate) fn run(
    bench: &Bench,
    root: &Path,
    layers: Option<(&PathBuf, &PathBuf)>,
    only: &[Part],
) -> Result<()> {
    let wanted = |part: Part| only.is_empty() || only.contains(&part);
    let mut failed = Vec::new();
    let mut tell = |part: &str, outcome: Result<()>| {
        if let Err(error) = outcome {
            println!("{part}: not measured: {error:#}");
            failed.push(part.to_owned());
        }
    };
    if wanted(Part::Parcels) {
        tell("parcels", parcels::run(bench, root, layers));
    }
    if wanted(Part::Unchanged) || wanted(Part::Change) {
        match Guest::lab(bench, root) {
            Ok(guest) => {
                let laptop = Laptop::new(bench, root)?;
                tell("the first contact", settle(&guest, &laptop));
                if wanted(Part::Unchanged) {
                    tell("unchanged", unchanged(bench, &guest, &laptop));
                }
                if wanted(Part::Change) {
                    tell("one line", change(&guest, &laptop));
                }
                tell("what stays", resident(&guest));
            }
            Err(error) => tell("a host with `lab`", Err(error)),
        }
    }
    if wanted(Part::Push) {
        tell("first push", push::run(bench, root));
    }
    match failed.as_slice() {
        [] => Ok(()),
        failed => bail!("{} could not be measured", failed.join(", ")),
    }
}

/// One run: its time, and what passed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    pub(crate) time: Duration,
    pub(crate) passed: Passed,
}

pub(crate) fn once(link: &Link, mut command: Command) -> Result<(Ran, Vec<u8>)> {
    link.take();
    let begin = Instant::now();
    let said = process::capture(&mut command)?;
    let ran = Ran {
        time: begin.elapsed(),
        passed: link.take(),
    };
    Ok((ran, said))
}

/// The median by time, of runs that come after one that warms up.
pub(crate) fn median(
    runs: usize,
    link: &Link,
    command: impl Fn(u16) -> Result<Command>,
) -> Result<Ran> {
    once(link, command(link.port)?)?;
    let mut all = Vec::new();
    for _ in 0..runs {
        all.push(once(link, command(link.port)?)?.0);
    }
    all.sort_by_key(|ran| ran.time);
    all.get(all.len() / 2).copied().context("no runs")
}

/// The program of this build is on the host afterwards, and the host is as declared.
fn settle(guest: &Guest, laptop: &Laptop<'_>) -> Result<()> {
    let link = Link::open(LOOPBACK, guest.port)?;
    let deploy = laptop.forge(link.port, &["deploy", "--yes", "--json"])?;
    let (ran, said) = once(&link, deploy)?;
    let told: Value = serde_json::from_slice(&said)?;
    println!(
        "\nfirst contact with this program: {} up, outcome {}",
        bytes(ran.passed.up),
        told["outcome"]
    );
    Ok(())
}

/// Under emulation each run takes seconds.
fn few(bench: &Bench) -> usize {
    bench.runs.min(5)
}

fn unchanged(bench: &Bench, guest: &Guest, laptop: &Laptop<'_>) -> Result<()> {
    let deploy = |port| laptop.forge(port, &["deploy", "--yes", "--detailed-exitcode"]);
    // 7 is what is wanted, and what `capture` would call a failure.
    let nothing = |port: u16| -> Result<Command> {
        let inner = deploy(port)?;
        let mut outer = Command::new("sh");
        outer.args(["-c", "\"$@\"; test $? = 7", "sh"]);
        outer.arg(inner.get_program()).args(inner.get_args());
        if let Some(folder) = inner.get_current_dir() {
            outer.current_dir(folder);
        }
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => outer.env(name, value),
                None => outer.env_remove(name),
            };
        }
        Ok(outer)
    };
    let base = beside_floor(
        bench,
        guest,
        "unchanged deploy of `lab`",
        ("forge deploy, unchanged", &nothing),
    )?;
    match ansible(guest, laptop) {
        Ok(Some([near, far])) => println!(
            "{:<34} {:>10} {:>12} {:>11} {:>10} {:>10} {:>12.1}",
            "ansible-core, comparable checks",
            time(near.time),
            time(far.time),
            "",
            bytes(far.passed.up),
            bytes(far.passed.down),
            far.time.as_secs_f64() / base.as_secs_f64()
        ),
        Ok(None) => println!(
            "ansible-core: not measured, because there is none in target/ansible (`python3 -m venv target/ansible`, `target/ansible/bin/pip install ansible-core`)"
        ),
        Err(error) => println!("ansible-core: not measured: {error:#}"),
    }
    calls(guest, &nothing)
}

type Start<'a> = &'a dyn Fn(u16) -> Result<Command>;

/// A command beside `ssh HOST true`: on both links, and its round trips. Gives the floor over the far link.
pub(crate) fn beside_floor(
    bench: &Bench,
    guest: &Guest,
    what: &str,
    ours: (&str, Start<'_>),
) -> Result<Duration> {
    let floor = |port: u16| -> Result<Command> {
        let mut ssh = ssh(port)?;
        ssh.arg("true");
        Ok(ssh)
    };
    println!("\n{what}, whole process, medians of {}", few(bench));
    println!(
        "{:<34} {:>10} {:>12} {:>11} {:>10} {:>10} {:>12}",
        "what", "loopback", "40 ms link", "round trips", "up", "down", "of ssh true"
    );
    let mut base = None;
    for (name, command) in [("ssh HOST true", &floor as Start<'_>), ours] {
        let [near, far] = both(few(bench), guest, command)?;
        let trips = round_trips(few(bench).min(3), guest, near.time, command)?;
        let of = *base.get_or_insert(far.time);
        println!(
            "{name:<34} {:>10} {:>12} {trips:>11.1} {:>10} {:>10} {:>12.1}",
            time(near.time),
            time(far.time),
            bytes(far.passed.up),
            bytes(far.passed.down),
            far.time.as_secs_f64() / of.as_secs_f64()
        );
    }
    println!("target: 6 round trips and 200 ms of work, on a host that is not emulated");
    base.context("nothing was measured")
}

fn both(runs: usize, guest: &Guest, command: Start<'_>) -> Result<[Ran; 2]> {
    let on = |shape: Shape| -> Result<Ran> {
        let link = Link::open(shape, guest.port)?;
        median(runs, &link, command)
    };
    Ok([on(LOOPBACK)?, on(FAR)?])
}

/// How many times the length of the link the process waits.
fn round_trips(runs: usize, guest: &Guest, near: Duration, command: Start<'_>) -> Result<f64> {
    let link = Link::open(LONG, guest.port)?;
    let long = median(runs, &link, command)?;
    let more = long.time.saturating_sub(near);
    Ok(more.as_secs_f64() / LONG.round_trip.as_secs_f64())
}

/// Where a program is looked for first, where it is, and how its calls are called.
const WATCHED: [(&str, &str, &str); 2] = [
    ("/usr/local/bin/docker", "/usr/bin/docker", ""),
    (
        "/usr/local/lib/docker/cli-plugins/docker-compose",
        "/usr/libexec/docker/cli-plugins/docker-compose",
        "compose ",
    ),
];

/// Docker's program and Compose's are hidden by some that write down how long each call takes.
fn watch(guest: &Guest) -> Result<()> {
    for (place, program, name) in WATCHED {
        guest.ask(&format!(
            "mkdir -p $(dirname {place}); cat >{place} <<'END'\n#!/bin/sh\ns=$(date +%s%N)\n{program} \"$@\"\nr=$?\n\
             echo \"$s $(date +%s%N) {name}$*\" >>/run/bench-docker\nexit $r\nEND\nchmod 755 {place}; rm -f /run/bench-docker"
        ))?;
    }
    Ok(())
}

/// Begin, end (ns) and the words of each call since [`watch`].
fn watched(guest: &Guest) -> Result<Vec<(u64, u64, String)>> {
    let places = WATCHED.map(|(place, _, _)| place).join(" ");
    let said = guest.ask(&format!(
        "cat /run/bench-docker 2>/dev/null; rm -f /run/bench-docker {places}"
    ))?;
    let parse = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let mut number = || words.next().and_then(|word| word.parse().ok());
        let (begin, end) = (number()?, number()?);
        Some((begin, end, words.next().unwrap_or_default().to_owned()))
    };
    Ok(said.lines().filter_map(parse).collect())
}

/// How often the agent runs Docker's program, or Compose, for an unchanged host.
fn calls(guest: &Guest, nothing: Start<'_>) -> Result<()> {
    watch(guest)?;
    let link = Link::open(LOOPBACK, guest.port)?;
    once(&link, nothing(link.port)?)?;
    let calls = watched(guest)?;
    let sum: u64 = calls.iter().map(|(begin, end, _)| end - begin).sum();
    println!(
        "the agent calls `docker` {} times for it, {} together",
        calls.len(),
        time(Duration::from_nanos(sum))
    );
    for (begin, end, words) in &calls {
        let words: String = words.chars().take(60).collect();
        println!(
            "    {:>9}  {words}",
            time(Duration::from_nanos(end - begin))
        );
    }
    Ok(())
}

/// One line of the host's file, and one of a file that a container reads.
fn change(guest: &Guest, laptop: &Laptop<'_>) -> Result<()> {
    println!(
        "\na change of one line, over the link of 40 ms and 50 Mbit/s (targets: 2 s of our own time, 64 KiB)"
    );
    println!(
        "{:<34} {:>10} {:>10} {:>10} {:>16} {:>12}",
        "what", "whole", "up", "down", "docker compose", "the rest"
    );
    let edits = [
        (
            "a kernel parameter",
            "[modules.base]",
            "[modules.base]\nswappiness = 11",
        ),
        (
            "a page that caddy serves",
            "<h1>{{host.name}}</h1>",
            "<h1>{{host.name}}!</h1>",
        ),
    ];
    for (name, from, to) in edits {
        laptop.edit("hosts/lab.toml", from, to)?;
        watch(guest)?;
        let link = Link::open(FAR, guest.port)?;
        let deploy = laptop.forge(link.port, &["deploy", "--yes", "--json"])?;
        let outcome = once(&link, deploy);
        let calls = watched(guest)?;
        let (ran, said) = outcome?;
        let told: Value = serde_json::from_slice(&said)?;
        if told["outcome"] != "done" {
            bail!("{name}: {told}");
        }
        let compose = calls.iter().filter(|(_, _, words)| words.contains(" up "));
        let compose = Duration::from_nanos(compose.map(|(begin, end, _)| end - begin).sum());
        println!(
            "{name:<34} {:>10} {:>10} {:>10} {:>16} {:>12}",
            time(ran.time),
            bytes(ran.passed.up),
            bytes(ran.passed.down),
            time(compose),
            time(ran.time.saturating_sub(compose))
        );
        println!(
            "{:<34} docker was called {} times, {} changes of direction",
            "",
            calls.len(),
            ran.passed.turns
        );
    }
    Ok(())
}

/// Nothing of forge may be left between deploys.
fn resident(guest: &Guest) -> Result<()> {
    let said =
        guest.ask("ls -l /proc/[0-9]*/exe 2>/dev/null | grep -e '-> /var/lib/forge/' || true")?;
    match said.trim() {
        "" => println!("\nafter the deploys no process of forge is on the host"),
        some => println!("\nafter the deploys there are still:\n{some}"),
    }
    Ok(())
}

/// Two runs of each are enough for something that takes this long: the second counts.
fn ansible(guest: &Guest, laptop: &Laptop<'_>) -> Result<Option<[Ran; 2]>> {
    let program = workspace::root()?.join("target/ansible/bin/ansible-playbook");
    if !program.exists() {
        return Ok(None);
    }
    let play = laptop.project.join("bench-play.yml");
    std::fs::write(&play, PLAY)?;
    let command = |port: u16| -> Result<Command> {
        let mut ansible = Command::new(&program);
        ansible
            .current_dir(&laptop.project)
            .env("ANSIBLE_HOST_KEY_CHECKING", "False")
            .env("ANSIBLE_PIPELINING", "True")
            // A connection that it keeps is one over this link, and no other.
            .env(
                "ANSIBLE_SSH_CONTROL_PATH_DIR",
                std::env::temp_dir().join(format!("forge-bench-{port}")),
            )
            .args(["--inventory", "127.0.0.1,", "--user", "root"])
            .args(["--ssh-common-args", &ssh_words(port)?.join(" ")])
            .arg(&play);
        Ok(ansible)
    };
    both(1, guest, &command).map(Some)
}

/// What an unchanged deploy asks of the host, in Ansible's words.
const PLAY: &str = include_str!("play.yml");

pub(crate) fn bytes(bytes: u64) -> String {
    if bytes < 10 << 20 {
        format!("{:.1} KiB", bytes as f64 / 1024.0)
    } else {
        super::size(bytes)
    }
}
