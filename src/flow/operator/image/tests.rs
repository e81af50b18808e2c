use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor};
use std::sync::Mutex;

use super::assemble::{Failure, Ingredients, Made, Spool};
use super::build::{BuildError, BuiltImage, Request, build, ref_name};
use super::sbom;
use crate::edge::store::{MemoryStore, Store, Trust, plan_gc, verify};
use crate::flow::progress::Silent;
use crate::pure::config::image::{Debian, Image, ImageSource, Python, Recipe, Run};
use crate::pure::config::project::{Project, ProjectText};
use crate::pure::images::layer::{Content, Elf, Facts, Meta, Node, Tree};
use crate::pure::images::rules::Prune;
use crate::pure::name::{Arch, BlobDigest, ImageName, ManifestDigest};
use crate::pure::oci::manifest::parse_manifest;
use crate::pure::oci::{Link, media};
use crate::pure::pins::{BuildPin, PackagePin, Pin, Pins, RecipePin, WheelPin};
use crate::pure::text::{Sources, Span};

fn at() -> Span {
    Span::new(Sources::default().add("images/app/image.toml", ""), 0..0)
}

fn recipe(packages: &[&str]) -> Recipe {
    Recipe {
        at: at(),
        base: None,
        arch: BTreeSet::from([Arch::Amd64]),
        debian: Some(Debian {
            at: at(),
            suites: vec!["bookworm".to_owned()],
            components: vec!["main".to_owned()],
            packages: packages
                .iter()
                .map(|name| ((*name).to_owned(), at()))
                .collect(),
            exclude: BTreeSet::new(),
            include: BTreeSet::new(),
            keep: Vec::new(),
            drop: Vec::new(),
        }),
        python: None,
        groups: Vec::new(),
        users: Vec::new(),
        directories: Vec::new(),
        links: Vec::new(),
        files: Vec::new(),
        run: Run::default(),
    }
}

fn package(name: &str, version: &str) -> PackagePin {
    PackagePin {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: "amd64".to_owned(),
        suite: "bookworm".to_owned(),
        path: format!("pool/{name}.deb"),
        size: name.len() as u64,
        digest: BlobDigest::of(format!("{name} {version}")),
    }
}

/// Makes a layer with one file of each package, and counts how often it is asked.
#[derive(Debug, Default)]
struct Kitchen {
    store: MemoryStore,
    asked: Mutex<usize>,
    needed: BTreeMap<String, Vec<String>>,
    sources_are_gone: bool,
}

impl Kitchen {
    fn layer(&self, name: &str, version: &str) -> Made {
        let meta = |mode| Meta {
            mode,
            ..Meta::default()
        };
        let text = |text: String| Node::File(Content::Bytes(text.into_bytes().into()));
        let folder = |path: &str| (path.parse().unwrap(), (Node::Directory, meta(0o755)));
        let mut tree = Tree::default();
        tree.entries
            .extend(["usr", "usr/share", "usr/share/doc"].map(folder));
        let file = |path: &str, node| (path.parse().unwrap(), (node, meta(0o644)));
        tree.entries.extend([file(
            &format!("usr/share/doc/{name}"),
            text(version.to_owned()),
        )]);
        if name == "ca-certificates" {
            for (path, content) in [("b.crt", "B"), ("a.crt", "A\n"), ("x.txt", "X")] {
                let path = format!("usr/share/ca-certificates/mozilla/{path}");
                tree.entries.extend([file(&path, text(content.to_owned()))]);
            }
        }
        let mut bytes = Vec::new();
        tree.write(&mut Cursor::new([]), &mut bytes).unwrap();
        let layer = Link::to(media::LAYER, &bytes);
        let store: &dyn Store = &self.store;
        let mut writer = store.begin(Trust::Size).unwrap();
        writer
            .put(layer.digest, layer.size, &mut bytes.as_slice())
            .unwrap();
        writer.commit(&[]).unwrap();
        let elves = self.needed.get(name).map(|needed| Elf {
            path: format!("usr/bin/{name}").parse().unwrap(),
            needed: needed.clone(),
            soname: None,
            runpath: Vec::new(),
        });
        Made {
            layer,
            facts: Facts {
                elves: elves.into_iter().collect(),
                links: BTreeMap::new(),
            },
        }
    }
}

impl Ingredients for Kitchen {
    fn ensure(&self, _: &ImageName, _: &[PackagePin], _: &[WheelPin]) -> Result<(), Failure> {
        *self.asked.lock().unwrap() += 1;
        match self.sources_are_gone {
            true => Err("no mirror has it".into()),
            false => Ok(()),
        }
    }

