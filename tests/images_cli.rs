//! `forge image`, `forge sbom` and `forge fetch --image`, as a person meets them; the exports are taken by the tools that everyone has, and
//! by the schemas of the specification.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

mod registry_support;
mod warm;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use registry_support::real::{run, succeed};
use serde_json::Value as Json;
use snapbox::cmd::Command;
use snapbox::str;

const IMAGE: &str = "redis-bookworm";
const OTHER: &str = "debug";
/// So that the machine that runs the tests does not matter.
const ARCH: [&str; 2] = ["--arch", "amd64"];

/// A store with the two images, built once: whoever changes a store copies it.
fn store() -> &'static Path {
    static STORE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, store) = STORE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        warm::copy_recipes(&[IMAGE, OTHER].map(str::to_owned), ARCH[1], &store);
        forge(&store)
            .args(["image", "build", IMAGE, OTHER])
            .args(ARCH)
            .assert()
            .success();
        (folder, store)
    });
    store
}

/// The program on this project, with nothing of the machine around it: neither a mirror nor Docker.
fn forge(store: &Path) -> Command {
    Command::new(env!("CARGO_BIN_EXE_forge"))
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("FORGE_STORE", store)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
}

/// What it prints when all is well.
fn output(store: &Path, arguments: &[&str]) -> String {
    let output = forge(store).args(arguments).assert().success();
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

fn json(store: &Path, arguments: &[&str]) -> Json {
    output(store, arguments).parse().unwrap()
}

/// Exports the image, and gives what was printed: its digest.
fn export(out: &Path, more: &[&str]) -> String {
    let out = out.display().to_string();
    let mut arguments = vec!["-q", "image", "export", IMAGE, "--out", &out];
    arguments.extend(ARCH);
    arguments.extend(more);
    output(store(), &arguments).trim_end().to_owned()
}

/// What the committed lock has for an image that forge builds.
fn build_of(image: &str) -> Option<toml::Value> {
    let lock: toml::Table = fs::read_to_string("forge.lock").unwrap().parse().unwrap();
    let mut recipes = lock["recipe"].as_array().unwrap().iter();
    let recipe = recipes.find(|it| it["name"].as_str() == Some(image))?;
    let mut builds = recipe["build"].as_array().unwrap().iter();
    builds
        .find(|it| it["arch"].as_str() == Some("amd64"))
        .cloned()
}

/// The image, as it is shown; it is what the committed lock says.
fn locked() -> Json {
    let shown = json(
        store(),
        &["image", "show", IMAGE, "--json", ARCH[0], ARCH[1]],
    );
    let build = build_of(IMAGE).unwrap();
    assert_eq!(shown["digest"], build["digest"].as_str().unwrap());
    shown
}

#[test]
fn every_form_of_an_export_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let plain = locked()["digest"].as_str().unwrap().to_owned();
    let mut digests = BTreeSet::new();
    for (how, more) in [
        ("plain", &[][..]),
        ("gzip", &["--compress", "gzip"]),
        ("zstd", &["--compress", "zstd"]),
    ] {
        let digest = export(&at.join(how), more);
        assert_eq!(how == "plain", digest == plain);
        let archive = format!("{how}.tar");
        assert_eq!(export(&at.join(&archive), more), digest);
        for from in [
            format!("oci:{how}:amd64"),
            format!("oci-archive:{archive}:amd64"),
        ] {
            let seen: Json = succeed(at, "skopeo", &["inspect", &from]).parse().unwrap();
            assert_eq!(seen["Digest"], digest, "{from}");
            assert_eq!(seen["Architecture"], "amd64");
            // It reads, checks and unpacks every layer.
            let to = format!("dir:{how}-{}", from.len());
            succeed(at, "skopeo", &["copy", "--insecure-policy", &from, &to]);
        }
        let docker = format!("{how}-docker.tar");
        let more = [more, &["--format", "docker"]].concat();
        assert_eq!(export(&at.join(&docker), &more), digest);
        let from = format!("docker-archive:{docker}:forge.invalid/{IMAGE}:amd64");
        let to = format!("oci:{how}-again:x");
        succeed(at, "skopeo", &["copy", "--insecure-policy", &from, &to]);
        let config: Json = succeed(at, "skopeo", &["inspect", "--config", &to])
            .parse()
            .unwrap();
        assert_eq!(config["config"]["User"], "999:1000");
        digests.insert(digest);

        // Debian's umoci is too old for zstd.
        if how != "zstd" {
            let image = format!("{how}:amd64");
            let bundle = format!("{how}-bundle");
            succeed(
                at,
                "umoci",
                &["unpack", "--rootless", "--image", &image, &bundle],
            );
            let root = at.join(bundle).join("rootfs");
            let mode = |path: &str| {
                let metadata = fs::symlink_metadata(root.join(path)).unwrap();
                assert_eq!(metadata.mtime(), 0, "{path}");
                metadata.permissions().mode() & 0o7777
            };
            assert_eq!(mode("usr/bin/redis-check-rdb"), 0o755);
            assert_eq!(mode("data"), 0o700);
            assert_eq!(mode("tmp"), 0o1777);
            assert_eq!(mode("etc/passwd"), 0o644);
            let program = fs::read(root.join("usr/bin/redis-server")).unwrap();
            assert!(program.starts_with(b"\x7fELF"));
            let passwd = fs::read_to_string(root.join("etc/passwd")).unwrap();
            assert!(passwd.contains("redis:*:999:1000:"), "{passwd}");
        }
    }
    assert_eq!(digests.len(), 3);
}

