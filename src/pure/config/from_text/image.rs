//! `images/NAME/image.toml`.

use super::language::Language;
use super::{only_known, section_table};
use crate::pure::config::decode::{decode_fields, missing_key};
use crate::pure::config::image::{Image, ImageSource, Registry};
use crate::pure::config::node::parse;
use crate::pure::config::value::Value;
use crate::pure::name::ImageName;
use crate::pure::text::{Diagnostics, SourceId, Sources, Span};

/// Reads one image file. `None` when nothing of it can be used.
pub fn read(
    name: ImageName,
    id: SourceId,
    language: &Language,
    sources: &Sources,
    diagnostics: &mut Diagnostics,
) -> Option<Image> {
    let table = parse(sources, id, diagnostics)?;
    only_known(&table, &["image", "registry"], "this file", diagnostics);
    let start = Span::new(id, 0..0);
    let mut section = |key: &str| {
        let Some(entry) = table.get(key) else {
            let example = match key {
                "image" => "summary = \"…\"",
                _ => "repository = \"…\"` and `tag = \"…\"",
            };
            diagnostics.push(
                missing_key(&format!("[{key}]"), start, &format!("image `{name}`"), None)
                    .help(format!("add `[{key}]` with `{example}`")),
            );
            return None;
        };
        let place = format!("[{key}] of image `{name}`");
        decode_fields(
            section_table(key, entry, diagnostics)?,
            &language.shape(key),
            entry.value.span,
            &place,
            diagnostics,
        )
    };
    let image = section("image");
    let registry = section("registry");
    let (image, registry) = (image?, registry?);
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    Some(Image {
        at: start,
        summary: text(image.get("summary")),
        source: ImageSource::Registry(Registry {
            repository: text(registry.get("repository")),
            tag: text(registry.get("tag")),
            tag_at: registry.get("tag").map_or(start, |tag| tag.at),
        }),
        name,
    })
}