    fn packages(&self, pins: &[PackagePin], _: &Prune) -> Result<Vec<Made>, Failure> {
        Ok(pins
            .iter()
            .map(|pin| self.layer(&pin.name, &pin.version))
            .collect())
    }

    fn wheels(
        &self,
        pins: &[WheelPin],
        _: &Python,
        _: &[PackagePin],
    ) -> Result<Vec<Made>, Failure> {
        Ok(pins
            .iter()
            .map(|pin| self.layer(&pin.name, &pin.version))
            .collect())
    }

    fn spool(&self) -> io::Result<Box<dyn Spool>> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }
}

struct Fixture {
    project: Project,
    text: ProjectText,
    pins: Pins,
    kitchen: Kitchen,
}

impl Fixture {
    fn new(images: Vec<(&str, Recipe)>) -> Self {
        let mut project = Project {
            name: "shop".to_owned(),
            ..Project::default()
        };
        for (name, recipe) in images {
            let name: ImageName = name.parse().unwrap();
            let image = Image {
                name: name.clone(),
                at: at(),
                summary: String::new(),
                source: ImageSource::Recipe(Box::new(recipe)),
            };
            project.images.insert(name, image);
        }
        Self {
            project,
            text: ProjectText::default(),
            pins: Pins::default(),
            kitchen: Kitchen::default(),
        }
    }

    fn store(&self) -> &dyn Store {
        &self.kitchen.store
    }

    fn build(
        &self,
        image: &str,
        pin: &BuildPin,
        is_locked: bool,
    ) -> Result<BuiltImage, BuildError> {
        let request = Request {
            project: &self.project,
            text: &self.text,
            pins: &self.pins,
            image: &image.parse().unwrap(),
            arch: Arch::Amd64,
            build: pin,
            is_locked,
        };
        build(self.store(), &request, &self.kitchen, &Silent)
    }

    fn lock(&mut self, image: &str, packages: Vec<PackagePin>) -> BuildPin {
        let mut pin = BuildPin {
            digest: ManifestDigest::of(""),
            layers: Vec::new(),
            packages,
            wheels: Vec::new(),
        };
        let built = self.build(image, &pin, false).unwrap();
        pin.digest = built.digest;
        pin.layers = built.layers;
        let recipe = RecipePin {
            at: at(),
            inputs: BlobDigest::of(""),
            builds: BTreeMap::from([(Arch::Amd64, pin.clone())]),
        };
        self.pins
            .all
            .insert(image.parse().unwrap(), Pin::Recipe(recipe));
        pin
    }
}

#[test]
fn what_is_locked_and_there_is_not_built_again() {
    let mut fixture = Fixture::new(vec![("app", recipe(&["app"]))]);
    let pin = fixture.lock("app", vec![package("libc6", "1"), package("app", "2")]);
    assert_eq!(pin.layers.len(), 4);
    let asked = || *fixture.kitchen.asked.lock().unwrap();
    let before = asked();
    let again = fixture.build("app", &pin, true).unwrap();
    assert!(!again.is_new);
    assert_eq!((asked(), again.digest), (before, pin.digest));
    // Something is missing: it is built, and comes out the same.
    fixture.kitchen.store.tamper(pin.layers[1], None);
    let again = fixture.build("app", &pin, true).unwrap();
    assert!(again.is_new);
    assert_eq!((asked(), again.digest), (before + 1, pin.digest));
    // A damaged manifest is replaced.
    fixture.kitchen.store.tamper(pin.digest.blob(), Some(b"{}"));
    assert_eq!(fixture.build("app", &pin, true).unwrap().digest, pin.digest);
    assert!(verify(fixture.store()).unwrap().is_intact());
}

#[test]
fn names_keep_an_image_and_its_bill_of_materials() {
    let mut fixture = Fixture::new(vec![("app", recipe(&["app"]))]);
    let pin = fixture.lock("app", vec![package("libc6", "1")]);
    let name: ImageName = "app".parse().unwrap();
    let refs = fixture.store().refs().unwrap();
    let root = &refs[&ref_name("shop", &name, Arch::Amd64).unwrap()];
    assert_eq!(root.digest, pin.digest.blob());
    let plan = plan_gc(fixture.store()).unwrap();
    assert!(plan.blobs.is_empty(), "{plan:?}");
    let document = sbom::find(fixture.store(), "shop", &name, Arch::Amd64)
        .unwrap()
        .unwrap();
    assert!(
        String::from_utf8(document)
            .unwrap()
            .contains("pkg:deb/debian/libc6@1")
    );
    // The artifact says which image it is about.
    let sbom = &refs[&sbom::ref_name("shop", &name, Arch::Amd64).unwrap()];
    let artifact = parse_manifest(&fixture.store().read(sbom.digest).unwrap()).unwrap();
    let subject = artifact.subject().clone().unwrap();
    assert_eq!(subject.digest().to_string(), pin.digest.to_string());
}

