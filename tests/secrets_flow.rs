//! `forge secret` as a person uses it, on a project in a folder.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod secrets_support;

use secrets_support::{Bench, age_key, literals, program, public, ssh_key};

const SECRETS: &str = r#"
pg = { about = "the database", generate = { kind = "hex", bytes = 16 } }
token = { generate = { kind = "alphanumeric", length = 20 } }
b2_key = { about = "from the B2 console", format = { pattern = "^K[0-9]+$", min_length = 4, max_length = 10 } }
note = {}
"#;

#[test]
fn from_nothing_to_complete() {
    let mut bench = Bench::new(SECRETS);
    let said = bench.fails(&["generate", "web"], b"");
    assert!(said.contains("forge secret init web"), "{said}");
    bench.ok(&["init", "web"], b"");
    assert!(
        bench
            .fails(&["init", "web"], b"")
            .contains("is there already")
    );
    bench.ok(&["generate", "web"], b"");
    let listed = bench.ok(&["list", "web"], b"");
    assert!(
        listed.contains("missing (set)") && !listed.contains("missing (generate)"),
        "{listed}"
    );
    bench.ok(&["set", "web", "b2_key"], b"K0001\n");
    bench.ok(&["set", "web", "note"], b"two\nlines\n\n");
    assert_eq!(bench.ok(&["show", "web", "note"], b""), "two\nlines\n");
    assert_eq!(bench.ok(&["show", "web", "b2_key"], b""), "K0001");
    assert_eq!(bench.ok(&["show", "web", "pg"], b"").len(), 32);
    let json: serde_json::Value =
        serde_json::from_str(&bench.ok(&["list", "web", "--json"], b"")).unwrap();
    let states: Vec<_> = json
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["set"; 4]);
    assert_eq!(json[2]["length"], 32);
    assert_eq!(json[2]["readers"][0], "id_ed25519");
}

#[test]
fn refuses_what_has_not_the_declared_form() {
    let mut bench = Bench::new(SECRETS);
    bench.ok(&["init", "web"], b"");
    let before = bench.text();
    for (name, value, says) in [
        ("pg", "00", "is 2 bytes long, and must be 32"),
        (
            "pg",
            "zz112233445566778899aabbccddeeff",
            "does not belong there",
        ),
        ("b2_key", "hunter2", "does not match"),
        ("b2_key", "K1", "at least 4"),
        ("b2_key", "K11111111111", "at most 10"),
        ("note", "", "is empty"),
        ("pgg", "x", "did you mean `pg`?"),
    ] {
        let said = bench.fails(&["set", "web", name], value.as_bytes());
        assert!(said.contains(says), "{said}");
    }
    assert_eq!(bench.text(), before);
    bench.ok(&["set", "web", "pgg", "--undeclared"], b"x");
    assert!(bench.ok(&["list", "web"], b"").contains("nobody"));
}

#[test]
fn only_what_is_meant_changes_by_a_byte() {
    let mut bench = Bench::new(SECRETS);
    bench.ok(&["init", "web"], b"");
    bench.ok(&["generate", "web"], b"");
    // A person's comments, odd spacing and order.
    let text = bench
        .text()
        .replace("[secrets]", "[secrets]   # ours\n# about the token\n")
        .replace("version = 1", "version   =  1 # one");
    std::fs::write(bench.secrets_file(), &text).unwrap();
    let before = literals(&text);
    bench.ok(&["generate", "web", "--rotate", "pg"], b"");
    let after_text = bench.text();
    let after = literals(&after_text);
    assert_ne!(before["pg"], after["pg"]);
    assert_eq!(before["token"], after["token"]);
    assert_eq!(after_text.replace(&after["pg"], &before["pg"]), text);
    // Adding at the end leaves all before it.
    bench.ok(&["set", "web", "note"], b"x");
    assert!(bench.text().starts_with(after_text.trim_end()));
    assert!(bench.text().ends_with("\"\"\"\n"));
    // Nothing to do is nothing done.
    let text = bench.text();
    bench.ok(&["rekey", "web"], b"");
    bench.ok(&["generate", "web"], b"");
    assert_eq!(bench.text(), text);
}

