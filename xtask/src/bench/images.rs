//! `cargo xtask bench --images`: what building an image costs, beside the programs that people build the same set with.
//!
//! The set is {postgresql-15, redis-server, python3} from Debian 12. The peers install the same packages with all that belongs to them,
//! so their images hold more; the time of making their base image is not counted.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::measure::{Measured, measure};
use super::{Bench, Row, print, size, time};
use crate::process;

const SET: [&str; 3] = ["postgresql-15", "redis-server", "python3"];
const PEAK_TARGET: u64 = 256 << 20;
/// Of the fastest peer.
const FIRST_BUILD: f64 = 4.0;
const ONE_PACKAGE: f64 = 15.0;

pub(crate) fn run(bench: &Bench, root: &Path) -> Result<()> {
    let set = Set::lock(bench, root)?;
    let first = set.nothing_unpacked();
    let updated = set.one_package_unknown();
    let mut rows = vec![
        bounded("image build, from cached .debs", first, 0),
        bounded("image build, one package unknown", updated, 0),
        bounded(
            "image build, nothing to do",
            bench.measure(|| set.build(&set.full)),
            50,
        ),
        Row::new(
            "lock of three recipes, cached index, offline",
            1000,
            set.lock_again(),
        ),
        Row::bare("fetch into an empty store", set.fetch()),
    ];
    for row in &mut rows {
        row.peak_target = Some(PEAK_TARGET);
    }
    print(&rows);
    beside_peers(bench, &rows)
}

fn bounded(name: &str, outcome: Result<Measured>, target_ms: u64) -> Row {
    match target_ms {
        0 => Row::bare(name, outcome),
        target => Row::new(name, target, outcome),
    }
}

struct Set<'a> {
    bench: &'a Bench,
    project: PathBuf,
    /// A store with the packages alone.
    packages: PathBuf,
    /// A store with everything.
    full: PathBuf,
    copies: Cell<usize>,
}

impl<'a> Set<'a> {
    fn lock(bench: &'a Bench, root: &Path) -> Result<Self> {
        let project = bench.place.join("set");
        let write = |path: PathBuf, text: &str| -> Result<()> {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
        };
        fs::create_dir_all(&project)?;
        fs::copy(root.join("forge.toml"), project.join("forge.toml"))?;
        let recipe = |packages: &[&str]| {
            format!(
                "[image]\nsummary = \"A set to measure\"\narch = [\"amd64\"]\n\n[debian]\nsuites = [\"bookworm\"]\npackages = {packages:?}\n"
            )
        };
        let mut all = SET.to_vec();
        all.push("dash");
        write(project.join("images/set/image.toml"), &recipe(&all))?;
        for name in SET {
            write(
                project.join(format!("images/{name}/image.toml")),
                &recipe(&[name]),
            )?;
        }
        let set = Self {
            bench,
            project,
            packages: bench.place.join("packages"),
            full: bench.place.join("full"),
            copies: Cell::new(0),
        };
        process::capture(&mut set.forge(&["lock"], &set.full))?;
        process::capture(&mut set.build(&set.full))?;
        process::capture(&mut set.forge(&["fetch", "--image", "set"], &set.packages))?;
        Ok(set)
    }

    fn forge(&self, arguments: &[&str], store: &Path) -> Command {
        let mut command = self.bench.forge(&self.project, arguments);
        command.arg("--store").arg(store);
        command
    }

    fn build(&self, store: &Path) -> Command {
        self.forge(&["image", "build", "set"], store)
    }

    fn next(&self) -> PathBuf {
        self.copies.set(self.copies.get() + 1);
        self.here()
    }

    fn here(&self) -> PathBuf {
        self.bench.place.join(format!("copy-{}", self.copies.get()))
    }

    /// A store whose blobs are links to those of another: a store replaces files, and never writes into one.
    fn copy(&self, store: &Path) -> Result<()> {
        let copy = self.next();
        process::capture(Command::new("cp").arg("-al").arg(store).arg(copy)).map(drop)
    }

    fn nothing_unpacked(&self) -> Result<Measured> {
        measure(
            self.bench.runs,
            || self.copy(&self.packages),
            || self.build(&self.here()),
        )
    }

    /// Of a store that has everything, the image and the layer of the largest package are taken away: what an update of it leaves.
    fn one_package_unknown(&self) -> Result<Measured> {
        let shown =
            process::text(&mut self.forge(&["image", "show", "set", "--json"], &self.full))?;
        let shown: serde_json::Value = serde_json::from_str(&shown)?;
        let layers = shown["layers"].as_array().context("no layers")?;
        let layer = layers
            .iter()
            .find(|layer| {
                let by = layer["created_by"].as_str().unwrap_or_default();
                by.contains("postgresql-15 ")
            })
            .context("no layer of postgresql-15")?;
        let gone = [&layer["digest"], &shown["digest"]];
        let blob = |digest: &serde_json::Value| -> Result<String> {
            let digest = digest.as_str().context("no digest")?;
            Ok(format!("blobs/{}", digest.replace(':', "/")))
        };
        let gone = gone.into_iter().map(blob).collect::<Result<Vec<_>>>()?;
        measure(
            self.bench.runs,
            || {
                self.copy(&self.full)?;
                for path in &gone {
                    fs::remove_file(self.here().join(path))?;
                }
                Ok(())
            },
            || self.build(&self.here()),
        )
    }

