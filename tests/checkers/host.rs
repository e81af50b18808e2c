//! A shipped host, rendered in this process, and its files where a program can read them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use forge::edge::{catalogue, project};
use forge::flow::operator::evaluate::Opened;
use forge::pure::config::project::TextFile;
use forge::pure::files::from_system;
use forge::pure::files::place::{Place, RenderedFile};
use forge::pure::system::System;
use forge::pure::template::helpers::placeholders;

pub(crate) struct Rendered {
    pub(crate) system: System,
    files: BTreeMap<String, RenderedFile>,
}

impl Rendered {
    pub(crate) fn of(host: &str) -> Self {
        Self::with(&[], host)
    }

    /// A host of this project, as it would be with some more files.
    pub(crate) fn with(files: &[(&str, &str)], host: &str) -> Self {
        let mut text = project::read(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        for (path, content) in files {
            let bytes = Cow::Owned(content.as_bytes().to_vec());
            let embedded = false;
            text.files
                .insert((*path).to_owned(), TextFile { bytes, embedded });
        }
        catalogue::add_below(&mut text);
        let mut opened = Opened::read(text);
        let drafted = opened.draft(&host.parse().unwrap());
        let found: Vec<_> = opened.diagnostics.iter().collect();
        let drafted = drafted.unwrap_or_else(|| panic!("{found:#?}"));
        let from_system::Rendered { files, .. } = drafted.rendered;
        Self {
            system: drafted.system,
            files,
        }
    }

    pub(crate) fn file(&self, name: &str) -> String {
        let file = self
            .files
            .get(name)
            .unwrap_or_else(|| panic!("no file {name} among {:?}", self.files.keys()));
        filled(file)
    }

    /// Every file that is text, by name.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&str, String)> {
        self.files
            .iter()
            .map(|(name, file)| (name.as_str(), filled(file)))
    }

    pub(crate) fn units(&self) -> impl Iterator<Item = (&str, String)> {
        self.texts()
            .filter_map(|(name, text)| Some((name.strip_prefix("unit/")?, text)))
    }

    /// Writes the managed files below a folder, as they would stand on the host.
    pub(crate) fn managed_files(&self, root: &Path) {
        for file in self.files.values() {
            if let Place::Managed { path } = &file.place {
                let target = root.join(path.trim_start_matches('/'));
                fs::create_dir_all(target.parent().unwrap()).unwrap();
                fs::write(&target, filled(file)).unwrap();
                let mode = u32::from_str_radix(&file.mode, 8).unwrap();
                fs::set_permissions(&target, fs::Permissions::from_mode(mode)).unwrap();
            }
        }
    }

    /// Where a file is mounted in a service.
    pub(crate) fn mounted_at(&self, service: &str, file: &str) -> String {
        self.system.services[service]
            .mounts
            .iter()
            .find(|mount| mount.file.as_deref() == Some(file))
            .unwrap_or_else(|| panic!("{file} is not mounted in {service}"))
            .at
            .clone()
    }

    /// Writes the files that a service mounts below a folder, and makes folders for its volumes; the paths within the files are
    /// moved there too.
    pub(crate) fn container_files(&self, service: &str, folder: &Path) -> PathBuf {
        let root = folder.join("root");
        let mut mounts: Vec<_> = self.system.services[service].mounts.iter().collect();
        // The longest first, so that no path is moved as the beginning of another.
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.at.len()));
        for mount in &mounts {
            let target = root.join(mount.at.trim_start_matches('/'));
            let Some(file) = &mount.file else {
                fs::create_dir_all(target).unwrap();
                continue;
            };
            let mut text = self.file(file);
            for (index, other) in mounts.iter().enumerate() {
                text = text.replace(&other.at, &format!("<{index}>"));
            }
            for (index, other) in mounts.iter().enumerate() {
                text = text.replace(
                    &format!("<{index}>"),
                    &format!("{}{}", root.display(), other.at),
                );
            }
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            fs::write(target, text).unwrap();
        }
        root
    }
}

/// The text with a stand-in for every secret: `secret-NAME`.
fn filled(file: &RenderedFile) -> String {
    let mut text = String::from_utf8(file.bytes.clone()).unwrap();
    for placeholder in placeholders(&text.clone()) {
        text = text.replace(
            &placeholder.to_string(),
            &format!("secret-{}", placeholder.name),
        );
    }
    text
}

/// Runs a program that must succeed; its output.
pub(crate) fn run(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{text}");
    if output.stdout.is_empty() {
        text
    } else {
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// A program of a Debian package.
pub(crate) fn tool(name: &str, package: &str) -> PathBuf {
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| {
            panic!(
                "`{name}` is not installed: apt-get install {package} (`cargo xtask test` does it)"
            )
        })
}

/// The programs of the PostgreSQL server that Debian packages.
pub(crate) fn postgres_bin() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").unwrap_or_else(|_| {
        panic!("no PostgreSQL server: apt-get install postgresql (`cargo xtask test` does it)")
    });
    let mut bins: Vec<PathBuf> = versions
        .map(|entry| entry.unwrap().path().join("bin"))
        .filter(|bin| bin.join("postgres").is_file())
        .collect();
    bins.sort();
    bins.pop().expect("a PostgreSQL server")
}

const NOBODY: u32 = 65534;

/// PostgreSQL refuses to run as root.
pub(crate) fn as_nobody(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")])
        .arg("--clear-groups")
        .arg(program)
        .current_dir("/");
    command
}

/// Lets `nobody` own a folder, if this is root.
pub(crate) fn give_away(folder: &Path) {
    if rustix::process::geteuid().is_root() {
        run(Command::new("chown")
            .args(["-R", &format!("{NOBODY}:{NOBODY}")])
            .arg(folder));
    }
}
