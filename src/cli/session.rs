//! What most commands begin with: the project read, a host evaluated, mistakes reported.

use crate::cli::args::Global;
use crate::cli::error::{CliError, Exit};
use crate::cli::{report, tell};
use crate::edge::{catalogue, project};
use crate::flow::operator::build::Drafted;
use crate::flow::operator::evaluate::{Evaluated, Opened};
use crate::pure::config::from_text::project::SETTINGS;
use crate::pure::config::project::{ProjectText, TextFile};
use crate::pure::name::HostName;

/// Reads the project that the arguments name, with the catalogue below it.
pub(crate) fn open(global: &Global) -> Result<Opened, CliError> {
    read(global).map(Opened::read)
}

fn read(global: &Global) -> Result<ProjectText, CliError> {
    if !global.project.is_dir() {
        return Err(CliError::new(
            Exit::Failed,
            format!("{} is no folder", global.project.display()),
        ));
    }
    let mut text = project::read(&global.project).map_err(|error| CliError::failed(&error))?;
    catalogue::add_below(&mut text);
    Ok(text)
}

/// As [`open`], for what needs no host: in a folder that is no project there is the catalogue alone. Mistakes in the project's own
/// modules and images are reported, and refused, since what is said of them would be wrong.
pub(crate) fn browse(global: &Global) -> Result<Opened, CliError> {
    let mut text = read(global)?;
    text.files
        .entry(SETTINGS.to_owned())
        .or_insert_with(|| TextFile {
            bytes: b"[project]\nname = \"catalogue\"\n".into(),
            embedded: true,
        });
    let opened = Opened::read(text);
    if opened.diagnostics.has_errors() {
        return Err(refuse(&opened, "the project cannot be described"));
    }
    Ok(opened)
}

pub(crate) fn host_name(text: &str) -> Result<HostName, CliError> {
    text.parse().map_err(|error: crate::pure::name::NameError| {
        CliError::new(Exit::Usage, error.to_string())
    })
}

/// Evaluates one host, or reports all mistakes and says how many.
pub(crate) fn evaluate(opened: &mut Opened, name: &HostName) -> Result<Evaluated, CliError> {
    match opened.evaluate(name) {
        Some(evaluated) if !opened.diagnostics.has_errors() => Ok(evaluated),
        _ => Err(refuse(
            opened,
            &format!("host `{name}` cannot be evaluated"),
        )),
    }
}

/// Evaluates and renders one host, or reports all mistakes and says how many.
pub(crate) fn draft(opened: &mut Opened, name: &HostName) -> Result<Drafted, CliError> {
    match opened.draft(name) {
        Some(drafted) if !opened.diagnostics.has_errors() => Ok(drafted),
        _ => Err(refuse(opened, &format!("host `{name}` cannot be built"))),
    }
}

/// Prints the diagnostics; the error to end with.
pub(crate) fn refuse(opened: &Opened, what: &str) -> CliError {
    tell(&report::draw(&opened.diagnostics, &opened.sources));
    let count = report::count(&opened.diagnostics).unwrap_or_else(|| "no reason known".to_owned());
    CliError::new(Exit::No, format!("{what}: {count}"))
}
