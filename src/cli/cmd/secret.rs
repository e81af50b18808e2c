//! `forge secret`: the secrets of a host in the project.
//!
//! A value is never an argument (those are seen by every process of the machine) and never printed, except by `show`.

mod input;
mod show;

use std::fmt;
use std::io::{IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};

use self::input::{expand, init_recipients, one_recipient, read_value};
use self::show::{count, print_table, report_change, row_json};
use crate::cli::args::Global;
use crate::cli::error::{CliError, Exit};
use crate::cli::{Outcome, report, tell};
use crate::edge::age::IdentitySource;
use crate::edge::catalogue;
use crate::edge::editor::{Editor, TmpfsEditor};
use crate::edge::random::OsRandomness;
use crate::edge::secrets_file::ProjectSecrets;
use crate::edge::terminal::{Prompt, PromptError, TerminalPrompt};
use crate::flow::operator::evaluate::Opened;
use crate::flow::operator::secret::{
    Declares, DeclaresError, Desk, Edited, HostSecrets, SecretError,
};
use crate::flow::operator::secrets_of;
use crate::pure::name::{HostName, SecretName};
use crate::pure::secrets::{Plaintext, Randomness, RecipientError};
use crate::pure::text::Severity;
use clap::{Parser, Subcommand};

/// Keep the secrets of a host: one encrypted value each in `hosts/NAME.secrets.toml`
#[derive(Debug, Parser)]
#[command(after_help = "\
Examples:
  forge secret init web           make hosts/web.secrets.toml for your SSH key
  forge secret generate web       make every secret that forge can make
  forge secret set web b2_key     ask for one that it cannot make
  forge secret list web           what is there, what is missing

The values are age files: `age -d -i ~/.ssh/id_ed25519` decrypts them too.")]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make the secrets file of a host
    #[command(after_help = "\
Examples:
  forge secret init web
  forge secret init web --recipient 'host=ssh-ed25519 AAAA…'
  forge secret init web -r alice=alice.pub -r host=ssh_host_ed25519_key.pub")]
    Init {
        host: HostName,
        /// Who may read: a public key or a `.pub` file, with a name before it if you like (may be given again)
        /// [default: ~/.ssh/id_ed25519.pub, else ~/.ssh/id_rsa.pub]
        #[arg(long = "recipient", short = 'r', value_name = "[NAME=]KEY|FILE")]
        recipients: Vec<String>,
    },
    /// Show which secrets there are and which are missing; never a value
    #[command(after_help = "Examples:\n  forge secret list web\n  forge secret list web --json")]
    List {
        host: HostName,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Store a value: from standard input, a file, or a hidden prompt
    #[command(after_help = "\
Examples:
  forge secret set web b2_key
  pass show b2 | forge secret set web b2_key
  forge secret set web tls_key --file key.pem

One newline at the end is not part of the value.")]
    Set {
        host: HostName,
        name: SecretName,
        /// Read the value from a file
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Store it even if no module wants it
        #[arg(long)]
        undeclared: bool,
    },
    /// Change a value in your editor ($VISUAL, $EDITOR), in memory only
    #[command(
        after_help = "Examples:\n  forge secret edit web app_config\n  EDITOR='code --wait' forge secret edit web app_config"
    )]
    Edit {
        host: HostName,
        name: SecretName,
        /// Store it even if no module wants it
        #[arg(long)]
        undeclared: bool,
        #[command(flatten)]
        identities: Identities,
    },
    /// Make every missing secret whose module says how
    #[command(
        after_help = "Examples:\n  forge secret generate web\n  forge secret generate web --rotate postgres_password"
    )]
    Generate {
        host: HostName,
        /// Replace this one by a new value (may be given again)
        #[arg(long, value_name = "NAME")]
        rotate: Vec<SecretName>,
    },
    /// Encrypt again what is not encrypted to exactly the recipients of the file
    #[command(
        after_help = "Examples:\n  forge secret rekey web\n  forge secret rekey web --all --identity backup-key"
    )]
    Rekey {
        host: HostName,
        /// Encrypt every value again (age keys are anonymous: one exchanged by hand for another is not noticed)
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        identities: Identities,
    },
    /// Let somebody else read the secrets too
    #[command(after_help = "\
Examples:
  forge secret add-recipient web bob bob.pub
  forge secret add-recipient web host 'ssh-ed25519 AAAA…'")]
    AddRecipient {
        host: HostName,
        name: String,
        /// A public key or a `.pub` file
        #[arg(value_name = "KEY|FILE")]
        key: String,
        #[command(flatten)]
        identities: Identities,
    },
    /// Do not let somebody read the secrets any more
    #[command(
        after_help = "Examples:\n  forge secret remove-recipient web bob\n\nOld values stay readable in the history of the project: make new ones."
    )]
    RemoveRecipient {
        host: HostName,
        name: String,
        #[command(flatten)]
        identities: Identities,
    },
    /// Print a value in clear
    #[command(after_help = "Examples:\n  forge secret show web postgres_password | wl-copy")]
    Show {
        host: HostName,
        name: SecretName,
        #[command(flatten)]
        identities: Identities,
    },
}

