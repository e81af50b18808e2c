//! Whatever bytes stand in a file of a project, they are judged: every mistake is reported and drawn, nothing panics.
//!
//! One function per kind of file, to be called by the tests (`tests/fuzz.rs`) and by any fuzzer. Each returns what
//! `forge check` would print, or, as the error, a diagnostic whose place is no part of its text.

use std::borrow::Cow;
use std::collections::BTreeSet;
<<<<<<< HEAD
=======
use std::io::Cursor;
>>>>>>> layer
use std::sync::OnceLock;

use super::report;
use crate::edge::catalogue;
use crate::flow::operator::evaluate::Opened;
use crate::pure::config::project::{ProjectText, TextFile};
<<<<<<< HEAD
use crate::pure::images::debian::{self, BinaryControl, Index, Keyring, Release, Request};
use crate::pure::name::{Arch, HostName};
=======
use crate::pure::images::layer::{Options, from_deb};
use crate::pure::images::rules::Prune;
use crate::pure::name::{BlobDigest, HostName};
use crate::pure::pins::PackagePin;
>>>>>>> layer

const SETTINGS: &str = "[project]\nname = \"fuzz\"\n";

const HOST: &str = r#"
[host]
address = "192.0.2.10"
system = "debian-12"

[modules.m]

[[secret]]
name = "token"
generate = { kind = "hex", bytes = 32 }

[[network]]
name = "net"

[[service]]
name = "svc"
image = "img"
networks = ["net"]
env_secret = { TOKEN_FILE = "token" }
"#;

const MODULE: &str = "[module]\nsummary = \"A module\"\n";

const IMAGE: &str = r#"
[image]
summary = "An image"
[registry]
repository = "registry.example/img"
tag = "1.2.3"
"#;

const LOCK: &str = r#"
version = 1
[[image]]
name = "img"
repository = "registry.example/img"
tag = "1.2.3"
digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
"#;

/// The bytes are a host, in a project that has the whole catalogue.
pub fn host(bytes: &[u8]) -> Result<String, String> {
    static TEXT: OnceLock<ProjectText> = OnceLock::new();
    static OPENED: OnceLock<Opened> = OnceLock::new();
    let text = TEXT.get_or_init(|| {
        let mut text = ProjectText::default();
        insert(&mut text, "forge.toml", SETTINGS.as_bytes());
        insert(&mut text, "forge.lock", catalogue::LOCK.as_bytes());
        catalogue::add_below(&mut text);
        text
    });
    let mut opened = OPENED.get_or_init(|| Opened::read(text.clone())).clone();
    insert(&mut opened.text, "hosts/h.toml", bytes);
    judge(opened)
}

/// The bytes are the `module.toml` of a module that a small host enables.
pub fn module(bytes: &[u8]) -> Result<String, String> {
    small("modules/m/module.toml", bytes)
}

/// The bytes are the `image.toml` of an image that a service uses.
pub fn image(bytes: &[u8]) -> Result<String, String> {
    small("images/img/image.toml", bytes)
}

/// The bytes are the lock of a small project.
pub fn lock(bytes: &[u8]) -> Result<String, String> {
    small("forge.lock", bytes)
}

/// The bytes are the secrets file of a host that declares one secret.
pub fn secrets(bytes: &[u8]) -> Result<String, String> {
    small("hosts/h.secrets.toml", bytes)
}

<<<<<<< HEAD
/// The bytes are the `control` file of a .deb.
pub fn deb_control(bytes: &[u8]) -> Result<String, String> {
    let _ = debian::control::parse(bytes);
    Ok(match BinaryControl::parse(bytes) {
        Ok(control) => format!("{control:?}"),
        Err(error) => error.to_string(),
    })
}

/// The bytes are a `Packages` file; the closure of each package in it is made.
pub fn deb_index(bytes: &[u8]) -> Result<String, String> {
    let index = match Index::parse("fuzz", bytes.to_vec()) {
        Ok(index) => index,
        Err(error) => return Ok(error.to_string()),
    };
    let mut said = String::new();
    for name in index.names().take(50) {
        let request = Request {
            arch: Arch::Amd64,
            packages: vec![name.to_owned()],
            exclude: BTreeSet::new(),
            dropped: &|name| name.ends_with("common"),
        };
        match debian::resolve(&index, &request) {
            Ok(closure) => {
                for pin in &closure.packages {
                    if pin.path.starts_with('/') || pin.path.split('/').any(|part| part == "..") {
                        return Err(format!("{} leads out of the mirror", pin.path));
                    }
                    said.push_str(&format!("{:?}\n", closure.chain(&pin.name)));
                }
            }
            Err(error) => said.push_str(&format!("{error}\n")),
        }
    }
    Ok(said)
}

/// The bytes are an `InRelease`, or a keyring.
pub fn deb_release(bytes: &[u8]) -> Result<String, String> {
    static KEYRING: OnceLock<Option<Keyring>> = OnceLock::new();
    let _ = Keyring::parse(bytes);
    let Some(keyring) = KEYRING.get_or_init(|| Keyring::parse(FUZZ_KEYS).ok()) else {
        return Err("the keyring cannot be read".to_owned());
    };
    Ok(match Release::verify(bytes, keyring) {
        Ok(release) => format!("{release:?}"),
        Err(error) => error.to_string(),
    })
}

const FUZZ_KEYS: &[u8] = include_bytes!("../pure/images/debian/tests/keyring.gpg");

=======
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

>>>>>>> layer
fn small(path: &str, bytes: &[u8]) -> Result<String, String> {
    let mut text = ProjectText::default();
    for (path, content) in [
        ("forge.toml", SETTINGS),
        ("forge.lock", LOCK),
        ("hosts/h.toml", HOST),
        ("modules/m/module.toml", MODULE),
        ("images/img/image.toml", IMAGE),
    ] {
        insert(&mut text, path, content.as_bytes());
    }
    insert(&mut text, path, bytes);
    judge(Opened::read(text))
}

fn insert(text: &mut ProjectText, path: &str, bytes: &[u8]) {
    let file = TextFile {
        bytes: Cow::Owned(bytes.to_vec()),
        embedded: false,
    };
    text.files.insert(path.to_owned(), file);
}

/// Drafts the host `h` and draws what is wrong with it, for a person and as JSON.
fn judge(mut opened: Opened) -> Result<String, String> {
    if let Ok(name) = "h".parse::<HostName>() {
        opened.draft(&name);
    }
    for diagnostic in opened.diagnostics.iter() {
        for label in diagnostic.primary.iter().chain(&diagnostic.others) {
            let text = &opened.sources.get(label.span.source).text;
            if text.get(label.span.range()).is_none() {
                return Err(format!("{diagnostic:?}"));
            }
        }
    }
    let json = report::to_json(&opened.diagnostics, &opened.sources);
    let mut drawn = report::draw(&opened.diagnostics, &opened.sources);
    drawn.push_str(&json.to_string());
    Ok(drawn)
}
