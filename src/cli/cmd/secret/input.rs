//! What a person hands over: values, public keys, paths.

use std::io::Read;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use super::{CommandError, World};
use crate::pure::name::SecretName;
use crate::pure::secrets::{Plaintext, Recipient, RecipientError};

/// `~/` in what a shell did not expand: behind `NAME=`, or in the environment.
pub(super) fn expand(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

pub(super) fn read_value(
    name: &SecretName,
    file: Option<&Path>,
    world: &mut World<'_>,
) -> Result<Plaintext, CommandError> {
    if let Some(file) = file {
        let what = file.display().to_string();
        let mut opened = std::fs::File::open(file).map_err(|source| CommandError::Read {
            what: what.clone(),
            source,
        })?;
        return read_all(&mut opened, what);
    }
    if !world.stdin_is_terminal {
        return read_all(world.stdin, "standard input".to_owned());
    }
    let prompt = |source| CommandError::Prompt {
        name: name.clone(),
        source,
    };
    let first = world
        .prompt
        .hidden(&format!("Value of {name}"))
        .map_err(prompt)?;
    let second = world.prompt.hidden("Again").map_err(prompt)?;
    if first.expose_secret() != second.expose_secret() {
        return Err(CommandError::Differ);
    }
    let bytes = first.expose_secret().as_bytes().to_vec();
    Ok(Plaintext::new(Zeroizing::new(bytes)))
}

fn read_all(from: &mut dyn Read, what: String) -> Result<Plaintext, CommandError> {
    // One more than the longest value with its newline, to see that there is more; allocated once, so that no half-grown
    // copy of the value stays behind in memory.
    let limit = Plaintext::LONGEST + 2;
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
    if let Err(source) = from.take(limit as u64).read_to_end(&mut bytes) {
        return Err(CommandError::Read { what, source });
    }
    let value = Plaintext::from_input(bytes);
    if value.len() > Plaintext::LONGEST {
        return Err(CommandError::TooLong { what });
    }
    Ok(value)
}

/// The recipients of a new file, each with a name.
pub(super) fn init_recipients(
    given: &[String],
    home: Option<&Path>,
) -> Result<Vec<(String, Recipient)>, CommandError> {
    let mut named: Vec<(String, Recipient)> = Vec::new();
    if given.is_empty() {
        let names = ["~/.ssh/id_ed25519.pub", "~/.ssh/id_rsa.pub"];
        let found = names
            .iter()
            .find(|name| expand(Path::new(name), home).is_file())
            .ok_or_else(|| CommandError::NoPublicKey(names.map(str::to_owned).to_vec()))?;
        let (_, recipient) = one_recipient(found, home)?;
        return Ok(vec![(name_from(&recipient), recipient)]);
    }
    for given in given {
        let (name, recipient) = one_recipient(given, home)?;
        let wanted = name.clone().unwrap_or_else(|| name_from(&recipient));
        let mut free = wanted.clone();
        let mut number = 2;
        // Only names that we made up may be made up anew; two that a person gave are a mistake, which the flow reports.
        while name.is_none() && named.iter().any(|(other, _)| *other == free) {
            free = format!("{wanted}-{number}");
            number += 1;
        }
        named.push((free, recipient));
    }
    Ok(named)
}

/// `[NAME=]KEY|FILE`.
pub(super) fn one_recipient(
    given: &str,
    home: Option<&Path>,
) -> Result<(Option<String>, Recipient), CommandError> {
    let bare = |name: &str| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    let (name, key) = match given.split_once('=') {
        Some((name, key)) if bare(name) && !key.is_empty() => (Some(name.to_owned()), key),
        _ => (None, given),
    };
    let source = match key.parse::<Recipient>() {
        Ok(recipient) => return Ok((name, recipient)),
        Err(error) => error,
    };
    let path = expand(Path::new(key), home);
    if source != RecipientError::Unknown || !path.exists() {
        // What was given is only repeated where it cannot be a private key.
        let what = match source {
            RecipientError::Unknown => format!("`{key}` (which is no file either)"),
            _ => "what was given".to_owned(),
        };
        return Err(CommandError::Recipient { what, source });
    }
    let text = std::fs::read_to_string(&path).map_err(|source| CommandError::Read {
        what: path.display().to_string(),
        source,
    })?;
    match text.parse() {
        Ok(recipient) => Ok((name, recipient)),
        Err(source) => Err(CommandError::Recipient {
            what: format!("what {} holds", path.display()),
            source,
        }),
    }
}

/// A name for a key that came without one: who its comment says it belongs to.
fn name_from(recipient: &Recipient) -> String {
    let user = recipient.comment().split('@').next().unwrap_or_default();
    let name: String = user
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect();
    if name.chars().any(|c| c.is_ascii_alphanumeric()) {
        name
    } else {
        "admin".to_owned()
    }
}
