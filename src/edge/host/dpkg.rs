//! dpkg (1.19 or later): what is installed, and the completion of what was interrupted.

use std::path::PathBuf;
use std::time::Duration;

use super::paths::Paths;
use crate::edge::program::{self, ProgramError};
use crate::pure::generation::things::packages::{FORMAT, Have};

const QUERY: Duration = Duration::from_secs(60);
const CONFIGURE: Duration = Duration::from_secs(20 * 60);

fn database(paths: &Paths) -> PathBuf {
    paths.at("/var/lib/dpkg")
}

/// Everything that dpkg knows: one call. Nothing if the host has no dpkg.
///
/// # Errors
/// [`ProgramError`].
pub fn have(paths: &Paths) -> Result<Option<Have>, ProgramError> {
    let arguments = [
        format!("--admindir={}", database(paths).display()),
        "--show".to_owned(),
        format!("--showformat={FORMAT}"),
    ];
    let said = program::run("dpkg-query", &arguments, QUERY)?;
    Ok(said.map(|said| Have::parse(&said)))
}

/// True if a dpkg was stopped in the middle of changing its database.
pub fn was_stopped(paths: &Paths) -> bool {
    std::fs::read_dir(database(paths).join("updates")).is_ok_and(|mut left| left.next().is_some())
}

/// Completes what was interrupted.
///
/// # Errors
/// [`ProgramError`], with the end of what dpkg said.
pub fn configure() -> Result<(), ProgramError> {
    super::apt::installing(
        "dpkg",
        &["--force-confdef", "--force-confold", "--configure", "-a"],
        CONFIGURE,
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_database_of_dpkg() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        std::fs::create_dir_all(database(&paths).join("updates")).unwrap();
        let package = |name: &str, status: &str, more: &str| {
            format!(
                "Package: {name}\nStatus: install ok {status}\nMaintainer: a\nArchitecture: all\nVersion: 1\n{more}Description: d\n\n"
            )
        };
        let status = package("mawk", "installed", "Provides: awk, other (= 2)\n")
            + &package("half", "half-configured", "")
            + &package("gone", "config-files", "Config-Version: 1\n");
        std::fs::write(database(&paths).join("status"), status).unwrap();
        // Only where there is a dpkg: forge's hosts have one.
        let Some(have) = have(&paths).unwrap() else {
            return;
        };
        let names: Vec<&str> = have.installed.iter().map(String::as_str).collect();
        assert_eq!(names, ["awk", "mawk", "other"]);
        assert!(have.interrupted.contains("half"));
        assert!(!was_stopped(&paths));
        std::fs::write(database(&paths).join("updates/0001"), "").unwrap();
        assert!(was_stopped(&paths));
    }
}
