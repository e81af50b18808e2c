//! Checks of what sshd (8.9 or later), sudo and Docker are to read, before it is put in place; and by which way the deployer came in.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::paths::Paths;
use crate::edge::program::{self, ProgramError};
use crate::pure::generation::things::lockout::Deployer;

const LIMIT: Duration = Duration::from_secs(30);
const SSHD: &str = "/usr/sbin/sshd";
const VISUDO: &str = "/usr/sbin/visudo";

/// What the program that will read it says to the text of a file of the host. A program that is not installed has no say, and most
/// files have no such program.
///
/// # Errors
/// Why it would be refused.
pub fn validate(path: &str, bytes: &[u8]) -> Result<(), String> {
    if path == "/etc/sudoers" || path.starts_with("/etc/sudoers.d/") {
        check_sudoers(bytes)
    } else if path == "/etc/ssh/sshd_config"
        || (path.starts_with("/etc/ssh/sshd_config.d/") && path.ends_with(".conf"))
    {
        check_sshd(bytes)
    } else if path == "/etc/docker/daemon.json" {
        serde_json::from_slice::<BTreeMap<String, serde_json::Value>>(bytes)
            .map(|_| ())
            .map_err(|error| format!("Docker would refuse it: {error}"))
    } else {
        Ok(())
    }
}

/// The text in a file that only we can read.
fn beside(bytes: &[u8]) -> Result<tempfile::NamedTempFile, String> {
    let mut file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    file.write_all(bytes).map_err(|error| error.to_string())?;
    Ok(file)
}

/// What the program said, without the name of our file, which says nothing to anybody.
fn said(error: &ProgramError, file: &Path) -> String {
    let text = match error {
        ProgramError::Failed { stderr, .. } => stderr.trim().to_owned(),
        other => other.to_string(),
    };
    text.replace(&file.display().to_string(), "the file")
}

fn check_sudoers(bytes: &[u8]) -> Result<(), String> {
    let file = beside(bytes)?;
    let path = file.path().display().to_string();
    match program::run(VISUDO, &["-c", "-f", &path], LIMIT) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "sudo would refuse it: {}",
            said(&error, file.path())
        )),
    }
}

fn check_sshd(bytes: &[u8]) -> Result<(), String> {
    let file = beside(bytes)?;
    let path = file.path().display().to_string();
    match program::run(SSHD, &["-t", "-f", &path], LIMIT) {
        Ok(_) => Ok(()),
        Err(error) => {
            let said = said(&error, file.path());
            // Both are found missing only after the whole text was read: a host on which a socket starts sshd lacks the folder.
            let read = [
                "Missing privilege separation directory",
                "no hostkeys available",
            ];
            if read.iter().any(|sign| said.contains(sign)) {
                return Ok(());
            }
            Err(format!("sshd would refuse it: {said}"))
        }
    }
}

/// Who runs us, and by which connection: from the environment, and where sudo has cleared it, from that of the processes that started us.
pub fn deployer() -> Deployer {
    let own = std::env::var("SSH_CONNECTION").ok();
    let connection = own.or_else(inherited).unwrap_or_default();
    let name = |key| {
        std::env::var(key)
            .ok()
            .filter(|name: &String| !name.is_empty())
    };
    parse(
        &connection,
        name("SUDO_USER")
            .or_else(|| name("USER"))
            .or_else(|| name("LOGNAME")),
    )
}

/// `CLIENT PORT SERVER PORT`.
fn parse(connection: &str, user: Option<String>) -> Deployer {
    let words: Vec<&str> = connection.split_whitespace().collect();
    Deployer {
        user: user.unwrap_or_else(|| "root".to_owned()),
        key: None,
        port: words.get(3).and_then(|port| port.parse().ok()),
        from: words.first().and_then(|address| {
            let address = address.split('%').next().unwrap_or_default();
            address.parse().ok()
        }),
    }
}

fn inherited() -> Option<String> {
    let mut process = "self".to_owned();
    // sudo, its monitor, a shell, sshd: more are never between us and the connection.
    for _ in 0..10 {
        let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
        process = parent.trim().to_owned();
        if matches!(process.as_str(), "0" | "1") {
            return None;
        }
        let environment = std::fs::read(format!("/proc/{process}/environ")).ok()?;
        let found = environment
            .split(|byte| *byte == 0)
            .find_map(|entry| entry.strip_prefix(b"SSH_CONNECTION="));
        if let Some(found) = found {
            return Some(String::from_utf8_lossy(found).into_owned());
        }
    }
    None
}

