//! Packages for tests that build the shipped hosts: fetched once, below the target folder, and copied into the stores of the tests, so
//! that each of these builds its images anew and none asks a mirror.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// A store with all that the recipes of `host` are built from, and nothing that was built.
pub(crate) fn packages(host: &str) -> PathBuf {
    fetched(host, &[host])
}

fn fetched(name: &str, what: &[&str]) -> PathBuf {
    static DONE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let store = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("packages-{name}"));
    let mut done = DONE.lock().unwrap();
    if !done.contains(name) {
        let output = Command::new(env!("CARGO_BIN_EXE_forge"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["fetch", "--recipes-only", "--store"])
            .arg(&store)
            .args(what)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "forge fetch {name}:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        done.insert(name.to_owned());
    }
    store
}

/// Makes a store at `to` that has the packages of the recipes of `host`.
pub(crate) fn copy(host: &str, to: &Path) {
    copied(&packages(host), to);
}

/// Makes a store at `to` that has the packages of these images.
pub(crate) fn copy_images(images: &[&str], to: &Path) {
    let what: Vec<&str> = images.iter().flat_map(|it| ["--image", it]).collect();
    copied(&fetched(&images.join("-"), &what), to);
}

fn copied(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.unwrap().success());
}
