//! Whatever bytes stand in a file of a project, they are judged: every mistake is reported and drawn, nothing panics.
//!
//! One function per kind of file, to be called by the tests (`tests/fuzz.rs`) and by any fuzzer. Each returns what
//! `forge check` would print, or, as the error, a diagnostic whose place is no part of its text.

mod debian;
mod packages;
mod parcel;
mod protocol;
mod python;
mod registry;

pub use debian::*;
pub use packages::*;
pub use parcel::*;
pub use protocol::*;
pub use python::*;
pub use registry::*;

use std::borrow::Cow;
use std::sync::OnceLock;

use super::report;
use crate::edge::catalogue;
use crate::flow::operator::evaluate::Opened;
use crate::pure::config::project::{ProjectText, TextFile};
use crate::pure::name::HostName;

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
