//! The JSON Schemas: true of every shipped file, false of wrong ones, and schemas themselves.

#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use forge::edge::{catalogue, project};
use forge::flow::operator::evaluate::Opened;
use forge::pure::config::schema::{FileKind, schema};
use jsonschema::Validator;
use serde_json::Value as Json;

const ALL: [FileKind; 6] = [
    FileKind::Project,
    FileKind::Host,
    FileKind::Module,
    FileKind::Image,
    FileKind::Lock,
    FileKind::Secrets,
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn opened() -> Opened {
    let mut text = project::read(&root()).unwrap();
    catalogue::add_below(&mut text);
    let opened = Opened::read(text);
    assert!(!opened.diagnostics.has_errors());
    opened
}

fn validator(kind: FileKind) -> Validator {
    jsonschema::validator_for(&schema(kind, &opened().project)).unwrap()
}

fn mistakes(validator: &Validator, text: &str) -> Vec<String> {
    let json = serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap();
    validator
        .iter_errors(&json)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// The TOML files of a folder, or the `inner` file of each folder in it.
fn files(folder: &str, inner: Option<&str>) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(root().join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| inner.map_or(path.clone(), |inner| path.join(inner)))
        .filter(|path| path.is_file() && path.extension().is_some_and(|end| end == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{folder}");
    files
}

fn check_all(kind: FileKind, files: impl IntoIterator<Item = PathBuf>) {
    let validator = validator(kind);
    for path in files {
        let found = mistakes(&validator, &fs::read_to_string(&path).unwrap());
        assert!(found.is_empty(), "{}: {found:#?}", path.display());
    }
}

fn is_secrets(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".secrets.toml")
}

#[test]
fn schemas_are_schemas() {
    let opened = opened();
    for kind in ALL {
        let schema = schema(kind, &opened.project);
        if let Err(error) = jsonschema::draft202012::meta::validate(&schema) {
            panic!("{kind:?}: {error} at {}", error.instance_path());
        }
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
    }
}

#[test]
fn shipped_files_are_valid() {
    check_all(FileKind::Project, [root().join("forge.toml")]);
    check_all(FileKind::Lock, [root().join("forge.lock")]);
    check_all(FileKind::Image, files("images", Some("image.toml")));
    check_all(FileKind::Module, files("modules", Some("module.toml")));
    let (secrets, hosts): (Vec<_>, Vec<_>) = files("hosts", None)
        .into_iter()
        .partition(|path| is_secrets(path));
    check_all(FileKind::Host, hosts);
    check_all(FileKind::Secrets, secrets);
}

const HOST: &str = "[host]\naddress = '192.0.2.1'\nsystem = 'debian-13'\n";
const MODULE: &str = "[module]\nsummary = 'A'\n";
const IMAGE: &str = "[image]\nsummary = 'A'\n[registry]\nrepository = 'docker.io/a/b'\n";
const SECRETS: &str = "version = 1\n[recipients]\n";

/// A file that begins with what every one of its kind needs.
fn whole(kind: FileKind, text: &str) -> String {
    let start = match kind {
        FileKind::Host if text.starts_with("extends") => "",
        FileKind::Host => HOST,
        FileKind::Module => MODULE,
        FileKind::Image if text.starts_with("[image]") => "",
        FileKind::Image => IMAGE,
        FileKind::Secrets => SECRETS,
        FileKind::Project | FileKind::Lock => "",
    };
    format!("{start}{text}\n")
}

#[test]
fn what_forge_accepts_is_valid() {
    use FileKind::{Host, Image, Module, Project, Secrets};
    for (kind, text) in [
        (Host, ""),
        // A host that extends another one may leave out anything, at any depth.
        (
            Host,
            "extends = 'a'\n[modules.users]\nadmins.anna.sudo = 'none'\n[modules.telegram]",
        ),
        (Host, "[modules.telegram]\nenable = false"),
        (Host, "[override.service.caddy.limits]\nmemory = '1GiB'"),
        (Host, "[override.firewall.http]\nport = '{{options.port}}'"),
        (
            Host,
            "[[route]]\nname = 'a'\ndomains = '{{options.domains}}'\nfile = 'a'",
        ),
        (
            Module,
            "[options]\na = { type = 'list', of = { type = 'int', min = 1 }, doc = 'A' }",
        ),
        (
            Module,
            "[[service]]\nname = '{{each.key}}'\nfor_each = 'options.a'\nimage = '{{options.image}}'\nread_only = '{{options.b}}'\nlimits = '{{options.c}}'",
        ),
        (
            Module,
            "[contribution.a]\ndoc = 'A'\n[contribution.a.fields]\nb = { type = 'ref', to = 'file', doc = 'B' }",
        ),
        (Image, "tag = '1.2'"),
        (
            Image,
            "[image]\nsummary = 'A'\nbase = 'caddy'\n[[user]]\nname = 'a'\nuid = 1\n[run]\nuser = 'a'\nports = ['80/tcp']",
        ),
        (
            Image,
            "[image]\nsummary = 'A'\narch = ['arm64']\n[debian]\nsuites = ['bookworm']\npackages = ['dash']\nkeep = ['/usr/share/doc/**']",
        ),
        (
            Project,
            "[project]\nname = 'a'\n[sources.debian]\nmirrors = ['https://a.example/debian']\n[sources.registry.'docker.io']\nplain_http = true",
        ),
        (Secrets, "a = 'ssh-ed25519 AAAA a b'"),
        (
            Secrets,
            "a = 'age1qqq'\n[secrets]\nb = '''\n-----BEGIN AGE ENCRYPTED FILE-----\nYQ==\n-----END AGE ENCRYPTED FILE-----\n'''",
        ),
    ] {
        let text = whole(kind, text);
        let found = mistakes(&validator(kind), &text);
        assert!(found.is_empty(), "{text}\n{found:#?}");
    }
}

#[test]
fn wrong_files_are_not_valid() {
    use FileKind::{Host, Image, Lock, Module, Project, Secrets};
    let pin =
        "version = 1\n[[image]]\nname = 'a'\nrepository = 'r'\ntag = 't'\ndigest = 'sha256:1'";
    for (kind, text, place) in [
        (Project, "", ""),
        (Project, "[project]", "/project"),
        (Project, "[project]\nname = 'A B'", "/project/name"),
        (Host, "arch = 'z80'", "/host/arch"),
        (Host, "adress = 'a'", "/host"),
        (Host, "[modules.caddi]", "/modules"),
        (Host, "[modules.caddy]\nmemroy = '1GiB'", "/modules/caddy"),
        (
            Host,
            "[modules.caddy]\nmemory = '1GB'",
            "/modules/caddy/memory",
        ),
        (
            Host,
            "[modules.caddy]\nacme = 'prod'",
            "/modules/caddy/acme",
        ),
        (
            Host,
            "[modules.caddy]\nimage = 'caddi'",
            "/modules/caddy/image",
        ),
        (
            Host,
            "[modules.caddy]\nhsts_max_age = ''",
            "/modules/caddy/hsts_max_age",
        ),
        // A template is text like any other where none is run.
        (
            Host,
            "[modules.caddy]\nhsts = '{{x}}'",
            "/modules/caddy/hsts",
        ),
        (Host, "[modules.telegram]", "/modules/telegram"),
        (
            Host,
            "[modules.users]\nadmins.anna = {}",
            "/modules/users/admins/anna",
        ),
        (Host, "[[servce]]\nname = 'a'", ""),
        (Host, "[[volume]]\nowner = '0:0'", "/volume/0"),
        (
            Host,
            "[[volume]]\nname = 'a'\nowner = 'root'",
            "/volume/0/owner",
        ),
        (
            Host,
            "[[firewall]]\nname = 'a'\nport = 65536",
            "/firewall/0/port",
        ),
        (
            Host,
            "[[allow]]\nrule = 'F0001'\nsubject = 'a'\nreason = 'b'",
            "/allow/0/rule",
        ),
        (
            Host,
            "[override.volume.a]\nown = '0:0'",
            "/override/volume/a",
        ),
        (
            Host,
            "[[file]]\nname = 'a'\npath = '/a/../b'",
            "/file/0/path",
        ),
        (
            Host,
            "[[file]]\nname = 'a'\nsource = '../b'",
            "/file/0/source",
        ),
        (Module, "sumary = 'B'", "/module"),
        (Module, "[options]\na = { type = 'int' }", "/options/a"),
        (
            Module,
            "[options]\na = { type = 'number', doc = 'A' }",
            "/options/a/type",
        ),
        (
            Module,
            "[options]\na = { type = 'list', doc = 'A' }",
            "/options/a",
        ),
        (
            Module,
            "[options]\na = { type = 'list', of = 'enum', doc = 'A' }",
            "/options/a/of",
        ),
        (
            Module,
            "[options]\na = { type = 'bool', min = 1, doc = 'A' }",
            "/options/a/min",
        ),
        (
            Module,
            "[options]\na = { type = 'int', optional = true, default = 1, doc = 'A' }",
            "/options/a",
        ),
        (
            Module,
            "[options]\nA = { type = 'int', doc = 'A' }",
            "/options",
        ),
        (Module, "[[service]]\nname = 'a'", "/service/0"),
        (Image, "", "/registry"),
        (Image, "[image]\nsummary = 'A'\narch = ['amd64']", ""),
        (Image, "tag = '1.2'\n[run]\nuser = 'a'", ""),
        (
            Image,
            "[image]\nsummary = 'A'\n[[user]]\nname = 'a'",
            "/user/0",
        ),
        (
            Lock,
            "version = 1\n[[package]]\nsize = -1",
            "/package/0/size",
        ),
        (
            Project,
            "[project]\nname = 'a'\n[sources.debian]\nmirrors = ['ftp://a']",
            "/sources/debian/mirrors/0",
        ),
        (Image, "tag = '-'", "/registry/tag"),
        (Lock, "", ""),
        (Lock, "version = 2", "/version"),
        (Lock, pin, "/image/0/digest"),
        (Secrets, "", "/recipients"),
        (Secrets, "a = 'ecdsa-sha2-nistp256 AAAA'", "/recipients/a"),
        (
            Secrets,
            "a = 'age1q'\n[secrets]\nb = 'hunter2'",
            "/secrets/b",
        ),
    ] {
        let text = whole(kind, text);
        let found = mistakes(&validator(kind), &text);
        let wanted = format!("{place}: ");
        assert!(
            found.iter().any(|mistake| mistake.starts_with(&wanted)),
            "{text}\nwants a mistake at {place:?}: {found:#?}"
        );
    }
    // Without a parent the host must say where it is.
    assert!(!mistakes(&validator(Host), "[modules.base]\n").is_empty());
}

#[test]
fn the_lock_has_the_version_that_forge_reads() {
    let schema = schema(FileKind::Lock, &opened().project);
    let version = schema.pointer("/properties/version/const").unwrap();
    assert_eq!(version, forge::pure::pins::VERSION);
}

#[test]
fn options_bring_their_docs_and_defaults() {
    let schema = schema(FileKind::Host, &opened().project);
    let option = |path: &str| -> &Json {
        schema
            .pointer(&format!("/properties/modules/properties/{path}"))
            .unwrap()
    };
    let memory = option("caddy/properties/memory");
    assert_eq!(memory["default"], "256MiB");
    assert!(
        memory["description"]
            .as_str()
            .unwrap()
            .starts_with("Memory limit")
    );
    assert_eq!(option("caddy/properties/enable")["type"], "boolean");
    let route = schema.pointer("/properties/route/items").unwrap();
    assert_eq!(route["required"], serde_json::json!(["name", "domains"]));
}
