//! Packages for tests that build the shipped hosts: fetched once, below the target folder, and copied into the stores of the tests, so
//! that each of these builds its images anew and none asks a mirror.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// A store with all that the recipes of `host` are built from, and nothing that was built.
pub(crate) fn packages(host: &str) -> PathBuf {
    static DONE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let store = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("packages-{host}"));
    let mut done = DONE.lock().unwrap();
    if !done.contains(host) {
        let output = Command::new(env!("CARGO_BIN_EXE_forge"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["fetch", "--recipes-only", host, "--store"])
            .arg(&store)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "forge fetch {host}:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        done.insert(host.to_owned());
    }
    store
}

/// Makes a store at `to` that has the packages of the recipes of `host`.
pub(crate) fn copy(host: &str, to: &Path) {
    let from = packages(host);
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.unwrap().success());
}
