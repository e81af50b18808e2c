//! A question about a host to its answers.

use super::evaluate::Opened;
use crate::pure::config::from_text::project::read_host;
use crate::pure::name::HostName;
use crate::pure::system::explain::{self, Explanation, Unknown};
use crate::pure::system::from_config;

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// The files have mistakes, which are in the diagnostics.
    Mistakes,
    Unknown(Unknown),
}

/// Answers `MODULE`, `MODULE.OPTION…`, `KIND`, `KIND.NAME…` or `host.KEY`. A word may be the name of both a module and a kind: then
/// there may be two answers.
///
/// # Errors
///
/// [`NoAnswer`] if nothing is called so, or the host cannot be evaluated and the answer needs it.
pub fn explain(
    opened: &mut Opened,
    host: &HostName,
    subject: &str,
) -> Result<Vec<Explanation>, NoAnswer> {
    let Opened {
        text,
        project,
        pins,
        sources,
        diagnostics,
    } = opened;
    let chain =
        read_host(host, text, &project.language, sources, diagnostics).ok_or(NoAnswer::Mistakes)?;
    let (head, rest) = subject.split_once('.').unwrap_or((subject, ""));
    if head == "host" && !rest.is_empty() {
        return explain::host(&chain, project, rest)
            .map(|setting| vec![Explanation::Setting(setting)])
            .map_err(NoAnswer::Unknown);
    }
    let (module, kind) = (project.modules.get(head), project.kinds.get(head));
    let mut answers = Vec::new();
    let mut unknown = None;
    if let Some(module) = module {
        if rest.is_empty() {
            answers.push(Explanation::Module(explain::module(&chain, module)));
        } else {
            match explain::option(&chain, module, rest) {
                Ok(setting) => answers.push(Explanation::Setting(setting)),
                Err(error) => unknown = Some(error),
            }
        }
    }
    if let Some(kind) = kind {
        // A host with mistakes has no contributions; the answer about the module stands all the same.
        match from_config::evaluate(project, pins, &chain, diagnostics) {
            Some(system) if rest.is_empty() => {
                answers.push(Explanation::Kind(explain::kind(&system, &kind.name)));
            }
            Some(system) => match explain::contribution(project, &chain, &system, kind, rest) {
                Ok(answer) => answers.push(answer),
                Err(error) => unknown = Some(both(unknown, error)),
            },
            None if answers.is_empty() => return Err(NoAnswer::Mistakes),
            None => {}
        }
    }
    if !answers.is_empty() {
        return Ok(answers);
    }
    Err(NoAnswer::Unknown(unknown.unwrap_or_else(|| {
        let known = project.modules.keys().map(|name| name.as_str());
        let known = known.chain(project.kinds.keys().map(String::as_str));
        Unknown::new(
            format!("`{head}` is neither a module nor a kind of contribution"),
            head,
            known,
        )
    })))
}

fn both(first: Option<Unknown>, second: Unknown) -> Unknown {
    match first {
        None => second,
        Some(first) => Unknown {
            message: format!("{}, and {}", first.message, second.message),
            near: first.near.or(second.near),
        },
    }
}

#[cfg(test)]
mod tests;
