//! Packages, and the layers that are made of them.

use crate::pure::images::layer::{Options, from_deb};
use crate::pure::images::rules::Prune;
use crate::pure::name::BlobDigest;
use crate::pure::pins::PackagePin;
use std::collections::BTreeSet;
use std::io::Cursor;

/// The bytes are a Debian package.
pub fn deb(bytes: &[u8]) -> Result<String, String> {
    let pin = PackagePin {
        name: "demo".to_owned(),
        version: "1".to_owned(),
        arch: "all".to_owned(),
        suite: String::new(),
        path: String::new(),
        size: bytes.len() as u64,
        digest: BlobDigest::of(bytes),
    };
    let options = Options {
        prune: &Prune::default(),
        allowed_special: &BTreeSet::new(),
        memory: 16 << 20,
    };
    let mut spool = Cursor::new(Vec::new());
    let unpacked = match from_deb(bytes, &pin, options, &mut spool) {
        Ok(unpacked) => unpacked,
        Err(error) => return Ok(error.to_string()),
    };
    let mut layer = Vec::new();
    if let Err(error) = unpacked.tree.write(&mut spool, &mut layer) {
        return Err(format!("what was unpacked cannot be written: {error}"));
    }
    check_layer(&layer)
}

/// The bytes are the data of a Debian package, a tar; the sums of its headers are made right, so that more of them is read.
pub fn deb_data(bytes: &[u8]) -> Result<String, String> {
    let mut data = bytes.to_vec();
    for block in data.chunks_exact_mut(512) {
        if block.starts_with(b"./") || block.get(257..262) == Some(b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    let control = "Package: demo\nVersion: 1\nArchitecture: all\nInstalled-Size: 1\n";
    let mut header = tar::Header::new_gnu();
    header.set_size(control.len() as u64);
    let mut archive = tar::Builder::new(Vec::new());
    let added = archive.append_data(&mut header, "control", control.as_bytes());
    let control = added.and_then(|()| archive.into_inner());
    let control = control.map_err(|error| error.to_string())?;
    let mut deb = b"!<arch>\n".to_vec();
    for (name, content) in [
        ("debian-binary", b"2.0\n".as_slice()),
        ("control.tar", &control),
        ("data.tar", &data),
    ] {
        let header = format!("{name:<16}{:<32}{:<10}`\n", "0", content.len());
        deb.extend_from_slice(header.as_bytes());
        deb.extend_from_slice(content);
        deb.resize(deb.len().next_multiple_of(2), b'\n');
    }
    self::deb(&deb)
}

/// What may be said of every layer, whatever it was made of: each path once, ascending, none that leaves the image or leads
/// through a link, no right of another user.
fn check_layer(layer: &[u8]) -> Result<String, String> {
    let mut archive = tar::Archive::new(layer);
    let broken = |error: std::io::Error| format!("the layer cannot be read: {error}");
    let mut folders = BTreeSet::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for entry in archive.entries().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let path = String::from_utf8(entry.path_bytes().into_owned());
        let path = path.map_err(|error| error.to_string())?;
        let path = path.trim_end_matches('/').to_owned();
        let header = entry.header();
        let mode = header.mode().map_err(broken)?;
        if header.entry_type().is_dir() {
            folders.insert(path.clone());
        } else if mode & 0o6000 != 0 && header.entry_type().is_file() {
            return Err(format!("{path:?} has the mode {mode:o}"));
        }
        let inside = !path.split('/').any(|part| matches!(part, "" | "." | ".."));
        let through = path.match_indices('/').any(|(at, _)| {
            let above = &path[..at];
            seen.contains(above) && !folders.contains(above)
        });
        if !inside || through || seen.last().is_some_and(|last| *last >= path) {
            return Err(format!(
                "{path:?} is no path of a layer, or is out of order"
            ));
        }
        seen.insert(path);
    }
    Ok(format!("{} entries", seen.len()))
}
