//! Same project, same digest: other folder, umask, time zone, locale, file order, user; and the golden digests. The same for the images
//! that are built from recipes, whose digests are in `forge.lock`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

mod warm;

const HOSTS: [&str; 4] = ["mainframe", "minimal", "dr", "lab"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The golden digest of a shipped host.
fn golden(host: &str) -> String {
    let text = fs::read_to_string(root().join("tests/golden/digests.toml")).unwrap();
    let table: toml::Table = text.parse().unwrap();
    table[host].as_str().unwrap().to_owned()
}

fn forge(project: &Path, store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forge"));
    command
        .env_clear()
        .env("FORGE_STORE", store)
        .env("FORGE_PROJECT", project);
    command
}

fn digest(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Copies a project; `reversed` in the reverse order of names, so that the folder lists them otherwise.
fn copy(from: &Path, to: &Path, reversed: bool) {
    fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = fs::read_dir(from).unwrap().map(Result::unwrap).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    if reversed {
        entries.reverse();
    }
    for entry in entries {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target, reversed);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn copy_project(to: &Path, reversed: bool) {
    for folder in ["hosts", "modules", "images"] {
        copy(&root().join(folder), &to.join(folder), reversed);
    }
    for file in ["forge.toml", "forge.lock"] {
        fs::copy(root().join(file), to.join(file)).unwrap();
    }
}

#[test]
fn the_shipped_hosts_have_their_golden_digests() {
    let store = tempfile::tempdir().unwrap();
    // Of all the hosts with recipes the one with most of them.
    warm::copy("lab", store.path());
    for host in HOSTS {
        let mut command = forge(&root(), store.path());
        command.args(["build", host]);
        assert_eq!(
            digest(command),
            golden(host),
            "the bundle of `{host}` has changed. If that was meant, look at what differs (`forge diff OLD {host}`), \
             then accept it with `cargo xtask gen`"
        );
    }
}

#[test]
fn folder_order_zone_locale_and_umask_do_not_matter() {
    let temp = tempfile::tempdir().unwrap();
    let project = temp.path().join("quite another folder/with space");
    copy_project(&project, true);
    for (zone, locale, umask) in [
        ("Pacific/Kiritimati", "tr_TR.UTF-8", "000"),
        ("America/St_Johns", "C", "077"),
    ] {
        let store = temp.path().join(format!("store-{umask}"));
        warm::copy("mainframe", &store);
        let mut command = Command::new("/bin/sh");
        command
            .env_clear()
            .env("TZ", zone)
            .env("LC_ALL", locale)
            .env("LANG", locale)
            .env("HOME", temp.path())
            .env("FORGE_STORE", &store)
            .current_dir(&project)
            .args([
                "-c",
                &format!("umask {umask}; exec \"$0\" build mainframe"),
                env!("CARGO_BIN_EXE_forge"),
            ]);
        assert_eq!(
            digest(command),
            golden("mainframe"),
            "{zone} {locale} {umask}"
        );
    }
}

#[test]
fn the_user_does_not_matter() {
    if !rustix::process::geteuid().is_root() {
        // Whoever runs this is another user than the one who made the golden digest.
        return the_shipped_hosts_have_their_golden_digests();
    }
    let temp = tempfile::tempdir().unwrap();
    let project = temp.path().join("project");
    copy_project(&project, false);
    let program = temp.path().join("forge");
    fs::copy(env!("CARGO_BIN_EXE_forge"), &program).unwrap();
    warm::copy("mainframe", &temp.path().join("store"));
    let status = Command::new("chown")
        .args(["-R", "65534:65534"])
        .arg(temp.path())
        .status()
        .unwrap();
    assert!(status.success());
    let mut command = Command::new("setpriv");
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("FORGE_STORE", temp.path().join("store"))
        .current_dir(&project)
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["build", "mainframe"]);
    assert_eq!(digest(command), golden("mainframe"));
}

/// A project without modules and images of its own gets those of the catalogue, byte for byte.
#[test]
fn the_embedded_catalogue_is_the_shipped_one() {
    let temp = tempfile::tempdir().unwrap();
    let project = temp.path().join("project");
    copy(&root().join("hosts"), &project.join("hosts"), false);
    for file in ["forge.toml", "forge.lock"] {
        fs::copy(root().join(file), project.join(file)).unwrap();
    }
    warm::copy("lab", &temp.path().join("store"));
    for host in HOSTS {
        let mut command = forge(&project, &temp.path().join("store"));
        command.args(["build", host]);
        assert_eq!(digest(command), golden(host));
    }
}

/// The check of golden digests can fail: one changed character is another bundle.
#[test]
fn another_project_has_another_digest() {
    let temp = tempfile::tempdir().unwrap();
    let project = temp.path().join("project");
    copy_project(&project, false);
    let host = project.join("hosts/minimal.toml");
    let text = fs::read_to_string(&host).unwrap();
    fs::write(&host, text.replace("www.example.com", "web.example.com")).unwrap();
    let mut command = forge(&project, &temp.path().join("store"));
    command.args(["build", "minimal"]);
    assert_ne!(digest(command), golden("minimal"));
}

const ARCHITECTURES: [&str; 2] = ["amd64", "arm64"];

/// The digests that `forge.lock` has for these recipes, one a line, as `forge image build` prints them.
fn locked(recipes: &[String], arch: &str) -> String {
    let text = fs::read_to_string(root().join("forge.lock")).unwrap();
    let lock: toml::Table = text.parse().unwrap();
    let mut lines = Vec::new();
    for name in recipes {
        let all = lock["recipe"].as_array().unwrap();
        let found = all
            .iter()
            .find(|recipe| recipe["name"].as_str() == Some(name));
        let builds = found.unwrap()["build"].as_array().unwrap();
        let build = builds
            .iter()
            .find(|build| build["arch"].as_str() == Some(arch));
        lines.push(build.unwrap()["digest"].as_str().unwrap());
    }
    lines.join("\n")
}

fn image_build(command: &mut Command, recipes: &[String], arch: &str, jobs: &str) {
    command.args(["image", "build", "--arch", arch, "-j", jobs]);
    command.args(recipes);
}

/// Two that have between them wheels, certificates, accounts and files of their own.
fn two() -> Vec<String> {
    ["hermes-api", "redis-bookworm"].map(str::to_owned).to_vec()
}

/// Makes a store as it is before the first build: with packages, and nothing that was made of them.
fn packages(recipes: &[String], arch: &str, store: &Path) {
    warm::copy_recipes(recipes, arch, store);
    assert!(
        !store.join("memo").exists() || fs::read_dir(store.join("memo")).unwrap().next().is_none()
    );
}

#[test]
fn every_recipe_comes_out_as_it_is_locked() {
    let recipes = warm::recipes();
    assert!(recipes.len() >= 9, "{recipes:?}");
    for arch in ARCHITECTURES {
        let store = tempfile::tempdir().unwrap();
        packages(&recipes, arch, store.path());
        // The second time nothing is left to do but to look.
        for _ in 0..2 {
            let mut command = forge(&root(), store.path());
            image_build(&mut command, &recipes, arch, "4");
            assert_eq!(digest(command), locked(&recipes, arch), "{arch}");
        }
    }
}

#[test]
fn jobs_folder_order_zone_and_umask_do_not_matter_to_images() {
    let temp = tempfile::tempdir().unwrap();
    let project = temp.path().join("quite another folder/with space");
    copy_project(&project, true);
    let recipes = two();
    for arch in ARCHITECTURES {
        for (jobs, zone, umask) in [
            ("1", "Pacific/Kiritimati", "000"),
            ("4", "America/St_Johns", "077"),
        ] {
            let store = temp.path().join(format!("store-{arch}-{umask}"));
            packages(&recipes, arch, &store);
            let mut command = Command::new("/bin/sh");
            command
                .env_clear()
                .env("TZ", zone)
                .env("LC_ALL", "tr_TR.UTF-8")
                .env("HOME", temp.path())
                .env("FORGE_STORE", &store)
                .current_dir(&project)
                .args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")])
                .arg(env!("CARGO_BIN_EXE_forge"));
            image_build(&mut command, &recipes, arch, jobs);
            assert_eq!(digest(command), locked(&recipes, arch), "{arch} -j {jobs}");
        }
    }
}

#[test]
fn the_user_does_not_matter_to_images() {
    if !rustix::process::geteuid().is_root() {
        // Whoever runs this is another user than the one who made the lock.
        return every_recipe_comes_out_as_it_is_locked();
    }
    let temp = tempfile::tempdir().unwrap();
    let project = temp.path().join("project");
    copy_project(&project, false);
    let program = temp.path().join("forge");
    fs::copy(env!("CARGO_BIN_EXE_forge"), &program).unwrap();
    let (recipes, store) = (two(), temp.path().join("store"));
    for arch in ARCHITECTURES {
        packages(&recipes, arch, &store.join(arch));
    }
    let status = Command::new("chown")
        .args(["-R", "65534:65534"])
        .arg(temp.path())
        .status()
        .unwrap();
    assert!(status.success());
    for arch in ARCHITECTURES {
        let mut command = Command::new("setpriv");
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", "/nonexistent")
            .env("FORGE_STORE", store.join(arch))
            .current_dir(&project)
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(&program);
        image_build(&mut command, &recipes, arch, "4");
        assert_eq!(digest(command), locked(&recipes, arch), "{arch}");
    }
}

/// What a build remembers of packages saves time and nothing else: without the images, with the memory alone, or without it.
#[test]
fn what_is_remembered_does_not_matter_to_images() {
    let (recipes, arch) = (two(), "amd64");
    let temp = tempfile::tempdir().unwrap();
    let store = temp.path().join("store");
    packages(&recipes, arch, &store);
    let build = || {
        let mut command = forge(&root(), &store);
        image_build(&mut command, &recipes, arch, "2");
        digest(command)
    };
    let blob = |digest: &str| store.join("blobs/sha256").join(&digest["sha256:".len()..]);
    let wanted = locked(&recipes, arch);
    assert_eq!(build(), wanted);
    // The manifests are gone: the layers are found again by what is remembered.
    assert!(fs::read_dir(store.join("memo")).unwrap().next().is_some());
    for manifest in wanted.lines() {
        fs::remove_file(blob(manifest)).unwrap();
    }
    assert_eq!(build(), wanted);
    // Forgotten: everything is unpacked again, over the layers that are there.
    fs::remove_dir_all(store.join("memo")).unwrap();
    for manifest in wanted.lines() {
        fs::remove_file(blob(manifest)).unwrap();
    }
    assert_eq!(build(), wanted);
}
