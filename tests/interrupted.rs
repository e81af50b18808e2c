//! Builds and fetches of images that are killed, run out of disk, or find damage: nothing false comes of it, and the next run ends well.
#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

mod warm;

const IMAGE: &str = "redis-bookworm";
const ARCH: &str = "amd64";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What the lock has for the image: a table with its digest, layers and packages.
fn locked() -> toml::Table {
    let lock: toml::Table = include_str!("../forge.lock").parse().unwrap();
    let recipes = lock["recipe"].as_array().unwrap();
    let recipe = recipes
        .iter()
        .find(|recipe| recipe["name"].as_str() == Some(IMAGE));
    let builds = recipe.unwrap()["build"].as_array().unwrap();
    let build = builds
        .iter()
        .find(|build| build["arch"].as_str() == Some(ARCH));
    build.unwrap().as_table().unwrap().clone()
}

fn digest() -> String {
    locked()["digest"].as_str().unwrap().to_owned()
}

/// The digest of the .deb of a package that the image has.
fn package(name: &str) -> String {
    let lock: toml::Table = include_str!("../forge.lock").parse().unwrap();
    let wanted = locked()["packages"].as_array().unwrap().clone();
    let packages = lock["package"].as_array().unwrap();
    let found = packages.iter().find(|pin| {
        let text = |key: &str| pin[key].as_str().unwrap();
        let pin = format!("{} {} {}", text("name"), text("version"), text("arch"));
        text("name") == name && wanted.iter().any(|wanted| wanted.as_str() == Some(&pin))
    });
    found.unwrap()["sha256"].as_str().unwrap().to_owned()
}

fn forge(project: &Path, store: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forge"));
    command
        .env("FORGE_STORE", store)
        .env("FORGE_PROJECT", project)
        .args(args);
    command
}

const BUILD: [&str; 5] = ["image", "build", IMAGE, "--arch", ARCH];
const FETCH: [&str; 5] = ["fetch", "--image", IMAGE, "--arch", ARCH];

fn run(store: &Path, args: &[&str]) -> Output {
    forge(&root(), store, args).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn builds(store: &Path) {
    let output = run(store, &BUILD);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), digest());
}

fn is_sound(store: &Path, when: &str) {
    let output = run(store, &["verify"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{when}: {text}{}", said(&output));
}

fn packages(store: &Path) {
    warm::copy_recipes(&[IMAGE.to_owned()], ARCH, store);
}

fn blob(store: &Path, hex: &str) -> PathBuf {
    store.join("blobs/sha256").join(hex)
}

/// One bit in the middle.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Kills the command at twelve moments of the time that it takes, in turn with SIGKILL and SIGINT; each time from the same beginning.
/// Gives how often it was still at work.
fn killed(args: &[&str], begin: impl Fn(&Path)) -> usize {
    const KILLS: u32 = 12;
    let temp = tempfile::tempdir().unwrap();
    let whole = temp.path().join("whole");
    begin(&whole);
    let start = Instant::now();
    let output = run(&whole, args);
    assert!(output.status.success(), "{}", said(&output));
    let time = start.elapsed();
    let mut hits = 0;
    for kill in 0..KILLS {
        let store = temp.path().join(format!("{kill}"));
        begin(&store);
        let mut child = forge(&root(), &store, args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(time * kill / KILLS + Duration::from_millis(5));
        let signal = match kill % 2 {
            0 => rustix::process::Signal::KILL,
            _ => rustix::process::Signal::INT,
        };
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).unwrap();
        hits += usize::from(!child.wait().unwrap().success());
        let when = format!("{args:?}, kill {kill} of {KILLS} in {time:?}");
        is_sound(&store, &when);
        let output = run(&store, args);
        assert!(output.status.success(), "{when}: {}", said(&output));
        builds(&store);
        is_sound(&store, &when);
        fs::remove_dir_all(&store).unwrap();
    }
    hits
}

#[test]
fn a_killed_build_harms_nothing_and_the_next_one_ends() {
    let hits = killed(&BUILD, packages);
    assert!(hits >= 4, "only {hits} kills hit: the test shows little");
}

#[test]
fn a_killed_fetch_harms_nothing_and_the_next_one_ends() {
    let hits = killed(&FETCH, |_| ());
    assert!(hits >= 4, "only {hits} kills hit: the test shows little");
}

/// A file system of a size, unmounted in the end.
struct Small {
    folder: tempfile::TempDir,
}

impl Small {
    fn new(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder.path())
            .status();
        status
            .is_ok_and(|status| status.success())
            .then_some(Self { folder })
    }

    fn resize(&self, size: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,size={size}")])
            .arg(self.folder.path())
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.folder.path()).status();
    }
}

#[test]
#[allow(clippy::print_stderr)]
fn a_full_disk_is_told_and_more_room_mends_it() {
    // The packages are 8 MB, and what they become 23 MB: one size is too small for the fetch, one for the build.
    for (size, args) in [("3m", FETCH), ("3m", BUILD), ("14m", BUILD)] {
        let Some(small) = Small::new(size) else {
            eprintln!("SKIPPED: a full disk is not tried, because mounting a tmpfs needs root");
            return;
        };
        let store = small.folder.path().join("store");
        let output = run(&store, &args);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(3), "{size}: {text}");
        assert!(text.contains("No space left on device"), "{size}: {text}");
        assert!(text.contains(store.to_str().unwrap()), "{size}: {text}");
        small.resize("200m");
        is_sound(&store, size);
        builds(&store);
        is_sound(&store, size);
    }
}

