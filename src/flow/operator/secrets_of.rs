//! The secrets of a host: what its modules declare, and the ciphertexts that its files hold for them.

use std::collections::BTreeMap;

use super::evaluate::Opened;
use crate::pure::config::from_text::project::utf8;
use crate::pure::config::host::HostFile;
use crate::pure::name::{HostName, SecretName};
use crate::pure::secrets::{
    Chain, Declaration, Layer, Recipient, Sealed, SecretsFile, WantedBy, check,
};
use crate::pure::system::System;
use crate::pure::system::facts::HOST;
use crate::pure::text::Diagnostics;

/// What the modules of a host declare.
pub fn declarations(system: &System, diagnostics: &mut Diagnostics) -> Vec<Declaration> {
    system
        .facts
        .of("secret")
        .filter_map(|fact| {
            let wanted_by = match fact.module.parse() {
                Ok(module) if fact.module != HOST => WantedBy::Module(module),
                _ => WantedBy::Host,
            };
            Declaration::from_value(&fact.name, wanted_by, &fact.value, diagnostics)
        })
        .collect()
}

/// The path of a host's secrets file in its project.
pub fn path(host: &HostName) -> String {
    format!("hosts/{host}.secrets.toml")
}

/// The secrets files of a host and of those that it extends, nearest first.
pub fn files(chain: &[HostFile], opened: &mut Opened) -> Vec<(HostName, SecretsFile)> {
    chain
        .iter()
        .filter_map(|host| {
            let path = path(&host.name);
            let text = utf8(
                &path,
                opened.text.get(&path)?,
                &mut opened.sources,
                &mut opened.diagnostics,
            )?;
            let file =
                SecretsFile::read(&mut opened.sources, &path, text, &mut opened.diagnostics)?;
            Some((host.name.clone(), file))
        })
        .collect()
}

/// The ciphertext of every declared secret, checked without any key; what is missing or wrong is in the diagnostics.
pub(super) fn read(
    chain: &[HostFile],
    system: &System,
    opened: &mut Opened,
) -> BTreeMap<SecretName, Sealed> {
    let declared = declarations(system, &mut opened.diagnostics);
    let files = files(chain, opened);
    let secrets = Chain {
        host: &system.host.name,
        layers: files
            .iter()
            .map(|(host, file)| Layer { host, file })
            .collect(),
    };
    let host_key = system
        .host
        .host_key
        .as_deref()
        .and_then(|key| key.parse::<Recipient>().ok());
    // A file that could not be read at all may hold what would be found missing.
    let there = chain
        .iter()
        .filter(|host| opened.text.get(&path(&host.name)).is_some());
    if there.count() == files.len() {
        opened
            .diagnostics
            .extend(check(&declared, &secrets, host_key.as_ref()));
    }
    declared
        .iter()
        .filter_map(|declaration| {
            let (_, value) = secrets.find(&declaration.name)?;
            Some((declaration.name.clone(), value?.sealed.clone()))
        })
        .collect()
}
