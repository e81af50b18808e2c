//! What a build says of secrets without a private key, and what no input may do to it.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod secrets_support;

use std::sync::OnceLock;

use forge::edge::age::{IdentitySource, Keyring, encrypt};
use forge::edge::random::SeededRandomness;
use forge::edge::terminal::ScriptedPrompt;
use forge::pure::name::HostName;
use forge::pure::secrets::{
    Chain, Envelope, Generate, Layer, Plaintext, Recipient, Sealed, SecretsFile, check, edit,
};
use forge::pure::text::{Diagnostics, Sources};
use proptest::prelude::*;
use secrets_support::wants;

const EXAMPLE: &str = include_str!("../hosts/example-insecure-key.pub");
const EXAMPLE_PRIVATE: &str = "hosts/example-insecure-key";
const ALICE: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
const HOST_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN";

fn seal(text: &str, to: &[&str]) -> Sealed {
    let plaintext = Plaintext::new(text.as_bytes().to_vec().into());
    let to: Vec<Recipient> = to.iter().map(|key| key.parse().unwrap()).collect();
    encrypt(&plaintext, &to).unwrap()
}

fn file(recipients: &[(&str, &str)], values: &[(&str, Sealed)]) -> String {
    let recipients: Vec<(&str, Recipient)> = recipients
        .iter()
        .map(|(name, key)| (*name, key.parse().unwrap()))
        .collect();
    let mut text = edit::new_file(recipients.iter().map(|(name, key)| (*name, key)));
    for (name, sealed) in values {
        text = edit::set_value(&text, &name.parse().unwrap(), sealed).unwrap();
    }
    text
}

/// Reads files (nearest host first) and checks them: all reports, as `CODE message | notes | help`.
fn report(secrets: &str, files: &[(&str, &str)], host_key: Option<&str>) -> Vec<String> {
    let mut sources = Sources::default();
    let mut diagnostics = Diagnostics::default();
    let host: HostName = "web".parse().unwrap();
    let read: Vec<(HostName, SecretsFile)> = files
        .iter()
        .filter_map(|(name, text)| {
            let path = format!("hosts/{name}.secrets.toml");
            let file = SecretsFile::read(&mut sources, &path, text, &mut diagnostics)?;
            Some((name.parse().unwrap(), file))
        })
        .collect();
    let layers = read
        .iter()
        .map(|(host, file)| Layer { host, file })
        .collect();
    let host_key = host_key.map(|key| key.parse::<Recipient>().unwrap());
    let chain = Chain {
        host: &host,
        layers,
    };
    diagnostics.extend(check(
        &wants(secrets).declarations,
        &chain,
        host_key.as_ref(),
    ));
    diagnostics
        .iter()
        .map(|found| {
            [
                vec![format!("{} {}", found.code, found.message)],
                found.notes.clone(),
                found.help.clone(),
            ]
            .concat()
            .join(" | ")
        })
        .collect()
}

const PG: &str = r#"pg = { about = "the database", generate = { kind = "hex", bytes = 8 } }"#;

#[test]
fn a_good_file_gives_no_report() {
    let text = file(
        &[("alice", ALICE), ("host", HOST_KEY)],
        &[("pg", seal("0011223344556677", &[ALICE, HOST_KEY]))],
    );
    assert_eq!(report(PG, &[("web", &text)], Some(HOST_KEY)), [""; 0]);
}

#[test]
fn what_is_missing_says_who_wants_it_and_what_to_type() {
    let text = file(&[("alice", ALICE)], &[]);
    let found = report(PG, &[("web", &text)], None);
    assert_eq!(
        found,
        [
            "F0501 the host `web` has no value for the secret `pg`, which the module `postgres` wants | \
          `pg`: the database | make it (and all others that forge can make): forge secret generate web"
        ]
    );
    let found = report("note = {}", &[], None);
    assert!(
        found[0].contains("forge secret init web")
            && found[0].contains("forge secret set web note"),
        "{found:?}"
    );
}

#[test]
fn wrong_length_and_recipients_are_seen_without_a_key() {
    let value = seal("0011", &[ALICE, EXAMPLE]);
    let text = file(&[("alice", ALICE), ("host", HOST_KEY)], &[("pg", value)]);
    let found = report(PG, &[("web", &text)], Some(HOST_KEY)).join("\n");
    for part in [
        "F0502 the value of `pg` is 4 bytes long, and must be 16: 8 bytes as 16 hexadecimal digits",
        "forge secret generate web --rotate pg",
        "F0503 the value of `pg` is not encrypted to exactly",
        "cannot read it: `host`",
        "can read it and is not among the recipients: an ssh-ed25519 key with the tag ",
        "forge secret rekey web",
    ] {
        assert!(found.contains(part), "{part}\n{found}");
    }
    // Age keys are anonymous: their number is compared.
    let second = "age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg";
    let text = file(
        &[("alice", ALICE), ("bob", second)],
        &[("pg", seal("0011223344556677", &[ALICE]))],
    );
    let found = report(PG, &[("web", &text)], None).join("\n");
    assert!(found.contains("cannot read it: `alice`, `bob`"), "{found}");
}