#[test]
fn windows_line_ends_stay() {
    let mut bench = Bench::new(SECRETS);
    bench.ok(&["init", "web"], b"");
    bench.ok(&["generate", "web"], b"");
    let text = bench.text().replace('\n', "\r\n");
    std::fs::write(bench.secrets_file(), &text).unwrap();
    bench.ok(&["set", "web", "note"], b"x");
    let after = bench.text();
    assert!(after.starts_with(text.trim_end()), "{after}");
    assert_eq!(after.matches('\n').count(), after.matches("\r\n").count());
    assert_eq!(bench.ok(&["show", "web", "note"], b""), "x");
}

#[test]
fn recipients_come_and_go() {
    let mut bench = Bench::new(SECRETS);
    let keys = bench.path("tmp");
    let (age_file, age_public) = age_key(&keys, "age");
    let rsa = ssh_key(&keys, "rsa", &["rsa", "-b", "2048"], "");
    bench.ok(&["init", "web"], b"");
    bench.ok(&["set", "web", "note"], b"value");
    let rsa_pub = format!("{}.pub", rsa.display());
    bench.ok(&["add-recipient", "web", "bob", &rsa_pub], b"");
    bench.ok(
        &["add-recipient", "web", "carol", age_public.key_text()],
        b"",
    );
    let listed = bench.ok(&["list", "web"], b"");
    assert!(listed.contains("bob, id_ed25519, carol"), "{listed}");
    for identity in [rsa.to_str().unwrap(), age_file.to_str().unwrap()] {
        assert_eq!(
            bench.ok(&["show", "web", "note", "-i", identity], b""),
            "value"
        );
    }
    assert!(
        bench
            .fails(&["add-recipient", "web", "bob2", &rsa_pub], b"")
            .contains("same key")
    );
    assert!(
        bench
            .fails(&["remove-recipient", "web", "bbo"], b"")
            .contains("`bob`")
    );
    bench.ok(&["remove-recipient", "web", "bob"], b"");
    let said = bench.fails(&["show", "web", "note", "-i", rsa.to_str().unwrap()], b"");
    assert!(
        said.contains("encrypted to none") && said.contains("id_ed25519, carol"),
        "{said}"
    );
    // Without a key that can read, the table is changed and the next step is named.
    let other = ssh_key(&keys, "other", &["ed25519"], "");
    let other = other.to_str().unwrap();
    bench.ok(&["remove-recipient", "web", "carol", "-i", other], b"");
    let printed = String::from_utf8_lossy(&bench.printed).into_owned();
    assert!(
        printed.contains("must run: forge secret rekey web"),
        "{printed}"
    );
    assert!(bench.ok(&["list", "web"], b"").contains("(rekey)"));
    bench.ok(&["rekey", "web"], b"");
    assert!(!bench.ok(&["list", "web"], b"").contains("(rekey)"));
    assert!(
        bench
            .fails(&["remove-recipient", "web", "id_ed25519"], b"")
            .contains("last recipient")
    );
}

#[test]
fn a_passphrase_is_asked_for_once_and_only_if_it_helps() {
    let mut bench = Bench::new(SECRETS);
    let keys = bench.path("tmp");
    let locked = ssh_key(&keys, "locked", &["ed25519"], "opensesame");
    let useless = ssh_key(&keys, "useless", &["ed25519"], "opensesame");
    let locked_pub = format!("l={}.pub", locked.display());
    bench.ok(&["init", "web", "--recipient", &locked_pub], b"");
    bench.ok(&["set", "web", "note"], b"a");
    bench.ok(&["generate", "web"], b"");
    let (locked, useless) = (locked.to_str().unwrap(), useless.to_str().unwrap());
    bench.answers = vec!["wrong".to_owned(), "opensesame".to_owned()];
    bench.ok(&["rekey", "web", "--all", "-i", useless, "-i", locked], b"");
    let said = bench.fails(&["show", "web", "note", "-i", locked], b"");
    assert!(said.contains("needs its passphrase"), "{said}");
    bench.answers = vec!["no".to_owned(); 3];
    assert!(
        bench
            .fails(&["show", "web", "note", "-i", locked], b"")
            .contains("wrong 3 times")
    );
    // A locked key that the file is not encrypted to is not asked for.
    let said = bench.fails(&["show", "web", "note", "-i", useless], b"");
    assert!(
        said.contains("encrypted to none of the private keys at hand"),
        "{said}"
    );
}