/// Takes out what is damaged; it says so, and ends as it does where something is wrong.
fn repair(store: &Path) {
    let output = run(store, &["verify", "--repair"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("removed 1"), "{text}");
}

#[test]
fn a_damaged_package_is_never_built_from() {
    let temp = tempfile::tempdir().unwrap();
    let store = temp.path().join("store");
    packages(&store);
    let place = blob(&store, &package("busybox"));
    damage(&place);
    let output = run(&store, &BUILD);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(output.stdout.is_empty());
    assert!(text.contains("is damaged"), "{text}");
    assert!(text.contains(place.to_str().unwrap()), "{text}");
    assert!(text.contains("forge verify --repair"), "{text}");
    let verified = run(&store, &["verify"]);
    assert_eq!(verified.status.code(), Some(1));
    // What was said mends it.
    repair(&store);
    assert!(!place.exists());
    builds(&store);
    is_sound(&store, "after the package was fetched again");
}

#[test]
fn a_damaged_layer_is_found_and_made_again() {
    let temp = tempfile::tempdir().unwrap();
    let store = temp.path().join("store");
    packages(&store);
    builds(&store);
    let layers = locked()["layers"].as_array().unwrap().clone();
    let layer = layers[3].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let place = blob(&store, layer);
    damage(&place);
    let out = temp.path().join("out");
    let export = [
        "image",
        "export",
        IMAGE,
        "--arch",
        ARCH,
        "--out",
        out.to_str().unwrap(),
    ];
    let output = run(&store, &export);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(
        text.contains("is damaged") && text.contains(place.to_str().unwrap()),
        "{text}"
    );
    assert!(!out.exists(), "a damaged layer was exported");
    let verified = run(&store, &["verify"]);
    assert_eq!(verified.status.code(), Some(1));
    let text = String::from_utf8_lossy(&verified.stdout).into_owned();
    assert!(
        text.contains(layer) && text.contains("forge verify --repair"),
        "{text}"
    );
    repair(&store);
    assert!(!place.exists());
    builds(&store);
    is_sound(&store, "after the layer was made again");
    let output = run(&store, &export);
    assert!(output.status.success(), "{}", said(&output));
}

/// A project with the shipped images and lock, to be changed.
fn project(to: &Path) {
    fs::create_dir_all(to).unwrap();
    let status = Command::new("cp")
        .arg("-R")
        .args(
            ["forge.toml", "forge.lock", "images", "modules", "hosts"]
                .map(|name| root().join(name)),
        )
        .arg(to)
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn what_the_lock_does_not_say_is_no_result() {
    let temp = tempfile::tempdir().unwrap();
    let (store, copy) = (temp.path().join("store"), temp.path().join("project"));
    packages(&store);
    project(&copy);
    let lock = fs::read_to_string(copy.join("forge.lock")).unwrap();
    let layers = locked()["layers"].as_array().unwrap().clone();
    let last = layers.last().unwrap().as_str().unwrap();
    let (other, another) = (
        format!("sha256:{}", "1".repeat(64)),
        format!("sha256:{}", "2".repeat(64)),
    );
    assert_eq!(lock.matches(&digest()).count(), 1);
    fs::write(
        copy.join("forge.lock"),
        lock.replace(&digest(), &other).replace(last, &another),
    )
    .unwrap();
    let output = forge(&copy, &store, &BUILD).output().unwrap();
    let text = said(&output);
    assert!(matches!(output.status.code(), Some(1 | 3)), "{text}");
    assert!(output.stdout.is_empty());
    let wanted = format!(
        "came out as {}, and the lock says {other}. Layers that differ:",
        digest()
    );
    assert!(text.contains(&wanted), "{text}");
    let line = format!("expected {another}, got {last}");
    assert!(
        text.contains(&format!("{}. ", layers.len())) && text.contains(&line),
        "{text}"
    );
    assert_eq!(text.matches("expected sha256:").count(), 1, "{text}");
    assert!(text.contains(&format!("forge lock {IMAGE}")), "{text}");
    is_sound(&store, "after another digest");
    // Nothing is called by the name of the image.
    let index = fs::read_to_string(store.join("index.json")).unwrap();
    assert!(!index.contains("/images/"), "{index}");
}

#[test]
fn a_changed_recipe_must_be_locked_again() {
    let temp = tempfile::tempdir().unwrap();
    let (store, copy) = (temp.path().join("store"), temp.path().join("project"));
    packages(&store);
    project(&copy);
    let recipe = copy.join(format!("images/{IMAGE}/image.toml"));
    let text = fs::read_to_string(&recipe).unwrap();
    let changed = text.replace("[debian]", "[debian]\nexclude = [\"adduser\"]");
    assert_ne!(text, changed);
    fs::write(&recipe, changed).unwrap();
    let output = forge(&copy, &store, &BUILD).output().unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("forge lock {IMAGE}")), "{text}");
    // A host that uses it: with the code, at its place.
    let output = forge(&copy, &store, &["build", "lab"]).output().unwrap();
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("F0402") && text.contains("forge lock"),
        "{text}"
    );
}
