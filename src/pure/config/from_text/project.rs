//! A whole project: its settings, modules, images and lock; and the chain of files of one host.

use std::collections::BTreeMap;

use super::language::Language;
use super::{declarations, host, image, module, only_known, section_table};
use crate::pure::config::decode::{decode_fields, missing_key};
use crate::pure::config::host::HostFile;
use crate::pure::config::node::parse;
use crate::pure::config::project::{Project, ProjectText, TextFile};
use crate::pure::config::value::Value;
use crate::pure::name::{HostName, ModuleName};
use crate::pure::text::{Diagnostic, Diagnostics, SourceId, Sources, Span, codes};

pub const SETTINGS: &str = "forge.toml";

/// Files are named `MODULE/NAME`; under these stand what forge makes itself, units, and what the host file contributes.
const RESERVED: [&str; 3] = ["forge", "unit", "host"];

/// The text of a file, if it is UTF-8 without NUL; reports it otherwise.
pub fn utf8<'a>(
    path: &str,
    file: &'a TextFile,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) -> Option<&'a str> {
    let (message, at, help) = match std::str::from_utf8(&file.bytes) {
        Ok(text) if u32::try_from(text.len()).is_err() => {
            diagnostics.push(
                Diagnostic::error(codes::NOT_UTF8, format!("`{path}` is larger than 4 GiB"))
                    .help("no file of a project is that large"),
            );
            return None;
        }
        Ok(text) => match text.find('\0') {
            None => return Some(text),
            Some(at) => (
                format!("`{path}` holds a NUL character"),
                at,
                "remove it: it is part of no text",
            ),
        },
        Err(error) => (
            format!("`{path}` is not UTF-8 text"),
            error.valid_up_to(),
            "save the file as UTF-8",
        ),
    };
    // A value that stands in a secrets file in clear must not be quoted in a report.
    if path.ends_with(".secrets.toml") {
        let before = &file.bytes[..at];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        diagnostics.push(
            Diagnostic::error(codes::NOT_UTF8, format!("{message}, in line {line}")).help(help),
        );
        return None;
    }
    // Bytes that are no text are replaced; up to the place of the mistake the text is the same.
    let shown = String::from_utf8_lossy(&file.bytes);
    let end = shown.ceil_char_boundary(at + 1);
    let id = sources.add(path, shown);
    diagnostics.push(
        Diagnostic::error(codes::NOT_UTF8, message)
            .at(Span::new(id, at..end), "here")
            .help(help),
    );
    None
}

/// Adds the text of a file to the sources; reports it if it is none.
pub fn add_source(
    path: &str,
    file: &TextFile,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) -> Option<SourceId> {
    let text = utf8(path, file, sources, diagnostics)?;
    let shown = if file.embedded {
        format!("<catalogue>/{path}")
    } else {
        path.to_owned()
    };
    Some(sources.add(shown, text))
}

/// Reads everything of a project that does not belong to one host.
pub fn read(text: &ProjectText, sources: &mut Sources, diagnostics: &mut Diagnostics) -> Project {
    let language = Language::read(sources, diagnostics);
    let mut project = Project {
        kinds: language.kinds.clone(),
        ..Project::default()
    };
    read_settings(text, &language, sources, &mut project, diagnostics);
    for (path, what) in &text.refused {
        diagnostics.push(
            Diagnostic::error(codes::UNSAFE_PATH, format!("`{path}` is {what}"))
                .help("put the file itself there: a project holds its files, so that it is the same on every machine"),
        );
    }
    read_modules(text, &language, sources, &mut project, diagnostics);
    read_images(text, &language, sources, &mut project, diagnostics);
    for (name, path) in text.host_files() {
        if let Err(error) = name.parse::<HostName>()
            && let Some(id) = text
                .get(path)
                .and_then(|file| add_source(path, file, sources, diagnostics))
        {
            bad_name(&error, id, "file", diagnostics);
        }
    }
    project.language = language;
    declarations::check(&project, diagnostics);
    project
}

