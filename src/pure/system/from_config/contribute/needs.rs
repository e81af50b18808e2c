//! Needs, and who meets them.

use serde_json::{Map, Value as Json, json};

use super::Evaluation;
use crate::pure::config::module::Contribution;
use crate::pure::system::facts::HOST;
use crate::pure::text::{Diagnostic, codes};

impl Evaluation<'_> {
    /// Who meets which need, for templates; and whether every need is met.
    pub(super) fn providers(&mut self, contributors: &[(&str, &[Contribution])]) -> Json {
        let mut providers = Map::new();
        for kind in self
            .project
            .kinds
            .values()
            .filter(|kind| kind.needs_provider)
        {
            if let Some(fact) = self.facts.get("provider", &kind.name) {
                providers.insert(kind.name.clone(), fact.to_json());
                continue;
            }
            let needed = contributors
                .iter()
                .flat_map(|(_, contributions)| contributions.iter())
                .find(|contribution| contribution.kind.text == kind.name);
            let broken = self.failed.covers("provider", &kind.name);
            if let Some(contribution) = needed.filter(|_| !broken) {
                let mut diagnostic = Diagnostic::error(
                    codes::NO_PROVIDER,
                    format!("no enabled module provides a {}", kind.name),
                )
                .at(contribution.at, "needed here");
                for module in self.project.modules.values() {
                    if module
                        .provides
                        .iter()
                        .any(|provided| provided.text == kind.name)
                    {
                        diagnostic = diagnostic.help(format!(
                            "enable a module that does: `[modules.{}]`",
                            module.name
                        ));
                    }
                }
                self.diagnostics.push(diagnostic);
            }
            if needed.is_some() || broken {
                // A stand-in, so that the templates that use it do not fail as well.
                let stand_in = json!({ "host": "nobody", "port": 1, "tls": false, "service": null, "module": HOST, "name": kind.name });
                providers.insert(kind.name.clone(), stand_in);
            }
        }
        Json::Object(providers)
    }
}
