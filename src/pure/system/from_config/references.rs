//! Names that contributions use for each other: made full, and followed.

use super::failed::Failed;
use crate::pure::config::field::Type;
use crate::pure::config::project::Project;
use crate::pure::config::value::{Data, Value};
use crate::pure::system::facts::{Fact, Facts};
use crate::pure::text::{Diagnostic, Diagnostics, codes};

/// Makes the short names of files in `value` full: within its module a file needs no `MODULE/`.
pub(super) fn qualify(value: &mut Value, ty: &Type, module: &str) {
    match (ty, &mut value.data) {
        (Type::Ref(kind), Data::Str(name)) if kind == "file" && !name.contains('/') => {
            *name = format!("{module}/{name}");
        }
        (Type::List { of, .. }, Data::List(items)) => {
            items.iter_mut().for_each(|item| qualify(item, of, module));
        }
        (Type::Map(of), Data::Map(map)) => {
            map.values_mut().for_each(|item| qualify(item, of, module))
        }
        (Type::Table(fields), Data::Map(map)) => {
            for (key, item) in map {
                if let Some(field) = fields.get(key) {
                    qualify(item, &field.ty, module);
                }
            }
        }
        _ => {}
    }
}

/// Reports every reference that leads nowhere.
pub(super) fn follow(
    facts: &Facts,
    failed: &Failed,
    project: &Project,
    diagnostics: &mut Diagnostics,
) {
    let world = World {
        facts,
        failed,
        project,
    };
    for fact in facts.iter() {
        let Some(kind) = project.kinds.get(&fact.kind) else {
            continue;
        };
        let Data::Map(map) = &fact.value.data else {
            continue;
        };
        for (key, value) in map {
            if let Some(field) = kind.fields.get(key) {
                follow_value(value, &field.ty, fact, &world, diagnostics);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct World<'a> {
    facts: &'a Facts,
    failed: &'a Failed,
    project: &'a Project,
}

fn follow_value(
    value: &Value,
    ty: &Type,
    fact: &Fact,
    world: &World<'_>,
    diagnostics: &mut Diagnostics,
) {
    let World {
        facts,
        failed,
        project,
    } = *world;
    match (ty, &value.data) {
        (Type::Ref(kind), Data::Str(name)) if facts.get(kind, name).is_none() => {
            if failed.covers(kind, name) || !project.kinds.contains_key(kind) {
                return;
            }
            let short = |full: &str| {
                full.strip_prefix(&format!("{}/", fact.module))
                    .unwrap_or(full)
                    .to_owned()
            };
            let known: Vec<String> = facts.names(kind).map(short).collect();
            let name = short(name);
            let mut diagnostic = Diagnostic::error(
                codes::UNKNOWN_REFERENCE,
                format!(
                    "{} refers to the {kind} `{name}`, which does not exist",
                    fact.subject()
                ),
            )
            .at(value.at, "")
            .suggest(&name, known.iter().map(String::as_str));
            if let Some(module) = contributor(kind, &name, facts, project) {
                diagnostic = diagnostic.help(format!(
                    "module `{module}` makes it: enable it with `[modules.{module}]`"
                ));
            }
            diagnostics.push(diagnostic);
        }
        (Type::Image, Data::Str(name)) if !project.images.contains_key(name.as_str()) => {
            if project.broken.images.contains(name) {
                return;
            }
            diagnostics.push(
                Diagnostic::error(codes::UNKNOWN_IMAGE, format!("there is no image `{name}`"))
                    .at(value.at, "")
                    .suggest(name, project.images.keys().map(|name| name.as_str()))
                    .help(format!("an image is declared in images/{name}/image.toml")),
            );
        }
        (Type::List { of, .. }, Data::List(items)) => {
            for (position, item) in items.iter().enumerate() {
                let twice = matches!(**of, Type::Ref(_))
                    && items[..position]
                        .iter()
                        .any(|other| other.as_str() == item.as_str());
                if twice {
                    diagnostics.push(
                        Diagnostic::error(
                            codes::DUPLICATE,
                            format!(
                                "{} names `{}` twice",
                                fact.subject(),
                                item.as_str().unwrap_or_default()
                            ),
                        )
                        .at(item.at, "again here")
                        .help("remove one of them"),
                    );
                } else {
                    follow_value(item, of, fact, world, diagnostics);
                }
            }
        }
        (Type::Map(of), Data::Map(map)) => {
            for item in map.values() {
                follow_value(item, of, fact, world, diagnostics);
            }
        }
        (Type::Table(fields), Data::Map(map)) => {
            for (key, item) in map {
                if let Some(field) = fields.get(key) {
                    follow_value(item, &field.ty, fact, world, diagnostics);
                }
            }
        }
        _ => {}
    }
}

/// A module that would make the thing, if it were enabled.
fn contributor<'a>(kind: &str, name: &str, facts: &Facts, project: &'a Project) -> Option<&'a str> {
    project
        .modules
        .values()
        .filter(|module| !facts.iter().any(|fact| fact.module == module.name.as_str()))
        .find(|module| {
            module.contributions.iter().any(|contribution| {
                contribution.kind.text == kind && contribution.name.as_str() == Some(name)
            })
        })
        .map(|module| module.name.as_str())
}