fn read_modules(
    text: &ProjectText,
    language: &Language,
    sources: &mut Sources,
    project: &mut Project,
    diagnostics: &mut Diagnostics,
) {
    for (name, path, file) in text.folders_with("modules", "module.toml") {
        let id = add_source(path, file, sources, diagnostics);
        let module = id.and_then(|id| match name.parse() {
            Ok(name) if RESERVED.contains(&ModuleName::as_str(&name)) => {
                diagnostics.push(
                    Diagnostic::error(codes::BAD_NAME, format!("no module can be called `{name}`"))
                        .at(Span::new(id, 0..0), "the folder of this file has this name")
                        .help("forge keeps files of its own under it: choose another name"),
                );
                None
            }
            Ok(name) => module::read(name, file.embedded, id, language, sources, diagnostics),
            Err(error) => {
                bad_name(&error, id, "folder", diagnostics);
                None
            }
        });
        match module {
            Some(module) => {
                project.modules.insert(module.name.clone(), module);
            }
            None => {
                project.broken.modules.insert(name.to_owned());
            }
        }
    }
    for name in text.folders_without("modules", "module.toml") {
        no_file("modules", name, "module.toml", diagnostics);
        project.broken.modules.insert(name.to_owned());
    }
    for module in project.modules.values() {
        project
            .broken
            .kinds
            .extend(module.broken_kinds.iter().cloned());
        for (name, kind) in &module.kinds {
            match project.kinds.get(name) {
                Some(first) => diagnostics.push(
                    Diagnostic::error(
                        codes::DUPLICATE,
                        format!("two modules declare the kind `{name}`"),
                    )
                    .at(kind.at, "again here")
                    .also(first.at, "first here")
                    .help("give one of them another name"),
                ),
                None => {
                    project.kinds.insert(name.clone(), kind.clone());
                }
            }
        }
    }
}

fn read_images(
    text: &ProjectText,
    language: &Language,
    sources: &mut Sources,
    project: &mut Project,
    diagnostics: &mut Diagnostics,
) {
    let mut accounts = BTreeMap::new();
    for (name, path, file) in text.folders_with("images", "image.toml") {
        let id = add_source(path, file, sources, diagnostics);
        let image = id.and_then(|id| match name.parse() {
            Ok(name) => image::read(name, id, text, language, sources, diagnostics),
            Err(error) => {
                bad_name(&error, id, "folder", diagnostics);
                None
            }
        });
        match image {
            Some(read) => {
                accounts.insert(read.image.name.clone(), read.accounts);
                project.images.insert(read.image.name.clone(), read.image);
            }
            None => {
                project.broken.images.insert(name.to_owned());
            }
        }
    }
    for name in text.folders_without("images", "image.toml") {
        no_file("images", name, "image.toml", diagnostics);
        project.broken.images.insert(name.to_owned());
    }
    image::check_bases(&accounts, project, diagnostics);
}

fn no_file(folder: &str, name: &str, file: &str, diagnostics: &mut Diagnostics) {
    diagnostics.push(
        Diagnostic::error(
            codes::MISSING_FILE,
            format!("the folder `{folder}/{name}` has no `{file}`"),
        )
        .help("add the file, or remove the folder"),
    );
}

fn bad_name(
    error: &crate::pure::name::NameError,
    id: SourceId,
    what: &str,
    diagnostics: &mut Diagnostics,
) {
    let at = match what {
        "file" => "this file has this name".to_owned(),
        _ => format!("the {what} of this file has this name"),
    };
    diagnostics.push(
        Diagnostic::error(codes::BAD_NAME, error.message())
            .at(Span::new(id, 0..0), at)
            .help(format!("rename the {what}: {}", error.rule())),
    );
}

