//! A system and its rendered files to the draft of a bundle.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::{Draft, ImagePin, Part, PartKind, Title, TitleError};
use crate::pure::files::from_system::Rendered;
use crate::pure::name::SecretName;
use crate::pure::system::System;

/// The system as it is written down, version 1: everything that the agent needs to know, no templates and no options
/// (`docs/format/bundle.md`). Files are named by digest; where each stands on the host is decided here and nowhere else.
fn write_down(system: &System, rendered: &Rendered) -> Json {
    let mut contributions: Map<String, Json> = Map::new();
    for kind in system.facts.kinds() {
        // Files stand below, as they came out; a secret's declaration is the laptop's business.
        if matches!(kind, "file" | "secret" | "mount") {
            continue;
        }
        let facts: Map<String, Json> = system
            .facts
            .of(kind)
            .map(|fact| {
                let mut json = fact.to_json();
                if let Json::Object(fields) = &mut json {
                    fields.remove("name");
                    // The text of a unit is a file, and its template is nothing that a host knows.
                    if kind == "unit" {
                        fields.remove("text");
                        fields.remove("template");
                    }
                }
                (fact.name.clone(), json)
            })
            .collect();
        contributions.insert(kind.to_owned(), Json::Object(facts));
    }
    let files: Map<String, Json> = rendered
        .files
        .values()
        .map(|file| {
            let json = json!({
                "place": file.place,
                "owner": file.owner,
                "mode": file.mode,
                "digest": file.digest,
                "secrets": file.secrets,
            });
            (file.name.clone(), json)
        })
        .collect();
    json!({
        "host": system.host,
        "modules": system.modules.keys().collect::<Vec<_>>(),
        "contributions": contributions,
        "files": files,
        "secrets": rendered.secrets,
        "compose": "forge/compose.yaml",
    })
}

/// The draft of a system's bundle. `ciphertexts` holds the armored age file of every secret that the system declares.
///
/// # Errors
/// A file whose name is no title of a part: names are checked before, so this is a mistake of forge.
pub fn draft(
    system: &System,
    rendered: &Rendered,
    ciphertexts: &BTreeMap<SecretName, Vec<u8>>,
) -> Result<Draft, TitleError> {
    let mut parts = Vec::with_capacity(rendered.files.len() + ciphertexts.len());
    for file in rendered.files.values() {
        let title: Title = format!("files/{}", file.name).parse()?;
        parts.push(Part::new(PartKind::File, title, file.bytes.clone()));
    }
    for (name, ciphertext) in ciphertexts {
        let title: Title = format!("secrets/{name}").parse()?;
        parts.push(Part::new(PartKind::Secret, title, ciphertext.clone()));
    }
    Ok(Draft {
        host: system.host.name.clone(),
        system: write_down(system, rendered),
        parts,
        images: system
            .images
            .iter()
            .map(|(name, image)| ImagePin {
                name: name.clone(),
                repository: image.repository.clone(),
                tag: image.tag.clone(),
                digest: image.digest,
            })
            .collect(),
    })
}