#[test]
fn identities_that_cannot_work_say_why() {
    let mut bench = Bench::new(SECRETS);
    bench.ok(&["init", "web"], b"");
    bench.ok(&["set", "web", "note"], b"a");
    let keys = bench.path("tmp");
    let ecdsa = ssh_key(&keys, "ecdsa", &["ecdsa"], "");
    let ecdsa_pub = format!("{}.pub", ecdsa.display());
    for (file, says) in [
        (ecdsa.to_str().unwrap(), "cannot decrypt age files"),
        (ecdsa_pub.as_str(), "neither an OpenSSH private key"),
        ("/nonexistent", "cannot read the identity"),
        ("/dev/null", "there is no key in it"),
    ] {
        let said = bench.fails(&["show", "web", "note", "-i", file], b"");
        assert!(said.contains(says), "{said}");
    }
    let said = bench.fails(&["add-recipient", "web", "e", &ecdsa_pub], b"");
    assert!(said.contains("ECDSA"), "{said}");
    std::fs::remove_file(bench.path("home/.ssh/id_ed25519")).unwrap();
    let said = bench.fails(&["show", "web", "note"], b"");
    assert!(
        said.contains("no private key was found; looked for") && said.contains("id_rsa"),
        "{said}"
    );
    // The wrong half of a pair, as a file or as it is: said so, and not repeated.
    let said = bench.fails(&["add-recipient", "web", "e", ecdsa.to_str().unwrap()], b"");
    assert!(
        said.contains("private half") && !said.contains("PRIVATE KEY"),
        "{said}"
    );
    let said = bench.fails(
        &["add-recipient", "web", "e", "AGE-SECRET-KEY-1HUNTER2"],
        b"",
    );
    assert!(
        said.contains("private half") && !said.contains("HUNTER2"),
        "{said}"
    );
}

#[test]
fn a_value_in_clear_is_mended_by_setting_it() {
    let mut bench = Bench::new(SECRETS);
    bench.ok(&["init", "web"], b"");
    let text = bench.text() + "note = \"hunter2\"\n";
    std::fs::write(bench.secrets_file(), text).unwrap();
    assert!(
        bench
            .ok(&["list", "web"], b"")
            .contains("not encrypted or damaged")
    );
    bench.ok(&["set", "web", "note"], b"hunter2");
    assert!(!bench.text().contains("hunter2"));
    assert_eq!(bench.ok(&["show", "web", "note"], b""), "hunter2");
    // Any other mistake in the file stops everything that would write it.
    std::fs::write(
        bench.secrets_file(),
        bench.text().replace("version = 1", "version = 9"),
    )
    .unwrap();
    assert!(
        bench
            .fails(&["set", "web", "note"], b"x")
            .contains("has mistakes")
    );
}

#[test]
fn the_terminal_is_asked_twice() {
    let mut bench = Bench::new(SECRETS);
    bench.ok(&["init", "web"], b"");
    bench.stdin_is_terminal = true;
    bench.answers = vec!["a".to_owned(), "b".to_owned()];
    assert!(bench.fails(&["set", "web", "note"], b"").contains("differ"));
    bench.answers = vec!["a".to_owned(), "a".to_owned()];
    bench.ok(&["set", "web", "note"], b"");
    assert_eq!(bench.ok(&["show", "web", "note"], b""), "a");
    assert!(
        bench
            .fails(&["set", "web", "note"], b"")
            .contains("never an argument")
    );
}

#[test]
fn an_edit_is_stored_only_if_it_changes_something() {
    let mut bench = Bench::new(SECRETS);
    bench.ok(&["init", "web"], b"");
    bench.editor = "sh -c 'printf first > $0'".to_owned();
    bench.ok(&["edit", "web", "note"], b"");
    let text = bench.text();
    bench.editor = "true".to_owned();
    bench.ok(&["edit", "web", "note"], b"");
    bench.editor = "false".to_owned();
    assert!(
        bench
            .fails(&["edit", "web", "note"], b"")
            .contains("nothing was changed")
    );
    assert_eq!(bench.text(), text);
    bench.editor = "sh -c 'echo second >> $0'".to_owned();
    bench.ok(&["edit", "web", "note"], b"");
    assert_eq!(bench.ok(&["show", "web", "note"], b""), "first\nsecond");
}

