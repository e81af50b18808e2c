//! `cargo xtask gen`: files that a table of the program makes, committed so that they can be read and compared.
//! With `--check` nothing is written: a difference is shown, and fails.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use similar::TextDiff;

use crate::{process, workspace};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Write nothing; fail with a diff where a file differs from what would be written
    #[arg(long)]
    check: bool,
}

/// What a generator must have written, so that an error page or a greeting is not committed as a schema.
#[derive(Debug, Clone, Copy)]
enum Form {
    Json,
    Markdown,
}

/// A file and the `forge` command whose output it is.
#[derive(Debug)]
struct Generator {
    path: &'static str,
    command: &'static [&'static str],
    form: Form,
}

const fn generator(path: &'static str, command: &'static [&'static str], form: Form) -> Generator {
    Generator {
        path,
        command,
        form,
    }
}

const GENERATORS: &[Generator] = &[
    generator(
        "docs/schema/project.schema.json",
        &["schema", "project"],
        Form::Json,
    ),
    generator(
        "docs/schema/host.schema.json",
        &["schema", "host"],
        Form::Json,
    ),
    generator(
        "docs/schema/module.schema.json",
        &["schema", "module"],
        Form::Json,
    ),
    generator(
        "docs/schema/image.schema.json",
        &["schema", "image"],
        Form::Json,
    ),
    generator(
        "docs/schema/lock.schema.json",
        &["schema", "lock"],
        Form::Json,
    ),
    generator(
        "docs/schema/secrets.schema.json",
        &["schema", "secrets"],
        Form::Json,
    ),
    generator(
        "docs/reference/modules.md",
        &["module", "list", "--markdown"],
        Form::Markdown,
    ),
    generator(
        "docs/reference/codes.md",
        &["explain", "--all", "--markdown"],
        Form::Markdown,
    ),
];

const DIGESTS: &str = "tests/golden/digests.toml";
const DIGESTS_HEADING: &str = "\
# The bundle digest of each shipped host, written by `cargo xtask gen`.
#
# The same project gives the same digest on every machine (invariant 1). A line that changes means that every user's
# bundle of such a host changes with this version of forge: the next deploy restarts what changed. If that is meant (a
# module, a template, a pin or the format was changed), accept it and say so in the changelog. If it is not, something
# that should not matter has leaked into the bundle: a clock, an environment, an order.
";

pub(crate) fn run(args: &Args) -> Result<()> {
    if args.check { check() } else { write() }
}

fn write() -> Result<()> {
    let root = workspace::root()?;
    let mut written = 0;
    for (path, wanted) in generate(&root)? {
        let place = root.join(&path);
        if fs::read_to_string(&place).is_ok_and(|present| present == wanted) {
            continue;
        }
        if let Some(folder) = place.parent() {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        fs::write(&place, wanted).with_context(|| format!("writing {}", place.display()))?;
        println!("wrote {path}");
        written += 1;
    }
    println!("{written} generated files changed");
    Ok(())
}

pub(crate) fn check() -> Result<()> {
    let root = workspace::root()?;
    let generated = generate(&root)?;
    let mut stale = Vec::new();
    for (path, wanted) in &generated {
        let place = root.join(path);
        let present = if place.exists() {
            fs::read_to_string(&place).with_context(|| format!("reading {path}"))?
        } else {
            String::new()
        };
        if let Some(diff) = difference(path, &present, wanted) {
            println!("{diff}");
            stale.push(path.as_str());
        }
    }
    if !stale.is_empty() {
        bail!(
            "not up to date: {}; look at the diff above, then accept it with `cargo xtask gen`",
            stale.join(", ")
        );
    }
    println!("{} generated files are up to date", generated.len());
    Ok(())
}

fn difference(path: &str, present: &str, wanted: &str) -> Option<String> {
    let committed = format!("{path} (committed)");
    let generated = format!("{path} (generated)");
    let diff = TextDiff::from_lines(present, wanted);
    (present != wanted).then(|| {
        diff.unified_diff()
            .context_radius(3)
            .header(&committed, &generated)
            .to_string()
    })
}

/// Every generated file, by its path from the root.
fn generate(root: &Path) -> Result<Vec<(String, String)>> {
    let forge = build(root)?;
    let mut files = Vec::new();
    for generator in GENERATORS {
        let text = process::text(forge_command(&forge, root).args(generator.command))
            .with_context(|| format!("generating {}", generator.path))?;
        is_formed(&text, generator.form).with_context(|| {
            format!(
                "generating {}: `forge {}` wrote something else",
                generator.path,
                generator.command.join(" ")
            )
        })?;
        files.push((generator.path.to_owned(), text));
    }
    files.push((DIGESTS.to_owned(), digests(&forge, root)?));
    Ok(files)
}

/// Built as `cargo test --workspace` builds it, tests and all: their dependencies add features to those of the program, and with
/// other features everything would be compiled once more.
pub(crate) fn build(root: &Path) -> Result<PathBuf> {
    process::show(
        Command::new("cargo")
            .args(["build", "--quiet", "--workspace", "--all-targets"])
            .current_dir(root),
    )?;
    Ok(workspace::target()?.join("debug").join("forge"))
}

/// What the caller has set up for forge must not leak into what is committed.
fn forge_command(forge: &Path, root: &Path) -> Command {
    let mut command = Command::new(forge);
    command.current_dir(root).env("NO_COLOR", "1");
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("FORGE_"))
    {
        command.env_remove(name);
    }
    command
}

fn is_formed(text: &str, form: Form) -> Result<()> {
    match form {
        Form::Json => drop(serde_json::from_str::<serde_json::Value>(text).context("not JSON")?),
        Form::Markdown if !text.starts_with('#') => {
            bail!("not Markdown with a heading: {:?}", text.lines().next())
        }
        Form::Markdown => {}
    }
    if !text.ends_with('\n') {
        bail!("no newline at the end");
    }
    Ok(())
}

fn digests(forge: &Path, root: &Path) -> Result<String> {
    let mut text = DIGESTS_HEADING.to_owned();
    // It stays, so that the packages of recipes are fetched once.
    let store = workspace::target()?.join("gen-store");
    for host in hosts(root)? {
        let mut command = forge_command(forge, root);
        command.args(["build", &host, "--store"]).arg(&store);
        let said = process::text(&mut command)
            .with_context(|| format!("building {host} for {DIGESTS}"))?;
        let digest = said.strip_suffix('\n').unwrap_or(&said);
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64
            || !hex
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        {
            bail!(
                "building {host} for {DIGESTS}: `forge build` wrote {digest:?} instead of a digest alone"
            );
        }
        text.push_str(&format!("\n{host} = \"{digest}\""));
    }
    text.push('\n');
    Ok(text)
}

/// `hosts/NAME.toml`, without the secrets that lie beside.
fn hosts(root: &Path) -> Result<Vec<String>> {
    let folder = root.join("hosts");
    let mut hosts = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let name = entry
            .with_context(|| format!("reading {}", folder.display()))?
            .file_name();
        let host = name.to_str().and_then(|name| name.strip_suffix(".toml"));
        hosts.extend(host.filter(|host| !host.contains('.')).map(str::to_owned));
    }
    if hosts.is_empty() {
        bail!("{} holds no host", folder.display());
    }
    hosts.sort();
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_file_is_shown_as_a_diff() {
        let diff = difference("docs/a.md", "# A\nold\n", "# A\nnew\n").unwrap();
        assert_eq!(
            diff,
            "--- docs/a.md (committed)\n+++ docs/a.md (generated)\n@@ -1,2 +1,2 @@\n # A\n-old\n+new\n"
        );
        assert_eq!(difference("docs/a.md", "# A\n", "# A\n"), None);
    }

    #[test]
    fn a_greeting_is_no_schema() {
        assert!(is_formed("Hello, world!\n", Form::Json).is_err());
        assert!(is_formed("Hello, world!\n", Form::Markdown).is_err());
        assert!(is_formed("{}", Form::Json).is_err());
        assert!(is_formed("{}\n", Form::Json).is_ok());
        assert!(is_formed("# Modules\n", Form::Markdown).is_ok());
    }

    #[test]
    fn secrets_are_no_host() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("hosts")).unwrap();
        assert!(hosts(root.path()).is_err());
        for name in ["b.toml", "a.toml", "a.secrets.toml", "README.md"] {
            fs::write(root.path().join("hosts").join(name), "").unwrap();
        }
        assert_eq!(hosts(root.path()).unwrap(), ["a", "b"]);
    }
}
