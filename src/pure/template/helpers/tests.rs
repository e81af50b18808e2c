use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::pure::template::Engine;

const HOSTILE: &[&str] = &[
    "",
    " ",
    "a b",
    "'",
    "\"",
    "'\"'\"",
    "\\",
    "\\n",
    "\n",
    "a\nb\n",
    "\r\n",
    "\t",
    "%",
    "%i",
    "%%",
    "$",
    "$HOME",
    "${X}",
    "$$",
    "`id`",
    "$(id)",
    ";",
    "a;b",
    "&&",
    "|",
    "*",
    "~",
    "~root",
    "#x",
    "!x",
    "-n",
    "--",
    "=",
    "A=b",
    "ä",
    "😀",
    "\u{1}",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "\u{1b}[31m",
    "no",
    "1:30",
    "0x1",
    "null",
    "{{x}}",
    "<&>",
    "]",
    "}",
    "⟦",
    "⟧",
];

fn data(x: Json) -> Context {
    Context::wraps(json!({
        "x": x,
        "host": { "name": "h" },
        "options": {
            "on": true, "off": false, "absent": null, "empty": [], "list": ["a", "b"], "map": { "k": "v", "l": 2 },
            "size": "1536MiB", "time": "1h30m", "number": 7, "tables": [{ "n": 1, "sub": { "m": 2 } }],
        },
    }))
    .expect("JSON")
}

#[track_caller]
fn good(template: &str, wanted: &str) {
    assert_eq!(
        Engine::default()
            .render(template, &data(Json::Null))
            .as_deref(),
        Ok(wanted),
        "{template}"
    );
}

#[track_caller]
fn bad(template: &str, line: usize, column: usize, message: &str) -> TemplateProblem {
    let problem = Engine::default()
        .render(template, &data(Json::Null))
        .expect_err(template);
    assert!(problem.message.contains(message), "{template}: {problem}");
    assert_eq!(
        (problem.line, problem.column),
        (line, column),
        "{template}: {problem}"
    );
    problem
}

fn with(template: &str, x: impl Into<Json>) -> String {
    Engine::default()
        .render(template, &data(x.into()))
        .unwrap_or_else(|problem| panic!("{problem}"))
}

#[test]
fn nothing_is_escaped() {
    assert_eq!(
        with("{{x}} {{{x}}}", "<a & 'b' \"c\">"),
        "<a & 'b' \"c\"> <a & 'b' \"c\">"
    );
    good("\\{{x}} {{!-- gone --}}{{host.name}}", "{{x}} h");
}

#[test]
fn names_that_are_not_defined_are_errors_everywhere() {
    for template in [
        "a\n  {{options.nope}}",
        "a\n  {{#if options.nope}}{{/if}}",
        "a\n  {{#if options.nope}}x{{else}}y{{/if}}",
        "a\n  {{#unless options.nope}}{{/unless}}",
        "a\n  {{#each options.nope}}{{else}}{{/each}}",
        "a\n  {{#with options.nope}}{{else}}{{/with}}",
        "a\n  {{json options.nope}}",
        "a\n  {{#if (eq options.nope 1)}}{{/if}}",
        "a\n  {{#if (not options.nope)}}{{/if}}",
        "a\n  {{#if (or options.on options.nope)}}{{/if}}",
        "a\n  {{#if (contains options.list options.nope)}}{{/if}}",
        "a\n  {{secret options.nope}}",
    ] {
        let problem = bad(template, 2, 3, "`options.nope` is not defined");
        assert_eq!(problem.missing.as_deref(), Some("options.nope"));
    }
    // Handlebars gives the place where the chain begins.
    bad(
        "a\n{{#if options.off}}\n{{else if options.nope}}{{/if}}",
        2,
        1,
        "not defined",
    );
    bad(
        "{{#each options.tables}}\n{{n}}{{nope}}{{/each}}",
        2,
        6,
        "`nope`",
    );
    bad("{{@index}}", 1, 1, "not defined");
    bad("ä {{options.list.nope}}", 1, 3, "a list has no `nope`");
    bad("{{options.list.[9]}}", 1, 1, "not defined");
}