/// `forge.toml`, into `project`.
fn read_settings(
    text: &ProjectText,
    language: &Language,
    sources: &mut Sources,
    project: &mut Project,
    diagnostics: &mut Diagnostics,
) {
    let Some(file) = text.get(SETTINGS) else {
        diagnostics.push(
            Diagnostic::error(
                codes::MISSING_FILE,
                format!("there is no `{SETTINGS}` here, so this is no project"),
            )
            .help("run forge in the folder of a project, or name it with `--project DIR`")
            .help("`forge init` makes a new project in an empty folder"),
        );
        return;
    };
    let Some(table) = add_source(SETTINGS, file, sources, diagnostics)
        .and_then(|id| Some((id, parse(sources, id, diagnostics)?)))
    else {
        return;
    };
    let (id, table) = table;
    only_known(&table, &["project", "sources"], "forge.toml", diagnostics);
    if let Some(section) = table.get("sources") {
        project.sources = super::sources::read(section, text, language, diagnostics);
    }
    let Some(section) = table.get("project") else {
        diagnostics.push(
            missing_key("[project]", Span::new(id, 0..0), "forge.toml", None)
                .help("add `[project]` with `name = \"…\"`"),
        );
        return;
    };
    project.name = section_table("project", section, diagnostics)
        .and_then(|inner| {
            decode_fields(
                inner,
                &language.shape("project"),
                section.value.span,
                "[project]",
                diagnostics,
            )
        })
        .and_then(|fields| {
            fields
                .get("name")
                .and_then(Value::as_str)
                .map(str::to_owned)
        })
        .unwrap_or_default();
}

/// The files of a host: its own first, then the one that it extends, and so on. `None` when the host does not exist or one of
/// its files cannot be used.
pub fn read_host(
    name: &HostName,
    text: &ProjectText,
    language: &Language,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<HostFile>> {
    let mut chain: Vec<HostFile> = Vec::new();
    let mut next = Some((name.clone(), None::<Span>));
    while let Some((name, wanted_at)) = next.take() {
        if let Some(at) = wanted_at
            && let Some(position) = chain.iter().position(|file| file.name == name)
        {
            diagnostics.push(circle(&chain[position..], at));
            return None;
        }
        let path = format!("hosts/{name}.toml");
        let Some(file) = text.get(&path) else {
            let diagnostic = Diagnostic::error(
                codes::MISSING_FILE,
                format!("there is no host `{name}`: no `{path}`"),
            )
            .suggest(
                name.as_str(),
                text.hosts()
                    .filter(|other| chain.iter().all(|file| file.name.as_str() != *other)),
            );
            diagnostics.push(match wanted_at {
                Some(at) => diagnostic.at(at, "extended here"),
                None => diagnostic,
            });
            return None;
        };
        let id = add_source(&path, file, sources, diagnostics)?;
        let host = host::read(name, id, language, sources, diagnostics)?;
        if let Some(parent) = &host.extends {
            match parent.text.parse::<HostName>() {
                Ok(parent_name) => next = Some((parent_name, Some(parent.at))),
                Err(error) => {
                    diagnostics.push(
                        Diagnostic::error(codes::BAD_NAME, error.message())
                            .at(parent.at, "")
                            .help(error.rule()),
                    );
                    return None;
                }
            }
        }
        chain.push(host);
    }
    Some(chain)
}

/// Whichever of the hosts one begins with, the circle is described in the same way, so that it is reported once.
fn circle(files: &[HostFile], closing: Span) -> Diagnostic {
    let first = files
        .iter()
        .enumerate()
        .min_by_key(|(_, file)| &file.name)
        .map_or(0, |(position, _)| position);
    let mut way: Vec<&HostFile> = files[first..].iter().chain(&files[..first]).collect();
    let at = way
        .last()
        .and_then(|file| file.extends.as_ref())
        .map_or(closing, |parent| parent.at);
    way.extend(way.first().copied());
    let names: Vec<&str> = way.iter().map(|file| file.name.as_str()).collect();
    Diagnostic::error(
        codes::CYCLE,
        format!("hosts extend each other: {}", names.join(" → ")),
    )
    .at(at, "this closes the circle")
    .help("remove one of these `extends`")
}
