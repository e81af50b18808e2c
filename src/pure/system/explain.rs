//! Why a value of a host is what it is: who said it, what that overrode, down to the module's own words and defaults.
//!
//! Options are explained from the files alone, so that a host with mistakes elsewhere can be explained, too; contributions from
//! the evaluated [`System`](super::System).

mod contribution;
mod setting;

pub use contribution::{contribution, kind};
pub use setting::{host, module, option};

use serde_json::Value as Json;

use crate::pure::config::host::HostFile;
use crate::pure::text::{Span, did_you_mean};

/// The answer to a question about a host.
#[derive(Clone, Debug)]
pub enum Explanation {
    /// One option, or one field of a contribution.
    Setting(Setting),
    /// A contribution with all its fields.
    Contribution(Contributed),
    /// A module with all its options.
    Module(Vec<Setting>),
    /// The contributions of a kind: subject, module, place.
    Kind(Vec<Related>),
}

/// One value, and how it came about.
#[derive(Clone, Debug)]
pub struct Setting {
    /// As the question would name it: `postgres.memory`, `service.grafana.limits.memory`.
    pub subject: String,
    pub ty: String,
    pub doc: String,
    /// What is in force; null if nothing is.
    pub value: Json,
    /// What decides first, then what it overrode, nearest to the host first.
    pub history: Vec<Step>,
    /// Options of the same module that the deciding template takes: more to ask about.
    pub made_from: Vec<String>,
    /// False for an option of a module that the host does not enable: nothing comes of it.
    pub enabled: bool,
}

impl Setting {
    /// True if nobody said anything and the default is in force, or nothing at all.
    pub fn is_default(&self) -> bool {
        self.history
            .first()
            .is_none_or(|step| step.source == Source::Default)
    }
}

/// One place where a value was said.
#[derive(Clone, Debug)]
pub struct Step {
    pub effect: Effect,
    pub source: Source,
    pub at: Span,
    /// As written, a template not yet run.
    pub value: Json,
}

/// What became of what was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is the value.
    Decides,
    /// It is a part of the value: tables are merged key by key.
    Joins,
    Overridden,
}

/// Who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A host file, by the name of the host.
    Host(String),
    Module(String),
    /// The declaration of the option or field.
    Default,
}

/// A contribution and everything about it.
#[derive(Clone, Debug)]
pub struct Contributed {
    pub subject: String,
    pub doc: String,
    pub module: String,
    pub at: Span,
    /// What `for_each` it was made by, and from which item.
    pub repeated: Option<(String, String)>,
    /// Contributions of extended hosts that this one replaces as a whole.
    pub replaces: Vec<Span>,
    pub fields: Vec<Setting>,
    /// What is mounted into a service by `[[mount]]`: the place in the container and the mount.
    pub mounted: Vec<(String, Related)>,
    /// Who refers to it by name.
    pub named_by: Vec<Related>,
}

/// Another contribution.
#[derive(Clone, Debug)]
pub struct Related {
    pub subject: String,
    pub module: String,
    pub at: Span,
}

/// A name that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    pub message: String,
    pub near: Option<String>,
}

impl Unknown {
    pub fn new<'a>(
        message: impl Into<String>,
        wrong: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            message: message.into(),
            near: did_you_mean(wrong, known).map(str::to_owned),
        }
    }
}

/// Whether the host enables a module, all its files considered; `None` if no file names it.
pub fn enables(chain: &[HostFile], module: &str) -> Option<bool> {
    // As when the files are merged: the nearest one that names the module decides.
    chain
        .iter()
        .find_map(|file| file.modules.get(module))
        .map(|usage| usage.enable.is_none_or(|(on, _)| on))
}

/// The place of `[modules.NAME]` that decides.
pub fn named_at(chain: &[HostFile], module: &str) -> Option<Span> {
    chain
        .iter()
        .find_map(|file| file.modules.get(module))
        .map(|usage| usage.at)
}

/// Takes the longest of `names` from the beginning of a dotted path, and what is left of the path. Names may hold dots themselves; in
/// the path they may stand in quotes.
fn take_name<'p, 'n>(
    path: &'p str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<(&'n str, &'p str)> {
    let mut best: Option<(&str, &str)> = None;
    for name in names {
        let rest = path.strip_prefix(name).or_else(|| {
            path.strip_prefix('"')?
                .strip_prefix(name)?
                .strip_prefix('"')
        });
        let rest = match rest {
            Some("") => "",
            Some(rest) => match rest.strip_prefix('.') {
                Some(rest) => rest,
                None => continue,
            },
            None => continue,
        };
        if best.is_none_or(|(longest, _)| name.len() > longest.len()) {
            best = Some((name, rest));
        }
    }
    best
}

/// The part of a path before its first dot, for messages.
fn first_part(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}