#[test]
fn only_the_contract_can_be_called() {
    bad("a{{nope 1}}", 1, 2, "there is no helper `nope`");
    bad("{{#nope}}{{/nope}}", 1, 1, "there is no helper `nope`");
    bad("{{#if (nope 1)}}{{/if}}", 1, 1, "there is no helper `nope`");
    bad("{{lookup options \"list\"}}", 1, 1, "no helper `lookup`");
    bad("{{log \"x\"}}", 1, 1, "no helper");
    bad("{{> part}}", 1, 1, "not part of the template language");
    bad(
        "{{#*inline \"x\"}}a{{/inline}}",
        1,
        1,
        "not part of the template language",
    );
    bad("{{#if (lt 1 2)}}{{/if}}", 1, 1, "no helper");
}

#[test]
fn syntax_errors_have_a_place() {
    let problem = Engine::default()
        .render("a\n{{#if x}}\n", &data(Json::Null))
        .expect_err("open block");
    assert!(problem.line >= 2, "{problem}");
    bad("a\n{{#if x}}{{/each}}", 2, 10, "is closed by");
}

#[test]
fn wrong_arguments() {
    for template in [
        "{{json}}x{{json 1 2}}",
        "{{join options.list}}",
        "{{#if 1 2}}{{/if}}",
        "{{#if 1 includeZero=true}}{{/if}}",
        "{{sh 1 x=2}}",
        "{{and 1}}",
        "{{secret \"a\" as=\"toml\"}}",
        "{{secret \"a\" \"b\"}}",
        "{{secret 1}}",
        "{{secret \"a\" quote=\"json\"}}",
    ] {
        let problem = Engine::default()
            .render(template, &data(Json::Null))
            .expect_err(template);
        assert!(
            problem.message.contains("wrong arguments") || problem.message.contains("not defined"),
            "{template}: {problem}"
        );
    }
    bad("{{#eq 1 1}}{{/eq}}", 1, 1, "`eq` is no block");
    bad("{{secret \"../a\"}}", 1, 1, "is not a name");
}

#[test]
fn blocks() {
    good(
        "{{#if options.on}}a{{else}}b{{/if}}{{#unless options.on}}c{{else}}d{{/unless}}",
        "ad",
    );
    for falsy in [
        "options.off",
        "options.absent",
        "options.empty",
        "0",
        "\"\"",
        "false",
        "null",
    ] {
        good(
            &format!("{{{{#if {falsy}}}}}a{{{{else}}}}b{{{{/if}}}}"),
            "b",
        );
    }
    good(
        "{{#if options.off}}a{{else if options.on}}b{{else}}c{{/if}}",
        "b",
    );
    good(
        "{{#each options.list}}{{@index}}{{this}}{{#unless @last}},{{/unless}}{{/each}}",
        "0a,1b",
    );
    good(
        "{{#each options.map}}{{@key}}={{this}}{{#if @first}};{{/if}}{{/each}}",
        "k=v;l=2",
    );
    good(
        "{{#each options.map as |value key|}}{{key}}{{value}}{{/each}}",
        "kvl2",
    );
    good(
        "{{#each options.empty}}a{{else}}b{{/each}}{{#each options.absent}}a{{else}}b{{/each}}{{#each options.empty}}a{{/each}}",
        "bb",
    );
    good(
        "{{#each options.tables}}{{n}}{{sub.m}}{{../host.name}}{{@root.host.name}}{{#with sub}}{{m}}{{../n}}{{@index}}{{/with}}{{/each}}",
        "12hh210",
    );
    good(
        "{{#each options.tables as |t|}}{{t.sub.m}}{{#each options.list}}{{/each}}{{/each}}"
            .replace("{{#each options.list}}{{/each}}", "")
            .as_str(),
        "2",
    );
    good(
        "{{#with options.absent}}a{{else}}b{{/with}}{{#with options.map as |m|}}{{m.k}}{{k}}{{/with}}",
        "bvv",
    );
    good("a\n{{#if options.on}}\nb\n{{/if}}\nc\n", "a\nb\nc\n");
    bad(
        "{{#each options.number}}{{/each}}",
        1,
        1,
        "a list or map is wanted, not 7",
    );
}

