use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::content::{prune_content, stage_content};
use super::*;
use crate::edge::host::paths::Paths;
use crate::edge::store::{DiskStore, Options};
use crate::flow::host::tell::{Kept, Silent};
use crate::pure::bundle::{Part, PartKind};
use crate::pure::generation::{Action, Mode, Owner, TargetFile};

struct World {
    root: tempfile::TempDir,
    host: Host,
}

impl World {
    fn new() -> Self {
        // In memory where that can be: the hosts of one test sync hundreds of times.
        let root = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let paths = Paths::below(root.path());
        let store = DiskStore::open(&paths.store(), Options::default()).unwrap();
        std::fs::create_dir_all(root.path().join("etc")).unwrap();
        Self {
            host: Host { paths, store },
            root,
        }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.host.paths.at(path)
    }

    fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.path(path)).ok()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn plan(&self, want: &Target, before: &[&Target]) -> Vec<Change> {
        Files::new(&fine)
            .plan(&self.host, Way { want, before })
            .unwrap()
    }

    fn apply(&self, want: &Target, before: &[&Target]) {
        self.apply_with(want, before, Power::default()).unwrap();
    }

    fn apply_with(&self, want: &Target, before: &[&Target], power: Power) -> Result<(), HostError> {
        let way = Way { want, before };
        Files::new(&fine)
            .with_power(power)
            .apply(&self.host, way, &Silent)
    }

    /// Everything below /etc, by path and content or target.
    fn etc(&self) -> BTreeMap<String, String> {
        let root = self.root.path();
        let files = place::files_below(&root.join("etc")).unwrap();
        let content = |path: &Path| match place::look(path).unwrap() {
            Found::File { bytes, mode, .. } => {
                format!("{mode} {}", String::from_utf8(bytes).unwrap())
            }
            Found::Link { target } => format!("-> {target}"),
            other => format!("{other:?}"),
        };
        files
            .iter()
            .map(|path| (path.display().to_string(), content(path)))
            .collect()
    }
}

fn fine(_: &str, _: &[u8]) -> Result<(), String> {
    Ok(())
}

fn mine() -> Owner {
    let metadata = std::fs::metadata(tempfile::tempdir().unwrap().path()).unwrap();
    Owner {
        uid: metadata.uid(),
        gid: metadata.gid(),
    }
}

fn target(files: &[(&str, Place, &str)]) -> Target {
    let mut target = Target::nothing();
    for (name, place, text) in files {
        let file = TargetFile {
            place: place.clone(),
            owner: mine(),
            mode: Mode(0o644),
            digest: BlobDigest::of(text),
            secrets: BTreeSet::new(),
        };
        target.files.insert((*name).to_owned(), file);
        let title = format!("files/{name}");
        let part = Part::new(
            PartKind::File,
            title.parse().unwrap(),
            text.as_bytes().to_vec(),
        );
        target.parts.insert(title, part);
    }
    target
}

#[test]
fn what_a_boot_has_forgotten_is_there_again() {
    let world = World::new();
    let wanted = target(&[
        (
            "env",
            managed("/run/forge/backup/env"),
            "REPOSITORY=/backup\n",
        ),
        ("motd", managed("/etc/motd"), "hello\n"),
    ]);
    world.apply(&wanted, &[]);
    std::fs::remove_dir_all(world.path("/run")).unwrap();
    std::fs::remove_file(world.path("/etc/motd")).unwrap();

    at_boot(&world.host, &[&wanted]).unwrap();
    let env = world.read("/run/forge/backup/env");
    assert_eq!(env.as_deref(), Some("REPOSITORY=/backup\n"));
    // What is gone from a disk was removed by somebody: that is theirs to know.
    assert_eq!(world.read("/etc/motd"), None);
    let drift: Vec<String> = world
        .plan(&wanted, &[&wanted])
        .into_iter()
        .map(|change| change.name)
        .collect();
    assert_eq!(drift, ["/etc/motd"]);
}