#[derive(Debug, clap::Args)]
pub struct Identities {
    /// A private key to decrypt with: an SSH key or a file of age keys (may be given again)
    /// [default: ~/.ssh/id_ed25519, ~/.ssh/id_rsa]
    #[arg(
        long = "identity",
        short = 'i',
        value_name = "FILE",
        env = "FORGE_IDENTITY"
    )]
    files: Vec<PathBuf>,
}

/// Everything around the program that the command uses, so that a test can stand in for a person.
pub struct World<'a> {
    pub stdin: &'a mut dyn Read,
    pub stdin_is_terminal: bool,
    pub stdout: &'a mut dyn Write,
    pub stdout_is_terminal: bool,
    pub stderr: &'a mut dyn Write,
    pub prompt: &'a mut dyn Prompt,
    pub editor: &'a mut dyn Editor,
    pub randomness: &'a mut dyn Randomness,
    /// Where `.ssh` is.
    pub home: Option<PathBuf>,
}

impl fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

/// Why the command could not be done.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("cannot read {what}: {source}")]
    Read {
        what: String,
        source: std::io::Error,
    },
    #[error("cannot print: {0}")]
    Print(#[from] std::io::Error),
    #[error(
        "{what} holds more than {} bytes, the longest secret that forge takes",
        Plaintext::LONGEST
    )]
    TooLong { what: String },
    #[error("cannot ask for the value of `{name}`: {source}")]
    Prompt {
        name: SecretName,
        source: PromptError,
    },
    #[error("the two answers differ; nothing was stored")]
    Differ,
    #[error("{what} is no recipient: {source}")]
    Recipient {
        what: String,
        source: RecipientError,
    },
    #[error("there is no public key of yours: neither {} exists", .0.join(" nor "))]
    NoPublicKey(Vec<String>),
}

impl CommandError {
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::Secret(error) => error.hints(),
            Self::NoPublicKey(_) => vec![
                "name one: --recipient KEY|FILE".to_owned(),
                "make one: ssh-keygen -t ed25519".to_owned(),
            ],
            Self::Prompt { name, .. } => {
                vec![format!(
                    "pipe it in, or give it with --file: `{name}` is never an argument"
                )]
            }
            _ => Vec::new(),
        }
    }
}

/// Which secrets a host wants, by evaluating it as a build does.
///
/// # Errors
///
/// If the project cannot be read, or has mistakes that keep the host from being evaluated.
pub fn declarations_of(project: &Path, host: &HostName) -> Result<HostSecrets, DeclaresError> {
    let failed = |source| DeclaresError {
        host: host.clone(),
        source,
    };
    let mut text = crate::edge::project::read(project).map_err(|error| failed(Box::new(error)))?;
    catalogue::add_below(&mut text);
    let mut opened = Opened::read(text);
    // A host that breaks rules still says which secrets it wants, and may be waiting for them.
    let Some(evaluated) = opened.evaluate_to_check(host) else {
        let first = opened
            .diagnostics
            .iter()
            .find(|found| found.severity == Severity::Error);
        let first = first.map_or_else(String::new, |found| found.message.clone());
        return Err(failed(Box::new(NotEvaluated { first })));
    };
    Ok(HostSecrets {
        declarations: secrets_of::declarations(&evaluated.system, &mut opened.diagnostics),
        ancestors: evaluated
            .chain
            .iter()
            .map(|file| file.name.clone())
            .filter(|name| name != host)
            .collect(),
        host_key: evaluated
            .system
            .host
            .host_key
            .as_deref()
            .and_then(|key| key.parse().ok()),
    })
}

#[derive(Debug, thiserror::Error)]
#[error("it has mistakes, the first of which is: {first}")]
struct NotEvaluated {
    first: String,
}

/// Runs with the terminal, the editor and the randomness of this process.
pub(crate) fn run_for(args: &Args, global: &Global) -> Result<Outcome, CliError> {
    let project = &global.project;
    let declares = |host: &HostName| declarations_of(project, host);
    let mut stdin = std::io::stdin();
    let mut stdout = std::io::stdout();
    let (mut stderr, mut silence) = (std::io::stderr(), std::io::sink());
    let mut world = World {
        stdin_is_terminal: stdin.is_terminal(),
        stdin: &mut stdin,
        stdout_is_terminal: stdout.is_terminal(),
        stdout: &mut stdout,
        stderr: if global.quiet {
            &mut silence
        } else {
            &mut stderr
        },
        prompt: &mut TerminalPrompt,
        editor: &mut TmpfsEditor::from_environment(),
        randomness: &mut OsRandomness,
        home: etcetera::home_dir().ok(),
    };
    match run(args, project, &declares, &mut world) {
        Ok(()) => Ok(Outcome::Done),
        Err(error) => {
            let mut shown = CliError::failed(&error);
            if let CommandError::Secret(secret) = &error {
                if let Some((sources, diagnostics)) = secret.diagnostics() {
                    tell(&report::draw(diagnostics, sources));
                    shown.exit = Exit::No;
                }
                if let SecretError::Form { .. } = secret {
                    shown.exit = Exit::No;
                }
            }
            shown.hints = error.hints();
            Err(shown)
        }
    }
}

