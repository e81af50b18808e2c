//! What travels for an update, and what taking it costs the host, beside `zstd -3`.
//!
//! The update is two versions of a layer: `--base FILE --new FILE` (such as the data of two versions of postgresql-15), else two made
//! up ones, of which a tenth differs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::measure::measure;
use super::{Bench, Row, print, size};
use crate::{process, workspace};

/// While it receives.
const AGENT_PEAK: u64 = 64 << 20;
/// Of the update of postgresql-15.
const UPDATE: u64 = 10 << 20;

pub(crate) fn run(bench: &Bench, root: &Path, layers: Option<(&PathBuf, &PathBuf)>) -> Result<()> {
    process::show(
        Command::new("cargo")
            .args([
                "build",
                "--release",
                "--package",
                "forge",
                "--example",
                "parcels",
            ])
            .current_dir(root),
    )?;
    let program = workspace::target()?.join("release/examples/parcels");
    let (base, new) = match layers {
        Some((base, new)) => (base.clone(), new.clone()),
        None => made_up(&bench.place)?,
    };
    let folder = bench.place.join("deploy");
    fs::create_dir_all(&folder)?;
    let output = Command::new(&program)
        .arg("pack")
        .args([&folder, &base, &new])
        .output()
        .context("packing")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr));
    }
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let packed: serde_json::Value = serde_json::from_str(line)?;
        let number = |name: &str| packed[name].as_u64().unwrap_or_default();
        let seconds = packed["seconds"].as_f64().unwrap_or(f64::NAN);
        println!(
            "parcel by {:<6} {:>10} of {:>10}   packed at {:.0} MB/s{}",
            packed["way"].as_str().unwrap_or_default(),
            size(number("bytes")),
            size(number("size")),
            number("size") as f64 / 1e6 / seconds,
            match packed["way"].as_str() {
                Some("patch") if number("bytes") > UPDATE => "   (over the 10 MiB of an update)",
                _ => "",
            }
        );
    }
    match Command::new("zstd")
        .args(["-3", "-q", "-c"])
        .arg(&new)
        .output()
    {
        Ok(output) if output.status.success() => {
            println!("zstd -3          {:>10}", size(output.stdout.len() as u64));
        }
        _ => println!("zstd -3: not measured, because the program zstd is not there"),
    }
    let rows: Vec<Row> = ["zstd", "patch"]
        .into_iter()
        .map(|way| {
            let outcome = measure(
                bench.runs,
                || Ok(()),
                || {
                    let mut command = Command::new(&program);
                    command.arg("receive").arg(&folder).arg(way);
                    command
                },
            );
            let mut row = Row::bare(&format!("a host takes it, by {way}"), outcome);
            row.peak_target = Some(AGENT_PEAK);
            row
        })
        .collect();
    print(&rows);
    Ok(())
}

/// Two files of 50 MB; compressible, and alike but for some places.
fn made_up(place: &Path) -> Result<(PathBuf, PathBuf)> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut base = Vec::new();
    while base.len() < 50_000_000 {
        base.extend(format!("{:x} {:x}\n", next() % 65_536, next()).into_bytes());
    }
    let mut new = base.clone();
    for chunk in new.chunks_mut(100_000) {
        for byte in chunk.iter_mut().take(10_000) {
            *byte = (next() % 64) as u8 + 32;
        }
    }
    let (old, young) = (place.join("base"), place.join("new"));
    fs::write(&old, base)?;
    fs::write(&young, new)?;
    Ok((old, young))
}
