//! `cargo xtask bench`: what a person waits for, as medians of whole processes beside their targets. It reports and never
//! fails on a time: on a shared machine that would fail without a reason.

mod deploy;
mod docker;
mod guest;
mod images;
mod link;
mod measure;
mod parcels;
mod peers;
mod project;
mod push;

use std::cell::Cell;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use self::measure::{Measured, measure};
use crate::{process, workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Five runs of each, and fewer sizes
    #[arg(long)]
    quick: bool,
    /// Only what concerns building images, beside docker, buildah and mmdebstrap where they are installed (root, minutes)
    #[arg(long)]
    images: bool,
    /// Only what concerns deploying: unchanged, a changed line, the first push, an update; on a
    /// virtual machine
    #[arg(long, conflicts_with = "images")]
    deploy: bool,
    /// Only these parts of `--deploy`
    #[arg(long, requires = "deploy", value_enum)]
    part: Vec<deploy::Part>,
    /// The layer that the host has, for `--deploy`
    #[arg(long, requires_all = ["deploy", "new"])]
    base: Option<PathBuf>,
    /// The layer that it is to get
    #[arg(long, requires_all = ["deploy", "base"])]
    new: Option<PathBuf>,
    /// Measure this program, instead of one that is built for release
    #[arg(long, value_name = "PATH", requires = "deploy")]
    program: Option<PathBuf>,
    /// Runs of each; the median is of these
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
}

const SERVICES: [usize; 3] = [100, 300, 1000];
const PEAK_TARGET: u64 = 256 << 20;

#[derive(Debug)]
struct Row {
    name: String,
    outcome: Result<Measured>,
    target: Option<Duration>,
    /// Where the size is a promise, too.
    peak_target: Option<u64>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let runs = if args.quick {
        5
    } else {
        usize::from(args.runs)
    };
    let root = workspace::root()?;
    if args.program.is_none() {
        process::show(
            Command::new("cargo")
                .args(["build", "--release", "--package", "forge"])
                .current_dir(&root),
        )?;
    }
    let place = tempfile::tempdir().context("making a folder to measure in")?;
    let bench = Bench {
        forge: match &args.program {
            Some(program) => program.clone(),
            None => workspace::target()?.join("release").join("forge"),
        },
        runs,
        place: place.path().to_owned(),
        stores: Cell::new(0),
    };

    if args.deploy {
        let layers = args.base.as_ref().zip(args.new.as_ref());
        return deploy::run(&bench, &root, layers, &args.part);
    }
    if args.images {
        return images::run(&bench, &root);
    }

    let mut rows = vec![
        Row::new(
            "forge --help",
            10,
            bench.measure(|| bench.forge(&root, &["--help"])),
        ),
        Row::new(
            "forge build mainframe, warm",
            50,
            bench.warm(&root, "mainframe"),
        ),
        Row::new(
            "forge build mainframe, empty store",
            300,
            bench.cold(&root, "mainframe"),
        ),
    ];
    let sizes = SERVICES
        .into_iter()
        .filter(|services| !args.quick || *services != 300);
    for services in sizes {
        let folder = bench.place.join(format!("project-{services}"));
        let written = project::write(&root, &folder, services);
        for (host, how) in [
            (project::DIRECT, "in the host file"),
            (project::REPEATED, "by for_each"),
        ] {
            let outcome = match &written {
                Ok(()) => bench.cold(&folder, host),
                Err(error) => Err(anyhow::anyhow!("{error:#}")),
            };
            let mut row = Row::bare(&format!("{services} services {how}, empty store"), outcome);
            if services == 1000 {
                row.target = Some(Duration::from_secs(2));
                row.peak_target = Some(PEAK_TARGET);
            }
            rows.push(row);
        }
    }
    print(&rows);
    growth(&rows);
    bench.peers(&rows)?;

    let failed = rows.iter().filter(|row| row.outcome.is_err()).count();
    if failed > 0 {
        bail!("{failed} of {} could not be measured", rows.len());
    }
    Ok(())
}

impl Row {
    fn new(name: &str, target_ms: u64, outcome: Result<Measured>) -> Self {
        Self {
            target: Some(Duration::from_millis(target_ms)),
            ..Self::bare(name, outcome)
        }
    }

    fn bare(name: &str, outcome: Result<Measured>) -> Self {
        Self {
            name: name.to_owned(),
            outcome,
            target: None,
            peak_target: None,
        }
    }
}

#[derive(Debug)]
struct Bench {
    forge: PathBuf,
    runs: usize,
    place: PathBuf,
    /// How many stores have been made.
    stores: Cell<usize>,
}

