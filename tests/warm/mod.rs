//! Packages for tests that build the shipped hosts: fetched once, below the target folder, and copied into the stores of the tests, so
//! that each of these builds its images anew and none asks a mirror.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Every recipe of the catalogue, by `forge.lock`.
pub(crate) fn recipes() -> Vec<String> {
    let text = include_str!("../../forge.lock");
    let lock: toml::Table = text.parse().unwrap();
    let recipes = lock["recipe"].as_array().unwrap().iter();
    let name = |recipe: &toml::Value| recipe["name"].as_str().unwrap().to_owned();
    recipes.map(name).collect()
}

/// A store, in the folder `name`, with what `forge fetch` gets with these arguments.
fn fetched(name: &str, args: &[String]) -> PathBuf {
    static DONE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let store = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut done = DONE.lock().unwrap();
    if !done.contains(name) {
        let output = Command::new(env!("CARGO_BIN_EXE_forge"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["fetch", "--recipes-only", "--store"])
            .arg(&store)
            .args(args)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "forge fetch {args:?}:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        done.insert(name.to_owned());
    }
    store
}

fn copy_store(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    let status = Command::new("/bin/cp")
        .arg("-a")
        .arg(from.join("."))
        .arg(to)
        .status();
    assert!(status.unwrap().success());
}

/// A store with all that the recipes of `host` are built from, and nothing that was built.
pub(crate) fn packages(host: &str) -> PathBuf {
    fetched(&format!("packages-{host}"), &[host.to_owned()])
}

/// Makes a store at `to` that has the packages of the recipes of `host`. The folder may be there already, and empty.
pub(crate) fn copy(host: &str, to: &Path) {
    copy_store(&packages(host), to);
}

/// Makes a store at `to` that has what these recipes are built from, for one architecture.
pub(crate) fn copy_recipes(recipes: &[String], arch: &str, to: &Path) {
    let mut args = vec!["--arch".to_owned(), arch.to_owned()];
    for recipe in recipes {
        args.extend(["--image".to_owned(), recipe.clone()]);
    }
    let name = format!("packages-{}-{arch}", recipes.join("-"));
    copy_store(&fetched(&name, &args), to);
}
