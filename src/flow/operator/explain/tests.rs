use super::*;
use crate::pure::config::project::{ProjectText, TextFile};
use crate::pure::config::reference::inline;

const FILES: [(&str, &str); 6] = [
    ("forge.toml", "[project]\nname = \"p\"\n"),
    (
        "modules/db/module.toml",
        r#"[module]
summary = "A database"
[options]
memory = { type = "size", default = "1GiB", max = "8GiB", doc = "Memory" }
flags = { type = "map", of = "string", default = {}, doc = "Flags" }
pool = { type = "table", default = {}, doc = "Pool", fields = { size = { type = "int", default = 10, doc = "Size" } } }
[[sysctl]]
name = "vm.x"
value = "{{options.memory}}"
[[group]]
name = "db"
"#,
    ),
    (
        "modules/user/module.toml",
        "[module]\nsummary = \"A user\"\n[options]\n[[user]]\nname = \"anna\"\n",
    ),
    (
        "hosts/base.toml",
        r#"[host]
address = "192.0.2.1"
system = "debian-13"
[modules.db]
memory = "2GiB"
flags = { "a.b" = "1", c = "2" }
[[package]]
name = "vim"
[override.sysctl."vm.x"]
value = "5"
"#,
    ),
    (
        "hosts/dr.toml",
        r#"extends = "base"
[host]
address = "192.0.2.2"
[modules.db]
memory = "3GiB"
flags.c = "3"
[[package]]
name = "vim"
held = true
[override.sysctl."vm.x"]
value = "6"
"#,
    ),
    (
        "hosts/broken.toml",
        "[host]\naddress = \"192.0.2.3\"\nsystem = \"debian-13\"\n[modules.db]\n[modules.nobody]\n",
    ),
];

fn opened() -> Opened {
    let files = FILES.map(|(path, text)| {
        let file = TextFile {
            bytes: text.as_bytes().into(),
            embedded: false,
        };
        (path.to_owned(), file)
    });
    let opened = Opened::read(ProjectText {
        files: files.into(),
        ..ProjectText::default()
    });
    assert!(
        !opened.diagnostics.has_errors(),
        "{:#?}",
        opened.diagnostics
    );
    opened
}

fn ask(host: &str, subject: &str) -> (Opened, Result<Vec<Explanation>, NoAnswer>) {
    let mut opened = opened();
    let answer = explain(&mut opened, &host.parse().unwrap(), subject);
    (opened, answer)
}

/// The value, and each step as `effect value source line`.
fn setting(host: &str, subject: &str) -> (String, Vec<String>) {
    let (opened, answer) = ask(host, subject);
    let answers = answer.unwrap_or_else(|error| panic!("{error:?} {:#?}", opened.diagnostics));
    let [Explanation::Setting(setting)] = answers.as_slice() else {
        panic!("{answers:#?}");
    };
    assert_eq!(setting.subject.replace('"', ""), subject.replace('"', ""));
    let steps = setting
        .history
        .iter()
        .map(|step| {
            let place = opened.sources.place(step.at);
            let place = place.rsplit_once(':').unwrap().0;
            format!("{:?} {} {place}", step.effect, inline(&step.value))
        })
        .collect();
    (inline(&setting.value), steps)
}

fn unknown(host: &str, subject: &str) -> Unknown {
    match ask(host, subject).1 {
        Err(NoAnswer::Unknown(unknown)) => unknown,
        other => panic!("{other:#?}"),
    }
}

#[test]
fn an_option_down_to_its_default() {
    let (value, steps) = setting("dr", "db.memory");
    assert_eq!(value, "\"3GiB\"");
    assert_eq!(
        steps,
        [
            "Decides \"3GiB\" hosts/dr.toml:5",
            "Overridden \"2GiB\" hosts/base.toml:5",
            "Overridden \"1GiB\" modules/db/module.toml:4",
        ]
    );
}

#[test]
fn tables_are_merged_and_their_parts_decided() {
    let (value, steps) = setting("dr", "db.flags");
    assert_eq!(value, "{ \"a.b\" = \"1\", c = \"3\" }");
    assert_eq!(
        steps,
        [
            "Joins { c = \"3\" } hosts/dr.toml:6",
            "Joins { \"a.b\" = \"1\", c = \"2\" } hosts/base.toml:6",
            "Overridden {} modules/db/module.toml:5",
        ]
    );
    let (value, steps) = setting("dr", "db.flags.\"a.b\"");
    assert_eq!(
        (value.as_str(), steps.as_slice()),
        (
            "\"1\"",
            ["Decides \"1\" hosts/base.toml:6".to_owned()].as_slice()
        )
    );
    assert_eq!(setting("dr", "db.flags.c").1.len(), 2);
}

#[test]
fn defaults_inside_tables() {
    let (value, steps) = setting("dr", "db.pool.size");
    assert_eq!(value, "10");
    assert_eq!(steps, ["Decides 10 modules/db/module.toml:6"]);
}

#[test]
fn keys_of_the_host_table() {
    assert_eq!(setting("dr", "host.address").1.len(), 2);
    assert_eq!(setting("dr", "host.port").0, "22");
}

#[test]
fn a_field_down_to_the_module() {
    let (value, steps) = setting("dr", "sysctl.vm.x.value");
    assert_eq!(value, "\"6\"");
    assert_eq!(
        steps,
        [
            "Decides \"6\" hosts/dr.toml:11",
            "Overridden \"5\" hosts/base.toml:10",
            "Overridden \"{{options.memory}}\" modules/db/module.toml:9",
        ]
    );
}

#[test]
fn a_contribution_that_replaces_another() {
    let (opened, answer) = ask("dr", "package.vim");
    let answers = answer.unwrap();
    let [Explanation::Contribution(vim)] = answers.as_slice() else {
        panic!("{answers:#?}");
    };
    assert_eq!(vim.module, "host");
    assert_eq!(opened.sources.place(vim.replaces[0]), "hosts/base.toml:7:1");
    assert_eq!(vim.fields[0].history.len(), 2);
}

#[test]
fn options_of_a_host_with_mistakes_elsewhere() {
    assert_eq!(setting("broken", "db.memory").0, "\"1GiB\"");
    assert!(matches!(
        ask("broken", "sysctl.vm.x").1,
        Err(NoAnswer::Mistakes)
    ));
}

#[test]
fn a_word_that_is_a_module_and_a_kind() {
    let answers = ask("dr", "user").1.unwrap();
    assert!(matches!(
        answers.as_slice(),
        [Explanation::Module(_), Explanation::Kind(_)]
    ));
}

#[test]
fn wrong_names_get_near_ones() {
    for (subject, near) in [
        ("bd.memory", "db"),
        ("db.memroy", "memory"),
        ("db.pool.sise", "size"),
        ("db.flags.ab", "a.b"),
        ("package.vin", "vim"),
        ("sysctl.vm.x.valu", "value"),
        ("host.addres", "address"),
    ] {
        assert_eq!(
            unknown("dr", subject).near.as_deref(),
            Some(near),
            "{subject}"
        );
    }
    assert_eq!(
        unknown("dr", "db.memory.x").message,
        "`db.memory` is a size and is explained as a whole"
    );
    assert_eq!(
        unknown("dr", "service.x").message,
        "nothing on host `dr` contributes a service"
    );
}
