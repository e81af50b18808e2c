use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use super::accounts::Accounts;
use super::inputs::{InputsError, inputs};
use super::layer::{Content, ImagePath, Meta, Node, Tree};
use super::manifest::{self, Layer};
use super::own_files::{Own, OwnError, concatenate};
use super::plan::Step;
use super::rules::Rules;
use super::{config, sbom, shared, skeleton};
use crate::pure::config::image::{
    Debian, Directory, File, Group, Image, ImageSource, Link, Owner, Recipe, Run, User,
};
use crate::pure::config::project::{Project, ProjectText, TextFile};
use crate::pure::name::{Arch, BlobDigest, ManifestDigest};
use crate::pure::oci::{Link as OciLink, media};
use crate::pure::pins::{PackagePin, Pins, SuitePin, WheelPin};
use crate::pure::text::{Sources, Span};

fn at() -> Span {
    Span::new(Sources::default().add("images/app/image.toml", ""), 0..0)
}

fn recipe() -> Recipe {
    Recipe {
        at: at(),
        base: None,
        arch: BTreeSet::from([Arch::Amd64]),
        debian: Some(Debian {
            at: at(),
            suites: vec!["bookworm".to_owned(), "bookworm-security".to_owned()],
            components: vec!["main".to_owned()],
            packages: vec![("redis-server".to_owned(), at())],
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

fn user(name: &str, uid: u32, gid: u32) -> User {
    User {
        name: name.to_owned(),
        uid,
        gid,
        home: "/nonexistent".to_owned(),
        shell: "/usr/sbin/nologin".to_owned(),
    }
}

fn file(path: &str, source: &str) -> File {
    File {
        at: at(),
        path: path.to_owned(),
        source: source.to_owned(),
        owner: Owner { uid: 7, gid: 8 },
        mode: 0o640,
    }
}

fn text(files: &[(&str, &str)]) -> ProjectText {
    let mut text = ProjectText::default();
    for (path, content) in files {
        text.files.insert(
            format!("images/app/{path}"),
            TextFile {
                bytes: content.as_bytes().to_vec().into(),
                embedded: false,
            },
        );
    }
    text
}

fn own(recipe: &Recipe, text: &ProjectText, packages: &[&str]) -> Result<Tree, OwnError> {
    let rules = Rules::embedded().unwrap();
    let packages: BTreeSet<&str> = packages.iter().copied().collect();
    let accounts = Accounts::of(&[recipe], &rules, &packages).unwrap();
    Own {
        image: &"app".parse().unwrap(),
        recipe,
        arch: Arch::Amd64,
        text,
        rules: &rules,
        packages: &packages,
        accounts: &accounts,
        bundles: &BTreeMap::from([("etc/ssl/bundle.crt".parse().unwrap(), b"x\n".to_vec())]),
        skeleton: true,
    }
    .tree()
}

fn entry<'a>(tree: &'a Tree, path: &str) -> &'a (Node, Meta) {
    let path: ImagePath = path.parse().unwrap();
    tree.entries
        .get(&path)
        .unwrap_or_else(|| panic!("no {path} in {:?}", tree.entries.keys()))
}

fn content(tree: &Tree, path: &str) -> String {
    match &entry(tree, path).0 {
        Node::File(Content::Bytes(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{path}: {other:?}"),
    }
}

#[test]
fn rules_give_accounts_and_the_recipe_wins() {
    let rules = Rules::embedded().unwrap();
    let packages = BTreeSet::from(["redis-server", "redis-tools", "caddy"]);
    let mut recipe = recipe();
    let of = |recipe: &Recipe| Accounts::of(&[recipe], &rules, &packages).unwrap();
    let accounts = of(&recipe);
    assert_eq!(
        accounts.passwd(),
        "root:*:0:0:root:/root:/bin/sh\nredis:*:971:971:redis:/var/lib/redis:/usr/sbin/nologin\n\
         caddy:*:972:972:caddy:/var/lib/caddy:/usr/sbin/nologin\nnobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    );
    assert_eq!(
        accounts.group(),
        "root:*:0:\nredis:*:971:\ncaddy:*:972:\nnogroup:*:65534:\n"
    );
    recipe.users = vec![user("redis", 70, 80), user("other", 972, 972)];
    recipe.groups = vec![Group {
        name: "data".to_owned(),
        gid: 80,
    }];
    let accounts = of(&recipe);
    assert_eq!(accounts.owner("redis"), Some(Owner { uid: 70, gid: 80 }));
    assert_eq!(accounts.owner("caddy"), None);
    assert_eq!(
        accounts.group(),
        "root:*:0:\ndata:*:80:\nother:*:972:\nnogroup:*:65534:\n"
    );
    recipe.users[0].home = "/x:0:0".to_owned();
    assert!(Accounts::of(&[&recipe], &rules, &packages).is_err());
}

#[test]
fn the_last_layer_holds_what_rules_and_recipe_say() {
    let mut recipe = recipe();
    recipe.directories = vec![Directory {
        path: "/var/run/app".to_owned(),
        owner: Owner { uid: 5, gid: 6 },
        mode: 0o2770,
    }];
    recipe.links = vec![Link {
        path: "/bin/start".to_owned(),
        target: "app".to_owned(),
    }];
    recipe.files = vec![file("/usr/bin/app", "app"), file("/srv/site/", "site")];
    let text = text(&[
        ("app", "#!"),
        ("site/index.html", "<p>"),
        ("site/a/b.txt", "b"),
        ("site/a/__pycache__/b.pyc", "-"),
        ("site/c.pyc", "-"),
        ("sitemap", "-"),
    ]);
    let tree = own(&recipe, &text, &["redis-tools", "libc6"]).unwrap();
    assert_eq!(content(&tree, "usr/bin/app"), "#!");
    let (_, meta) = entry(&tree, "srv/site/a/b.txt");
    assert_eq!((meta.uid, meta.gid, meta.mode), (7, 8, 0o640));
    let files = tree
        .entries
        .keys()
        .filter(|path| path.as_str().starts_with("srv/"));
    let files: Vec<_> = files.map(ImagePath::as_str).collect();
    assert_eq!(
        files,
        [
            "srv/site",
            "srv/site/a",
            "srv/site/a/b.txt",
            "srv/site/index.html"
        ]
    );
    // Through the links of the skeleton, to where things really are.
    let (_, meta) = entry(&tree, "run/app");
    assert_eq!((meta.uid, meta.gid, meta.mode), (5, 6, 0o2770));
    assert!(matches!(&entry(&tree, "usr/bin/start").0, Node::Symlink(to) if to == "app"));
    // The rules.
    let (_, meta) = entry(&tree, "var/lib/redis");
    assert_eq!((meta.uid, meta.mode), (971, 0o750));
    assert!(content(&tree, "etc/passwd").contains("redis:*:971:"));
    assert!(content(&tree, "usr/lib/os-release").contains("VERSION_ID=\"12\""));
    assert_eq!(content(&tree, "etc/ssl/bundle.crt"), "x\n");
    // Every folder on the way is there.
    for path in tree.entries.keys() {
        if let Some(parent) = path.parent() {
            assert!(
                matches!(entry(&tree, parent.as_str()).0, Node::Directory),
                "{path}"
            );
        }
    }
    let tree = own(&recipe, &text, &["base-files"]).unwrap();
    assert!(
        !tree
            .entries
            .contains_key(&"etc/os-release".parse().unwrap())
    );
}

#[test]
fn the_last_layer_refuses_what_leads_nowhere() {
    let mut recipe = recipe();
    recipe.files = vec![file("/a", "gone")];
    let error = own(&recipe, &text(&[]), &[]).unwrap_err();
    assert!(matches!(error, OwnError::Missing { .. }), "{error}");
    let mut linked = text(&[]);
    let refused = "images/app/gone/x".to_owned();
    linked.refused.insert(refused, "a symbolic link");
    let error = own(&recipe, &linked, &[]).unwrap_err();
    assert!(matches!(error, OwnError::Refused { .. }), "{error}");
    recipe.files = vec![file("/../a", "a")];
    let error = own(&recipe, &text(&[("a", "")]), &[]).unwrap_err();
    assert!(matches!(error, OwnError::Path(_)), "{error}");
    recipe.files = vec![file("/a", "a"), file("/a/b", "b")];
    let error = own(&recipe, &text(&[("a", ""), ("b", "")]), &[]).unwrap_err();
    assert!(matches!(error, OwnError::Parent { .. }), "{error}");
}

#[test]
fn the_skeleton_has_what_packages_count_on() {
    for arch in Arch::ALL {
        let tree = skeleton::tree(arch).unwrap();
        assert_eq!(entry(&tree, "tmp").1.mode, 0o1777);
        assert_eq!(entry(&tree, "root").1.mode, 0o700);
        assert!(matches!(&entry(&tree, "var/run").0, Node::Symlink(to) if to == "/run"));
        let lib64 = tree.entries.contains_key(&"lib64".parse().unwrap());
        assert_eq!(lib64, arch == Arch::Amd64);
        // A link of the root leads to a folder that is there.
        for link in ["bin", "lib", "sbin"] {
            let Node::Symlink(target) = &entry(&tree, link).0 else {
                panic!("{link}");
            };
            assert!(matches!(entry(&tree, target).0, Node::Directory));
        }
    }
}

#[test]
fn configurations_of_recipes_that_continue_each_other_are_joined() {
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let base = Run {
        user: "app".to_owned(),
        entrypoint: words("/bin/a"),
        command: words("x y"),
        env: BTreeMap::from([
            ("A".to_owned(), "1".to_owned()),
            ("B".to_owned(), "1".to_owned()),
        ]),
        ports: BTreeSet::from(["80/tcp".to_owned()]),
        stop_signal: Some("SIGINT".to_owned()),
        ..Run::default()
    };
    let own = Run {
        entrypoint: words("/bin/b"),
        env: BTreeMap::from([("B".to_owned(), "2".to_owned())]),
        ports: BTreeSet::from(["443/tcp".to_owned()]),
        labels: BTreeMap::from([(
            "org.opencontainers.image.licenses".to_owned(),
            "MIT".to_owned(),
        )]),
        ..Run::default()
    };
    let run = config::run_of([&base, &own]);
    let layers = [(BlobDigest::of("a"), "libc6 2.36".to_owned())];
    let bytes = config::encode(Arch::Arm64, &run, &layers).unwrap();
    let expected = r#"{"architecture":"arm64","config":{"Entrypoint":["/bin/b"],"Env":["A=1","B=2","PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"ExposedPorts":{"443/tcp":{},"80/tcp":{}},"Labels":{"org.opencontainers.image.licenses":"MIT"},"StopSignal":"SIGINT","User":"app"},"created":"1970-01-01T00:00:00Z","history":[{"created":"1970-01-01T00:00:00Z","created_by":"forge: libc6 2.36"}],"os":"linux","rootfs":{"diff_ids":["sha256:ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"],"type":"layers"},"variant":"v8"}"#;
    assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected);
    // Read by the types of the specification.
    let read: oci_spec::image::ImageConfiguration = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(read.rootfs().diff_ids(), &[BlobDigest::of("a").to_string()]);
    assert_eq!(read.variant().as_deref(), Some("v8"));
    let kept = config::run_of([&base, &Run::default()]);
    assert_eq!(kept.command, words("x y"));
}

#[test]
fn a_manifest_says_which_package_is_in_which_layer() {
    let config = OciLink::to(media::IMAGE_CONFIG, b"{}");
    let link = OciLink::to(media::LAYER, b"tar");
    let step = Step::One(super::plan::Item::Package(package("libc6", "2.36")));
    let layers = [
        Layer::of(&Step::Skeleton, link.clone()),
        Layer::of(&step, link),
    ];
    let bytes = manifest::image(&config, &layers, &BTreeMap::new()).unwrap();
    let read = crate::pure::oci::manifest::parse_manifest(&bytes).unwrap();
    let annotations = read.layers()[1].annotations().clone().unwrap();
    assert_eq!(annotations[media::LAYER_KEY], "deb/libc6");
    assert_eq!(annotations[media::LAYER_VERSION], "2.36");
    assert!(
        !read.layers()[0]
            .annotations()
            .clone()
            .unwrap()
            .contains_key(media::LAYER_VERSION)
    );
}

fn package(name: &str, version: &str) -> PackagePin {
    PackagePin {
        name: name.to_owned(),
        version: version.to_owned(),
        arch: "amd64".to_owned(),
        suite: "bookworm-security".to_owned(),
        path: format!("pool/main/{name}_{version}_amd64.deb"),
        size: 3,
        digest: BlobDigest::of(name),
    }
}

fn wheel() -> WheelPin {
    WheelPin {
        name: "prometheus-client".to_owned(),
        version: "0.20.0".to_owned(),
        file: "prometheus_client-0.20.0-py3-none-any.whl".to_owned(),
        size: 4,
        digest: BlobDigest::of("wheel"),
    }
}

#[test]
fn a_bill_of_materials_names_everything_once() {
    let packages = [
        package("libstdc++6", "1:12.2.0-14+deb12u1~x"),
        package("libc6", "2.36"),
    ];
    let wheels = [wheel()];
    let image = "app".parse().unwrap();
    let subject = sbom::Subject {
        image: &image,
        arch: Arch::Amd64,
        digest: ManifestDigest::of("m"),
        packages: &packages,
        wheels: &wheels,
    };
    let mut pins = Pins::default();
    assert_eq!(sbom::created(&packages, &pins), "1970-01-01T00:00:00Z");
    let date = |date: &str| SuitePin {
        date: date.to_owned(),
    };
    pins.suites
        .insert("trixie".to_owned(), date("20270101T000000Z"));
    pins.suites
        .insert("bookworm-security".to_owned(), date("20260711T101010Z"));
    let created = sbom::created(&packages, &pins);
    assert_eq!(created, "2026-07-11T10:10:10Z");
    pins.suites
        .insert("bookworm-security".to_owned(), date("20260711T10:10:1"));
    assert_eq!(sbom::created(&packages, &pins), "1970-01-01T00:00:00Z");

    let bytes = sbom::encode(&subject, &created).unwrap();
    let read: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let listed = read["packages"].as_array().unwrap();
    let purls: Vec<_> = listed
        .iter()
        .map(|package| {
            package["externalRefs"][0]["referenceLocator"]
                .as_str()
                .unwrap()
        })
        .collect();
    assert_eq!(
        purls[1..],
        [
            "pkg:deb/debian/libc6@2.36?arch=amd64&distro=bookworm",
            "pkg:deb/debian/libstdc%2B%2B6@1:12.2.0-14%2Bdeb12u1~x?arch=amd64&distro=bookworm",
            "pkg:pypi/prometheus-client@0.20.0",
        ]
    );
    let ids: BTreeSet<_> = listed
        .iter()
        .map(|package| package["SPDXID"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 4);
    assert!(ids.contains("SPDXRef-deb-libc6-2.36"), "{ids:?}");
    assert_eq!(read["relationships"].as_array().unwrap().len(), 4);
}

fn project(images: Vec<(&str, Recipe)>) -> Project {
    let mut project = Project::default();
    for (name, recipe) in images {
        let name: crate::pure::name::ImageName = name.parse().unwrap();
        let image = Image {
            name: name.clone(),
            at: at(),
            summary: String::new(),
            source: ImageSource::Recipe(Box::new(recipe)),
        };
        project.images.insert(name, image);
    }
    project
}

#[test]
fn inputs_change_with_whatever_decides_the_image() {
    let digest = |recipe: Recipe, text: &ProjectText| {
        inputs(
            &project(vec![("app", recipe)]),
            text,
            &"app".parse().unwrap(),
        )
        .unwrap()
    };
    let files = text(&[("a", "1"), ("other", "x")]);
    let plain = || Recipe {
        files: vec![file("/a", "a")],
        ..recipe()
    };
    let first = digest(plain(), &files);
    assert_eq!(first, digest(plain(), &text(&[("a", "1"), ("other", "y")])));
    assert_ne!(first, digest(plain(), &text(&[("a", "2"), ("other", "x")])));
    type Change = fn(&mut Recipe);
    let changes: [Change; 8] = [
        |recipe| recipe.users.push(user("a", 1, 1)),
        |recipe| recipe.files[0].mode = 0o600,
        |recipe| recipe.files[0].owner.gid = 9,
        |recipe| recipe.files[0].path = "/b".to_owned(),
        |recipe| recipe.run.command = vec!["x".to_owned()],
        |recipe| recipe.debian.as_mut().unwrap().keep = vec!["/x".to_owned()],
        |recipe| recipe.debian.as_mut().unwrap().drop = vec!["/x".to_owned()],
        |recipe| recipe.debian = None,
    ];
    let mut seen = BTreeSet::from([first]);
    for change in changes {
        let mut recipe = plain();
        change(&mut recipe);
        assert!(seen.insert(digest(recipe, &files)));
    }
    let mut other = plain();
    other.arch = BTreeSet::from(Arch::ALL);
    assert_eq!(first, digest(other, &files));
}

#[test]
fn inputs_follow_the_base_and_never_in_a_circle() {
    let name = "app".parse().unwrap();
    let on = |base: &str| Recipe {
        base: Some((base.parse().unwrap(), at())),
        ..recipe()
    };
    let none = ProjectText::default();
    let first = inputs(
        &project(vec![("app", on("base")), ("base", recipe())]),
        &none,
        &name,
    )
    .unwrap();
    let mut changed = recipe();
    changed.run.user = "1:1".to_owned();
    let second = inputs(
        &project(vec![("app", on("base")), ("base", changed)]),
        &none,
        &name,
    )
    .unwrap();
    assert_ne!(first, second);
    let circle = project(vec![("app", on("base")), ("base", on("app"))]);
    assert!(matches!(
        inputs(&circle, &none, &name),
        Err(InputsError::Circle(_))
    ));
    let nothing = project(vec![("app", on("base"))]);
    assert!(matches!(
        inputs(&nothing, &none, &name),
        Err(InputsError::NoRecipe(_))
    ));
}

fn tree(entries: &[(&str, Node)]) -> Tree {
    let meta = Meta {
        mode: 0o4755,
        uid: 3_000_000,
        xattrs: BTreeMap::from([("user.a".to_owned(), b"1".to_vec())]),
        ..Meta::default()
    };
    Tree {
        entries: entries
            .iter()
            .map(|(path, node)| (path.parse().unwrap(), (node.clone(), meta.clone())))
            .collect(),
    }
}

#[test]
fn layers_are_read_back_as_trees_and_later_ones_win() {
    let bytes = |text: String| Node::File(Content::Bytes(text.into_bytes().into()));
    let large = "x".repeat(10_000);
    let one = tree(&[
        ("a", Node::Directory),
        ("a/large", bytes(large.clone())),
        ("a/link", Node::Symlink("large".to_owned())),
        ("a/same", bytes("1".to_owned())),
        ("a/twice", Node::Hardlink("a/large".parse().unwrap())),
    ]);
    let two = tree(&[("a/same", bytes("2".to_owned()))]);
    let mut joined = Tree::default();
    let mut spool = Cursor::new(Vec::new());
    for layer in [&one, &two] {
        let mut tar = Vec::new();
        layer.write(&mut Cursor::new(Vec::new()), &mut tar).unwrap();
        shared::absorb(&mut joined, tar.as_slice(), &mut spool).unwrap();
    }
    assert_eq!(joined.entries.len(), 5);
    assert_eq!(content(&joined, "a/same"), "2");
    assert!(matches!(
        entry(&joined, "a/large").0,
        Node::File(Content::Spooled { size: 10_000, .. })
    ));
    assert_eq!(entry(&joined, "a/large").1, entry(&one, "a/large").1);
    // What is written of it is what would be written of the whole.
    let mut whole = one;
    whole.entries.extend(two.entries);
    let (mut expected, mut found) = (Vec::new(), Vec::new());
    whole
        .write(&mut Cursor::new(Vec::new()), &mut expected)
        .unwrap();
    joined.write(&mut spool, &mut found).unwrap();
    assert_eq!(found, expected);
}

#[test]
fn a_bundle_ends_each_file_with_a_line_end() {
    let files = [("b", "2\n"), ("a", "1")];
    let files = files.map(|(path, text)| (path.parse().unwrap(), text.as_bytes().to_vec()));
    assert_eq!(concatenate(&BTreeMap::from(files)), b"1\n2\n");
}
