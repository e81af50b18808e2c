//! Wishes to the files of a new project, checked like any other.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::build::Drafted;
use super::evaluate::Opened;
use super::lock;
use crate::edge::catalogue;
use crate::pure::config::project::{ProjectText, TextFile};
use crate::pure::name::HostName;
use crate::pure::pins::{self, Pins};

/// What a new project is to be.
#[derive(Clone, Debug)]
pub struct Wishes {
    /// The folder's name; what no project can be called is changed or left out.
    pub folder: String,
    pub host: HostName,
    pub address: Option<String>,
    pub system: Option<String>,
    /// Public keys of the first admin; nobody's means the example key, which everybody has.
    pub keys: Vec<String>,
}

/// The files of a new project, by their paths in it.
#[derive(Clone, Debug)]
pub struct NewProject {
    pub files: BTreeMap<String, String>,
}

#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The files have mistakes, which are in the diagnostics: a wish was no address, no system, no key.
    #[error("these arguments do not make a valid host")]
    Refused(Box<Opened>),
    /// Only a change of the embedded host can cause it; a test prevents that.
    #[error("the host that comes with forge has no line for `{0}`")]
    Line(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error(
        "it holds a private key, which must never leave its place: the public half is in the `.pub` file beside it"
    )]
    Private,
    #[error("it holds no key")]
    Empty,
    #[error("line {line} is no SSH public key: {why}")]
    Invalid { line: usize, why: String },
}

/// The public keys in a `.pub` file: one on each line.
pub fn public_keys(text: &str) -> Result<Vec<String>, KeyError> {
    if text.contains("PRIVATE KEY-----") {
        return Err(KeyError::Private);
    }
    let mut keys = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        ssh_key::PublicKey::from_openssh(line).map_err(|error| KeyError::Invalid {
            line: number + 1,
            why: error.to_string(),
        })?;
        keys.push(line.to_owned());
    }
    if keys.is_empty() {
        return Err(KeyError::Empty);
    }
    Ok(keys)
}

/// The files of a project with one host. It has been built, but not stored: `forge check` finds no mistake in it.
pub fn plan(wishes: &Wishes) -> Result<NewProject, PlanError> {
    let mut files: BTreeMap<String, String> = [
        (
            "forge.toml".to_owned(),
            catalogue::SETTINGS.replace(
                catalogue::SETTINGS_NAME,
                &format!("name = \"{}\"", project_name(&wishes.folder)),
            ),
        ),
        ("forge.lock".to_owned(), catalogue::LOCK.to_owned()),
        (format!("hosts/{}.toml", wishes.host), host_text(wishes)?),
    ]
    .into();
    let mut text = ProjectText {
        files: files
            .iter()
            .map(|(path, text)| {
                let file = TextFile {
                    bytes: Cow::Owned(text.clone().into_bytes()),
                    embedded: false,
                };
                (path.clone(), file)
            })
            .collect(),
        ..ProjectText::default()
    };
    catalogue::add_below(&mut text);
    let mut opened = Opened::read(text);
    let drafted = opened.draft(&wishes.host);
    if opened.diagnostics.has_errors() {
        return Err(PlanError::Refused(Box::new(opened)));
    }
    files.insert(
        pins::LOCK.to_owned(),
        pins::to_text(&used(&opened, drafted.as_ref())),
    );
    Ok(NewProject { files })
}

/// The pins of the images that a host uses, and of those that they continue.
fn used(opened: &Opened, host: Option<&Drafted>) -> Pins {
    let images = host.map(|host| host.system.images.keys().cloned().collect());
    let images = lock::with_bases(opened, images.unwrap_or_default());
    let mut pins = opened.pins.clone();
    pins.all.retain(|name, _| images.contains(name));
    pins.prune();
    pins
}

