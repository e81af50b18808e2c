//! Contributions that are repeated.

use handlebars::Context;
use serde_json::{Value as Json, json};

use super::Evaluation;
use crate::pure::config::module::{Contribution, Kind, Named};
use crate::pure::template::{look_up, split_path};
use crate::pure::text::{Diagnostic, Span, codes};

impl Evaluation<'_> {
    /// The items that `for_each` names, as `each` has them.
    pub(super) fn items(&mut self, path: &str, at: Span, context: &Context) -> Option<Vec<Json>> {
        let form = |what: &str| {
            Diagnostic::error(codes::BAD_FOR_EACH, format!("`{path}` {what}"))
                .at(at, "a list or a map is wanted")
        };
        let usage = "write `options.NAME`, or `facts.KIND` for all contributions of a kind";
        let Some(names) = split_path(path) else {
            self.diagnostics
                .push(form("is nothing to repeat over").help(usage));
            return None;
        };
        if let ["facts", kind] = names.as_slice() {
            if !self.project.kinds.contains_key(*kind) {
                if !self.project.knows(kind) {
                    let known: Vec<String> = self
                        .project
                        .kinds
                        .keys()
                        .map(|kind| format!("facts.{kind}"))
                        .collect();
                    self.diagnostics.push(
                        form("names a kind that no module declares")
                            .suggest(path, known.iter().map(String::as_str)),
                    );
                }
                return None;
            }
            let items = self
                .facts
                .of(kind)
                .map(|fact| json!({ "key": fact.name, "value": fact.to_json() }));
            return Some(items.collect());
        }
        match look_up(context.data(), &names) {
            Ok(Json::Array(items)) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(key, value)| json!({ "key": key, "value": value }))
                    .collect(),
            ),
            Ok(Json::Object(map)) => Some(
                map.iter()
                    .map(|(key, value)| json!({ "key": key, "value": value }))
                    .collect(),
            ),
            Ok(Json::Null) => Some(Vec::new()),
            Ok(_) => {
                self.diagnostics
                    .push(form("is neither a list nor a map").help(usage));
                None
            }
            Err(_) => {
                let known: Vec<String> = context.data()["options"]
                    .as_object()
                    .into_iter()
                    .flat_map(|options| options.keys().map(|key| format!("options.{key}")))
                    .collect();
                // Whoever forgets `options.` means an option all the same.
                let meant = match names.as_slice() {
                    [name] => format!("options.{name}"),
                    _ => path.to_owned(),
                };
                self.diagnostics.push(match known.contains(&meant) {
                    true => form("is not defined here").help(format!("did you mean `{meant}`?")),
                    false => form("is not defined here")
                        .suggest(&meant, known.iter().map(String::as_str))
                        .help(usage),
                });
                None
            }
        }
    }

    /// Makes a contribution for each item. What is wrong with some of them says with which.
    pub(super) fn repeat(
        &mut self,
        module: &str,
        contribution: &Contribution,
        kind: &Kind,
        items: Vec<Json>,
        context: &mut Context,
    ) {
        let count = items.len();
        let mut all: Vec<(Diagnostic, Vec<String>)> = Vec::new();
        for item in items {
            let key = match &item["key"] {
                Json::String(key) => key.clone(),
                key => key.to_string(),
            };
            let before = std::mem::take(self.diagnostics);
            self.one(module, contribution, kind, Some(item), context);
            let found = std::mem::replace(self.diagnostics, before);
            for diagnostic in found {
                match all.iter_mut().find(|(other, _)| *other == diagnostic) {
                    Some((_, keys)) => keys.push(key.clone()),
                    None => all.push((diagnostic, vec![key.clone()])),
                }
            }
        }
        for (diagnostic, keys) in all {
            const SHOWN: usize = 5;
            let list: Vec<String> = keys
                .iter()
                .take(SHOWN)
                .map(|key| format!("`{key}`"))
                .collect();
            self.diagnostics.push(match keys.len() {
                n if n == count && n > 1 => diagnostic.note("for every item of `for_each`"),
                1 => diagnostic.note(format!("for the item {} of `for_each`", list.join(""))),
                n if n > SHOWN => diagnostic.note(format!(
                    "for the items {} and {} more of `for_each`",
                    list.join(", "),
                    n - SHOWN
                )),
                _ => diagnostic.note(format!("for the items {} of `for_each`", list.join(", "))),
            });
        }
    }

    /// Refuses contributions over facts of a kind to that kind itself, or to one that others are repeated over: there would be no end.
    pub(super) fn check_derived(&mut self, contributors: &[(&str, &[Contribution])]) {
        let derived: Vec<(&Contribution, &Named, &str)> = contributors
            .iter()
            .flat_map(|(_, contributions)| contributions.iter())
            .filter_map(|contribution| {
                let each = contribution.for_each.as_ref()?;
                Some((contribution, each, each.text.strip_prefix("facts.")?))
            })
            .collect();
        for (contribution, each, source) in &derived {
            let kind = contribution.kind.text.as_str();
            if kind == "provider" {
                self.diagnostics.push(
                    Diagnostic::error(codes::BAD_FOR_EACH, "a provider cannot be made over facts")
                        .at(each.at, "there are no facts yet")
                        .note("providers are made before all others, so that these can use them")
                        .help("repeat it over an option, or not at all"),
                );
            } else if kind == *source {
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::BAD_FOR_EACH,
                        format!("contributions of the kind `{kind}` are repeated over themselves"),
                    )
                    .at(each.at, "there would be no end")
                    .help("contribute to another kind, or repeat over another"),
                );
            } else if let Some((_, other, _)) =
                derived.iter().find(|(_, _, source)| *source == kind)
            {
                self.diagnostics.push(
                    Diagnostic::error(
                        codes::BAD_FOR_EACH,
                        format!("contributions of the kind `{kind}` are made over facts, and repeated over"),
                    )
                    .at(each.at, "made here")
                    .also(other.at, "repeated over here")
                    .note("contributions over facts are made once, after all others")
                    .help("contribute to another kind, or repeat over another"),
                );
            }
        }
    }
}