#[test]
fn podman_loads_an_export() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let shown = locked();
    export(&at.join("docker.tar"), &["--format", "docker"]);
    export(
        &at.join("small.tar"),
        &[
            "--compress",
            "zstd",
            "--format",
            "docker",
            "--name",
            "x.invalid/small:1",
        ],
    );
    let podman = |arguments: &[&str]| {
        let here = [
            "--root",
            "root",
            "--runroot",
            "run",
            "--storage-driver",
            "vfs",
        ];
        succeed(at, "podman", &[&here, arguments].concat())
    };
    for (file, name) in [
        ("docker.tar", "forge.invalid/redis-bookworm:amd64"),
        ("small.tar", "x.invalid/small:1"),
    ] {
        let said = podman(&["load", "-i", file]);
        assert!(said.contains(name), "{said}");
        let seen: Json = podman(&["image", "inspect", name]).parse().unwrap();
        let id = format!("sha256:{}", seen[0]["Id"].as_str().unwrap());
        assert_eq!(shown["config_digest"], id);
        assert_eq!(seen[0]["Config"]["User"], "999:1000");
        assert_eq!(seen[0]["Os"], "linux");
    }
}

/// The schemas of the image specification, from Debian's package of it.
fn schema(name: &str) -> jsonschema::Validator {
    let folder = Path::new("/usr/share/gocode/src/github.com/opencontainers/image-spec/schema");
    let read = |name: &str| -> Json {
        let path = folder.join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| {
            panic!(
                "this test needs {} ({error}): `cargo xtask tools` installs it",
                path.display()
            )
        });
        text.parse().unwrap()
    };
    let mut registry = jsonschema::Registry::new();
    for part in [
        "content-descriptor.json",
        "defs-descriptor.json",
        "defs.json",
    ] {
        registry = registry
            .add(
                format!("https://opencontainers.org/schema/image/{part}"),
                read(part),
            )
            .unwrap()
            .add(
                format!("https://opencontainers.org/schema/{part}"),
                read(part),
            )
            .unwrap();
    }
    let registry = registry.prepare().unwrap();
    jsonschema::options()
        .with_registry(&registry)
        .build(&read(name))
        .unwrap()
}

#[test]
fn exports_are_what_the_schemas_of_the_specification_want() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let digest = export(&out, &["--compress", "gzip"]);
    let read =
        |path: &str| -> Json { fs::read_to_string(out.join(path)).unwrap().parse().unwrap() };
    let blob = |digest: &str| read(&format!("blobs/{}", digest.replace(':', "/")));
    let manifest = blob(&digest);
    let config = blob(manifest["config"]["digest"].as_str().unwrap());
    for (name, document) in [
        ("image-layout-schema.json", read("oci-layout")),
        ("image-index-schema.json", read("index.json")),
        ("image-manifest-schema.json", manifest),
        ("config-schema.json", config),
    ] {
        let schema = schema(name);
        assert!(!schema.is_valid(&serde_json::json!({})), "{name}");
        let errors: Vec<String> = schema
            .iter_errors(&document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
    }
}