/// The lines of a file of keys; empty if there is none.
pub fn keys(path: &Path) -> String {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

/// True if a file of sudoers that is not in `ours` names the user.
pub fn sudoers_name(paths: &Paths, user: &str, ours: &dyn Fn(&str) -> bool) -> bool {
    let folder = std::fs::read_dir(paths.at("/etc/sudoers.d"));
    let drop_ins = folder.into_iter().flatten().filter_map(Result::ok);
    let names = drop_ins.filter_map(|entry| entry.file_name().into_string().ok());
    // sudo skips names with a dot or a tilde at the end.
    let read = names.filter(|name| !name.contains('.') && !name.ends_with('~'));
    let mut files: Vec<String> = read.map(|name| format!("/etc/sudoers.d/{name}")).collect();
    files.push("/etc/sudoers".to_owned());
    files.iter().filter(|path| !ours(path)).any(|path| {
        let text = keys(&paths.at(path));
        text.lines()
            .any(|line| line.split_whitespace().next() == Some(user))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn docker_and_files_without_a_reader() {
        assert!(validate("/etc/docker/daemon.json", b"{\"icc\": false}").is_ok());
        let said = validate("/etc/docker/daemon.json", b"{\"icc\": }").unwrap_err();
        assert!(said.contains("Docker would refuse it"), "{said}");
        assert!(validate("/etc/docker/daemon.json", b"[]").is_err());
        assert!(validate("/etc/hostname", b"\0 anything").is_ok());
    }

    #[test]
    fn sudo_is_asked() {
        if !Path::new(VISUDO).exists() {
            return;
        }
        let path = "/etc/sudoers.d/90-forge";
        validate(path, b"anna ALL=(ALL:ALL) NOPASSWD: ALL\n").unwrap();
        let said = validate(path, b"anna ALL=(ALL NOPASSWD\n").unwrap_err();
        assert!(
            said.contains("sudo would refuse it") && said.contains("the file"),
            "{said}"
        );
    }

    #[test]
    fn sshd_is_asked() {
        if !Path::new(SSHD).exists() {
            return;
        }
        let path = "/etc/ssh/sshd_config.d/10-forge.conf";
        validate(path, b"Port 2222\nPasswordAuthentication no\n").unwrap();
        let said = validate(path, b"PasswordAuthentication perhaps\n").unwrap_err();
        assert!(said.contains("sshd would refuse it"), "{said}");
        validate("/etc/ssh/sshd_config.d/README", b"what is this\n").unwrap();
    }

    #[test]
    fn reads_by_which_way_he_came() {
        let deployer = parse(
            "2001:db8::1 50000 2001:db8::2 2222",
            Some("anna".to_owned()),
        );
        assert_eq!(deployer.user, "anna");
        assert_eq!(deployer.port, Some(2222));
        assert_eq!(deployer.from, Some("2001:db8::1".parse().unwrap()));
        let link = parse("fe80::1%eth0 50000 fe80::2%eth0 22", None);
        assert_eq!(link.from, Some("fe80::1".parse().unwrap()));
        assert_eq!(parse("", None).port, None);
    }

    #[test]
    fn finds_who_else_lets_him_become_root() {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        std::fs::create_dir_all(paths.at("/etc/sudoers.d")).unwrap();
        std::fs::write(paths.at("/etc/sudoers"), "root ALL=(ALL) ALL\n").unwrap();
        std::fs::write(paths.at("/etc/sudoers.d/90-forge"), "anna ALL=(ALL) ALL\n").unwrap();
        std::fs::write(paths.at("/etc/sudoers.d/off.bak"), "anna ALL=(ALL) ALL\n").unwrap();
        let ours = |path: &str| path == "/etc/sudoers.d/90-forge";
        assert!(!sudoers_name(&paths, "anna", &ours));
        assert!(sudoers_name(&paths, "anna", &|_| false));
        std::fs::write(paths.at("/etc/sudoers.d/cloud"), "anna ALL=(ALL) ALL\n").unwrap();
        assert!(sudoers_name(&paths, "anna", &ours));
    }
}
