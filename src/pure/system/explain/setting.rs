//! Options of modules, and the `[host]` table: layers of host files above a declared default.

use serde_json::Value as Json;

use super::{Effect, Setting, Source, Step, Unknown, enables, first_part, take_name};
use crate::pure::config::decode::decode;
use crate::pure::config::field::{Field, Fields, Presence, Type};
use crate::pure::config::host::{HostFile, overlay_tables};
use crate::pure::config::module::Module;
use crate::pure::config::node::{Node, NodeKind, Table};
use crate::pure::config::project::Project;
use crate::pure::config::reference::{bounds, written};
use crate::pure::config::value::Value;
use crate::pure::text::{Diagnostics, Span};

/// Explains an option of a module, or a part of one (`users.admins.admin.keys`).
///
/// # Errors
///
/// [`Unknown`] if the module has no such option, or the option no such part.
pub fn option(chain: &[HostFile], module: &Module, path: &str) -> Result<Setting, Unknown> {
    let layers = layers(chain, |file| {
        Some(&file.modules.get(module.name.as_str())?.options)
    });
    let name = module.name.as_str();
    let mut setting = explain(name, &module.options, &layers, path)
        .map_err(|error| error.of(&format!("module `{name}`"), "option"))?;
    setting.enabled = enables(chain, name) == Some(true);
    Ok(setting)
}

/// Every option of a module, in the order of their names.
pub fn module(chain: &[HostFile], module: &Module) -> Vec<Setting> {
    module
        .options
        .names()
        .filter_map(|name| option(chain, module, name).ok())
        .collect()
}

/// Explains a key of `[host]`.
///
/// # Errors
///
/// [`Unknown`] if there is no such key.
pub fn host(chain: &[HostFile], project: &Project, path: &str) -> Result<Setting, Unknown> {
    let layers = layers(chain, |file| file.host.as_ref()?.value.as_table());
    explain("host", &project.language.shape("host"), &layers, path)
        .map_err(|error| error.of("`[host]`", "key"))
}

/// A table of each host file that has it, nearest first.
type Layers<'a> = Vec<(&'a HostFile, &'a Table)>;

fn layers<'a>(
    chain: &'a [HostFile],
    table: impl Fn(&'a HostFile) -> Option<&'a Table>,
) -> Layers<'a> {
    chain
        .iter()
        .filter_map(|file| Some((file, table(file)?)))
        .collect()
}

/// Where a path leads nowhere.
enum Lost {
    Field(Unknown, String),
    Part(Unknown),
}

impl Lost {
    fn of(self, owner: &str, what: &str) -> Unknown {
        match self {
            Self::Field(mut unknown, name) => {
                unknown.message = format!("{owner} has no {what} `{name}`");
                unknown
            }
            Self::Part(unknown) => unknown,
        }
    }
}

fn explain(owner: &str, fields: &Fields, layers: &Layers<'_>, path: &str) -> Result<Setting, Lost> {
    let (name, rest) = take_name(path, fields.names()).ok_or_else(|| {
        let wrong = first_part(path);
        Lost::Field(
            Unknown::new(String::new(), wrong, fields.names()),
            wrong.to_owned(),
        )
    })?;
    let Some(field) = fields.get(name) else {
        return Err(Lost::Field(
            Unknown::new(String::new(), name, []),
            name.to_owned(),
        ));
    };
    let merged = layers
        .iter()
        .rev()
        .fold(Table::default(), |lower, (_, upper)| {
            overlay_tables(lower, (*upper).clone())
        });
    let whole = in_force(field, &merged);
    let subject = format!("{owner}.{name}");
    let found = descend(field, &whole, &subject, rest).map_err(Lost::Part)?;
    let mut keys = vec![name.to_owned()];
    keys.extend(found.keys);
    let nodes: Vec<(Source, &Node)> = layers
        .iter()
        .filter_map(|(file, table)| {
            Some((Source::Host(file.name.to_string()), node_at(table, &keys)?))
        })
        .collect();
    let given = merged.get(name).is_some();
    let default = default_of(field, &keys[1..], given);
    Ok(Setting {
        subject: found.subject,
        ty: type_in_words(&found.ty),
        doc: found.doc,
        value: found.value,
        history: history(nodes, default),
        made_from: Vec::new(),
        enabled: true,
    })
}

/// The value of a field, defaults filled in; as written if it does not fit its type.
fn in_force(field: &Field, merged: &Table) -> Json {
    match (merged.get(&field.name), &field.presence) {
        (Some(entry), _) => {
            // The mistakes in it are for `forge check` to report.
            let mut ignored = Diagnostics::default();
            decode(&entry.value, &field.ty, &field.name, &mut ignored)
                .map_or_else(|| written(&entry.value), |value| value.to_json())
        }
        (None, Presence::Default(value)) => value.to_json(),
        (None, _) => Json::Null,
    }
}