#[test]
fn an_export_is_the_same_twice_and_replaces_only_exports() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let (one, two) = (at.join("one.tar"), at.join("two.tar"));
    for more in [
        &[][..],
        &["--compress", "gzip"],
        &["--compress", "zstd"],
        &["--format", "docker"],
    ] {
        export(&one, more);
        export(&two, more);
        assert!(
            fs::read(&one).unwrap() == fs::read(&two).unwrap(),
            "{more:?}"
        );
    }
    let stdout = forge(store())
        .args([
            "-q", "image", "export", IMAGE, "--format", "docker", "--out", "-",
        ])
        .args(ARCH)
        .assert()
        .success();
    assert!(stdout.get_output().stdout == fs::read(&one).unwrap());

    let out = at.join("out");
    export(&out, &["--compress", "gzip"]);
    let packed = fs::read_dir(out.join("blobs/sha256")).unwrap().count();
    let digest = export(&out, &[]);
    assert_eq!(
        packed,
        fs::read_dir(out.join("blobs/sha256")).unwrap().count()
    );
    let index = fs::read_to_string(out.join("index.json")).unwrap();
    assert!(index.contains(&digest), "{index}");
    // An image of another name is not replaced, although the tag is the same.
    forge(store())
        .args([
            "image",
            "export",
            IMAGE,
            "--name",
            "example.invalid/other:amd64",
            "--out",
        ])
        .arg(&out)
        .args(ARCH)
        .assert()
        .failure();
    assert_eq!(fs::read_to_string(out.join("index.json")).unwrap(), index);

    let mine = at.join("mine");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("letter.txt"), "dear").unwrap();
    fs::write(at.join("mine.tar"), "dear").unwrap();
    for target in [&mine, &at.join("mine.tar")] {
        let refused = forge(store())
            .args(["image", "export", IMAGE, "--out"])
            .arg(target)
            .args(ARCH)
            .assert()
            .failure();
        let error = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
        assert!(error.contains(&target.display().to_string()), "{error}");
    }
    assert_eq!(fs::read_to_string(mine.join("letter.txt")).unwrap(), "dear");
    assert_eq!(fs::read_to_string(at.join("mine.tar")).unwrap(), "dear");
    forge(store())
        .args([
            "image", "export", IMAGE, "--format", "docker", "--out", "folder",
        ])
        .assert()
        .code(2)
        .stderr_eq(str![[r#"
error: `docker load` reads an archive, not a folder
help: name a file that ends in .tar

"#]]);
}

#[test]
fn images_are_shown_and_listed() {
    let shown = locked();
    assert_eq!(shown["config"]["Cmd"], serde_json::json!(["redis-server"]));
    let layers = shown["layers"].as_array().unwrap();
    assert!(layers.len() > 10);
    assert_eq!(layers[0]["created_by"], "forge: skeleton");
    forge(store())
        .args(["image", "show", IMAGE])
        .args(ARCH)
        .assert()
        .success()
        .stdout_eq(str![[r#"
redis-bookworm for amd64
  WHAT               IS
  digest             sha256:[..]
  config             sha256:[..]
  user               999:1000
  command            redis-server
  working directory  /data
  environment        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  ports              6379/tcp

Layers
  LAYER                SIZE        FROM
  sha256:[..]  [..]  forge: skeleton
...
"#]]);

    let list = json(store(), &["image", "list", "--json", ARCH[0], ARCH[1]]);
    let list: BTreeMap<&str, &Json> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|image| (image["name"].as_str().unwrap(), image))
        .collect();
    let size: u64 = layers.iter().map(|it| it["size"].as_u64().unwrap()).sum();
    assert_eq!(list[IMAGE]["digest"], shown["digest"]);
    assert_eq!(list[IMAGE]["size"], size);
    assert_eq!(list[IMAGE]["from"], "recipe");
    assert_eq!(list["postgres-bookworm"]["size"], Json::Null);
    let folders = fs::read_dir("images").unwrap().count();
    assert!(list.len() >= folders);
    let table = output(store(), &["image", "list", ARCH[0], ARCH[1]]);
    assert_eq!(table.lines().count(), list.len() + 2);

    for command in ["show", "build", "run"] {
        forge(store())
            .args(["image", command, "redis-bookwrm"])
            .assert()
            .code(2)
            .stdout_eq("")
            .stderr_eq(str![[r#"
error: there is no image `redis-bookwrm`
help: did you mean `redis-bookworm`?

"#]]);
    }
    forge(store())
        .args(["image", "show", "nothing-like-it"])
        .assert()
        .code(2)
        .stderr_eq(str![[r#"
error: there is no image `nothing-like-it`
help: `forge image list` lists them

"#]]);
}

#[test]
fn images_differ_by_their_files() {
    let same = [
        "image",
        "diff",
        IMAGE,
        IMAGE,
        "--exit-code",
        ARCH[0],
        ARCH[1],
    ];
    forge(store())
        .args(same)
        .assert()
        .success()
        .stdout_eq("")
        .stderr_eq("no differences in files\n");
    let digest = locked()["digest"].as_str().unwrap().to_owned();
    forge(store())
        .args(["image", "diff", &digest[..20], IMAGE, "--exit-code"])
        .args(ARCH)
        .assert()
        .success();
    let other = ["image", "diff", IMAGE, OTHER, ARCH[0], ARCH[1]];
    let text = output(store(), &other);
    assert!(
        text.contains("- /data  0700 999:1000 directory\n"),
        "{text}"
    );
    assert!(text.contains("+ /usr/bin/curl  0755 0:0 "), "{text}");
    assert!(text.contains("~ /etc/group  0644 0:0 "), "{text}");
    forge(store())
        .args(other)
        .arg("--exit-code")
        .assert()
        .code(1);
    let found = json(store(), &[&other[..], &["--json"]].concat());
    assert_eq!(found["from"], digest);
    let files = found["files"].as_array().unwrap();
    assert_eq!(files.len(), text.lines().count());
    let data = files.iter().find(|it| it["path"] == "data").unwrap();
    assert_eq!(data["old"]["uid"], 999);
    assert_eq!(data["new"], Json::Null);
    if std::env::consts::ARCH == "x86_64" {
        // `forge diff` knows images, too.
        assert_eq!(output(store(), &["diff", IMAGE, OTHER]), text);
        assert_eq!(output(store(), &["diff", &digest, OTHER]), text);
    }
}

#[test]
fn what_is_nowhere_is_said() {
    let wrong = |arguments: &[&str], code: i32, error: &str| {
        let asserted = forge(store()).args(arguments).assert().code(code);
        asserted.stdout_eq("").stderr_eq(error.to_owned());
    };
    wrong(
        &["sbom", "mainfram"],
        2,
        "error: there is no host and no image `mainfram`\nhelp: did you mean `mainframe`?\n",
    );
    wrong(
        &["push-registry", "something-else", "registry.invalid/x:1"],
        2,
        "error: there is no host and no image `something-else`\n",
    );
    wrong(
        &["image", "diff", "sha256:0000000000000000", IMAGE],
        1,
        "error: no image in the store begins with `sha256:0000000000000000`\nhelp: `forge image build IMAGE` prints the digest of what it has built\n",
    );
}

#[test]
fn running_wants_docker() {
    if std::env::consts::ARCH != "x86_64" {
        return;
    }
    forge(store())
        .env("PATH", "/nonexistent")
        .args(["image", "run", IMAGE])
        .assert()
        .code(3)
        .stderr_eq(str![[r#"
error: cannot run `docker`: No such file or directory (os error 2)
help: is Docker installed, its daemon running, and may you use it?

"#]]);
}

#[test]
fn one_image_is_fetched_alone() {
    let folder = tempfile::tempdir().unwrap();
    let fresh = folder.path().join("store");
    warm::copy_recipes(&[IMAGE, OTHER].map(str::to_owned), ARCH[1], &fresh);
    // Everything is there: no mirror is asked, and with no apt that is configured none could be.
    forge(&fresh)
        .args(["fetch", "--image", IMAGE])
        .args(ARCH)
        .assert()
        .success()
        .stdout_eq("")
        .stderr_eq("the store has all that 1 image needs\n");
    assert_eq!(
        json(
            &fresh,
            &["fetch", "--image", OTHER, "--json", ARCH[0], ARCH[1]]
        ),
        serde_json::json!([{ "image": OTHER, "arch": "amd64" }])
    );
    forge(&fresh)
        .args(["fetch", "--image", "redis-bookwrm"])
        .assert()
        .code(2);
}

/// Structure, references and packages of a document; gives the names and versions of its packages.
fn checked(bytes: &str) -> BTreeSet<(String, String)> {
    let document: Json = bytes.parse().unwrap();
    assert_eq!(document["spdxVersion"], "SPDX-2.3");
    assert_eq!(document["dataLicense"], "CC0-1.0");
    assert_eq!(document["SPDXID"], "SPDXRef-DOCUMENT");
    assert!(
        document["documentNamespace"]
            .as_str()
            .unwrap()
            .starts_with("https://")
    );
    let mut ids = BTreeSet::from(["SPDXRef-DOCUMENT"]);
    let mut found = BTreeSet::new();
    for package in document["packages"].as_array().unwrap() {
        let id = package["SPDXID"].as_str().unwrap();
        let rest = id.strip_prefix("SPDXRef-").unwrap();
        assert!(
            rest.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte)),
            "{id}"
        );
        assert!(ids.insert(id), "{id} is there twice");
        assert!(package["downloadLocation"].is_string(), "{id}");
        assert_eq!(package["filesAnalyzed"], false, "{id}");
        let checksum = &package["checksums"][0];
        assert_eq!(checksum["algorithm"], "SHA256", "{id}");
        assert_eq!(
            checksum["checksumValue"].as_str().unwrap().len(),
            64,
            "{id}"
        );
        let text = |key: &str| package[key].as_str().unwrap().to_owned();
        found.insert((text("name"), text("versionInfo")));
    }
    let mut reached = BTreeSet::from(["SPDXRef-DOCUMENT"]);
    for relationship in document["relationships"].as_array().unwrap() {
        for end in ["spdxElementId", "relatedSpdxElement"] {
            let id = relationship[end].as_str().unwrap();
            assert!(ids.contains(id), "{id} is nowhere");
            reached.insert(id);
        }
    }
    assert_eq!(reached, ids, "somebody is related to nobody");
    found
}

/// Names and versions of the packages and wheels that the lock has for an image.
fn parts(image: &str) -> BTreeSet<(String, String)> {
    let build = build_of(image).unwrap();
    let mut parts = BTreeSet::new();
    for list in ["packages", "wheels"] {
        let list = build.get(list).and_then(|list| list.as_array());
        for part in list.into_iter().flatten() {
            let mut words = part.as_str().unwrap().split(' ').map(str::to_owned);
            parts.insert((words.next().unwrap(), words.next().unwrap()));
        }
    }
    parts
}

#[test]
fn a_bill_of_materials_has_every_package() {
    let arguments = ["sbom", IMAGE, ARCH[0], ARCH[1]];
    let first = output(store(), &arguments);
    assert_eq!(output(store(), &arguments), first);
    let mut found = checked(&first);
    let parts = parts(IMAGE);
    assert!(parts.len() > 10);
    assert!(parts.is_subset(&found), "{parts:?} {found:?}");
    let digest = locked()["digest"].as_str().unwrap().to_owned();
    assert!(found.remove(&(IMAGE.to_owned(), digest)));
    assert_eq!(found, parts);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.spdx.json");
    forge(store())
        .args(arguments)
        .arg("--out")
        .arg(&out)
        .assert()
        .success()
        .stdout_eq("");
    assert_eq!(fs::read_to_string(out).unwrap(), first);
}

#[test]
fn the_bill_of_materials_of_a_host_has_all_its_images() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    warm::copy("mainframe", &store);
    let first = output(&store, &["sbom", "mainframe"]);
    assert_eq!(output(&store, &["sbom", "mainframe"]), first);
    let found = checked(&first);
    let lock: toml::Table = fs::read_to_string("forge.lock").unwrap().parse().unwrap();
    let pinned = lock["image"].as_array().unwrap().iter();
    let pinned = pinned.filter(|image| {
        let text = |key: &str| image[key].as_str().unwrap().to_owned();
        found.contains(&(text("name"), text("digest")))
    });
    assert!(pinned.count() > 3, "{found:?}");
    assert!(parts("hermes-api").len() > 20);
    assert!(parts("hermes-api").is_subset(&found), "{found:?}");

    let refused = run(
        Path::new(env!("CARGO_MANIFEST_DIR")),
        env!("CARGO_BIN_EXE_forge"),
        &["sbom", "caddy", "--store", &store.display().to_string()],
    );
    assert_eq!(refused.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&refused.stderr),
        "error: `caddy` comes from a registry: what is in it only its maker knows\nhelp: `forge sbom HOST` lists it by its digest among the others\n"
    );
}
