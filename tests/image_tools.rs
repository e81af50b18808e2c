//! Images that forge assembles are taken by the tools that everyone has: the real `skopeo` and `umoci`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

use std::io::{self, Cursor};
use std::path::Path;
use std::process::Command;

use forge::edge::store::export::{Target, export};
use forge::edge::store::{MemoryStore, Store, Trust};
use forge::flow::operator::image::assemble::{Failure, Ingredients, Made, Spool};
use forge::flow::operator::image::build::{BuiltImage, Request, build};
use forge::flow::progress::Silent;
use forge::pure::config::image::Python;
use forge::pure::config::image::{
    Debian, Directory, File, Image, ImageSource, Owner, Recipe, Run, User,
};
use forge::pure::config::project::{Project, ProjectText, TextFile};
use forge::pure::images::layer::{Content, Meta, Node, Tree};
use forge::pure::images::rules::Prune;
use forge::pure::name::{Arch, BlobDigest, ImageName, ManifestDigest};
use forge::pure::oci::{Link, media};
use forge::pure::pins::{BuildPin, PackagePin, Pins, WheelPin};
use forge::pure::text::{Sources, Span};

/// Runs a tool with nothing of the user's settings; says what to install if it is not there.
fn success(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let result = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env("HOME", folder)
        .env("XDG_RUNTIME_DIR", folder)
        .output();
    let output = match result {
        Ok(output) => output,
        Err(error) => panic!(
            "this test runs the real `{program}`, which does not start ({error}): install it, on Debian and Ubuntu with \
             `apt-get install {program}`"
        ),
    };
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{program} {}: {stderr}",
        arguments.join(" ")
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Hand-made packages: a program that is a text, a hard link to it, and a file with another owner.
#[derive(Debug)]
struct Kitchen<'a>(&'a MemoryStore);

impl Ingredients for Kitchen<'_> {
    fn ensure(&self, _: &ImageName, _: &[PackagePin], _: &[WheelPin]) -> Result<(), Failure> {
        Ok(())
    }

    fn packages(&self, pins: &[PackagePin], _: &Prune) -> Result<Vec<Made>, Failure> {
        let store: &dyn Store = self.0;
        let mut made = Vec::new();
        for pin in pins {
            let meta = |mode| Meta {
                mode,
                ..Meta::default()
            };
            let script = Node::File(Content::Bytes(b"#!/bin/sh\n".as_slice().into()));
            let program = format!("usr/bin/{}", pin.name);
            let mut tree = Tree::default();
            tree.entries.extend([
                ("usr".parse()?, (Node::Directory, meta(0o755))),
                ("usr/bin".parse()?, (Node::Directory, meta(0o755))),
                (program.parse()?, (script, meta(0o4755))),
                (
                    format!("{program}-too").parse()?,
                    (Node::Hardlink(program.parse()?), meta(0o4755)),
                ),
            ]);
            let mut bytes = Vec::new();
            let facts = tree.write(&mut Cursor::new([]), &mut bytes)?;
            let layer = Link::to(media::LAYER, &bytes);
            let mut writer = store.begin(Trust::Size)?;
            writer.put(layer.digest, layer.size, &mut bytes.as_slice())?;
            writer.commit(&[])?;
            made.push(Made { layer, facts });
        }
        Ok(made)
    }

    fn wheels(&self, _: &[WheelPin], _: &Python, _: &[PackagePin]) -> Result<Vec<Made>, Failure> {
        Ok(Vec::new())
    }

    fn spool(&self) -> io::Result<Box<dyn Spool>> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }
}

fn recipe() -> Recipe {
    let at = Span::new(Sources::default().add("images/app/image.toml", ""), 0..0);
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    Recipe {
        at,
        base: None,
        arch: [Arch::Amd64].into(),
        debian: Some(Debian {
            at,
            suites: vec!["bookworm".to_owned()],
            components: vec!["main".to_owned()],
            packages: vec![("hello".to_owned(), at)],
            exclude: Default::default(),
            include: Default::default(),
            keep: Vec::new(),
            drop: Vec::new(),
        }),
        python: None,
        groups: Vec::new(),
        users: vec![User {
            name: "app".to_owned(),
            uid: 1000,
            gid: 1000,
            home: "/srv".to_owned(),
            shell: "/usr/sbin/nologin".to_owned(),
        }],
        directories: vec![Directory {
            path: "/var/lib/app".to_owned(),
            owner: Owner {
                uid: 1000,
                gid: 1000,
            },
            mode: 0o750,
        }],
        links: Vec::new(),
        files: vec![File {
            at,
            path: "/etc/app.conf".to_owned(),
            source: "app.conf".to_owned(),
            owner: Owner::default(),
            mode: 0o644,
        }],
        run: Run {
            user: "app".to_owned(),
            entrypoint: words("/usr/bin/hello --world"),
            command: words("now"),
            working_dir: "/srv".to_owned(),
            stop_signal: Some("SIGINT".to_owned()),
            env: [("LANG".to_owned(), "C.UTF-8".to_owned())].into(),
            ports: ["80/tcp".to_owned()].into(),
            volumes: ["/var/lib/app".to_owned()].into(),
            labels: [(
                "org.opencontainers.image.licenses".to_owned(),
                "MIT".to_owned(),
            )]
            .into(),
        },
    }
}