    /// The layers are known, as they are to whoever has built before: what is measured is the index, the closures and the digests.
    fn lock_again(&self) -> Result<Measured> {
        let lock = self.project.join("forge.lock");
        let text = fs::read_to_string(&lock)?;
        let measured = measure(
            self.bench.runs,
            || Ok(fs::write(&lock, "version = 1\n")?),
            || {
                let mut arguments = vec!["lock", "--offline"];
                arguments.extend(SET);
                self.forge(&arguments, &self.full)
            },
        );
        fs::write(&lock, text)?;
        measured
    }

    fn fetch(&self) -> Result<Measured> {
        measure(
            self.bench.runs.min(5),
            || {
                self.next();
                Ok(())
            },
            || self.forge(&["fetch", "--image", "set"], &self.here()),
        )
    }
}

/// A program that makes an image of the set, and what must be there before.
struct Peer {
    name: &'static str,
    program: &'static str,
    script: String,
    before: String,
}

fn peers(place: &Path) -> Vec<Peer> {
    let packages = SET.join(" ");
    let at = place.display();
    let install = format!(
        "apt-get update -qq && apt-get install -y -qq --no-install-recommends {packages} >/dev/null"
    );
    let base = format!(
        "test -f {at}/base.tar || mmdebstrap --quiet --variant=minbase bookworm {at}/base.tar\n\
         mkdir -p {at}/context && cp {at}/base.tar {at}/context/"
    );
    vec![
        Peer {
            name: "docker build, base ready-made",
            program: "dockerd",
            before: format!(
                "{base}\ndocker info >/dev/null || exit 1\n\
                 docker image inspect base >/dev/null 2>&1 || docker import {at}/base.tar base >/dev/null\n\
                 printf 'FROM base\\nRUN {install}\\n' > {at}/context/Dockerfile"
            ),
            script: format!(
                "cd {at}/context && DOCKER_BUILDKIT=0 docker build --quiet --no-cache --network=host -f Dockerfile . >/dev/null"
            ),
        },
        Peer {
            name: "buildah bud --isolation chroot, base ready-made",
            program: "buildah",
            before: format!(
                "{base}\nprintf 'FROM scratch\\nADD base.tar /\\n' > {at}/context/Base\n\
                 printf 'FROM localhost/base\\nRUN {install}\\n' > {at}/context/Containerfile\n\
                 cd {at}/context && buildah images localhost/base >/dev/null 2>&1 || buildah bud --quiet -f Base -t localhost/base . >/dev/null"
            ),
            script: format!(
                "cd {at}/context && buildah bud --quiet --isolation chroot --no-cache -f Containerfile . >/dev/null"
            ),
        },
        Peer {
            name: "mmdebstrap + umoci",
            program: "mmdebstrap",
            before: String::new(),
            script: format!(
                "cd {at} && rm -rf oci bundle && mmdebstrap --quiet --variant=minbase --include={} bookworm root.tar \
                 && umoci init --layout oci && umoci new --image oci:set && umoci unpack --image oci:set bundle >/dev/null \
                 && tar -C bundle/rootfs -xf root.tar && umoci repack --image oci:set bundle >/dev/null",
                SET.join(",")
            ),
        },
    ]
}

fn beside_peers(bench: &Bench, rows: &[Row]) -> Result<()> {
    let median = |row: usize| rows.get(row)?.outcome.as_ref().ok().map(|m| m.median);
    let (Some(first), Some(updated)) = (median(0), median(1)) else {
        bail!("forge's own builds were not measured");
    };
    println!("\nthe same set by other programs");
    println!(
        "{:<46} {:>10} {:>10} {:>14} {:>14}",
        "peer", "median", "peak", "/ first build", "/ one package"
    );
    let sh = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-euc", script]);
        command
    };
    let mut fastest: Option<Duration> = None;
    for peer in peers(&bench.place) {
        if !process::succeeds(&mut sh(&format!("command -v {}", peer.program))) {
            println!("{:<46} not installed", peer.name);
            continue;
        }
        let measured = process::capture(&mut sh(&peer.before))
            .and_then(|_| measure(bench.runs.min(3), || Ok(()), || sh(&peer.script)));
        match measured {
            Ok(theirs) => {
                let ratio = |ours: Duration| theirs.median.as_secs_f64() / ours.as_secs_f64();
                println!(
                    "{:<46} {:>10} {:>10} {:>14.1} {:>14.1}",
                    peer.name,
                    time(theirs.median),
                    size(theirs.peak),
                    ratio(first),
                    ratio(updated)
                );
                fastest = Some(fastest.map_or(theirs.median, |known| known.min(theirs.median)));
            }
            Err(error) => {
                // The script itself says nothing to a reader; its last words do.
                let said = format!("{error:#}");
                let why = said.lines().last().unwrap_or_default().trim();
                println!("{:<46} not measured: {why}", peer.name);
            }
        }
    }
    if let Some(fastest) = fastest {
        let ratio = |ours: Duration| fastest.as_secs_f64() / ours.as_secs_f64();
        println!(
            "against the fastest: first build {:.1} times (target {FIRST_BUILD}), one package {:.1} times (target {ONE_PACKAGE})",
            ratio(first),
            ratio(updated)
        );
    }
    Ok(())
}