#[test]
fn another_outcome_than_the_lock_says_is_told_layer_by_layer() {
    let mut fixture = Fixture::new(vec![("app", recipe(&["app"]))]);
    let mut pin = fixture.lock("app", vec![package("libc6", "1"), package("app", "2")]);
    let refs = fixture.store().refs().unwrap();
    pin.packages[1].version = "3".to_owned();
    pin.digest = ManifestDigest::of("other");
    match fixture.build("app", &pin, true).unwrap_err() {
        BuildError::Differs { layers, found, .. } => {
            let positions: Vec<_> = layers.iter().map(|layer| layer.position).collect();
            assert_eq!(positions, [3]);
            assert_eq!(layers[0].title.as_deref(), Some("app 3"));
            // It can be looked at, but nothing is called by its name.
            assert!(fixture.store().size(found.blob()).unwrap().is_some());
        }
        other => panic!("{other}"),
    }
    assert_eq!(fixture.store().refs().unwrap(), refs);
}

#[test]
fn a_missing_library_and_missing_sources_end_the_build() {
    let mut fixture = Fixture::new(vec![("app", recipe(&["app"]))]);
    fixture.kitchen.needed = BTreeMap::from([("app".to_owned(), vec!["libpam.so.0".to_owned()])]);
    let pin = BuildPin {
        digest: ManifestDigest::of(""),
        layers: Vec::new(),
        packages: vec![package("app", "1")],
        wheels: Vec::new(),
    };
    let error = fixture.build("app", &pin, false).unwrap_err().to_string();
    assert!(
        error.contains("`/usr/bin/app` needs the library `libpam.so.0`"),
        "{error}"
    );
    fixture.kitchen.sources_are_gone = true;
    let error = fixture.build("app", &pin, false).unwrap_err().to_string();
    assert!(error.contains("no mirror has it"), "{error}");
    assert!(fixture.store().refs().unwrap().is_empty());
}

#[test]
fn an_image_continues_its_base() {
    let mut child = recipe(&["app"]);
    child.base = Some(("base".parse().unwrap(), at()));
    let mut fixture = Fixture::new(vec![("base", recipe(&["libc6"])), ("app", child)]);
    let base = fixture.lock("base", vec![package("libc6", "1")]);
    let pin = fixture.lock("app", vec![package("libc6", "1"), package("app", "2")]);
    // The base's layers, then the package that it lacks, then the recipe's own.
    assert_eq!(pin.layers[..base.layers.len()], base.layers);
    assert_eq!(pin.layers.len(), base.layers.len() + 2);
    let stale = BuildPin {
        packages: vec![package("libc6", "2")],
        ..pin
    };
    let error = fixture.build("app", &stale, false).unwrap_err();
    assert!(matches!(error, BuildError::Base { .. }), "{error}");
}

#[test]
fn certificates_come_into_one_file_and_small_packages_into_one_layer() {
    let mut fixture = Fixture::new(vec![("app", recipe(&["app"]))]);
    let mut packages: Vec<_> = (0..120).map(|n| package(&format!("p{n}"), "1")).collect();
    packages.push(package("ca-certificates", "1"));
    let pin = fixture.lock("app", packages);
    assert_eq!(pin.layers.len(), 100);
    let files = |digest| {
        let bytes = fixture.store().read(digest).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap();
        entries
            .map(|entry| {
                let mut entry = entry.unwrap();
                let path = entry.path().unwrap().display().to_string();
                let mut text = String::new();
                io::Read::read_to_string(&mut entry, &mut text).unwrap();
                (path, text)
            })
            .collect::<BTreeMap<_, _>>()
    };
    let own = files(pin.layers[99]);
    assert_eq!(own["etc/ssl/certs/ca-certificates.crt"], "A\nB\n");
    // 120 + 1 packages, 97 layers for those that are alone: 24 share, and none is lost.
    let shared = files(pin.layers[98]);
    let docs = shared
        .keys()
        .filter(|path| path.starts_with("usr/share/doc/p"))
        .count();
    assert_eq!(docs, 24);
}