#[test]
fn warnings_do_not_stop_a_build() {
    let text = file(
        &[("example", EXAMPLE)],
        &[
            ("pg", seal("0011223344556677", &[EXAMPLE])),
            ("pgg", seal("x", &[EXAMPLE])),
        ],
    );
    let found = report(PG, &[("web", &text)], Some(HOST_KEY));
    let codes: Vec<&str> = found.iter().map(|found| &found[..5]).collect();
    assert_eq!(codes, ["F0507", "F0506", "F0509"]);
    assert!(found[0].contains("did you mean `pg`?"));
    assert!(
        found[2].contains("forge secret add-recipient web web 'ssh-ed25519 AAAA"),
        "{found:?}"
    );
}

#[test]
fn a_host_inherits_and_its_own_value_wins() {
    let parent = file(
        &[("alice", ALICE)],
        &[
            ("pg", seal("0011223344556677", &[ALICE])),
            ("other", seal("x", &[ALICE])),
        ],
    );
    assert_eq!(report(PG, &[("base", &parent)], None), [""; 0]);
    // The parent's recipients must include the derived host's own key, or it could not read what it inherits.
    let found = report(PG, &[("base", &parent)], Some(HOST_KEY));
    assert!(
        found[0].starts_with("F0509") && found[0].contains("add-recipient base web"),
        "{found:?}"
    );
    let own = file(&[("alice", ALICE)], &[("pg", seal("short", &[ALICE]))]);
    let found = report(PG, &[("web", &own), ("base", &parent)], None);
    assert!(
        found.len() == 1 && found[0].starts_with("F0502"),
        "{found:?}"
    );
}

#[test]
fn every_mistake_of_a_file_is_reported_at_once_and_no_value_is_quoted() {
    let text = format!(
        "version = 1\nextra = \"hunter2\"\n[recipients]\nalice = \"{ALICE}\"\nagain = \"{ALICE} x\"\n\
         eve = \"ecdsa-sha2-nistp256 AAAA\"\nmallory = 3\n[secrets]\npg = \"hunter2\"\n\"Bad Name\" = \"hunter2\"\nn = 12345\n"
    );
    let mut sources = Sources::default();
    let mut diagnostics = Diagnostics::default();
    SecretsFile::read(
        &mut sources,
        "hosts/web.secrets.toml",
        &text,
        &mut diagnostics,
    )
    .unwrap();
    let mut codes: Vec<&str> = diagnostics
        .iter()
        .map(|found| found.code.as_str())
        .collect();
    codes.sort_unstable();
    assert_eq!(
        codes,
        [
            "F0002", "F0003", "F0006", "F0009", "F0504", "F0504", "F0505"
        ]
    );
    let everything = format!("{diagnostics:?} {sources:?}");
    assert!(
        !everything.contains("hunter2") && !everything.contains("12345"),
        "{everything}"
    );
    for found in diagnostics.iter() {
        let label = found.primary.as_ref().unwrap();
        assert!(label.span.end as usize <= text.len());
    }
    for (text, code) in [
        ("version = 2\n", "F0012"),
        ("pg = hunter2\n", "F0001"),
        ("[recipients]\na = \"age1\"", "F0005"),
        ("version = 1\n", "F0005"),
        ("version = 1\n[recipients]\n", "F0005"),
    ] {
        let mut sources = Sources::default();
        let mut diagnostics = Diagnostics::default();
        SecretsFile::read(
            &mut sources,
            "hosts/web.secrets.toml",
            text,
            &mut diagnostics,
        );
        assert!(
            diagnostics.iter().any(|found| found.code.as_str() == code),
            "{text} {diagnostics:?}"
        );
        assert!(!format!("{diagnostics:?} {sources:?}").contains("hunter2"));
    }
}

#[test]
fn declarations_that_make_no_sense_are_reported() {
    use forge::pure::config::value::{Data, Value};
    use forge::pure::secrets::{Declaration, WantedBy};
    use forge::pure::text::Span;
    let mut sources = Sources::default();
    let at = Span::new(sources.add("module.toml", ""), 0..0);
    let map = |entries: &[(&str, Data)]| {
        Data::Map(
            entries
                .iter()
                .map(|(key, data)| ((*key).to_owned(), Value::new(at, data.clone())))
                .collect(),
        )
    };
    let text = |text: &str| Data::Str(text.to_owned());
    for (entries, wrong) in [
        (map(&[("generate", map(&[("kind", text("hex"))]))]), 1),
        (
            map(&[(
                "generate",
                map(&[("kind", text("hex")), ("length", Data::Int(8))]),
            )]),
            2,
        ),
        (
            map(&[(
                "generate",
                map(&[("kind", text("uuid")), ("bytes", Data::Int(8))]),
            )]),
            1,
        ),
        (
            map(&[(
                "generate",
                map(&[("kind", text("digits")), ("length", Data::Int(8))]),
            )]),
            0,
        ),
        (map(&[("format", map(&[("pattern", text("("))]))]), 1),
        (
            map(&[(
                "format",
                map(&[("min_length", Data::Int(9)), ("max_length", Data::Int(8))]),
            )]),
            1,
        ),
        (
            map(&[
                ("generate", map(&[("kind", text("uuid"))])),
                ("format", map(&[("max_length", Data::Int(8))])),
            ]),
            1,
        ),
    ] {
        let mut diagnostics = Diagnostics::default();
        Declaration::from_value(
            "pg",
            WantedBy::Host,
            &Value::new(at, entries),
            &mut diagnostics,
        );
        let codes: Vec<_> = diagnostics
            .iter()
            .map(|found| found.code.as_str())
            .collect();
        assert_eq!(codes, vec!["F0113"; wrong], "{diagnostics:?}");
    }
}