#[test]
fn each_over_what_a_helper_made_is_no_error() {
    bad(
        "{{#each (json options.list)}}{{/each}}",
        1,
        1,
        "a list or map is wanted",
    );
}

#[test]
fn logic() {
    good(
        "{{eq options.number 7}} {{ne \"a\" \"a\"}} {{gt options.number 6.5}} {{gt \"2GiB\" options.size}} {{gt \"2m\" \"1m59s\"}}",
        "true false true true true",
    );
    good(
        "{{#if (and options.on (not options.off) (or options.off (eq (len options.list) 2)))}}y{{/if}}",
        "y",
    );
    good(
        "{{contains options.list \"b\"}} {{contains options.list \"c\"}} {{contains options.map \"k\"}} {{contains \"abc\" \"bc\"}}",
        "true false true true",
    );
    good(
        "{{len \"äb\"}}{{len options.map}}{{len options.empty}}",
        "220",
    );
    bad("{{gt \"a\" 1}}", 1, 1, "two numbers, sizes or durations");
    bad("{{len 1}}", 1, 1, "a list, map or text");
}

#[test]
fn amounts() {
    good(
        "{{bytes options.size}} {{mebibytes options.size}} {{mebibytes \"1023KiB\"}} {{seconds options.time}}",
        "1610612736 1536 0 5400",
    );
    bad(
        "{{bytes 5}}",
        1,
        1,
        "a size such as `512MiB` is wanted, not 5",
    );
    bad("{{mebibytes options.absent}}", 1, 1, "a size such as");
    bad(
        "{{seconds \"1500ms\"}}",
        1,
        1,
        "not a whole number of seconds",
    );
}

#[test]
fn texts() {
    good(
        "{{join options.list \", \"}}|{{join options.empty \",\"}}",
        "a, b|",
    );
    bad("{{join options.tables \",\"}}", 1, 1, "not a map");
    bad("{{join \"a\" \",\"}}", 1, 1, "a list is wanted");
    good(
        "{{lower \"ÄB\"}}{{upper \"äb\"}}{{replace \"a-b-c\" \"-\" \"_\"}}{{upper options.number}}",
        "äbÄBa_b_c7",
    );
    bad("{{replace \"a\" \"\" \"b\"}}", 1, 1, "empty");
    bad("{{lower options.absent}}", 1, 1, "absent");
    assert_eq!(
        with("  {{indent 2 x}}|", "a\nb\n\nc\n"),
        "  a\n  b\n\n  c\n|"
    );
    assert_eq!(with("{{indent 2 x}}", "a\r\n\r\nb"), "a\r\n\r\n  b");
    bad("{{indent \"2\" \"a\"}}", 1, 1, "number of spaces");
}

#[test]
fn json_yaml_and_toml_read_back() {
    let mut values: Vec<Json> = HOSTILE.iter().map(|text| Json::from(*text)).collect();
    values.extend([
        json!(1),
        json!(-1.5),
        json!(true),
        json!([1, [2, "a\n"]]),
        json!({"a b": {"": "x"}, "c": []}),
        json!({}),
    ]);
    for value in values {
        assert_eq!(
            serde_json::from_str::<Json>(&with("{{json x}}", value.clone()))
                .ok()
                .as_ref(),
            Some(&value)
        );
        let yaml = with("a: {{yaml x}}\nb: [{{yaml x}}]", value.clone());
        assert_eq!(
            serde_yaml_ng::from_str::<Json>(&yaml).ok(),
            Some(json!({ "a": value, "b": [value] })),
            "{yaml}"
        );
        let text = with("a = {{toml x}}", value.clone());
        assert_eq!(
            toml::from_str::<Json>(&text).ok(),
            Some(json!({ "a": value })),
            "{text}"
        );
    }
    good(
        "{{json options.absent}} {{yaml options.absent}} {{json options.map}} {{yaml options.map}} {{toml options.map}}",
        "null null {\"k\":\"v\",\"l\":2} {k: v, l: 2} { k = \"v\", l = 2 }",
    );
    bad("{{toml options.absent}}", 1, 1, "absent");
    assert!(
        Engine::default()
            .render("{{toml x}}", &data(json!(u64::MAX)))
            .is_err()
    );
}