/// What the end of a path is.
pub(super) struct Found {
    pub subject: String,
    pub ty: Type,
    pub doc: String,
    pub value: Json,
    pub keys: Vec<String>,
}

/// Follows `path` into the value of a field.
pub(super) fn descend(
    field: &Field,
    value: &Json,
    subject: &str,
    path: &str,
) -> Result<Found, Unknown> {
    let mut found = Found {
        subject: subject.to_owned(),
        ty: field.ty.clone(),
        doc: field.doc.clone(),
        value: value.clone(),
        keys: Vec::new(),
    };
    let mut rest = path;
    while !rest.is_empty() {
        let wrong = first_part(rest);
        let (key, tail, ty) = match &found.ty {
            Type::Table(fields) => {
                let (key, tail) = take_name(rest, fields.names()).ok_or_else(|| {
                    let message = format!("`{}` has no key `{wrong}`", found.subject);
                    Unknown::new(message, wrong, fields.names())
                })?;
                let field = fields.get(key);
                if let Some(field) = field {
                    found.doc.clone_from(&field.doc);
                }
                (key.to_owned(), tail, field.map(|field| field.ty.clone()))
            }
            Type::Map(of) => {
                let keys: Vec<&str> = found
                    .value
                    .as_object()
                    .map(|map| map.keys().map(String::as_str).collect())
                    .unwrap_or_default();
                let (key, tail) = take_name(rest, keys.iter().copied()).ok_or_else(|| {
                    let message = format!("nobody sets `{wrong}` in `{}`", found.subject);
                    Unknown::new(message, wrong, keys.iter().copied())
                })?;
                (key.to_owned(), tail, Some((**of).clone()))
            }
            other => {
                let message = format!(
                    "`{}` is a {} and is explained as a whole",
                    found.subject,
                    other.describe()
                );
                return Err(Unknown {
                    message,
                    near: None,
                });
            }
        };
        let Some(ty) = ty else {
            break;
        };
        found.subject = format!("{}.{key}", found.subject);
        found.value = found.value.get(&key).cloned().unwrap_or(Json::Null);
        found.ty = ty;
        found.keys.push(key);
        rest = tail;
    }
    Ok(found)
}

pub(super) fn type_in_words(ty: &Type) -> String {
    match bounds(ty).as_str() {
        "" => ty.describe(),
        bounds => format!("{}, {bounds}", ty.describe()),
    }
}

pub(super) fn node_at<'a>(table: &'a Table, keys: &[String]) -> Option<&'a Node> {
    let (last, above) = keys.split_last()?;
    let mut here = table;
    for key in above {
        here = here.get(key)?.value.as_table()?;
    }
    Some(&here.get(last)?.value)
}

/// The declared default at a path into a field: its own, or a part of one that stands above it and is in force when nobody
/// `given` anything.
pub(super) fn default_of(field: &Field, keys: &[String], given: bool) -> Option<(Json, Span)> {
    let own = |field: &Field| match &field.presence {
        Presence::Default(value) => Some(value.clone()),
        _ => None,
    };
    let mut here: Option<Value> = own(field);
    let mut ty = &field.ty;
    for key in keys {
        let above = here.take().filter(|_| !given);
        let part = above.and_then(|value| value.get(key).cloned());
        match ty {
            Type::Table(fields) => {
                let inner = fields.get(key)?;
                here = part.or_else(|| own(inner));
                ty = &inner.ty;
            }
            Type::Map(of) => {
                here = part;
                ty = of;
            }
            _ => return None,
        }
    }
    here.map(|value| (value.to_json(), value.at))
}

/// Orders what was said of a value: `nodes` from the one that wins, then the default.
pub(super) fn history(nodes: Vec<(Source, &Node)>, default: Option<(Json, Span)>) -> Vec<Step> {
    // Tables are merged until something else is in the way; anything else is replaced.
    let is_table = |node: &Node| matches!(node.kind, NodeKind::Table(_));
    let joined = nodes.iter().take_while(|(_, node)| is_table(node)).count();
    let in_force = joined.max(1);
    let mut steps: Vec<Step> = nodes
        .into_iter()
        .enumerate()
        .map(|(position, (source, node))| Step {
            effect: match position {
                _ if position >= in_force => Effect::Overridden,
                _ if in_force > 1 => Effect::Joins,
                _ => Effect::Decides,
            },
            source,
            at: node.span,
            value: written(node),
        })
        .collect();
    if let Some((value, at)) = default {
        steps.push(Step {
            effect: if steps.is_empty() {
                Effect::Decides
            } else {
                Effect::Overridden
            },
            source: Source::Default,
            at,
            value,
        });
    }
    steps
}