fn example_ring() -> Keyring {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(EXAMPLE_PRIVATE);
    Keyring::load(&[IdentitySource { path, named: true }]).unwrap()
}

fn generates() -> impl Strategy<Value = Generate> {
    prop_oneof![
        (8usize..200).prop_map(|bytes| Generate::Hex { bytes }),
        (8usize..200).prop_map(|bytes| Generate::Base64 { bytes }),
        (8usize..200).prop_map(|bytes| Generate::Base64Url { bytes }),
        (4usize..200).prop_map(|length| Generate::Alphanumeric { length }),
        (4usize..200).prop_map(|length| Generate::Digits { length }),
        Just(Generate::Uuid),
    ]
}

/// A ciphertext to mutate; made once, since making one costs more than reading a thousand.
fn sample() -> &'static Sealed {
    static SAMPLE: OnceLock<Sealed> = OnceLock::new();
    SAMPLE.get_or_init(|| seal("a value of some length", &[EXAMPLE, ALICE, HOST_KEY]))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_generated_fits_and_comes_back(form in generates(), seed: u64) {
        let made = form.make(&mut SeededRandomness::new(seed)).unwrap();
        prop_assert_eq!(made.len(), form.length());
        prop_assert_eq!(form.check(made.expose_str().unwrap()), Ok(()));
        let sealed = encrypt(&made, &[EXAMPLE.parse().unwrap(), ALICE.parse().unwrap()]).unwrap();
        prop_assert_eq!(sealed.envelope().plaintext_length(), form.length() as u64);
        let again = Sealed::parse(sealed.armored()).unwrap();
        prop_assert_eq!(again.digest(), sealed.digest());
        let back = example_ring().decrypt(&again, &mut ScriptedPrompt::default()).unwrap();
        prop_assert!(back.same_as(&made));
    }

    #[test]
    fn the_length_is_exact_for_any_value(value in proptest::collection::vec(any::<u8>(), 0..3000), chunks in 0usize..3) {
        let mut value = value;
        value.resize(value.len() + chunks * 65536, 7);
        let plaintext = Plaintext::new(value.clone().into());
        let sealed = encrypt(&plaintext, &[EXAMPLE.parse().unwrap()]).unwrap();
        prop_assert_eq!(sealed.envelope().plaintext_length(), value.len() as u64);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Envelope::read(&bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let _ = Sealed::parse(&text);
        let _ = text.parse::<Recipient>();
        let mut sources = Sources::default();
        let _ = SecretsFile::read(&mut sources, "x", &text, &mut Diagnostics::default());
    }

    #[test]
    fn a_mutated_file_is_refused_or_read_but_never_decrypts(
        at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>(), how in 0..4
    ) {
        let good = sample().bytes();
        let mut bytes = good.to_vec();
        let at = at.index(bytes.len());
        match how {
            0 => bytes[at] = byte,
            1 => bytes.truncate(cut.index(bytes.len())),
            2 => bytes.insert(at, byte),
            _ => { bytes.remove(at); }
        }
        prop_assume!(bytes != good);
        if let Ok(sealed) = Sealed::from_bytes(bytes) {
            prop_assert!(example_ring().decrypt(&sealed, &mut ScriptedPrompt::default()).is_err());
        }
    }

    #[test]
    fn a_mutated_armor_is_refused_or_is_the_same(at in any::<prop::sample::Index>(), byte in 0u8..128) {
        let mut text = sample().armored().as_bytes().to_vec();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(sealed) = Sealed::parse(std::str::from_utf8(&text).unwrap())
            && sealed.bytes() != sample().bytes()
        {
            prop_assert!(example_ring().decrypt(&sealed, &mut ScriptedPrompt::default()).is_err());
        }
    }

    #[test]
    fn setting_one_value_leaves_every_other_byte(names in proptest::collection::btree_set("[a-f]{1,3}", 1..5), pick in any::<prop::sample::Index>()) {
        let values: Vec<(&str, Sealed)> = names.iter().map(|name| (name.as_str(), sample().clone())).collect();
        let text = file(&[("alice", ALICE)], &values);
        let name = values[pick.index(values.len())].0;
        let new = seal("another", &[ALICE]);
        let changed = edit::set_value(&text, &name.parse().unwrap(), &new).unwrap();
        let back = edit::set_value(&changed, &name.parse().unwrap(), sample()).unwrap();
        prop_assert_ne!(&changed, &text);
        prop_assert_eq!(back, text);
    }
}
