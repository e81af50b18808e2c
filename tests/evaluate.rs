//! What a host becomes: layers, options, contributions, conditions, repetition, needs, and that no order of writing matters.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)]

use std::borrow::Cow;
use std::path::Path;

use forge::edge::{catalogue, project};
use forge::flow::operator::evaluate::Opened;
use forge::pure::config::project::{ProjectText, TextFile};
use forge::pure::system::System;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

const BASE: &str = "[host]\naddress = \"192.0.2.10\"\nsystem = \"debian-12\"\n";
const IMAGE: &str = "[image]\nsummary = \"i\"\n[registry]\nrepository = \"registry.example/app\"\ntag = \"1.2.3\"\n";
const LOCK: &str = "version = 1\n[[image]]\nname = \"app\"\nrepository = \"registry.example/app\"\ntag = \"1.2.3\"\ndigest = \"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"\n";

fn service(name: &str, more: &str) -> String {
    format!(
        "\n[[service]]\nname = \"{name}\"\nimage = \"app\"\nuser = \"1000:1000\"\nlimits = {{ memory = \"64MiB\", cpus = \"1\" }}\nhealthcheck = {{ exec = [\"/app\"] }}\n{more}\n"
    )
}

fn module(more: &str) -> String {
    format!("[module]\nsummary = \"m\"\n{more}")
}

fn open(files: &[(&str, &str)]) -> Opened {
    let mut text = ProjectText::default();
    let always = [
        ("forge.toml", "[project]\nname = \"test\"\n"),
        ("forge.lock", LOCK),
        ("images/app/image.toml", IMAGE),
    ];
    for (path, content) in always.iter().chain(files) {
        text.files.insert(
            (*path).to_owned(),
            TextFile {
                bytes: Cow::Owned(content.as_bytes().to_vec()),
                embedded: false,
            },
        );
    }
    Opened::read(text)
}

fn system(opened: &mut Opened, host: &str) -> System {
    let evaluated = opened.evaluate(&host.parse().unwrap());
    let wrong: Vec<String> = opened
        .diagnostics
        .iter()
        .map(|diagnostic| format!("{} {}", diagnostic.code, diagnostic.message))
        .collect();
    evaluated
        .unwrap_or_else(|| panic!("{host} is wrong: {wrong:#?}"))
        .system
}

fn evaluate(files: &[(&str, &str)]) -> System {
    system(&mut open(files), "h")
}

fn field(system: &System, kind: &str, name: &str, key: &str) -> Json {
    let fact = system.facts.get(kind, name);
    let fact = fact.unwrap_or_else(|| panic!("there is no {kind} {name}"));
    fact.value.to_json()[key].clone()
}

fn option(system: &System, module: &str, key: &str) -> Json {
    system.modules[module].to_json()[key].clone()
}

fn names(system: &System, kind: &str) -> Vec<String> {
    system.facts.names(kind).map(str::to_owned).collect()
}