#[test]
fn what_was_not_placed_yet_is_not_forgotten() {
    let world = World::new();
    let wanted = target(&[(
        "env",
        managed("/run/forge/backup/env"),
        "REPOSITORY=/backup\n",
    )]);
    // A first activation: Docker is installed, and starts, before files are placed.
    at_boot(&world.host, &[&wanted]).unwrap();
    assert_eq!(world.read("/run/forge/backup/env"), None);
    world.apply(&wanted, &[]);
    // And back, to a host that has nothing of it.
    world.apply(&Target::default(), &[&wanted]);
    at_boot(&world.host, &[&wanted]).unwrap();
    assert_eq!(world.read("/run/forge/backup/env"), None);
    assert_eq!(world.plan(&Target::default(), &[&wanted]), []);
}

fn managed(path: &str) -> Place {
    Place::Managed {
        path: path.to_owned(),
    }
}

fn block(path: &str) -> Place {
    Place::Block {
        path: path.to_owned(),
    }
}

#[test]
fn the_host_comes_back_from_a_kill_at_any_point() {
    let one = target(&[
        ("m/a", managed("/etc/a"), "one\n"),
        ("m/new", managed("/etc/deep/er/new"), "one\n"),
        ("m/link", managed("/etc/link"), "one\n"),
        ("m/block", block("/etc/theirs"), "one\n"),
    ]);
    let two = target(&[
        ("m/a", managed("/etc/a"), "two\n"),
        ("m/link", block("/etc/a2"), "two\n"),
        ("m/block", managed("/etc/theirs"), "two\n"),
    ]);
    for steps in 0.. {
        let world = World::new();
        world.write("/etc/a", "original a\n");
        world.write("/etc/theirs", "original\n");
        std::os::unix::fs::symlink("../x", world.path("/etc/link")).unwrap();
        let before = world.etc();
        let power = Power::for_steps(steps);
        let done = world
            .apply_with(&one, &[], power.clone())
            .and_then(|()| world.apply_with(&two, &[&one], power));
        // To the next, or back: from wherever it was cut.
        let nothing = Target::nothing();
        if steps % 2 == 0 {
            world.apply(&two, &[&one]);
            assert_eq!(world.plan(&two, &[]), [], "after {steps} steps");
            assert_eq!(world.read("/etc/a").unwrap(), "two\n");
            assert_eq!(world.read("/etc/deep/er/new"), None);
        }
        world.apply(&nothing, &[&one, &two]);
        assert_eq!(world.etc(), before, "after {steps} steps");
        assert_eq!(world.plan(&nothing, &[&one, &two]), []);
        let kept = place::files_below(&world.path("/var/lib/forge/managed")).unwrap();
        assert!(
            kept.iter().all(|path| path.ends_with("list.json")),
            "{kept:?}"
        );
        assert!(!world.path("/var/lib/forge/managed/edited").exists());
        if done.is_ok() {
            return;
        }
    }
}

#[test]
fn plans_say_what_and_why_with_the_difference() {
    let world = World::new();
    world.write("/etc/theirs", "a\n");
    let want = target(&[
        ("m/new", managed("/etc/new"), "x\n"),
        ("m/theirs", managed("/etc/theirs"), "b\n"),
        ("m/apt", managed("/etc/apt/sources.list"), "no\n"),
    ]);
    let plan = world.plan(&want, &[]);
    let said: Vec<_> = plan
        .iter()
        .map(|change| (change.name.as_str(), change.action, change.why.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            ("/etc/new", Action::Add, "new"),
            (
                "/etc/theirs",
                Action::Change,
                "replaces the file of the host, which is kept"
            ),
        ]
    );
    assert!(plan[1].diff.as_ref().unwrap().contains("-a\n+b\n"));
    let apt = AptFiles::new(&fine);
    let way = Way {
        want: &want,
        before: &[],
    };
    assert_eq!(apt.plan(&world.host, way).unwrap().len(), 1);
    assert_eq!(world.read("/etc/new"), None, "a plan changes nothing");
    let told = Kept::default();
    Files::new(&fine).apply(&world.host, way, &told).unwrap();
    assert_eq!(told.events().len(), 2);
    apt.apply(&world.host, way, &told).unwrap();
    assert_eq!(world.read("/etc/apt/sources.list").unwrap(), "no\n");
    // Each half leaves the other alone, also on the way back.
    world.apply(&Target::nothing(), &[&want]);
    assert_eq!(world.read("/etc/theirs").unwrap(), "a\n");
    assert_eq!(world.read("/etc/new"), None);
    assert_eq!(world.read("/etc/apt/sources.list").unwrap(), "no\n");
}