#[test]
fn shell_words() {
    for (text, word) in [
        ("", "''"),
        ("a-b/c.d", "a-b/c.d"),
        ("it's", "'it'\\''s'"),
        ("$x\n", "'$x\n'"),
        ("~", "'~'"),
        ("A=b", "'A=b'"),
    ] {
        assert_eq!(with("{{sh x}}", text), word);
    }
    for text in HOSTILE {
        let words = shlex::split(&with("a {{sh x}} b", *text));
        assert_eq!(
            words,
            Some(vec!["a".to_owned(), (*text).to_owned(), "b".to_owned()])
        );
    }
    assert!(
        Engine::default()
            .render("{{sh x}}", &data(json!("\0")))
            .is_err()
    );
    bad("{{sh options.list}}", 1, 1, "not a list");
}

#[test]
fn systemd_words() {
    for (text, word) in [
        ("", "\"\""),
        ("/bin/sh", "/bin/sh"),
        ("100%", "\"100%%\""),
        ("$HOME", "\"$$HOME\""),
        ("a\"b\\", "\"a\\\"b\\\\\""),
        ("a\nb", "\"a\\nb\""),
        ("\u{1}", "\"\\x01\""),
        (";", "\";\""),
        ("it's", "\"it's\""),
        ("ä", "\"ä\""),
    ] {
        assert_eq!(with("{{systemd x}}", text), word);
    }
    for text in HOSTILE {
        assert!(!with("{{systemd x}}", *text).contains(['\n', '\r', '\u{1b}']));
    }
    assert!(
        Engine::default()
            .render("{{systemd x}}", &data(json!("\0")))
            .is_err()
    );
}

#[test]
fn secrets() {
    let text = with(
        "{{secret \"a\"}} {{secret \"b_2\" as=\"json\"}} {{secret x as='url'}} {{secret \"a\"}}",
        "c",
    );
    assert_eq!(
        text,
        "⟦secret:a⟧ ⟦secret:b_2:json⟧ ⟦secret:c:url⟧ ⟦secret:a⟧"
    );
    let place = |name: &str, quote| Placeholder {
        name: name.parse().expect("name"),
        quote,
    };
    assert_eq!(
        placeholders(&text),
        BTreeSet::from([
            place("a", Quote::None),
            place("b_2", Quote::Json),
            place("c", Quote::Url)
        ])
    );
    assert_eq!(stray_mark(&text), None);
    for stray in [
        "⟦secret:",
        "⟦secret:a",
        "⟦secret:a:toml⟧",
        "⟦secret:A⟧",
        "⟦secret:⟧",
        "⟦secret:a\n⟧",
    ] {
        let text = format!("{{⟦secret:ok⟧ ä{stray}");
        assert_eq!(stray_mark(&text), text.rfind(stray), "{stray}");
        assert_eq!(placeholders(&text).len(), 1);
    }
    for quoting in ["json", "yaml", "toml", "sh", "systemd", "upper", "lower"] {
        bad(
            &format!("{{{{{quoting} (secret \"a\")}}}}"),
            1,
            1,
            "a secret is not known yet",
        );
    }
    good("{{indent 2 (secret \"a\")}}", "⟦secret:a⟧");
}

proptest! {
    #[test]
    fn no_template_panics(template in "[{}#/a-z\"'() .@>*!~|\\\\\n]{0,24}") {
        let _ = Engine::default().render(&template, &data(Json::Null));
    }

    #[test]
    fn any_text_is_one_shell_word(text in "[^\0]{0,12}") {
        let word = quote::sh(&text).expect("no NUL");
        prop_assert_eq!(shlex::split(&word), Some(vec![text]));
    }
}