/// The embedded host, with what was wished for in its place.
fn host_text(wishes: &Wishes) -> Result<String, PlanError> {
    let mut lines: Vec<String> = catalogue::MINIMAL_HOST.lines().map(str::to_owned).collect();
    for (key, wish) in [("address", &wishes.address), ("system", &wishes.system)] {
        let start = format!("{key} = ");
        let line = lines
            .iter_mut()
            .find(|line| line.starts_with(&start))
            .ok_or(PlanError::Line(key))?;
        if let Some(wish) = wish {
            *line = format!("{start}{}", quoted(wish));
        }
    }
    let example = quoted(catalogue::EXAMPLE_KEY.trim());
    let place = lines
        .iter()
        .position(|line| line.contains(&example))
        .ok_or(PlanError::Line("keys"))?;
    if !wishes.keys.is_empty() {
        let keys: Vec<String> = wishes.keys.iter().map(|key| quoted(key)).collect();
        lines[place] = lines[place].replace(&example, &keys.join(", "));
    }
    let comment = if wishes.keys.is_empty() {
        "# Everybody has the private half of this example key: put your own public key here."
    } else {
        "# Who may log in and become root. More people are more lines like this one."
    };
    let above = lines[..place]
        .iter()
        .rposition(|line| !line.starts_with('#'))
        .map_or(0, |line| line + 1);
    lines.splice(above..place, [comment.to_owned()]);
    let mut text = lines.join("\n");
    text.push('\n');
    Ok(text)
}

/// A TOML string; a JSON string is one.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn project_name(folder: &str) -> String {
    let lower = folder.to_lowercase();
    let dashed: String = lower
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(63)
        .collect();
    match dashed.trim_matches('-') {
        "" => "servers".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes() -> Wishes {
        Wishes {
            folder: "My Servers!".to_owned(),
            host: "web".parse().unwrap(),
            address: Some("198.51.100.7".to_owned()),
            system: Some("debian-13".to_owned()),
            keys: vec!["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB6BRGd83gdhGAJpgdzn1ac9C5rwwpDLhVxSGmBtLKDv me".to_owned()],
        }
    }

    #[test]
    fn every_wish_is_in_its_place() {
        let project = plan(&wishes()).unwrap();
        let host = &project.files["hosts/web.toml"];
        assert!(
            host.contains("address = \"198.51.100.7\"\nsystem = \"debian-13\"\n"),
            "{host}"
        );
        assert!(host.contains("DLhVxSGmBtLKDv me\""), "{host}");
        assert!(
            !host.contains("DO-NOT-USE") && !host.contains("private half"),
            "{host}"
        );
        let lock = &project.files["forge.lock"];
        assert!(
            lock.contains("\nname = \"caddy\"\n") && !lock.contains("grafana"),
            "{lock}"
        );
        let settings = &project.files["forge.toml"];
        assert!(settings.starts_with("[project]\nname = \"my-servers\"\n"));
        // A machine whose apt has no Debian builds too.
        assert!(settings.contains("\nsnapshot = "), "{settings}");
    }

    #[test]
    fn without_wishes_it_is_the_example() {
        let wishes = Wishes {
            address: None,
            system: None,
            keys: Vec::new(),
            ..wishes()
        };
        let host = &plan(&wishes).unwrap().files["hosts/web.toml"];
        assert!(
            host.contains("DO-NOT-USE") && host.contains("put your own public key here"),
            "{host}"
        );
    }

    #[test]
    fn a_wish_cannot_add_lines() {
        let wishes = Wishes {
            address: Some("a\"\nuser = \"x".to_owned()),
            ..wishes()
        };
        assert!(matches!(plan(&wishes), Err(PlanError::Refused(_))));
    }

    #[test]
    fn names_of_folders_become_names_of_projects() {
        for (folder, name) in [
            ("Ops", "ops"),
            ("a b/c", "a-b-c"),
            ("…", "servers"),
            ("", "servers"),
        ] {
            assert_eq!(project_name(folder), name);
        }
    }

    #[test]
    fn private_keys_are_refused() {
        assert_eq!(
            public_keys("-----BEGIN OPENSSH PRIVATE KEY-----\n"),
            Err(KeyError::Private)
        );
        assert_eq!(public_keys("\n"), Err(KeyError::Empty));
        assert!(matches!(
            public_keys("# a\nssh-ed25519 x\n"),
            Err(KeyError::Invalid { line: 2, .. })
        ));
    }
}
