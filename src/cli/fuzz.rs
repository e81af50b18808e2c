//! Whatever bytes stand in a file of a project, they are judged: every mistake is reported and drawn, nothing panics.
//!
//! One function per kind of file, to be called by the tests (`tests/fuzz.rs`) and by any fuzzer. Each returns what
//! `forge check` would print, or, as the error, a diagnostic whose place is no part of its text.

use std::borrow::Cow;
use std::io::Cursor;
use std::sync::OnceLock;

use super::report;
use crate::edge::catalogue;
use crate::flow::operator::evaluate::Opened;
use crate::pure::config::project::{ProjectText, TextFile};
use crate::pure::images::debian::sources_list;
use crate::pure::images::python::{self, Target, WheelName, from_wheel, record, requirements};
use crate::pure::name::{Arch, HostName};

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

/// The bytes are a recipe's requirements.
pub fn requirements(bytes: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(bytes);
    let target = Target::new("3.11", Arch::Amd64, "2.36").map_err(|error| error.to_string())?;
    match requirements::read(&text, &target) {
        Ok(found) => Ok(format!("{found:?}")),
        Err(mistakes) => {
            let astray = |it: &&requirements::Mistake| text.get(it.at.clone()).is_none();
            match mistakes.iter().find(astray) {
                Some(mistake) => Err(format!("{mistake:?}")),
                None => Ok(mistakes.iter().map(|it| format!("{it}\n")).collect()),
            }
        }
    }
}

/// The bytes are the `RECORD` of a wheel.
pub fn wheel_record(bytes: &[u8]) -> Result<String, String> {
    Ok(format!(
        "{:?}",
        record::read(&String::from_utf8_lossy(bytes))
    ))
}

/// The bytes are a wheel.
pub fn wheel(bytes: &[u8]) -> Result<String, String> {
    let name = "a-1.0-py3-none-any.whl".parse::<WheelName>();
    let name = name.map_err(|error| error.to_string())?;
    let mut spool = Cursor::new(Vec::new());
    let tree = from_wheel(Cursor::new(bytes), &name, "3.11", &mut spool);
    Ok(format!("{:?}", tree.map(|tree| tree.entries.len())))
}

/// The bytes are a page of a Python index.
pub fn simple_index(bytes: &[u8]) -> Result<String, String> {
    let base = "https://index.example.com/simple/a/".parse();
    let base = base.map_err(|error| format!("{error}"))?;
    Ok(format!("{:?}", python::simple_index::read(bytes, &base)))
}

/// The bytes are sources of apt in both formats, a list of mirrors, and logins.
pub fn apt_sources(bytes: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(bytes);
    let mut said = String::new();
    for entries in [
        sources_list::read_list("x.list", &text),
        sources_list::read_sources("x.sources", &text),
    ] {
        let entries = entries.as_deref().unwrap_or_default();
        for uri in entries.iter().flat_map(|entry| &entry.uris) {
            said.push_str(&format!("{:?}", sources_list::place(uri)));
        }
    }
    said.push_str(&format!("{:?}", sources_list::read_mirror_list(&text)));
    said.push_str(&format!("{:?}", sources_list::read_auth(&text)));
    Ok(said)
}

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
