use std::path::{Path, PathBuf};

use crate::cli::args::Global;
use crate::cli::error::{CliError, Exit};
use crate::cli::{Outcome, layout, print, report, session, tell};
use crate::edge::new_project::{self, CreateError};
use crate::flow::operator::init::{PlanError, Wishes, plan, public_keys};
use crate::pure::text::{Diagnostics, Severity};

const AFTER_HELP: &str = "\
The project has one host: accounts, SSH, a firewall, Docker, and a static page
over HTTPS. Its modules and images stay in the program: `forge module list`.

A folder that already holds a project, or a part of one, is left as it is.

Examples:
  forge init                    in this folder, which may hold a git repository
  forge init servers --host web --address 198.51.100.7
  forge init --key ~/.ssh/work.pub --system debian-13

Environment:
  HOME    without --key, forge takes the first of id_ed25519.pub, id_ecdsa.pub
          and id_rsa.pub in $HOME/.ssh that it can use";

/// Make a working project in an empty folder
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Args {
    /// Folder of the new project, made if it does not exist [default: this one, or that of --project]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Name of the host
    #[arg(long, value_name = "NAME", default_value = "web")]
    host: String,
    /// Address or name to reach the host by [default: an example]
    #[arg(long, value_name = "ADDR")]
    address: Option<String>,
    /// Distribution of the host, such as debian-13 [default: ubuntu-24.04]
    #[arg(long, value_name = "SYSTEM")]
    system: Option<String>,
    /// Your SSH public key: you will log in with it
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let host = session::host_name(&args.host)?;
    let root = match &args.dir {
        Some(dir) => global.project.join(dir),
        None => global.project.clone(),
    };
    let (keys, key_file) = find_keys(args.key.as_deref())?;
    let has_key = !keys.is_empty();
    let wishes = Wishes {
        folder: new_project::folder_name(&root),
        host,
        address: args.address.clone(),
        system: args.system.clone(),
        keys,
    };
    let project = plan(&wishes).map_err(refused)?;
    new_project::create(&root, &project.files).map_err(not_created)?;

    let host = &wishes.host;
    let host_file = format!("hosts/{host}.toml");
    if !has_key {
        tell(&no_key_warning(&host_file));
    }
    if !global.quiet {
        print(&made(args, host.as_str(), key_file.as_deref()))?;
    }
    Ok(Outcome::Done)
}

/// The keys to trust and the file that they come from; none if the user has none that forge can use.
fn find_keys(named: Option<&Path>) -> Result<(Vec<String>, Option<PathBuf>), CliError> {
    if let Some(path) = named {
        let text = new_project::read_key(path).map_err(|error| CliError::failed(&error))?;
        let keys = public_keys(&text).map_err(|error| {
            CliError::new(
                Exit::Usage,
                format!("cannot use {}: {error}", path.display()),
            )
            .hint("name a `.pub` file of OpenSSH, such as ~/.ssh/id_ed25519.pub")
        })?;
        return Ok((keys, Some(path.to_owned())));
    }
    let usable = new_project::own_keys()
        .into_iter()
        .find_map(|(path, text)| Some((public_keys(&text).ok()?, Some(path))));
    Ok(usable.unwrap_or_default())
}

fn refused(error: PlanError) -> CliError {
    match error {
        PlanError::Refused(opened) => {
            // Warnings, such as that of the example key, are no reason.
            let mut reasons = Diagnostics::default();
            for diagnostic in opened.diagnostics.iter() {
                if diagnostic.severity == Severity::Error {
                    reasons.push(diagnostic.clone());
                }
            }
            tell(&report::draw(&reasons, &opened.sources));
            CliError::new(
                Exit::Usage,
                "these arguments do not make a valid host; nothing was written",
            )
        }
        other => CliError::failed(&other),
    }
}

fn not_created(error: CreateError) -> CliError {
    match &error {
        CreateError::Taken { .. } => CliError::new(Exit::No, error.to_string())
            .hint("nothing was changed; make the project in another folder: `forge init DIR`"),
        _ => CliError::failed(&error),
    }
}

fn no_key_warning(host_file: &str) -> String {
    let yellow = anstyle::Style::new()
        .fg_color(Some(anstyle::AnsiColor::BrightYellow.into()))
        .bold();
    let cyan = anstyle::Style::new()
        .fg_color(Some(anstyle::AnsiColor::BrightCyan.into()))
        .bold();
    format!(
        "{yellow}warning{yellow:#}: you have no SSH key that forge can use, so {host_file} trusts the EXAMPLE KEY, whose private \
         half everybody has\n\
         {cyan}help{cyan:#}: make one with `ssh-keygen -t ed25519`\n\
         {cyan}help{cyan:#}: put the line of its `.pub` file into `admins.admin` of {host_file} before you deploy\n"
    )
}

fn made(args: &Args, host: &str, key_file: Option<&Path>) -> String {
    let host_file = format!("hosts/{host}.toml");
    let place = match &args.dir {
        Some(dir) => format!(" in {}", dir.display()),
        None => String::new(),
    };
    let mut text = format!("Made a project{place}:\n");
    let rows = [
        ("forge.toml", "settings of the project"),
        ("forge.lock", "the digest of every image"),
        (host_file.as_str(), "the host"),
    ]
    .map(|(path, what)| vec![format!("  {path}"), what.to_owned()]);
    text.push_str(&layout::table(&[], rows.into()));
    if let Some(path) = key_file {
        text.push_str(&format!("You log in with the key of {}.\n", path.display()));
    }
    text.push_str("\nModules and images come with forge: `forge module list` lists them.\n");
    text.push_str(&format!(
        "\nYour own values belong into {host_file}: {}the domain of the page, the e-mail address.\n",
        if args.address.is_none() {
            "the address of the host, "
        } else {
            ""
        }
    ));
    text.push_str("\nNext:\n");
    if let Some(dir) = &args.dir {
        let dir = dir.to_string_lossy();
        let word = shlex::try_quote(&dir).unwrap_or_default();
        text.push_str(&format!("  cd {word}\n"));
    }
    text.push_str(&format!("  forge check\n  forge build {host}\n"));
    text
}
