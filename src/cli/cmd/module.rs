mod draw;
mod markdown;

use clap::Subcommand;
use serde_json::{Value as Json, json};

use crate::cli::args::Global;
use crate::cli::error::{CliError, Exit};
use crate::cli::{Outcome, layout, print, print_json, session};
use crate::flow::operator::evaluate::Opened;
use crate::pure::config::from_text::project::read_host;
use crate::pure::config::host::HostFile;
use crate::pure::config::module::Module;
use crate::pure::config::sheet::{KindSheet, ModuleSheet};
use crate::pure::system::explain::{enables, named_at};
use crate::pure::text::{Diagnostics, did_you_mean};

const AFTER_HELP: &str = "\
Modules come with forge (the catalogue). A folder `modules/NAME` of the project
adds one, or takes the place of the one of the same name.

Examples:
  forge module list             what there is
  forge module show caddy       its options, and what it contributes
  forge module kinds route      what a [[route]] may say";

/// Look at the modules: their options, what they contribute, the kinds of contribution
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Show(Show),
    Kinds(Kinds),
}

/// List the modules, and which hosts enable them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge module list
  forge module list mainframe                     those that this host names
  forge module list --markdown > modules.md       the whole reference")]
struct List {
    /// Only the modules that this host names
    #[arg(value_name = "HOST")]
    host: Option<String>,
    /// Print the whole reference of all modules and kinds as Markdown
    #[arg(long, conflicts_with_all = ["host", "json"])]
    markdown: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Show everything about a module: options, contributions, secrets, kinds
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge module show postgres
  forge module show postgres --json | jq '.options[].path'")]
struct Show {
    /// Name of the module
    #[arg(value_name = "NAME")]
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// List the kinds of contribution, or the fields of one
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  forge module kinds            all kinds
  forge module kinds service    what a [[service]] may say")]
struct Kinds {
    /// Name of the kind
    #[arg(value_name = "KIND")]
    kind: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let mut opened = session::browse(global)?;
    match &args.command {
        Command::List(args) => list(args, &mut opened)?,
        Command::Show(args) => show(args, &mut opened)?,
        Command::Kinds(args) => kinds(args, &opened)?,
    }
    Ok(Outcome::Done)
}

/// The hosts that can be read at all, each with its files. What is wrong with the others is for `forge check` to say.
fn chains(opened: &mut Opened) -> Vec<Vec<HostFile>> {
    let Opened {
        text,
        project,
        sources,
        ..
    } = opened;
    let mut ignored = Diagnostics::default();
    text.hosts()
        .filter_map(|name| {
            let name = name.parse().ok()?;
            read_host(&name, text, &project.language, sources, &mut ignored)
        })
        .collect()
}

fn enabled_on(chains: &[Vec<HostFile>], module: &str) -> Vec<String> {
    chains
        .iter()
        .filter(|chain| enables(chain, module) == Some(true))
        .filter_map(|chain| Some(chain.first()?.name.to_string()))
        .collect()
}

fn origin(embedded: bool) -> &'static str {
    if embedded { "catalogue" } else { "project" }
}

fn list(args: &List, opened: &mut Opened) -> Result<(), CliError> {
    if args.markdown {
        let modules: Vec<ModuleSheet> = sheets(opened);
        return print(&markdown::reference(&modules, &kind_sheets(opened)));
    }
    match &args.host {
        Some(host) => list_of_host(host, args.json, opened),
        None => list_all(args.json, opened),
    }
}

fn sheets(opened: &Opened) -> Vec<ModuleSheet> {
    let modules = opened.project.modules.values();
    modules.map(ModuleSheet::new).collect()
}

fn kind_sheets(opened: &Opened) -> Vec<KindSheet> {
    opened.project.kinds.values().map(KindSheet::new).collect()
}

fn list_all(json: bool, opened: &mut Opened) -> Result<(), CliError> {
    let chains = chains(opened);
    let modules = opened.project.modules.values();
    let rows: Vec<(&Module, Vec<String>)> = modules
        .map(|module| (module, enabled_on(&chains, module.name.as_str())))
        .collect();
    if json {
        return print_json(
            &rows
                .iter()
                .map(|(module, hosts)| {
                    json!({
                        "name": module.name.as_str(),
                        "summary": module.summary,
                        "origin": origin(module.embedded),
                        "enabled_on": hosts,
                    })
                })
                .collect::<Json>(),
        );
    }
    let rows = rows
        .into_iter()
        .map(|(module, hosts)| {
            vec![
                module.name.to_string(),
                origin(module.embedded).to_owned(),
                if hosts.is_empty() {
                    "-".to_owned()
                } else {
                    hosts.join(", ")
                },
                module.summary.clone(),
            ]
        })
        .collect();
    print(&layout::table(
        &["MODULE", "FROM", "ENABLED ON", "SUMMARY"],
        rows,
    ))
}

fn list_of_host(host: &str, json: bool, opened: &mut Opened) -> Result<(), CliError> {
    let name = session::host_name(host)?;
    let Opened {
        text,
        project,
        sources,
        diagnostics,
        ..
    } = &mut *opened;
    let Some(chain) = read_host(&name, text, &project.language, sources, diagnostics) else {
        return Err(session::refuse(
            opened,
            &format!("host `{name}` cannot be read"),
        ));
    };
    let opened = &*opened;
    let named = opened.project.modules.values().filter_map(|module| {
        let name = module.name.as_str();
        Some((module, enables(&chain, name)?, named_at(&chain, name)?))
    });
    if json {
        return print_json(
            &named
                .map(|(module, on, at)| {
                    json!({
                        "name": module.name.as_str(),
                        "summary": module.summary,
                        "origin": origin(module.embedded),
                        "enabled": on,
                        "place": opened.sources.place(at),
                    })
                })
                .collect::<Json>(),
        );
    }
    let rows = named
        .map(|(module, on, at)| {
            vec![
                module.name.to_string(),
                if on { "enabled" } else { "disabled" }.to_owned(),
                opened.sources.place(at),
                module.summary.clone(),
            ]
        })
        .collect();
    print(&layout::table(
        &["MODULE", "STATE", "NAMED AT", "SUMMARY"],
        rows,
    ))
}

fn show(args: &Show, opened: &mut Opened) -> Result<(), CliError> {
    let chains = chains(opened);
    let Some(module) = opened.project.modules.get(args.name.as_str()) else {
        let names = opened.project.modules.keys().map(|name| name.as_str());
        return Err(
            unknown("module", &args.name, names).hint("`forge module list` lists the modules")
        );
    };
    let sheet = ModuleSheet::new(module);
    let hosts = enabled_on(&chains, &sheet.name);
    if args.json {
        let mut json = sheet.to_json();
        json["enabled_on"] = json!(hosts);
        return print_json(&json);
    }
    print(&draw::module(&sheet, &hosts))
}

fn kinds(args: &Kinds, opened: &Opened) -> Result<(), CliError> {
    let all = kind_sheets(opened);
    let Some(name) = &args.kind else {
        if args.json {
            return print_json(&all.iter().map(KindSheet::to_json).collect::<Json>());
        }
        return print(&draw::kinds(&all));
    };
    let Some(kind) = all.iter().find(|kind| kind.name == *name) else {
        let names = all.iter().map(|kind| kind.name.as_str());
        return Err(unknown("kind of contribution", name, names)
            .hint("`forge module kinds` lists the kinds"));
    };
    if args.json {
        return print_json(&kind.to_json());
    }
    print(&draw::kind(kind))
}

fn unknown<'a>(what: &str, name: &str, known: impl Iterator<Item = &'a str>) -> CliError {
    let error = CliError::new(Exit::Usage, format!("there is no {what} `{name}`"));
    match did_you_mean(name, known) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    }
}
