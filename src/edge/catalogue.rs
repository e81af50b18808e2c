//! The catalogue of modules and images that is embedded in the binary.

use std::borrow::Cow;

use include_dir::{Dir, include_dir};

use crate::pure::config::project::{ProjectText, TextFile};

static MODULES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/modules");
static IMAGES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/images");

/// The settings of the shipped project: its name, and where packages come from last.
pub const SETTINGS: &str = include_str!("../../forge.toml");
/// The line of [`SETTINGS`] with the name, which a new project has otherwise.
pub const SETTINGS_NAME: &str = "name = \"forge\"";
/// The lock that pins the images of the catalogue.
pub const LOCK: &str = include_str!("../../forge.lock");
/// The host that `forge init` starts a project from.
pub const MINIMAL_HOST: &str = include_str!("../../hosts/minimal.toml");
/// The public half of the example key pair: whoever trusts it trusts everybody.
pub const EXAMPLE_KEY: &str = include_str!("../../hosts/example-insecure-key.pub");

/// The catalogue as a project of its own: its modules, its images and the lock that pins them.
pub fn with_lock() -> ProjectText {
    let mut text = ProjectText::default();
    add_below(&mut text);
    for (path, content) in [
        ("forge.toml", "[project]\nname = \"catalogue\"\n"),
        ("forge.lock", LOCK),
    ] {
        text.files.insert(
            path.to_owned(),
            TextFile {
                bytes: Cow::Borrowed(content.as_bytes()),
                embedded: true,
            },
        );
    }
    text
}

/// Adds to `text` every module and image of the catalogue that it does not have itself.
pub fn add_below(text: &mut ProjectText) {
    for (folder, dir) in [("modules", &MODULES), ("images", &IMAGES)] {
        for entry in dir.dirs() {
            let Some(name) = entry.path().to_str() else {
                continue;
            };
            let prefix = format!("{folder}/{name}/");
            let own = text
                .files
                .range(prefix.clone()..)
                .next()
                .is_some_and(|(path, _)| path.starts_with(&prefix));
            if !own {
                add_dir(folder, entry, text);
            }
        }
    }
}

fn add_dir(folder: &str, dir: &'static Dir<'static>, text: &mut ProjectText) {
    for file in dir.files() {
        if let Some(path) = file.path().to_str() {
            text.files.insert(
                format!("{folder}/{path}"),
                TextFile {
                    bytes: Cow::Borrowed(file.contents()),
                    embedded: true,
                },
            );
        }
    }
    for inner in dir.dirs() {
        add_dir(folder, inner, text);
    }
}
