//! The texts of a project to evaluated hosts.

use crate::pure::config::from_text::project;
use crate::pure::config::host::HostFile;
use crate::pure::config::project::{Project, ProjectText};
use crate::pure::images::inputs;
use crate::pure::name::HostName;
use crate::pure::pins::{self, Pins};
use crate::pure::system::{Host, System, from_config};
use crate::pure::text::{Diagnostics, Sources};

/// A project that has been read, its hosts to be evaluated one by one.
#[derive(Clone, Debug)]
pub struct Opened {
    pub text: ProjectText,
    pub project: Project,
    pub pins: Pins,
    pub sources: Sources,
    pub diagnostics: Diagnostics,
}

/// A host and the files that it was evaluated from.
#[derive(Debug)]
pub struct Evaluated {
    pub system: System,
    pub chain: Vec<HostFile>,
}

impl Opened {
    /// Reads what all hosts have in common. Mistakes are in `diagnostics`.
    pub fn read(text: ProjectText) -> Self {
        let mut sources = Sources::default();
        let mut diagnostics = Diagnostics::default();
        let project = project::read(&text, &mut sources, &mut diagnostics);
        let mut pins = pins::read(&text, &project, &mut sources, &mut diagnostics);
        // What has no inputs has a mistake that is reported elsewhere.
        pins.inputs = project
            .images
            .values()
            .filter(|image| image.recipe().is_some())
            .filter_map(|image| {
                let inputs = inputs::inputs(&project, &text, &image.name).ok()?;
                Some((image.name.clone(), inputs))
            })
            .collect();
        Self {
            text,
            project,
            pins,
            sources,
            diagnostics,
        }
    }

    /// What the host file says of the host itself: enough to reach it. Of mistakes elsewhere in the project nothing is said.
    ///
    /// # Errors
    /// The mistakes of the host file, and of those that it extends.
    pub fn host(&mut self, name: &HostName) -> Result<Host, Diagnostics> {
        let mut found = Diagnostics::default();
        let language = &self.project.language;
        let chain = project::read_host(name, &self.text, language, &mut self.sources, &mut found);
        let host = chain.and_then(|chain| from_config::host(&self.project, &chain, &mut found));
        match host {
            Some(host) if !found.has_errors() => Ok(host),
            _ => Err(found),
        }
    }

    /// Evaluates one host. `None`, with the mistakes in `diagnostics`, if it or the project has any.
    pub fn evaluate(&mut self, name: &HostName) -> Option<Evaluated> {
        self.evaluate_by(name, from_config::evaluate)
    }

    /// The same, but of a host that only breaks rules: to be checked further, not to be built.
    pub fn evaluate_to_check(&mut self, name: &HostName) -> Option<Evaluated> {
        self.evaluate_by(name, from_config::evaluate_to_check)
    }

    fn evaluate_by(
        &mut self,
        name: &HostName,
        evaluate: fn(&Project, &Pins, &[HostFile], &mut Diagnostics) -> Option<System>,
    ) -> Option<Evaluated> {
        let chain = project::read_host(
            name,
            &self.text,
            &self.project.language,
            &mut self.sources,
            &mut self.diagnostics,
        )?;
        let system = evaluate(&self.project, &self.pins, &chain, &mut self.diagnostics)?;
        Some(Evaluated { system, chain })
    }
}
