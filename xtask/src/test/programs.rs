//! The programs that hold the tests, built and run by plain `cargo test`: it is everywhere where Rust is, and it builds the `forge` binary
//! that they run.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::{compose, packages, process, workspace};

/// `tests/vm`, which needs virtual machines.
const ON_MACHINES: &str = "vm";

/// An integration test.
#[derive(Debug, PartialEq, Eq)]
struct Built {
    name: String,
    program: PathBuf,
}

/// Builds the tests on machines, and the program.
pub(super) fn on_machines() -> Result<PathBuf> {
    let built = build(&["--test", ON_MACHINES])?;
    let found = built.into_iter().find(|test| test.name == ON_MACHINES);
    Ok(found
        .with_context(|| format!("cargo built no {ON_MACHINES}"))?
        .program)
}

/// Runs all tests but those on machines.
pub(super) fn others(filter: &[String]) -> Result<()> {
    let built = build(&[])?;
    let names = built.iter().map(|test| test.name.as_str());
    let named = names
        .filter(|name| *name != ON_MACHINES)
        .flat_map(|name| ["--test", name]);
    run(Command::new("cargo")
        .args(["test", "--workspace", "--lib", "--bins"])
        .args(named)
        .arg("--")
        .args(filter))?;
    run(Command::new("cargo")
        .args(["test", "--workspace", "--doc", "--"])
        .args(filter))
}

fn build(which: &[&str]) -> Result<Vec<Built>> {
    let output = Command::new("cargo")
        .args(["test", "--workspace", "--no-run"])
        .args(["--message-format", "json-render-diagnostics"])
        .args(which)
        .current_dir(workspace::root()?)
        .stderr(Stdio::inherit())
        .output()
        .context("starting cargo")?;
    if !output.status.success() {
        bail!("`cargo test --no-run` ended with {}", output.status);
    }
    built(&String::from_utf8(output.stdout).context("cargo said something that is not UTF-8")?)
}

/// Of what cargo says about everything that it has built, the integration tests.
fn built(said: &str) -> Result<Vec<Built>> {
    let mut all = Vec::new();
    for line in said.lines() {
        let message: Value = serde_json::from_str(line).context("cargo said no JSON")?;
        let target = &message["target"];
        if message["reason"] == "compiler-artifact" && target["kind"] == json!(["test"]) {
            let text = |value: &Value| value.as_str().map(str::to_owned);
            all.push(Built {
                name: text(&target["name"]).context("a test has no name")?,
                program: text(&message["executable"])
                    .context("a test has no program")?
                    .into(),
            });
        }
    }
    Ok(all)
}

fn run(command: &mut Command) -> Result<()> {
    process::show(equip(command)?)
}

/// Where the tests find what they need.
pub(super) fn equip(command: &mut Command) -> Result<&mut Command> {
    Ok(command
        .current_dir(workspace::root()?)
        .env("PATH", packages::search_path()?)
        .env(compose::VARIABLE, compose::path()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_told_from_other_programs() {
        let said = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"forge"},"executable":"/t/forge-1"}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"vm"},"executable":"/t/vm-1"}
{"reason":"build-finished","success":true}"#;
        let vm = Built {
            name: "vm".to_owned(),
            program: "/t/vm-1".into(),
        };
        assert_eq!(built(said).unwrap(), [vm]);
        assert!(built("no JSON").is_err());
    }
}
