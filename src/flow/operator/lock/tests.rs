use std::borrow::Cow;
use std::cell::RefCell;

use super::*;
use crate::flow::progress::Silent;
use crate::pure::config::project::{ProjectText, TextFile};
use crate::pure::pins::Pin;

/// A world in memory: what it is asked is written down.
#[derive(Debug, Default)]
struct World {
    /// Counts up when tags and packages move.
    age: u32,
    gone: Option<&'static str>,
    asked: RefCell<Vec<String>>,
}

impl World {
    fn ask(&self, what: String) -> Result<(), ResolveError> {
        let gone = self.gone.is_some_and(|gone| what.contains(gone));
        self.asked.borrow_mut().push(what.clone());
        if gone {
            return Err(format!("{what} is gone").into());
        }
        Ok(())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.take()
    }
}

impl Resolver for World {
    fn registry(&self, repository: &str, tag: &str) -> Result<ManifestDigest, ResolveError> {
        self.ask(format!("{repository}:{tag}"))?;
        Ok(ManifestDigest::of(format!(
            "{repository}:{tag} {}",
            self.age
        )))
    }

    fn debian(
        &self,
        image: &Image,
        recipe: &Debian,
        arch: Arch,
        below: &[PackagePin],
    ) -> Result<Packages, ResolveError> {
        self.ask(format!("packages of {} {arch}", image.name))?;
        let packages = recipe
            .packages
            .iter()
            .filter(|(name, _)| below.iter().all(|below| below.name != *name))
            .map(|(name, _)| PackagePin {
                name: name.clone(),
                version: format!("1.{}", self.age),
                arch: arch.to_string(),
                suite: recipe.suites[0].clone(),
                path: format!("pool/{name}.deb"),
                size: 100,
                digest: BlobDigest::of(format!("{name} {arch} {}", self.age)),
            })
            .collect();
        let date = format!("2026071{}T000000Z", self.age);
        Ok(Packages {
            packages,
            suites: [(recipe.suites[0].clone(), SuitePin { date })].into(),
        })
    }

    fn wheels(
        &self,
        image: &Image,
        _: &Python,
        requirements: &[u8],
        arch: Arch,
        packages: &[PackagePin],
    ) -> Result<Vec<WheelPin>, ResolveError> {
        self.ask(format!(
            "wheels of {} {arch} beside {}",
            image.name,
            packages.len()
        ))?;
        let name = String::from_utf8_lossy(requirements).trim().to_owned();
        Ok(vec![WheelPin {
            file: format!("{name}-1-py3-none-any.whl"),
            version: "1".to_owned(),
            size: 10,
            digest: BlobDigest::of(&name),
            name,
        }])
    }

    fn build(&self, wanted: &ToBuild<'_>) -> Result<Built, ResolveError> {
        self.ask(format!("build {} {}", wanted.image.name, wanted.arch))?;
        let recipe = wanted.image.recipe().unwrap();
        let base = recipe.base.as_ref().and_then(|(base, _)| {
            let pin = wanted.pins.all.get(base)?;
            pin.builds().get(&wanted.arch)
        });
        let mut layers = base.map(|base| base.layers.clone()).unwrap_or_default();
        layers.extend(wanted.packages.iter().map(|package| package.digest));
        layers.extend(wanted.wheels.iter().map(|wheel| wheel.digest));
        Ok(Built {
            digest: ManifestDigest::of(format!("{layers:?}")),
            layers,
        })
    }
}

const DEBUG: &str = "[image]\nsummary = 'A'\narch = ['amd64']\n[debian]\nsuites = ['bookworm']\npackages = ['busybox']\n";
const APP: &str = "[image]\nsummary = 'A'\narch = ['amd64']\nbase = 'debug'\n[debian]\nsuites = ['bookworm']\npackages = ['busybox', 'redis']\n[python]\nrequirements = 'r.txt'\nversion = '3.11'\n";
const WEB: &str =
    "[image]\nsummary = 'A'\n[registry]\nrepository = 'docker.io/library/caddy'\ntag = '2.10'\n";
