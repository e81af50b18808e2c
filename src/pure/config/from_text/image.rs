//! `images/NAME/image.toml`: an image of a registry, or a recipe.

mod accounts;
mod paths;
mod recipe;

pub(super) use accounts::{Accounts, check as check_bases};

use super::language::Language;
use super::{only_known, section_table};
use crate::pure::config::decode::{decode_fields, missing_key};
use crate::pure::config::image::{Image, ImageSource, Registry};
use crate::pure::config::node::{Entry, Table, parse};
use crate::pure::config::project::ProjectText;
use crate::pure::config::value::{Data, Value};
use crate::pure::name::ImageName;
use crate::pure::text::{Diagnostic, Diagnostics, SourceId, Sources, Span, codes};

/// The tables that make a recipe of an image file.
const RECIPE: [&str; 8] = [
    "debian",
    "python",
    "group",
    "user",
    "directory",
    "link",
    "file",
    "run",
];

/// One image file, and what only other files can tell to be right.
pub(super) struct Read {
    pub(super) image: Image,
    pub(super) accounts: Accounts,
}

/// What the readers of the parts of an image file need.
struct Reader<'a> {
    name: &'a ImageName,
    text: &'a ProjectText,
    language: &'a Language,
    diagnostics: &'a mut Diagnostics,
}

/// Reads one image file. `None` when nothing of it can be used.
pub(super) fn read(
    name: ImageName,
    id: SourceId,
    text: &ProjectText,
    language: &Language,
    sources: &Sources,
    diagnostics: &mut Diagnostics,
) -> Option<Read> {
    let table = parse(sources, id, diagnostics)?;
    let known: Vec<&str> = ["image", "registry"].into_iter().chain(RECIPE).collect();
    only_known(&table, &known, "this file", diagnostics);
    let start = Span::new(id, 0..0);
    let mut reader = Reader {
        name: &name,
        text,
        language,
        diagnostics,
    };
    let header = match table.get("image") {
        Some(entry) => reader.section("image", entry),
        None => {
            reader.diagnostics.push(
                missing_key("[image]", start, &format!("image `{name}`"), None)
                    .help("add `[image]` with `summary = \"…\"`"),
            );
            None
        }
    };
    let registry = table.get("registry");
    if !reader.one_source(&table, start) {
        return None;
    }
    let (source, accounts) = match registry {
        Some(entry) => {
            let registry = reader.section("registry", entry)?;
            let source = ImageSource::Registry(Registry {
                repository: owned(&registry, "repository"),
                tag: owned(&registry, "tag"),
                tag_at: registry.get("tag").map_or(start, |tag| tag.at),
            });
            (source, Accounts::default())
        }
        None => {
            let (recipe, accounts) = reader.recipe(&table, header.as_ref())?;
            (ImageSource::Recipe(Box::new(recipe)), accounts)
        }
    };
    let summary = owned(&header?, "summary");
    Some(Read {
        image: Image {
            at: start,
            summary,
            source,
            name,
        },
        accounts,
    })
}

impl Reader<'_> {
    /// A table of the file, checked.
    fn section(&mut self, key: &str, entry: &Entry) -> Option<Value> {
        let table = section_table(key, entry, self.diagnostics)?;
        self.fields(key, &format!("[{key}]"), table, entry.value.span)
    }

    fn fields(&mut self, shape: &str, shown: &str, table: &Table, at: Span) -> Option<Value> {
        let place = format!("{shown} of image `{}`", self.name);
        let fields = self.language.shape(shape);
        decode_fields(table, &fields, at, &place, self.diagnostics)
            .map(|map| Value::new(at, Data::Map(map)))
    }

    /// Whether the file says where the image comes from, and says it once.
    fn one_source(&mut self, table: &Table, start: Span) -> bool {
        let header = table
            .get("image")
            .and_then(|entry| entry.value.as_table())
            .into_iter()
            .flat_map(|image| ["arch", "base"].map(|key| Some((key, image.get(key)?.key))))
            .flatten();
        let mut parts: Vec<(String, Span)> = header
            .map(|(key, at)| (format!("`{key}`"), at))
            .chain(RECIPE.iter().filter_map(|key| {
                let entry = table.get(key)?;
                Some((format!("`[{key}]`"), entry.key))
            }))
            .collect();
        parts.sort_by_key(|(_, at)| at.start);
        let name = self.name;
        match (table.get("registry"), parts.first()) {
            (Some(_), None) => true,
            (None, Some(_)) => {
                // An architecture alone is no recipe.
                let bare = parts.iter().all(|(part, _)| part == "`arch`");
                if bare {
                    self.diagnostics.push(no_source(name, start));
                }
                !bare
            }
            (None, None) => {
                self.diagnostics.push(no_source(name, start));
                false
            }
            (Some(registry), Some((part, at))) => {
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::ONE_OF,
                        format!("image `{name}` comes from a registry and has {part} of a recipe"),
                    )
                    .at(*at, "for images that forge builds")
                    .also(registry.key, "somebody else built it")
                    .help("remove `[registry]`, or everything of the recipe"),
                );
                false
            }
        }
    }
}

fn no_source(name: &ImageName, start: Span) -> Diagnostic {
    Diagnostic::error(
        codes::ONE_OF,
        format!("image `{name}` does not say where it comes from"),
    )
    .at(start, "a registry or a recipe is missing here")
    .help("add `[registry]` with `repository = \"…\"` and `tag = \"…\"`")
    .help("or let forge build it: `[debian]` with `suites = […]` and `packages = […]`")
}

/// The text at a key that is known to be text; empty if it is absent.
fn owned(value: &Value, key: &str) -> String {
    value.str(key).unwrap_or_default().to_owned()
}
