//! The accounts of a recipe, and what images that continue each other must be: there, recipes, and in no circle.

use std::collections::BTreeMap;

use super::Reader;
use super::recipe::{named, number};
use crate::pure::config::image::{ImageSource, Recipe};
use crate::pure::config::module::Named;
use crate::pure::config::project::Project;
use crate::pure::config::value::Value;
use crate::pure::name::ImageName;
use crate::pure::text::{Diagnostic, Diagnostics, Span, codes};

/// The users and groups that a recipe declares, and those that it counts on.
#[derive(Default)]
pub(in crate::pure::config::from_text) struct Accounts {
    users: Vec<Account>,
    groups: Vec<Account>,
    /// The names in `run.user`, which this recipe or one below it must declare.
    wants_user: Option<Named>,
    wants_group: Option<Named>,
}

struct Account {
    name: Named,
    id: u32,
    id_at: Span,
}

fn account(value: &Value, key: &str) -> Account {
    Account {
        name: named(value, "name"),
        id: number(value, key).unwrap_or_default(),
        id_at: value.get(key).map_or(value.at, |id| id.at),
    }
}

impl Reader<'_> {
    pub(super) fn accounts(
        &mut self,
        groups: &[Value],
        users: &[Value],
        run: Option<&Value>,
    ) -> Accounts {
        let mut accounts = Accounts {
            users: users.iter().map(|user| account(user, "uid")).collect(),
            groups: groups.iter().map(|group| account(group, "gid")).collect(),
            ..Accounts::default()
        };
        for (what, all) in [("user", &accounts.users), ("group", &accounts.groups)] {
            for (index, account) in all.iter().enumerate() {
                for first in &all[..index] {
                    account.differs(first, what, self.diagnostics);
                }
            }
        }
        if let Some(user) = run.and_then(|run| run.get("user")) {
            let mut parts = user.as_str().unwrap_or_default().split(':');
            let mut wanted = || {
                let name = parts.next()?;
                let number = name.bytes().all(|byte| byte.is_ascii_digit());
                (!number && name != "root").then(|| Named {
                    text: name.to_owned(),
                    at: user.at,
                })
            };
            accounts.wants_user = wanted();
            accounts.wants_group = wanted();
        }
        accounts
    }
}

impl Account {
    /// Reports that two accounts have the same name or the same number.
    fn differs(&self, first: &Self, what: &str, diagnostics: &mut Diagnostics) {
        let (same, at, first_at) = if self.name.text == first.name.text {
            (
                format!("two {what}s are called `{}`", self.name.text),
                self.name.at,
                first.name.at,
            )
        } else if self.id == first.id {
            (
                format!("two {what}s have the number {}", self.id),
                self.id_at,
                first.id_at,
            )
        } else {
            return;
        };
        diagnostics.push(
            Diagnostic::error(codes::DUPLICATE, same)
                .at(at, "again here")
                .also(first_at, "first here")
                .help("choose another for one of them"),
        );
    }
}

/// Checks the recipes of a project in the light of those that they continue.
pub(in crate::pure::config::from_text) fn check(
    all: &BTreeMap<ImageName, Accounts>,
    project: &Project,
    diagnostics: &mut Diagnostics,
) {
    for (name, accounts) in all {
        let Some(recipe) = project.images.get(name).and_then(|image| image.recipe()) else {
            continue;
        };
        if !base_is_usable(name, recipe, project, diagnostics) {
            continue;
        }
        let Some(chain) = chain(name, recipe, project, diagnostics) else {
            continue;
        };
        let below: Vec<&Accounts> = chain.iter().filter_map(|name| all.get(*name)).collect();
        for base in &below {
            for (what, mine, theirs) in [
                ("user", &accounts.users, &base.users),
                ("group", &accounts.groups, &base.groups),
            ] {
                for account in mine {
                    for first in theirs {
                        account.differs(first, what, diagnostics);
                    }
                }
            }
        }
        let known = |list: fn(&Accounts) -> &Vec<Account>| {
            below
                .iter()
                .copied()
                .chain([accounts])
                .flat_map(list)
                .map(|account| account.name.text.as_str())
                .collect::<Vec<_>>()
        };
        let users = known(|accounts| &accounts.users);
        // A user brings a group of its name.
        let groups = [known(|accounts| &accounts.groups), users.clone()].concat();
        for (what, wanted, known) in [
            ("user", &accounts.wants_user, users),
            ("group", &accounts.wants_group, groups),
        ] {
            if let Some(wanted) = wanted
                .as_ref()
                .filter(|wanted| !known.contains(&wanted.text.as_str()))
            {
                diagnostics.push(
                    Diagnostic::error(
                        codes::UNKNOWN_USER,
                        format!("image `{name}` has no {what} `{}`", wanted.text),
                    )
                    .at(wanted.at, "")
                    .suggest(&wanted.text, known)
                    .help(format!(
                        "declare it with `[[{what}]]`, or write numbers as in \"70:70\""
                    )),
                );
            }
        }
    }
}

