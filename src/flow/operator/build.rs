//! A host to a sealed bundle. Pure but for what it is given: the result depends on the project's texts and on nothing else.

use std::collections::BTreeMap;

use super::evaluate::{Evaluated, Opened};
use super::secrets_of;
use crate::pure::bundle::{Draft, from_files};
use crate::pure::files::from_system::{self, Rendered};
use crate::pure::name::{HostName, SecretName};
use crate::pure::system::System;
use crate::pure::text::{Diagnostic, codes};

/// A host, evaluated and rendered, ready to be sealed.
#[derive(Debug)]
pub struct Drafted {
    pub system: System,
    pub rendered: Rendered,
    pub draft: Draft,
}

impl Opened {
    /// Evaluates, renders and drafts one host. `None`, with the mistakes in `diagnostics`, if anything is wrong.
    pub fn draft(&mut self, name: &HostName) -> Option<Drafted> {
        let Evaluated { system, chain } = self.evaluate_to_check(name)?;
        let secrets = secrets_of::read(&chain, &system, self);
        let digests = secrets
            .iter()
            .map(|(name, sealed)| (name.clone(), sealed.digest()))
            .collect();
        let rendered = from_system::render(
            &system,
            &self.project,
            &self.text,
            &digests,
            &mut self.sources,
            &mut self.diagnostics,
        )?;
        if self.diagnostics.has_errors() {
            return None;
        }
        let ciphertexts: BTreeMap<SecretName, Vec<u8>> = secrets
            .into_iter()
            .map(|(name, sealed)| (name, sealed.armored().as_bytes().to_vec()))
            .collect();
        match from_files::draft(&system, &rendered, &ciphertexts) {
            Ok(draft) => Some(Drafted {
                system,
                rendered,
                draft,
            }),
            Err(error) => {
                self.diagnostics
                    .push(Diagnostic::error(codes::BAD_NAME, error.to_string()));
                None
            }
        }
    }
}
