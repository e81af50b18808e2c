use super::{Pin, Pins, RegistryPin, VERSION};
use crate::pure::config::decode::{decode_fields, missing_key, unknown_key};
use crate::pure::config::from_text::language::Language;
use crate::pure::config::from_text::project::add_source;
use crate::pure::config::from_text::tables;
use crate::pure::config::node::{Node, NodeKind, parse};
use crate::pure::config::project::{Project, ProjectText};
use crate::pure::config::value::Value;
use crate::pure::name::{ImageName, ManifestDigest};
use crate::pure::text::{Diagnostic, Diagnostics, SourceId, Sources, Span, codes};

const LOCK: &str = "forge.lock";

/// The pins of a project: of its lock, if it has one.
pub fn read(
    text: &ProjectText,
    project: &Project,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) -> Pins {
    let Some(file) = text.get(LOCK) else {
        return Pins::default();
    };
    let Some(id) = add_source(LOCK, file, sources, diagnostics) else {
        return Pins {
            incomplete: true,
            ..Pins::default()
        };
    };
    let pins = read_lock(id, &project.language, sources, diagnostics);
    for (name, pin) in &pins.all {
        if !project.images.contains_key(name) && !project.broken.images.contains(name.as_str()) {
            diagnostics.push(
                Diagnostic::warning(
                    codes::UNUSED_PIN,
                    format!("the lock pins `{name}`, which is no image"),
                )
                .at(pin.at(), "")
                .help("remove the entry"),
            );
        }
    }
    pins
}

/// Reads a lock. What cannot be read is reported and left out.
fn read_lock(
    id: SourceId,
    language: &Language,
    sources: &Sources,
    diagnostics: &mut Diagnostics,
) -> Pins {
    let mut pins = Pins {
        incomplete: true,
        ..Pins::default()
    };
    let Some(table) = parse(sources, id, diagnostics) else {
        return pins;
    };
    match table
        .get("version")
        .map(|entry| (&entry.value.kind, entry.value.span))
    {
        Some((NodeKind::Int(VERSION), _)) => {}
        Some((_, at)) => {
            diagnostics.push(
                Diagnostic::error(
                    codes::UNSUPPORTED_VERSION,
                    "the lock has a version that this forge does not know",
                )
                .at(at, format!("this forge knows version {VERSION}"))
                .help("use the forge that wrote it, or a newer one"),
            );
            return pins;
        }
        None => {
            diagnostics.push(
                missing_key("version", Span::new(id, 0..0), "the lock", None)
                    .help(format!("add `version = {VERSION}`")),
            );
            return pins;
        }
    }
    pins.incomplete = false;
    for (key, entry) in table.iter() {
        match key {
            "version" => {}
            "image" => {
                let items = tables("image", entry, diagnostics);
                // Nothing is said of an entry that is none, so nothing of the images that it may mean.
                pins.incomplete |= items.is_empty();
                for item in items {
                    read_entry(item, language, &mut pins, diagnostics);
                }
            }
            _ => diagnostics.push(unknown_key(
                key,
                entry.key,
                "the lock",
                ["version", "image"],
            )),
        }
    }
    pins
}

fn read_entry(item: &Node, language: &Language, pins: &mut Pins, diagnostics: &mut Diagnostics) {
    let Some(inner) = item.as_table() else {
        return;
    };
    let pin = decode_fields(
        inner,
        &language.shape("pin"),
        item.span,
        "[[image]] of the lock",
        diagnostics,
    )
    .and_then(|fields| read_pin(&fields, item.span, diagnostics));
    let Some((name, pin)) = pin else {
        match inner.get("name").and_then(|name| name.value.as_str()) {
            Some(name) if name.parse::<ImageName>().is_ok() => {
                pins.broken.insert(name.to_owned());
            }
            _ => pins.incomplete = true,
        }
        return;
    };
    if let Some(first) = pins.all.get(&name) {
        diagnostics.push(
            Diagnostic::error(codes::DUPLICATE, format!("image `{name}` is locked twice"))
                .at(pin.at(), "again here")
                .also(first.at(), "first here")
                .help("remove one of the entries"),
        );
    } else {
        pins.all.insert(name, pin);
    }
}

fn read_pin(
    fields: &std::collections::BTreeMap<String, Value>,
    at: Span,
    diagnostics: &mut Diagnostics,
) -> Option<(ImageName, Pin)> {
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
    let digest = match text("digest").parse::<ManifestDigest>() {
        Ok(digest) => digest,
        Err(error) => {
            let at = fields.get("digest").map_or(at, |value| value.at);
            diagnostics.push(
                Diagnostic::error(codes::BAD_DIGEST, error.message())
                    .at(at, "")
                    .help("write `sha256:` and 64 lower-case hexadecimal digits"),
            );
            return None;
        }
    };
    let name = text("name").parse().ok()?;
    Some((
        name,
        Pin::Registry(RegistryPin {
            at: fields.get("name").map_or(at, |value| value.at),
            repository: text("repository").to_owned(),
            tag: text("tag").to_owned(),
            digest,
        }),
    ))
}
