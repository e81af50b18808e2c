//! Where things are: the workspace and its build folder.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The root of the workspace. Asked of cargo first, so that a copied clone whose build folder came along
/// does not work on the folder that it was copied from.
pub(crate) fn root() -> Result<PathBuf> {
    let xtask = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    Ok(xtask
        .parent()
        .context("xtask is not in a workspace")?
        .to_owned())
}

/// The folder that cargo builds into: the one this very program was built into, so that `CARGO_TARGET_DIR` and
/// `build.target-dir` hold without being read.
pub(crate) fn target() -> Result<PathBuf> {
    let exe = env::current_exe().context("finding the folder of xtask")?;
    let target = exe
        .parent()
        .and_then(Path::parent)
        .context("xtask is not in a build folder")?;
    Ok(target.to_owned())
}

/// What the tests fall back to without an environment variable, so it may not move with the build folder.
pub(crate) fn tools() -> Result<PathBuf> {
    Ok(root()?.join("target").join("tools"))
}
