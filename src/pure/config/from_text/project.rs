//! A whole project: its settings, modules, images and lock; and the chain of files of one host.

use super::language::Language;
use super::{host, image, module, only_known};
use crate::pure::config::decode::{decode_fields, missing_key};
use crate::pure::config::host::HostFile;
use crate::pure::config::node::parse;
use crate::pure::config::project::{Project, ProjectText, TextFile};
use crate::pure::config::value::Value;
use crate::pure::name::HostName;
use crate::pure::text::{Diagnostic, Diagnostics, SourceId, Sources, Span, codes};

pub const SETTINGS: &str = "forge.toml";

/// The text of a file, if it is UTF-8 without NUL; reports it otherwise.
pub fn utf8<'a>(path: &str, file: &'a TextFile, diagnostics: &mut Diagnostics) -> Option<&'a str> {
    match std::str::from_utf8(&file.bytes) {
        Ok(text) if !text.contains('\0') && u32::try_from(text.len()).is_ok() => Some(text),
        _ => {
            diagnostics.push(Diagnostic::error(
                codes::NOT_UTF8,
                format!("`{path}` is not UTF-8 text"),
            ));
            None
        }
    }
}

/// Adds the text of a file to the sources; reports it if it is none.
pub fn add_source(
    path: &str,
    file: &TextFile,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) -> Option<SourceId> {
    let text = utf8(path, file, diagnostics)?;
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
        name: read_settings(text, &language, sources, diagnostics),
        kinds: language.kinds.clone(),
        ..Project::default()
    };
    for (name, path, file) in text.folders_with("modules", "module.toml") {
        let Some(id) = add_source(path, file, sources, diagnostics) else {
            continue;
        };
        match name.parse() {
            Ok(name) => {
                if let Some(module) =
                    module::read(name, file.embedded, id, &language, sources, diagnostics)
                {
                    project.modules.insert(module.name.clone(), module);
                }
            }
            Err(error) => bad_folder(&error, id, diagnostics),
        }
    }
    for module in project.modules.values() {
        for (name, kind) in &module.kinds {
            match project.kinds.get(name) {
                Some(first) => diagnostics.push(
                    Diagnostic::error(
                        codes::DUPLICATE,
                        format!("two modules declare the kind `{name}`"),
                    )
                    .at(kind.at, "again here")
                    .also(first.at, "first here"),
                ),
                None => {
                    project.kinds.insert(name.clone(), kind.clone());
                }
            }
        }
    }
    for (name, path, file) in text.folders_with("images", "image.toml") {
        let Some(id) = add_source(path, file, sources, diagnostics) else {
            continue;
        };
        match name.parse() {
            Ok(name) => {
                if let Some(image) = image::read(name, id, &language, sources, diagnostics) {
                    project.images.insert(image.name.clone(), image);
                }
            }
            Err(error) => bad_folder(&error, id, diagnostics),
        }
    }
    project.language = language;
    project
}

fn bad_folder(error: &crate::pure::name::NameError, id: SourceId, diagnostics: &mut Diagnostics) {
    diagnostics.push(
        Diagnostic::error(codes::BAD_NAME, error.to_string())
            .at(Span::new(id, 0..0), "the folder of this file has this name"),
    );
}

fn read_settings(
    text: &ProjectText,
    language: &Language,
    sources: &mut Sources,
    diagnostics: &mut Diagnostics,
) -> String {
    let Some(file) = text.get(SETTINGS) else {
        diagnostics.push(
            Diagnostic::error(
                codes::MISSING_FILE,
                format!("there is no `{SETTINGS}` here, so this is no project"),
            )
            .help("run forge in the folder of a project, or name it with `--project DIR`")
            .help("`forge init` makes a new project in an empty folder"),
        );
        return String::new();
    };
    let Some(table) = add_source(SETTINGS, file, sources, diagnostics)
        .and_then(|id| Some((id, parse(sources, id, diagnostics)?)))
    else {
        return String::new();
    };
    let (id, table) = table;
    only_known(&table, &["project"], "forge.toml", diagnostics);
    let Some(section) = table.get("project") else {
        diagnostics.push(
            missing_key("[project]", Span::new(id, 0..0), "forge.toml", None)
                .help("add `[project]` with `name = \"…\"`"),
        );
        return String::new();
    };
    section
        .value
        .as_table()
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
        .unwrap_or_default()
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
            let way: Vec<&str> = chain[position..]
                .iter()
                .map(|file| file.name.as_str())
                .collect();
            diagnostics.push(
                Diagnostic::error(
                    codes::CYCLE,
                    format!("hosts extend each other: {} → {name}", way.join(" → ")),
                )
                .at(at, "this closes the circle"),
            );
            return None;
        }
        let path = format!("hosts/{name}.toml");
        let Some(file) = text.get(&path) else {
            let diagnostic = Diagnostic::error(
                codes::MISSING_FILE,
                format!("there is no host `{name}`: no `{path}`"),
            )
            .suggest(name.as_str(), text.hosts());
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
                        Diagnostic::error(codes::BAD_NAME, error.to_string()).at(parent.at, ""),
                    );
                    return None;
                }
            }
        }
        chain.push(host);
    }
    Some(chain)
}