/// Does what was asked. `declares` says which secrets a host wants (any closure `|host: &HostName| …` will do).
///
/// # Errors
///
/// If it could not be done; then no file was changed.
pub fn run(
    args: &Args,
    project: &Path,
    declares: &dyn Declares,
    world: &mut World<'_>,
) -> Result<(), CommandError> {
    let files = ProjectSecrets::new(project);
    let identities = match &args.command {
        Command::Edit { identities, .. }
        | Command::Rekey { identities, .. }
        | Command::AddRecipient { identities, .. }
        | Command::RemoveRecipient { identities, .. }
        | Command::Show { identities, .. } => sources(identities, world.home.as_deref()),
        Command::Init { .. }
        | Command::List { .. }
        | Command::Set { .. }
        | Command::Generate { .. } => Vec::new(),
    };
    // Asked for before the desk takes the prompt.
    let value = match &args.command {
        Command::Set { name, file, .. } => Some(read_value(name, file.as_deref(), world)?),
        _ => None,
    };
    let mut desk = Desk::new(&files, declares, world.randomness, world.prompt, identities);
    match &args.command {
        Command::Init { host, recipients } => {
            let recipients = init_recipients(recipients, world.home.as_deref())?;
            let path = desk.init(host, &recipients)?;
            writeln!(world.stderr, "made {path}, readable by:")?;
            for (name, key) in &recipients {
                writeln!(
                    world.stderr,
                    "  {name}  {} {}",
                    key.kind().word(),
                    key.fingerprint()
                )?;
            }
            writeln!(world.stderr, "next: forge secret generate {host}")?;
        }
        Command::List { host, json } => {
            let rows = desk.list(host)?;
            if *json {
                let rows: Vec<_> = rows.iter().map(row_json).collect();
                writeln!(world.stdout, "{:#}", serde_json::Value::Array(rows))?;
            } else {
                print_table(&rows, world.stdout)?;
            }
        }
        Command::Set {
            host,
            name,
            undeclared,
            ..
        } => {
            if let Some(value) = value {
                desk.set(host, name, &value, *undeclared)?;
                writeln!(world.stderr, "stored `{name}` ({} bytes)", value.len())?;
            }
        }
        Command::Edit {
            host,
            name,
            undeclared,
            ..
        } => match desk.edit(host, name, world.editor, *undeclared)? {
            Edited::Saved => writeln!(world.stderr, "stored `{name}`")?,
            Edited::Unchanged => writeln!(world.stderr, "`{name}` is unchanged")?,
        },
        Command::Generate { host, rotate } => {
            let generated = desk.generate(host, rotate)?;
            for name in &generated.made {
                writeln!(world.stderr, "made `{name}`")?;
            }
            for declaration in &generated.to_set {
                let about = match declaration.about.as_str() {
                    "" => String::new(),
                    about => format!(" ({about})"),
                };
                writeln!(
                    world.stderr,
                    "left for you: forge secret set {host} {}{about}",
                    declaration.name
                )?;
            }
            if generated.made.is_empty() && generated.to_set.is_empty() {
                writeln!(world.stderr, "nothing is missing")?;
            }
        }
        Command::Rekey { host, all, .. } => {
            let rekeyed = desk.rekey(host, *all)?;
            writeln!(
                world.stderr,
                "encrypted {} again, {} left as they were",
                count(rekeyed.names.len()),
                rekeyed.untouched
            )?;
        }
        Command::AddRecipient {
            host, name, key, ..
        } => {
            let (_, recipient) = one_recipient(key, world.home.as_deref())?;
            let changed = desk.add_recipient(host, name, &recipient)?;
            report_change(&changed, host, &format!("added `{name}`"), world.stderr)?;
        }
        Command::RemoveRecipient { host, name, .. } => {
            let changed = desk.remove_recipient(host, name)?;
            report_change(&changed, host, &format!("removed `{name}`"), world.stderr)?;
            writeln!(
                world.stderr,
                "`{name}` can still read the old values in the history of the project; to shut them out, make new values"
            )?;
        }
        Command::Show { host, name, .. } => {
            let value = desk.show(host, name)?;
            world.stdout.write_all(value.expose())?;
            if world.stdout_is_terminal {
                writeln!(world.stdout)?;
                writeln!(
                    world.stderr,
                    "note: the value is now in the memory of this terminal"
                )?;
            }
            world.stdout.flush()?;
        }
    }
    Ok(())
}

fn sources(identities: &Identities, home: Option<&Path>) -> Vec<IdentitySource> {
    if identities.files.is_empty() {
        let names = ["id_ed25519", "id_rsa"];
        home.into_iter()
            .flat_map(|home| names.map(|name| home.join(".ssh").join(name)))
            .map(|path| IdentitySource { path, named: false })
            .collect()
    } else {
        identities
            .files
            .iter()
            .map(|path| IdentitySource {
                path: expand(path, home),
                named: true,
            })
            .collect()
    }
}
