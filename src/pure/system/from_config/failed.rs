//! What a host would have, were it not for mistakes that are reported already: what refers to it is not wrong for that.

use std::collections::BTreeSet;

use crate::pure::config::module::Contribution;
use crate::pure::template::is_template;

#[derive(Debug, Default)]
pub(super) struct Failed {
    names: BTreeSet<(String, String)>,
    kinds: BTreeSet<String>,
    everything: bool,
}

impl Failed {
    /// A module that cannot be read may have made anything.
    pub(super) fn add_everything(&mut self) {
        self.everything = true;
    }

    pub(super) fn add(&mut self, kind: &str, full_name: &str) {
        self.names.insert((kind.to_owned(), full_name.to_owned()));
    }

    /// A contribution that was not made at all.
    pub(super) fn add_contribution(&mut self, module: &str, contribution: &Contribution) {
        let kind = contribution.kind.text.as_str();
        match contribution.name.as_str() {
            Some(name) if !is_template(name) => self.add(kind, &full_name(kind, module, name)),
            _ => {
                self.kinds.insert(kind.to_owned());
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        let Self {
            names,
            kinds,
            everything,
        } = self;
        names.is_empty() && kinds.is_empty() && !everything
    }

    pub(super) fn covers(&self, kind: &str, name: &str) -> bool {
        self.everything
            || self.kinds.contains(kind)
            || self.names.contains(&(kind.to_owned(), name.to_owned()))
    }
}

/// The name of a contribution among its kind: within its module a file needs no `MODULE/`.
pub(super) fn full_name(kind: &str, module: &str, name: &str) -> String {
    match kind {
        "file" => format!("{module}/{name}"),
        _ => name.to_owned(),
    }
}