#[test]
fn a_derived_host_inherits() {
    let mut bench = Bench::new(SECRETS);
    std::fs::write(bench.path("project/hosts/dr.toml"), "").unwrap();
    bench.ok(&["init", "web"], b"");
    bench.ok(&["set", "web", "note"], b"shared");
    bench.wants.ancestors = vec!["web".parse().unwrap()];
    assert_eq!(bench.ok(&["show", "dr", "note"], b""), "shared");
    assert!(
        bench
            .ok(&["list", "dr"], b"")
            .contains("inherited from web")
    );
    bench.ok(&["init", "dr"], b"");
    let said = bench.fails(&["edit", "dr", "note"], b"");
    assert!(
        said.contains("inherited from `web`") && said.contains("forge secret set dr note"),
        "{said}"
    );
    bench.ok(&["set", "dr", "note"], b"own");
    assert_eq!(bench.ok(&["show", "dr", "note"], b""), "own");
}

#[test]
fn the_age_program_reads_ours_and_we_read_its() {
    let mut bench = Bench::new(SECRETS);
    let keys = bench.path("tmp");
    let (age_file, age_public) = age_key(&keys, "age");
    let ed = ssh_key(&keys, "ed", &["ed25519"], "");
    let rsa = ssh_key(&keys, "rsa", &["rsa", "-b", "3072"], "");
    let of = |path: &std::path::Path| public(path).key_text().to_owned();
    let (ed_key, rsa_key, age_key) = (of(&ed), of(&rsa), age_public.key_text().to_owned());
    let everyone = [
        ("ed", ed_key.as_str(), &ed),
        ("rsa", rsa_key.as_str(), &rsa),
        ("age", age_key.as_str(), &age_file),
    ];
    // One each, then all together.
    for group in [
        &everyone[..1],
        &everyone[1..2],
        &everyone[2..],
        &everyone[..],
    ] {
        let _ = std::fs::remove_file(bench.secrets_file());
        let named: Vec<String> = group
            .iter()
            .map(|(name, key, _)| format!("{name}={key}"))
            .collect();
        let mut args = vec!["init", "web"];
        for one in &named {
            args.extend(["--recipient", one]);
        }
        bench.ok(&args, b"");
        bench.ok(&["set", "web", "note"], b"from forge");
        let armored = literals(&bench.text())["note"].trim_start().to_owned()
            + "-----END AGE ENCRYPTED FILE-----\n";
        let mut encrypt = vec!["--armor"];
        for (_, key, file) in group {
            let plain = program(
                "age",
                &["-d", "-i", file.to_str().unwrap()],
                armored.as_bytes(),
            );
            assert_eq!(plain, b"from forge");
            encrypt.extend(["-r", key]);
        }
        let theirs = String::from_utf8(program("age", &encrypt, b"from age")).unwrap();
        let ours = literals(&bench.text())["note"].clone() + "-----END AGE ENCRYPTED FILE-----\n";
        let text = bench.text().replace(&ours, &format!("\n{theirs}"));
        std::fs::write(bench.secrets_file(), text).unwrap();
        let json: serde_json::Value =
            serde_json::from_str(&bench.ok(&["list", "web", "--json"], b"")).unwrap();
        let row = &json[1];
        assert_eq!(
            (&row["name"], &row["length"], &row["readers_right"]),
            (&"note".into(), &8.into(), &true.into())
        );
        for (_, _, file) in group {
            assert_eq!(
                bench.ok(&["show", "web", "note", "-i", file.to_str().unwrap()], b""),
                "from age"
            );
        }
    }
}

#[test]
fn every_help_has_an_example() {
    use clap::CommandFactory as _;
    let mut command = forge::cli::cmd::secret::Args::command();
    command.build();
    for sub in command
        .get_subcommands_mut()
        .filter(|sub| sub.get_name() != "help")
    {
        let help = sub.render_long_help().to_string();
        assert!(help.contains("Examples:\n  "), "{help}");
    }
}