impl Bench {
    /// With a home of its own: neither the user's cache nor their settings are part of what is measured.
    fn forge(&self, project: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.forge);
        command
            .args(arguments)
            .current_dir(project)
            .env("NO_COLOR", "1")
            .env("HOME", &self.place);
        for (name, _) in env::vars_os() {
            if ["FORGE_", "XDG_"]
                .iter()
                .any(|prefix| name.to_string_lossy().starts_with(prefix))
            {
                command.env_remove(name);
            }
        }
        command
    }

    fn build(&self, project: &Path, host: &str, store: &Path) -> Command {
        let mut command = self.forge(project, &["build", host, "--store"]);
        command.arg(store);
        command
    }

    fn measure(&self, command: impl Fn() -> Command) -> Result<Measured> {
        measure(self.runs, || Ok(()), command)
    }

    fn warm(&self, project: &Path, host: &str) -> Result<Measured> {
        let store = self.place.join("warm");
        self.measure(|| self.build(project, host, &store))
    }

    /// A new folder for each run, kept to the end: right after a store is deleted, file systems such as ext4 search long for
    /// inodes to reuse, and that would be measured instead.
    fn cold(&self, project: &Path, host: &str) -> Result<Measured> {
        let next = || {
            self.stores.set(self.stores.get() + 1);
            Ok(())
        };
        measure(self.runs, next, || {
            let store = self.place.join(format!("store-{}", self.stores.get()));
            self.build(project, host, &store)
        })
    }

    /// Beside 1,000 services; the slowest way of ours is the one that is compared.
    fn peers(&self, rows: &[Row]) -> Result<()> {
        let services = SERVICES[SERVICES.len() - 1];
        let ours = rows
            .iter()
            .filter(|row| row.target == Some(Duration::from_secs(2)));
        let Some(ours) = ours
            .filter_map(|row| row.outcome.as_ref().ok())
            .map(|measured| measured.median)
            .max()
        else {
            return Ok(());
        };
        let layout = self.place.join("layout");
        let project = self.place.join(format!("project-{services}"));
        let store = self.place.join("cold");
        process::capture(
            self.build(&project, project::DIRECT, &store)
                .arg("--out")
                .arg(&layout),
        )?;
        println!("\n{services} services, beside programs that do a part of it");
        println!(
            "{:<46} {:>10} {:>10} {:>12}",
            "peer", "median", "peak", "forge / peer"
        );
        for peer in peers::installed(&self.place, &layout, services)? {
            match self.measure(|| peer.command()) {
                Ok(theirs) => {
                    let ratio = ours.as_secs_f64() / theirs.median.as_secs_f64();
                    println!(
                        "{:<46} {:>10} {:>10} {ratio:>12.2}",
                        peer.name,
                        time(theirs.median),
                        size(theirs.peak)
                    );
                }
                Err(error) => println!("{:<46} {error:#}", peer.name),
            }
        }
        Ok(())
    }
}

fn print(rows: &[Row]) {
    let heads = [
        "min",
        "median",
        "max",
        "target",
        "of target",
        "peak",
        "of 256 MiB",
    ];
    print!("\n{:<46}", "whole process");
    println!(
        " {:>9} {:>9} {:>9} {:>9} {:>9} {:>10} {:>10}",
        heads[0], heads[1], heads[2], heads[3], heads[4], heads[5], heads[6]
    );
    for row in rows {
        match &row.outcome {
            Ok(measured) => {
                let target = row.target.map(time).unwrap_or_default();
                let share = |part: f64, whole: f64| format!("{:.2}", part / whole);
                let of_target = row
                    .target
                    .map(|target| share(measured.median.as_secs_f64(), target.as_secs_f64()));
                let of_peak = row
                    .peak_target
                    .map(|target| share(measured.peak as f64, target as f64));
                let line = format!(
                    "{:<46} {:>9} {:>9} {:>9} {target:>9} {:>9} {:>10} {:>10}",
                    row.name,
                    time(measured.min),
                    time(measured.median),
                    time(measured.max),
                    of_target.unwrap_or_default(),
                    size(measured.peak),
                    of_peak.unwrap_or_default(),
                );
                println!("{}", line.trim_end());
            }
            Err(error) => println!("{:<46} not measured: {error:#}", row.name),
        }
    }
}

/// Ten times the services should take ten times as long at most; less, where the fixed part still weighs.
fn growth(rows: &[Row]) {
    let median = |prefix: &str, how: &str| {
        let row = rows
            .iter()
            .find(|row| row.name.starts_with(prefix) && row.name.contains(how))?;
        row.outcome
            .as_ref()
            .ok()
            .map(|measured| measured.median.as_secs_f64())
    };
    for how in ["in the host file", "by for_each"] {
        if let (Some(small), Some(large)) = (median("100 ", how), median("1000 ", how)) {
            println!(
                "1000 against 100 services {how}: {:.1} times the time (linear: 10)",
                large / small
            );
        }
    }
}

fn time(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 10.0 {
        format!("{ms:.1} ms")
    } else {
        format!("{ms:.0} ms")
    }
}

fn size(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