/// Whether the base of a recipe, if it has one, is a recipe of the project for the same architectures.
fn base_is_usable(
    name: &ImageName,
    recipe: &Recipe,
    project: &Project,
    diagnostics: &mut Diagnostics,
) -> bool {
    let Some((base, at)) = &recipe.base else {
        return true;
    };
    let Some(image) = project.images.get(base) else {
        if !project.broken.images.contains(base.as_str()) {
            let others = project
                .images
                .values()
                .filter(|image| image.recipe().is_some() && image.name != *name)
                .map(|image| image.name.as_str());
            diagnostics.push(
                Diagnostic::error(
                    codes::UNKNOWN_IMAGE,
                    format!("image `{name}` continues `{base}`, which does not exist"),
                )
                .at(*at, "")
                .suggest(base.as_str(), others),
            );
        }
        return false;
    };
    match &image.source {
        ImageSource::Registry(registry) => {
            diagnostics.push(
                Diagnostic::error(
                    codes::BAD_BASE,
                    format!("image `{name}` continues `{base}`, which comes from a registry"),
                )
                .at(*at, "a recipe is wanted")
                .also(registry.tag_at, "somebody else built it")
                .help("name an image that forge builds, or leave `base` out and list the packages"),
            );
            false
        }
        ImageSource::Recipe(below) => {
            let missing: Vec<&str> = recipe
                .arch
                .difference(&below.arch)
                .map(|arch| arch.as_str())
                .collect();
            if !missing.is_empty() {
                diagnostics.push(
                    Diagnostic::error(
                        codes::BAD_BASE,
                        format!(
                            "image `{name}` is built for {}, and `{base}` is not",
                            missing.join(" and ")
                        ),
                    )
                    .at(*at, "")
                    .also(below.at, format!("`arch` of `{base}` belongs here"))
                    .help("give both the same `arch`"),
                );
            }
            true
        }
    }
}

/// The images below a recipe, the nearest first. `None`, and a report by one of them, if they go in a circle or end in nothing.
fn chain<'a>(
    name: &'a ImageName,
    recipe: &'a Recipe,
    project: &'a Project,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<&'a ImageName>> {
    let mut way = vec![name];
    let mut next = recipe.base.as_ref();
    while let Some((base, at)) = next {
        if let Some(start) = way.iter().position(|seen| *seen == base) {
            // Each of the circle finds it; the first by name says it.
            let circle = &way[start..];
            if start == 0 && circle.iter().min() == Some(&name) {
                let names: Vec<&str> = circle
                    .iter()
                    .copied()
                    .chain([base])
                    .map(|name| name.as_str())
                    .collect();
                diagnostics.push(
                    Diagnostic::error(
                        codes::CYCLE,
                        format!("images continue each other: {}", names.join(" → ")),
                    )
                    .at(*at, "this closes the circle")
                    .help("remove one of these `base`"),
                );
            }
            return None;
        }
        way.push(base);
        next = project.images.get(base)?.recipe()?.base.as_ref();
    }
    way.remove(0);
    Some(way)
}