const OPTIONS: &str = "
[options]
size  = { type = \"size\", default = \"1GiB\", doc = \"d\" }
names = { type = \"list\", of = \"string\", default = [\"a\"], doc = \"d\" }
sites = { type = \"map\", of = \"string\", default = {}, doc = \"d\" }
mail  = { type = \"table\", doc = \"d\", optional = true, fields = { host = { type = \"domain\", doc = \"d\" }, port = { type = \"port\", default = 25, doc = \"d\" } } }
";

#[test]
fn the_nearer_host_wins_key_by_key() {
    let module = module(OPTIONS);
    let mut opened = open(&[
        ("modules/m/module.toml", &module),
        (
            "hosts/base.toml",
            &format!(
                "{BASE}port = 2222\ntags = [\"a\", \"b\"]\n[modules.m]\nsize = \"2GiB\"\nnames = [\"x\", \"y\"]\nsites = {{ one = \"1\", two = \"2\" }}\nmail = {{ host = \"a.example\", port = 587 }}\n"
            ),
        ),
        (
            "hosts/middle.toml",
            "extends = \"base\"\n[host]\naddress = \"192.0.2.20\"\n[modules.m]\nnames = [\"z\"]\nsites.two = \"zwei\"\n",
        ),
        (
            "hosts/h.toml",
            "extends = \"middle\"\n[host]\ntags = []\n[modules.m]\nsites.three = \"drei\"\nmail.host = \"b.example\"\n",
        ),
    ]);
    let system = system(&mut opened, "h");
    assert_eq!(system.host.name.as_str(), "h");
    assert_eq!(system.host.address, "192.0.2.20", "from the one between");
    assert_eq!((system.host.port, system.host.tags.len()), (2222, 0));
    assert_eq!(option(&system, "m", "size"), "2GiB", "from the farthest");
    assert_eq!(
        option(&system, "m", "names"),
        json!(["z"]),
        "lists are replaced"
    );
    assert_eq!(
        option(&system, "m", "sites"),
        json!({ "one": "1", "two": "zwei", "three": "drei" }),
        "tables are merged"
    );
    assert_eq!(
        option(&system, "m", "mail"),
        json!({ "host": "b.example", "port": 587 })
    );
}

#[test]
fn every_value_knows_where_it_was_written() {
    let module = module(OPTIONS);
    let mut opened = open(&[
        ("modules/m/module.toml", &module),
        (
            "hosts/base.toml",
            &format!("{BASE}[modules.m]\nsites = {{ one = \"1\", two = \"2\" }}\n"),
        ),
        (
            "hosts/h.toml",
            "extends = \"base\"\n[modules.m]\nsites.two = \"zwei\"\n",
        ),
    ]);
    let system = system(&mut opened, "h");
    let options = &system.modules["m"];
    let place = |path: &[&str]| {
        let value = path
            .iter()
            .fold(options, |value, key| value.get(key).expect("a value"));
        opened.sources.place(value.at)
    };
    assert_eq!(place(&["size"]), "modules/m/module.toml:5:36", "a default");
    assert_eq!(place(&["sites", "one"]), "hosts/base.toml:5:17");
    assert_eq!(place(&["sites", "two"]), "hosts/h.toml:3:13");
}

#[test]
fn a_module_is_switched_off_and_on_again() {
    let module = module("\n[[network]]\nname = \"m\"\n");
    let files = [
        ("modules/m/module.toml", module.as_str()),
        ("hosts/on.toml", &format!("{BASE}[modules.m]\n")),
        (
            "hosts/off.toml",
            "extends = \"on\"\n[modules.m]\nenable = false\n",
        ),
        ("hosts/again.toml", "extends = \"off\"\n[modules.m]\n"),
        ("hosts/still.toml", "extends = \"off\"\n"),
    ];
    let mut opened = open(&files);
    for (host, on) in [
        ("on", true),
        ("off", false),
        ("again", true),
        ("still", false),
    ] {
        let system = system(&mut opened, host);
        assert_eq!(system.modules.contains_key("m"), on, "{host}");
        assert_eq!(system.disabled.is_empty(), on, "{host}");
        assert_eq!(names(&system, "network").len(), usize::from(on), "{host}");
    }
}

#[test]
fn a_contribution_of_the_nearer_host_replaces_the_same_of_the_farther() {
    let system = evaluate(&[
        (
            "hosts/base.toml",
            &format!(
                "{BASE}[[network]]\nname = \"a\"\ninternal = true\n[[network]]\nname = \"b\"\ninternal = true\n"
            ),
        ),
        (
            "hosts/h.toml",
            "extends = \"base\"\n[[network]]\nname = \"a\"\n",
        ),
    ]);
    assert_eq!(field(&system, "network", "a", "internal"), false);
    assert_eq!(field(&system, "network", "b", "internal"), true);
}

#[test]
fn allowances_are_inherited() {
    let one = service("one", "").replace("limits = { memory = \"64MiB\", cpus = \"1\" }\n", "");
    evaluate(&[
        (
            "hosts/base.toml",
            &format!(
                "{BASE}{one}[[allow]]\nrule = \"F0304\"\nsubject = \"service.one\"\nreason = \"long enough a reason\"\n"
            ),
        ),
        ("hosts/h.toml", "extends = \"base\"\n"),
    ]);
}

#[test]
fn an_override_changes_fields_and_is_remembered() {
    let module = module(&service(
        "app",
        "read_only = true\nenv = { A = \"1\", B = \"2\" }",
    ));
    let mut opened = open(&[
        ("modules/m/module.toml", &module),
        (
            "hosts/base.toml",
            &format!(
                "{BASE}[modules.m]\n[override.service.app]\nread_only = false\nenv.B = \"base\"\nstop_signal = \"SIGINT\"\n"
            ),
        ),
        (
            "hosts/h.toml",
            "extends = \"base\"\n[override.service.app]\nenv.B = \"own\"\nlimits.memory = \"1GiB\"\n",
        ),
    ]);
    let system = system(&mut opened, "h");
    assert_eq!(field(&system, "service", "app", "read_only"), false);
    assert_eq!(field(&system, "service", "app", "stop_signal"), "SIGINT");
    assert_eq!(
        field(&system, "service", "app", "env"),
        json!({ "A": "1", "B": "own" }),
        "the nearer override wins over the farther, and both over the module"
    );
    assert_eq!(field(&system, "service", "app", "limits")["memory"], "1GiB");
    assert_eq!(field(&system, "service", "app", "limits")["cpus"], "1");
    let fact = system.facts.get("service", "app").unwrap();
    let overridden: Vec<(&str, Option<String>)> = fact
        .overridden
        .iter()
        .map(|(path, below)| (path.as_str(), below.map(|at| opened.sources.place(at))))
        .collect();
    let at = |line_and_column: &str| Some(format!("modules/m/module.toml:{line_and_column}"));
    assert_eq!(
        overridden,
        [
            ("env.B", at("11:22")),
            ("limits.memory", at("8:21")),
            ("read_only", at("10:13")),
            ("stop_signal", None),
        ]
    );
    assert_eq!(
        opened
            .sources
            .place(fact.value.get("env").unwrap().get("B").unwrap().at),
        "hosts/h.toml:3:9"
    );
}

#[test]
fn overrides_reach_what_for_each_makes() {
    let module = module(
        "[[volume]]\nfor_each = \"options.names\"\nname = \"v-{{each.value}}\"\nowner = \"0:0\"\nno_backup = \"nothing of value\"\n[options]\nnames = { type = \"list\", of = \"string\", doc = \"d\" }\n",
    );
    let system = evaluate(&[
        ("modules/m/module.toml", &module),
        (
            "hosts/h.toml",
            &format!(
                "{BASE}[modules.m]\nnames = [\"a\", \"b\"]\n[override.volume.v-b]\nmode = \"0700\"\n"
            ),
        ),
    ]);
    assert_eq!(field(&system, "volume", "v-a", "mode"), "0750");
    assert_eq!(field(&system, "volume", "v-b", "mode"), "0700");
}

#[test]
fn for_each_goes_over_lists_maps_and_facts() {
    let module = module(
        r#"
[options]
names = { type = "list", of = "string", default = ["x", "y"], doc = "d" }
sites = { type = "map", of = { type = "table", fields = { to = { type = "string", doc = "d" } } }, default = { b = { to = "2" }, a = { to = "1" } }, doc = "d" }
maybe = { type = "list", of = "string", optional = true, doc = "d" }

[[sysctl]]
for_each = "options.names"
name = "list.{{each.key}}"
value = "{{each.value}}"

[[sysctl]]
for_each = "options.sites"
name = "map.{{each.key}}"
value = "{{each.value.to}}"

[[sysctl]]
for_each = "options.maybe"
name = "never"
value = "{{each.value}}"

[[sysctl]]
for_each = "facts.network"
name = "fact.{{each.key}}"
value = "{{each.value.module}} {{each.value.name}} {{each.value.internal}} [{{each.value.subnet}}]"
"#,
    );
    let system = evaluate(&[
        ("modules/m/module.toml", &module),
        (
            "hosts/h.toml",
            &format!("{BASE}[modules.m]\n[[network]]\nname = \"inner\"\ninternal = true\n"),
        ),
    ]);
    let all: Vec<(String, Json)> = names(&system, "sysctl")
        .into_iter()
        .map(|name| {
            let value = field(&system, "sysctl", &name, "value");
            (name, value)
        })
        .collect();
    let wanted = [
        ("fact.inner", "host inner true []"),
        ("list.0", "x"),
        ("list.1", "y"),
        ("map.a", "1"),
        ("map.b", "2"),
    ];
    assert_eq!(
        all,
        wanted.map(|(name, value)| (name.to_owned(), json!(value)))
    );
}

#[test]
fn conditions_decide_what_there_is() {
    let module = module(
        r#"
[options]
tls = { type = "bool", default = true, doc = "d" }
mode = { type = "enum", values = ["fast", "slow"], default = "fast", doc = "d" }
names = { type = "list", of = "string", default = [], doc = "d" }
maybe = { type = "int", optional = true, doc = "d" }

[[network]]
name = "yes-bool"
when = "options.tls"
[[network]]
name = "no-bool"
when = "not options.tls"
[[network]]
name = "yes-equal"
when = "options.mode == 'fast' and modules.m"
[[network]]
name = "no-equal"
when = "options.mode != 'fast'"
[[network]]
name = "no-empty"
when = "options.names"
[[network]]
name = "no-absent"
when = "options.maybe"
[[network]]
name = "no-module"
when = "modules.other"
[[network]]
name = "yes-host"
when = "host.system == 'debian-12'"
[[network]]
for_each = "options.hosts"
name = "each-{{each.key}}"
when = "each.value == 'on'"
[options.hosts]
type = "map"
of = "string"
default = { a = "on", b = "off" }
doc = "d"
"#,
    );
    let other = self::module("");
    let system = evaluate(&[
        ("modules/m/module.toml", &module),
        ("modules/other/module.toml", &other),
        ("hosts/h.toml", &format!("{BASE}[modules.m]\n")),
    ]);
    assert_eq!(
        names(&system, "network"),
        ["each-a", "yes-bool", "yes-equal", "yes-host"]
    );
}

const QUEUE: &str = r#"
provides = ["queue"]
[contribution.queue]
doc = "A queue"
needs_provider = true

[options]
provider = { type = "enum", values = ["here", "elsewhere"], default = "here", doc = "d" }

[[provider]]
name = "queue"
when = "options.provider == 'here'"
host = "rabbit"
port = 5672

[[provider]]
name = "queue"
when = "options.provider == 'elsewhere'"
host = "mq.example.com"
port = 5671
tls = true
"#;

#[test]
fn a_need_is_met_here_or_elsewhere() {
    let queue = module(QUEUE);
    let user = module(
        "[[queue]]\nname = \"jobs\"\n[[sysctl]]\nname = \"url\"\nvalue = \"{{#if provider.queue.tls}}amqps{{else}}amqp{{/if}}://{{provider.queue.host}}:{{provider.queue.port}}\"\n",
    );
    for (choice, url) in [
        ("here", "amqp://rabbit:5672"),
        ("elsewhere", "amqps://mq.example.com:5671"),
    ] {
        let system = evaluate(&[
            ("modules/queue/module.toml", &queue),
            ("modules/user/module.toml", &user),
            (
                "hosts/h.toml",
                &format!("{BASE}[modules.user]\n[modules.queue]\nprovider = \"{choice}\"\n"),
            ),
        ]);
        assert_eq!(field(&system, "sysctl", "url", "value"), url);
    }
}

#[test]
fn what_nobody_consumes_is_not_made() {
    let watcher = module("[contribution.watch]\ndoc = \"d\"\n");
    let user = module("[[watch]]\nname = \"a\"\n");
    let files = |host: &str| {
        evaluate(&[
            ("modules/watcher/module.toml", &watcher),
            ("modules/user/module.toml", &user),
            ("hosts/h.toml", &format!("{BASE}{host}")),
        ])
    };
    assert!(names(&files("[modules.user]\n"), "watch").is_empty());
    assert_eq!(
        names(&files("[modules.user]\n[modules.watcher]\n"), "watch"),
        ["a"]
    );
}

#[test]
fn mounts_of_others_join_those_of_the_service() {
    let app = module(&service(
        "app",
        "mounts = [{ at = \"/b\", tmpfs = \"1MiB\" }, { at = \"/d\", tmpfs = \"1MiB\" }]",
    ));
    let other = module(
        "[[file]]\nname = \"extra.conf\"\ntext = \"x\"\n[[mount]]\nname = \"c\"\nservice = \"app\"\nat = \"/c\"\nfile = \"extra.conf\"\n[[mount]]\nname = \"a\"\nservice = \"app\"\nat = \"/a\"\nfile = \"extra.conf\"\nread_only = true\n",
    );
    let system = evaluate(&[
        ("modules/app/module.toml", &app),
        ("modules/other/module.toml", &other),
        (
            "hosts/h.toml",
            &format!("{BASE}[modules.app]\n[modules.other]\n"),
        ),
    ]);
    let mounts = &system.services["app"].mounts;
    let places: Vec<(&str, Option<&str>)> = mounts
        .iter()
        .map(|mount| (mount.at.as_str(), mount.file.as_deref()))
        .collect();
    assert_eq!(
        places,
        [
            ("/a", Some("other/extra.conf")),
            ("/b", None),
            ("/c", Some("other/extra.conf")),
            ("/d", None),
        ]
    );
    assert!(mounts[0].read_only && !mounts[2].read_only);
}

#[test]
fn one_expression_keeps_its_type_and_text_takes_the_type_of_its_field() {
    let module = module(&format!(
        r#"
[options]
nets = {{ type = "list", of = "string", default = ["a", "b"], doc = "d" }}
env = {{ type = "map", of = "string", default = {{ X = "1" }}, doc = "d" }}
flag = {{ type = "bool", default = true, doc = "d" }}
count = {{ type = "int", default = 7, doc = "d" }}
none = {{ type = "string", optional = true, doc = "d" }}
[[network]]
name = "a"
[[network]]
name = "b"
{}"#,
        service(
            "app",
            "networks = \"{{options.nets}}\"\nenv = \"{{ options.env }}\"\ninit = \"{{options.flag}}\"\nread_only = \"{{#if options.flag}}false{{else}}true{{/if}}\"\nreservations = { gpus = \"{{options.count}}\" }\nhostname = \"{{options.none}}\"\nlabels = { n = \"{{options.count}}\", f = \"{{options.flag}}\", t = \"n{{options.count}}\" }"
        )
    ));
    let system = evaluate(&[
        ("modules/m/module.toml", &module),
        ("hosts/h.toml", &format!("{BASE}[modules.m]\n")),
    ]);
    let app = |key: &str| field(&system, "service", "app", key);
    assert_eq!(app("networks"), json!(["a", "b"]));
    assert_eq!(app("env"), json!({ "X": "1" }));
    assert_eq!((app("init"), app("read_only")), (json!(true), json!(false)));
    assert_eq!(app("reservations")["gpus"], 7);
    assert_eq!(app("hostname"), Json::Null, "absent stays absent");
    assert_eq!(app("labels"), json!({ "n": "7", "f": "true", "t": "n7" }));
}

#[test]
fn what_is_broken_elsewhere_makes_no_system() {
    for (path, content) in [
        ("forge.lock", "version = \n"),
        ("images/app/image.toml", "[image\n"),
        ("modules/m/module.toml", "[module\n"),
        (
            "modules/m/module.toml",
            "[module]\nsummary = \"m\"\n[options]\nx = { type = \"it\", doc = \"d\" }\n",
        ),
    ] {
        let host = format!("{BASE}[modules.m]\n{}", service("app", ""));
        let fine = module("");
        let mut opened = open(&[
            ("modules/m/module.toml", &fine),
            ("hosts/h.toml", &host),
            (path, content),
        ]);
        assert!(opened.evaluate(&"h".parse().unwrap()).is_none(), "{path}");
        assert_eq!(opened.diagnostics.errors(), 1, "{path}");
    }
}

/// All that a system is, without the places in the texts.
fn essence(system: &System) -> String {
    let facts: Vec<Json> = system
        .facts
        .iter()
        .map(|fact| {
            let overridden: Vec<&String> = fact.overridden.iter().map(|(path, _)| path).collect();
            json!([fact.kind, fact.to_json(), fact.each, overridden])
        })
        .collect();
    let modules: Vec<(&String, Json)> = system
        .modules
        .iter()
        .map(|(name, options)| (name, options.to_json()))
        .collect();
    format!(
        "{:#?}",
        (
            &system.host,
            modules,
            &system.disabled,
            facts,
            &system.services,
            &system.networks,
            &system.firewall,
            &system.images,
            &system.providers
        )
    )
}

/// The same TOML with its keys and tables in another order: that of a map.
fn sorted(text: &str) -> String {
    let table: toml::Table = toml::from_str(text).expect("TOML");
    toml::to_string(&table).expect("TOML")
}

#[test]
fn the_order_of_the_shipped_files_does_not_matter() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = project::read(root).expect("the shipped project");
    catalogue::add_below(&mut text);
    let mut other = text.clone();
    for (path, file) in &mut other.files {
        if path.ends_with(".toml") && !path.ends_with(".secrets.toml") {
            let changed = sorted(std::str::from_utf8(&file.bytes).expect("text"));
            file.bytes = Cow::Owned(changed.into_bytes());
        }
    }
    let (mut plain, mut changed) = (Opened::read(text), Opened::read(other));
    for host in ["minimal", "mainframe", "dr"] {
        assert_eq!(
            essence(&system(&mut plain, host)),
            essence(&system(&mut changed, host)),
            "{host}"
        );
    }
}

/// A file as sections, each a header and lines that may stand in any order.
type Sections = Vec<(String, Vec<String>)>;

fn sections(text: &str) -> Sections {
    let mut sections: Sections = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if line.starts_with('[') {
            sections.push((line.to_owned(), Vec::new()));
        } else if let Some((_, lines)) = sections.last_mut() {
            lines.push(line.to_owned());
        }
    }
    sections
}

fn written(sections: &Sections) -> String {
    sections
        .iter()
        .map(|(header, lines)| format!("{header}\n{}\n", lines.join("\n")))
        .collect()
}

fn shuffled(text: &str) -> impl Strategy<Value = String> + use<> {
    let parts: Vec<_> = sections(text)
        .into_iter()
        .map(|(header, lines)| {
            Just(lines)
                .prop_shuffle()
                .prop_map(move |lines| (header.clone(), lines))
        })
        .collect();
    parts.prop_shuffle().prop_map(|sections| written(&sections))
}

fn mixed_module() -> String {
    format!(
        "[module]\nsummary = \"m\"\nprovides = [\"queue\", \"backup\"]\n[contribution.queue]\ndoc = \"d\"\nneeds_provider = true\n[options]\nnames = {{ type = \"list\", of = \"string\", default = [\"x\", \"y\"], doc = \"d\" }}\non = {{ type = \"bool\", default = true, doc = \"d\" }}\n[[provider]]\nname = \"queue\"\nhost = \"app\"\nport = 1\nservice = \"app\"\n[[network]]\nname = \"net\"\nwhen = \"options.on\"\n[[volume]]\nfor_each = \"options.names\"\nname = \"v-{{{{each.value}}}}\"\nowner = \"0:0\"\n[[backup]]\nfor_each = \"facts.volume\"\nname = \"b-{{{{each.key}}}}\"\nvolume = \"{{{{each.key}}}}\"\n[[file]]\nname = \"a.conf\"\ntext = \"{{{{provider.queue.host}}}}\"\n[[mount]]\nname = \"z\"\nservice = \"app\"\nat = \"/z\"\nfile = \"a.conf\"\n[[mount]]\nname = \"y\"\nservice = \"app\"\nat = \"/y\"\nvolume = \"v-x\"\n{}",
        service(
            "app",
            "networks = [\"net\"]\nports = [{ host = 80, container = 80 }]"
        )
    )
}

fn mixed_host() -> String {
    format!(
        "{BASE}[modules.m]\nnames = [\"x\", \"q\"]\n[override.service.app]\nread_only = true\ninit = true\n[[queue]]\nname = \"jobs\"\n[[sysctl]]\nname = \"a\"\nvalue = \"{{{{provider.queue.port}}}}\"\n[[sysctl]]\nname = \"b\"\nvalue = \"1\"\n{}",
        service("own", "networks = [\"net\"]\ndepends_on = [\"app\"]")
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_writing_does_not_matter(
        module in shuffled(&mixed_module()),
        host in shuffled(&mixed_host()),
    ) {
        let plain = evaluate(&[("modules/m/module.toml", &mixed_module()), ("hosts/h.toml", &mixed_host())]);
        let other = evaluate(&[("hosts/h.toml", &host), ("modules/m/module.toml", &module)]);
        prop_assert_eq!(essence(&plain), essence(&other));
    }
}