#[test]
fn an_edit_by_hand_is_told_overwritten_and_kept() {
    let world = World::new();
    let want = target(&[("m/f", managed("/etc/f"), "ours\n")]);
    world.apply(&want, &[]);
    world.write("/etc/f", "theirs\n");
    let plan = world.plan(&want, &[&want]);
    assert_eq!(plan[0].why, "edited by hand since");
    assert!(plan[0].diff.as_ref().unwrap().contains("-theirs\n+ours\n"));
    let told = Kept::default();
    let way = Way {
        want: &want,
        before: &[],
    };
    Files::new(&fine).apply(&world.host, way, &told).unwrap();
    assert_eq!(world.read("/etc/f").unwrap(), "ours\n");
    let kept = world
        .host
        .paths
        .managed()
        .join("edited")
        .join(BlobDigest::of("theirs\n").hex());
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "theirs\n");
    let said = format!("{:?}", told.events());
    assert!(said.contains(&kept.display().to_string()), "{said}");
}

#[test]
fn nothing_is_placed_if_one_file_is_not_valid_or_has_no_place() {
    let world = World::new();
    let want = target(&[
        ("m/a", managed("/etc/a"), "good\n"),
        ("m/b", managed("/etc/sudoers.d/b"), "bad\n"),
    ]);
    let validate = |path: &str, bytes: &[u8]| match bytes {
        b"bad\n" => Err(format!("{path}: no")),
        _ => Ok(()),
    };
    let way = Way {
        want: &want,
        before: &[],
    };
    let error = Files::new(&validate)
        .apply(&world.host, way, &Silent)
        .unwrap_err();
    assert!(
        error.to_string().contains("/etc/sudoers.d/b: no"),
        "{error}"
    );
    assert_eq!(world.etc(), BTreeMap::new());
    std::fs::create_dir_all(world.path("/etc/a")).unwrap();
    let error = Files::new(&fine).plan(&world.host, way).unwrap_err();
    assert!(error.to_string().contains("folder"), "{error}");
}

#[test]
fn what_a_generation_placed_goes_also_if_the_list_was_lost() {
    let world = World::new();
    world.write("/etc/theirs", "original\n");
    let want = target(&[
        ("m/f", managed("/etc/f"), "ours\n"),
        ("m/block", block("/etc/theirs"), "ours\n"),
    ]);
    world.apply(&want, &[]);
    std::fs::remove_dir_all(world.host.paths.managed()).unwrap();
    world.apply(&Target::nothing(), &[&want]);
    assert_eq!(world.read("/etc/f"), None);
    assert_eq!(world.read("/etc/theirs").unwrap(), "original\n");
}

#[test]
fn content_is_staged_once_repaired_and_pruned() {
    let world = World::new();
    let path = |name: &str| format!("/var/lib/forge/files/{}/{name}", BlobDigest::of(name).hex());
    let content = |name: &str| Place::Content { path: path(name) };
    let many: Vec<String> = (0..7).map(|n| format!("m/{n}")).collect();
    let files: Vec<_> = many
        .iter()
        .map(|name| (name.as_str(), content(&name[2..]), name.as_str()))
        .collect();
    let want = target(&files);
    stage_content(&world.host, &want).unwrap();
    let inode = |name: &str| std::fs::metadata(world.path(&path(name))).unwrap().ino();
    let before = inode("0");
    world.write(&path("1"), "damaged");
    stage_content(&world.host, &want).unwrap();
    assert_eq!(inode("0"), before, "a container has mounted it");
    assert_eq!(world.read(&path("1")).unwrap(), "m/1");
    prune_content(&world.host, &[&target(&files[..1])]).unwrap();
    assert_eq!(inode("0"), before);
    let left = place::files_below(&world.host.paths.files()).unwrap();
    assert_eq!(left, [world.path(&path("0"))]);
    let outside = target(&[(
        "m/x",
        Place::Content {
            path: "/etc/x".to_owned(),
        },
        "x",
    )]);
    assert!(stage_content(&world.host, &outside).is_err());
}