fn package(name: &str) -> PackagePin {
    PackagePin {
        name: name.to_owned(),
        version: "1.0".to_owned(),
        arch: "amd64".to_owned(),
        suite: "bookworm".to_owned(),
        path: format!("pool/{name}_1.0_amd64.deb"),
        size: 1,
        digest: BlobDigest::of(name),
    }
}

/// A folder with the image as the layout `out`, tagged `app`.
fn exported() -> (tempfile::TempDir, BuiltImage) {
    let store = MemoryStore::default();
    let recipe = recipe();
    let mut project = Project {
        name: "shop".to_owned(),
        ..Project::default()
    };
    let image = Image {
        name: "app".parse().unwrap(),
        at: recipe.at,
        summary: "A test".to_owned(),
        source: ImageSource::Recipe(Box::new(recipe)),
    };
    project.images.insert(image.name.clone(), image);
    let mut text = ProjectText::default();
    let conf = TextFile {
        bytes: b"port = 80\n".as_slice().into(),
        embedded: false,
    };
    text.files.insert("images/app/app.conf".to_owned(), conf);
    let pin = BuildPin {
        digest: ManifestDigest::of(""),
        layers: Vec::new(),
        packages: vec![package("base"), package("hello")],
        wheels: Vec::new(),
    };
    let request = Request {
        project: &project,
        text: &text,
        pins: &Pins::default(),
        image: &"app".parse().unwrap(),
        arch: Arch::Amd64,
        build: &pin,
        is_locked: false,
    };
    let built = build(&store, &request, &Kitchen(&store), &Silent).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let target = Target::of(&folder.path().join("out"));
    export(&store, &built.link, &"app".parse().unwrap(), &target).unwrap();
    (folder, built)
}

#[test]
fn skopeo_inspects_and_copies_it_unchanged() {
    let (folder, built) = exported();
    let skopeo = |arguments: &[&str]| success(folder.path(), "skopeo", arguments);
    let seen: serde_json::Value =
        serde_json::from_str(&skopeo(&["inspect", "oci:out:app"])).unwrap();
    assert_eq!(seen["Digest"], built.digest.to_string());
    assert_eq!(seen["Architecture"], "amd64");
    assert_eq!(seen["Created"], "1970-01-01T00:00:00Z");
    assert_eq!(seen["Labels"]["org.opencontainers.image.licenses"], "MIT");
    assert_eq!(seen["Layers"].as_array().unwrap().len(), 4);
    let config: serde_json::Value =
        serde_json::from_str(&skopeo(&["inspect", "--config", "oci:out:app"])).unwrap();
    assert_eq!(config["config"]["User"], "app");
    assert_eq!(config["history"][1]["created_by"], "forge: base 1.0");

    let copy = ["copy", "--quiet", "--insecure-policy", "oci:out:app"];
    // Without this it would compress the layers.
    let exact = ["--preserve-digests", "oci:copied:app"];
    skopeo(&[copy.as_slice(), &exact].concat());
    let manifest = skopeo(&["inspect", "--raw", "oci:copied:app"]);
    assert_eq!(ManifestDigest::of(manifest), built.digest);
    // What `docker load` reads.
    skopeo(&[copy.as_slice(), &["docker-archive:out.tar:app:latest"]].concat());
    assert!(folder.path().join("out.tar").is_file());
}

#[test]
fn umoci_unpacks_it_into_a_bundle_that_is_complete() {
    let (folder, _) = exported();
    let umoci = |arguments: &[&str]| success(folder.path(), "umoci", arguments);
    let stat = umoci(&["stat", "--image", "out:app"]);
    assert!(stat.contains("forge: hello 1.0"), "{stat}");
    umoci(&["unpack", "--rootless", "--image", "out:app", "bundle"]);
    let root = folder.path().join("bundle/rootfs");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    assert!(read("etc/passwd").contains("app:*:1000:1000:"));
    assert_eq!(read("etc/app.conf"), "port = 80\n");
    assert!(read("etc/os-release").contains("bookworm"));
    assert_eq!(read("bin/hello-too"), "#!/bin/sh\n");
    assert_eq!(
        std::fs::read_link(root.join("lib64")).unwrap(),
        Path::new("usr/lib64")
    );
    assert!(root.join("tmp").is_dir() && root.join("var/lib/app").is_dir());
    let config = std::fs::read(folder.path().join("bundle/config.json")).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(
        config["process"]["args"],
        serde_json::json!(["/usr/bin/hello", "--world", "now"])
    );
    assert_eq!(config["process"]["cwd"], "/srv");
}