const HOST: &str = "[host]\naddress = '192.0.2.1'\nsystem = 'debian-12'\n[[service]]\nname = 'a'\nimage = 'shelf'\nuser = '1:1'\nlimits = { memory = '64MiB', cpus = '1' }\nhealthcheck = { exec = ['/a'] }\n";

/// A project with three images of its own, and a catalogue with two, of which its host uses one.
fn files() -> Vec<(&'static str, String)> {
    vec![
        ("forge.toml", "[project]\nname = 'a'\n".to_owned()),
        ("hosts/h.toml", HOST.to_owned()),
        ("images/debug/image.toml", DEBUG.to_owned()),
        ("images/app/image.toml", APP.to_owned()),
        ("images/app/r.txt", "fastapi".to_owned()),
        ("images/web/image.toml", WEB.to_owned()),
        ("images/shelf/image.toml", WEB.replace("caddy", "shelf")),
        ("images/other/image.toml", WEB.replace("caddy", "other")),
    ]
}

fn open(files: &[(&'static str, String)]) -> Opened {
    let mut text = ProjectText::default();
    for (path, content) in files {
        let file = TextFile {
            bytes: Cow::Owned(content.clone().into_bytes()),
            embedded: path.contains("/shelf/") || path.contains("/other/"),
        };
        text.files.insert((*path).to_owned(), file);
    }
    Opened::read(text)
}

fn request(names: &[&str], update: bool) -> Request {
    Request {
        images: names.iter().map(|name| name.parse().unwrap()).collect(),
        update,
    }
}

/// Locks, and puts the lock among the files.
fn run(
    files: &mut Vec<(&'static str, String)>,
    world: &World,
    request: &Request,
) -> Result<Locked, LockError> {
    let locked = lock(&mut open(files), &Pins::default(), request, world, &Silent)?;
    if let Some(text) = &locked.text {
        files.retain(|(path, _)| *path != pins::LOCK);
        files.push((pins::LOCK, text.clone()));
    }
    Ok(locked)
}

fn changed(locked: &Locked) -> Vec<&str> {
    locked
        .changes
        .images
        .iter()
        .map(|change| change.image.as_str())
        .collect()
}

fn findings(files: &[(&'static str, String)]) -> Vec<String> {
    let all = check(&mut open(files), &BTreeSet::new()).unwrap();
    all.iter()
        .map(|finding| format!("{}: {}", finding.image, finding.state))
        .collect()
}

fn set(files: &mut [(&'static str, String)], path: &str, from: &str, to: &str) {
    let (_, text) = files.iter_mut().find(|(other, _)| *other == path).unwrap();
    assert!(text.contains(from), "{path}");
    *text = text.replace(from, to);
}

#[test]
fn what_is_missing_is_resolved_and_then_nothing_is_asked() {
    let (mut files, world) = (files(), World::default());
    assert_eq!(findings(&files).len(), 4);
    let locked = run(&mut files, &world, &Request::default()).unwrap();
    // Of the catalogue, what a host uses.
    assert_eq!(changed(&locked), ["app", "debug", "shelf", "web"]);
    let asked = world.asked();
    let position = |what: &str| asked.iter().position(|asked| asked == what).unwrap();
    assert!(position("build debug amd64") < position("packages of app amd64"));
    assert!(
        asked.contains(&"wheels of app amd64 beside 2".to_owned()),
        "{asked:?}"
    );

    let mut opened = open(&files);
    assert!(
        opened.draft(&"h".parse().unwrap()).is_some(),
        "{:?}",
        opened.diagnostics
    );
    let (app, debug) = (&opened.pins.all["app"], &opened.pins.all["debug"]);
    let names: Vec<&str> = app
        .packages()
        .map(|package| package.name.as_str())
        .collect();
    assert_eq!(names, ["redis"], "busybox lies below");
    assert!(
        app.builds()[&Arch::Amd64]
            .layers
            .starts_with(&debug.builds()[&Arch::Amd64].layers)
    );

    let again = run(&mut files, &world, &Request::default()).unwrap();
    assert!(again.text.is_none() && again.changes.images.is_empty());
    assert!(world.asked().is_empty());
    assert!(findings(&files).is_empty());
}

#[test]
fn what_still_fits_stays_until_it_is_updated() {
    let mut files = files();
    run(&mut files, &World::default(), &Request::default()).unwrap();
    let later = World {
        age: 1,
        ..World::default()
    };
    set(&mut files, "images/web/image.toml", "2.10", "2.11");
    assert_eq!(
        findings(&files),
        ["web: the lock has docker.io/library/caddy:2.10, wanted is docker.io/library/caddy:2.11"]
    );
    let locked = run(&mut files, &later, &Request::default()).unwrap();
    assert_eq!(changed(&locked), ["web"]);
    assert_eq!(later.asked(), ["docker.io/library/caddy:2.11"]);

    let locked = run(&mut files, &later, &request(&["shelf"], true)).unwrap();
    assert_eq!(changed(&locked), ["shelf"]);
    let locked = run(&mut files, &later, &request(&[], true)).unwrap();
    assert_eq!(changed(&locked), ["app", "debug"]);
    assert_eq!(locked.changes.to_fetch, 200);
}

#[test]
fn a_recipe_is_stale_when_what_it_is_made_of_changes() {
    for (path, from, to, wanted) in [
        (
            "images/app/r.txt",
            "fastapi",
            "flask",
            vec!["app: the recipe has changed since it was locked"],
        ),
        (
            "images/debug/image.toml",
            "busybox",
            "dash",
            // Whatever continues it, too.
            vec![
                "app: the recipe has changed since it was locked",
                "debug: the recipe has changed since it was locked",
            ],
        ),
        (
            "images/debug/image.toml",
            "['amd64']",
            "['amd64', 'arm64']",
            vec!["debug: the lock has nothing for arm64"],
        ),
        (
            "images/app/image.toml",
            "summary = 'A'",
            "summary = 'B'",
            vec![],
        ),
    ] {
        let mut files = files();
        run(&mut files, &World::default(), &Request::default()).unwrap();
        set(&mut files, path, from, to);
        assert_eq!(findings(&files), wanted, "{path} {to}");
        run(&mut files, &World::default(), &Request::default()).unwrap();
        assert!(findings(&files).is_empty());
    }
}

#[test]
fn whoever_continues_an_image_follows_it() {
    let mut files = files();
    run(&mut files, &World::default(), &Request::default()).unwrap();
    let later = World {
        age: 1,
        ..World::default()
    };
    run(&mut files, &later, &request(&["debug"], true)).unwrap();
    assert_eq!(
        findings(&files),
        ["app: `debug`, which it continues, was locked anew since"]
    );
    run(&mut files, &later, &request(&["app"], false)).unwrap();
    assert!(findings(&files).is_empty());
}

#[test]
fn all_or_nothing_and_every_failure_is_told() {
    let mut files = files();
    let world = World {
        gone: Some("docker.io"),
        ..World::default()
    };
    let error = run(&mut files, &world, &Request::default()).unwrap_err();
    let LockError::Unresolved(failures) = error else {
        panic!("{error}");
    };
    let said: Vec<String> = failures
        .iter()
        .map(|failure| format!("{}: {}", failure.image, failure.error))
        .collect();
    assert_eq!(
        said,
        [
            "shelf: docker.io/library/shelf:2.10 is gone",
            "web: docker.io/library/caddy:2.10 is gone",
        ]
    );
    // What continues an image that failed is not asked for.
    let world = World {
        gone: Some("packages of debug"),
        ..World::default()
    };
    let error = run(&mut files, &world, &request(&["app"], false)).unwrap_err();
    let LockError::Unresolved(failures) = error else {
        panic!("{error}");
    };
    assert_eq!(failures.len(), 1);
    assert!(files.iter().all(|(path, _)| *path != pins::LOCK));
}

#[test]
fn what_is_not_asked_for_is_not_lost() {
    let mut files = files();
    run(&mut files, &World::default(), &Request::default()).unwrap();
    let whole = files.last().unwrap().1.clone();
    // An entry that cannot be read is written anew if it is asked for, and else stops everything.
    set(
        &mut files,
        pins::LOCK,
        "tag = \"2.10\"\ndigest = \"sha256:",
        "tag = \"2.10\"\ndigest = \"sha512:",
    );
    assert!(matches!(
        run(&mut files, &World::default(), &request(&["debug"], true)),
        Err(LockError::Mistakes)
    ));
    run(&mut files, &World::default(), &Request::default()).unwrap();
    assert_eq!(files.last().unwrap().1, whole);
    // A file that is no lock is left to its owner.
    set(
        &mut files,
        pins::LOCK,
        "version = 1",
        "<<<<<<< HEAD\nversion = 1",
    );
    assert!(matches!(
        run(&mut files, &World::default(), &Request::default()),
        Err(LockError::Mistakes)
    ));
    files.pop();
    assert!(matches!(
        run(&mut files, &World::default(), &request(&["nothing"], false)),
        Err(LockError::Unknown { .. })
    ));
}

#[test]
fn pins_of_images_that_are_gone_go() {
    let mut files = files();
    run(&mut files, &World::default(), &Request::default()).unwrap();
    files
        .retain(|(path, _)| !path.starts_with("images/app/") && !path.starts_with("images/debug/"));
    let locked = run(&mut files, &World::default(), &Request::default()).unwrap();
    assert_eq!(changed(&locked), ["app", "debug"]);
    assert!(!files.last().unwrap().1.contains("bookworm"));
    assert!(open(&files).diagnostics.iter().next().is_none());
}

#[test]
fn what_comes_with_forge_needs_no_world() {
    let mut own = files();
    run(&mut own, &World::default(), &Request::default()).unwrap();
    let shipped = open(&own).pins;
    let world = World::default();
    let mut opened = open(&files());
    let asked = request(&["shelf"], false);
    let locked = lock(&mut opened, &shipped, &asked, &world, &Silent).unwrap();
    assert_eq!(changed(&locked), ["shelf"]);
    assert!(world.asked().is_empty());
    // Not for an image of the project itself, and not for an update.
    let asked = request(&["web"], false);
    lock(&mut opened, &shipped, &asked, &world, &Silent).unwrap();
    let asked = request(&["shelf"], true);
    lock(&mut opened, &shipped, &asked, &world, &Silent).unwrap();
    assert_eq!(world.asked().len(), 2);
}

#[test]
fn mistakes_of_a_project_come_first() {
    let mut files = files();
    set(
        &mut files,
        "hosts/h.toml",
        "image = 'shelf'",
        "image = 'shelve'",
    );
    let mut opened = open(&files);
    let world = World::default();
    let result = lock(
        &mut opened,
        &Pins::default(),
        &Request::default(),
        &world,
        &Silent,
    );
    assert!(matches!(result, Err(LockError::Mistakes)));
    assert!(opened.diagnostics.has_errors() && world.asked().is_empty());
}

#[test]
fn a_lock_is_the_same_whoever_makes_it() {
    let lock_of = |order: bool| {
        let mut files = files();
        if order {
            files.reverse();
        }
        run(&mut files, &World::default(), &Request::default()).unwrap();
        files.last().unwrap().1.clone()
    };
    assert_eq!(lock_of(false), lock_of(true));
    let pins: BTreeMap<_, _> = open(&files()).pins.all;
    assert!(!pins.values().any(|pin| matches!(pin, Pin::Recipe(_))));
}
