//! Whatever stands in the files of a project: no panic, no hang, every diagnostic can be drawn.
//!
//! A fixed number of cases from a fixed seed, each a shipped file changed in a few places. More with `FORGE_FUZZ_CASES=100000`,
//! others with `FORGE_FUZZ_SEED=7`; a failure names the seed of its case, which `FORGE_FUZZ_SEED=… FORGE_FUZZ_CASES=1` repeats.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)]

use std::path::Path;
use std::time::{Duration, Instant};

use forge::cli::fuzz;

type Target = fn(&[u8]) -> Result<String, String>;

/// How long one case may take in the slowest profile: a start, and time for each byte.
fn allowed(bytes: usize) -> Duration {
    Duration::from_secs(4) + Duration::from_micros(200) * u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`; 0 where that is 0.
    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Values of every type of TOML, and texts that mean something to somebody further down.
const VALUES: &[&str] = &[
    "0",
    "-1",
    "1",
    "65535",
    "65536",
    "9223372036854775807",
    "-9223372036854775808",
    "99999999999999999999999999",
    "0x7fffffffffffffff",
    "1e400",
    "nan",
    "inf",
    "-0.0",
    "1_000",
    "true",
    "false",
    "\"\"",
    "\"x\"",
    "'{{'",
    "\"{{}}\"",
    "\"{{options.x}}\"",
    "\"{{host.name}}\"",
    "\"{{#if x}}\"",
    "\"{{#each host}}{{this}}{{/each}}\"",
    "\"{{secret \\\"token\\\"}}\"",
    "\"{{json host}}\"",
    "\"{{../../x}}\"",
    "\"{{{{raw}}}}\"",
    "'''{{!-- '''",
    "\"\\u0000\"",
    "\"\\n\"",
    "\"\\u202e\"",
    "\"a\\tb\"",
    "\"../../etc/passwd\"",
    "\"/\"",
    "\"//\"",
    "\"-\"",
    "\"1GiB\"",
    "\"99999999999999999TiB\"",
    "\"18446744073709551616B\"",
    "\"1h30m\"",
    "\"999999999999d\"",
    "\"0s\"",
    "[]",
    "[[]]",
    "[1, \"a\", true]",
    "[{}]",
    "{}",
    "{ a = 1 }",
    "{ a = { b = { c = [] } } }",
    "1979-05-27T07:32:00Z",
    "07:32:00",
    "\"facts.service\"",
    "\"facts.\"",
    "\"options.\"",
    "\"options\"",
    "\"host and host\"",
    "\"not not x\"",
    "\"x == 'y'\"",
    "\"x == '\"",
    "\"modules.[a-b]\"",
    "\"[\"",
    "\"^(a+)+$\"",
    "\"(((((((((((((((((((((a{1,100}){1,100}\"",
    "\"[\"",
    "\"F0301\"",
    "\"service.svc\"",
    "\"\u{1f980}\u{301}\"",
    "\"\u{2028}\"",
    "\"\u{feff}\"",
    "\"string\"",
    "\"table\"",
    "\"list\"",
    "\"ref\"",
    "\"token\"",
    "\"svc\"",
    "\"net\"",
    "\"img\"",
    "\"m\"",
    "\"h\"",
];

const PIECES: &[&[u8]] = &[
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\r",
    b"\r\n",
    b"\n",
    b"\"",
    b"'",
    b"\"\"\"",
    b"'''",
    b"[",
    b"]",
    b"[[",
    b"]]",
    b"{",
    b"}",
    b"{{",
    b"}}",
    b"=",
    b".",
    b",",
    b"#",
    b"\\",
    b"\\u",
    b"\\U0010ffff",
    b"\x1b[31m",
    b"\x7f",
    "\u{301}".as_bytes(),
    "\u{1f469}\u{200d}\u{1f4bb}".as_bytes(),
    "\u{2028}".as_bytes(),
    "\u{202e}".as_bytes(),
    "\u{85}".as_bytes(),
    "\u{fffd}".as_bytes(),
    b"\t",
    b"                                ",
    b"-----END",
];

const LINES: &[&str] = &[
    "[host]",
    "[modules.m]",
    "[modules.docker]",
    "[options]",
    "[module]",
    "[image]",
    "[registry]",
    "[project]",
    "[[service]]",
    "[[volume]]",
    "[[file]]",
    "[[unit]]",
    "[[route]]",
    "[[provider]]",
    "[[mount]]",
    "[[backup]]",
    "[[secret]]",
    "[[firewall]]",
    "[[allow]]",
    "[[image]]",
    "[[x]]",
    "[override.service.svc]",
    "[override.file.\"m/x\"]",
    "[contribution.x]",
    "[contribution.x.fields]",
    "name = \"x\"",
    "extends = \"h\"",
    "for_each = \"facts.service\"",
    "for_each = \"options.x\"",
    "when = \"options.x\"",
    "text = \"{{x}}\"",
    "enable = false",
    "version = 2",
    "depends_on = [\"svc\"]",
    "networks = [\"net\", \"net\"]",
    "ports = [{ host = 1, container = 1, public = true }]",
    "x = { type = \"list\", of = { type = \"table\", fields = {} }, doc = \"x\" }",
    "secrets = 1",
];

fn mutate(mut bytes: Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    for _ in 0..=random.below(4) {
        bytes = match random.below(16) {
            0 => flip(bytes, random),
            1 => {
                let at = random.below(bytes.len() + 1);
                let piece = *random.pick(PIECES);
                bytes.splice(at..at, piece.iter().copied());
                bytes
            }
            2 => {
                bytes.truncate(random.below(bytes.len() + 1));
                bytes
            }
            3 => {
                let from = random.below(bytes.len());
                let to = (from + random.below(40)).min(bytes.len());
                bytes.drain(from..to);
                bytes
            }
            4 => nested(bytes, random),
            5 => lines(bytes, corpus, random, 5),
            6 => lines(bytes, corpus, random, 6),
            7 | 8 => lines(bytes, corpus, random, 7),
            9 => lines(bytes, corpus, random, 8),
            10 => lines(bytes, corpus, random, 9),
            11 => lines(bytes, corpus, random, 10),
            _ => lines(bytes, corpus, random, 11),
        };
    }
    bytes
}

fn flip(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        if let Some(byte) = bytes.get_mut(at) {
            *byte = match random.below(2) {
                0 => *byte ^ (1 << random.below(8)),
                _ => (random.next() & 0xff) as u8,
            };
        }
    }
    bytes
}

/// Something nested deeper than anybody means.
fn nested(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let depth = *random.pick(&[3, 70, 90, 300, 3000]);
    let text = match random.below(6) {
        0 => format!("\nx = {}{}\n", "[".repeat(depth), "]".repeat(depth)),
        1 => format!("\nx = {}1{}\n", "{a=".repeat(depth), "}".repeat(depth)),
        2 => format!("\n{}a = 1\n", "a.".repeat(depth)),
        3 => format!("\n[modules.m{}]\nx = 1\n", ".a".repeat(depth)),
        4 => format!(
            "\n[[file]]\nname = \"n\"\ntext = \"{}{}\"\n",
            "{{#if host.name}}".repeat(depth),
            "{{/if}}".repeat(depth)
        ),
        _ => {
            let of = "{ type = \"list\", of = ".repeat(depth);
            format!("\n[options]\nx = {of}\"int\"{}\n", " }".repeat(depth))
        }
    };
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// One change to the lines of a text.
fn lines(bytes: Vec<u8>, corpus: &[Vec<u8>], random: &mut Random, what: usize) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = bytes
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    let at = random.below(lines.len());
    match what {
        5 => {
            lines.remove(at);
        }
        6 => {
            let line = lines[at].clone();
            let times = *random.pick(&[1, 1, 1, 2, 50]);
            for _ in 0..times {
                lines.insert(at, line.clone());
            }
        }
        // The value of a key becomes another.
        7 => {
            let keyed: Vec<usize> = (0..lines.len())
                .filter(|line| lines[*line].contains(&b'='))
                .collect();
            if !keyed.is_empty() {
                let line = &mut lines[*random.pick(&keyed)];
                let end = line.iter().position(|byte| *byte == b'=').unwrap_or(0);
                line.truncate(end + 1);
                line.push(b' ');
                line.extend_from_slice(random.pick(VALUES).as_bytes());
            }
        }
        8 => {
            let other = random.below(lines.len());
            lines.swap(at, other);
        }
        // A part of another file.
        9 => {
            let other = random.pick(corpus);
            let theirs: Vec<&[u8]> = other.split(|byte| *byte == b'\n').collect();
            let from = random.below(theirs.len());
            let count = random.below(12).min(theirs.len() - from);
            for line in theirs[from..from + count].iter().rev() {
                lines.insert(at, line.to_vec());
            }
        }
        10 => lines.insert(at, random.pick(LINES).as_bytes().to_vec()),
        // A value inside a line becomes another: of an inline table, a list, a declaration.
        _ => {
            let line = &mut lines[at];
            let marks: Vec<usize> = (0..line.len())
                .filter(|at| b"=,[".contains(&line[*at]))
                .collect();
            if !marks.is_empty() {
                let from = *random.pick(&marks) + 1;
                let rest = &line[from..];
                let to = from
                    + rest
                        .iter()
                        .position(|byte| b",]}".contains(byte))
                        .unwrap_or(rest.len());
                line.splice(from..to, random.pick(VALUES).bytes());
            }
        }
    }
    lines.join(&b'\n')
}

fn corpus(paths: &[&str], more: &[&str]) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| std::fs::read(root.join(path)).expect("a shipped file"))
        .collect();
    all.extend(more.iter().map(|text| text.as_bytes().to_vec()));
    all
}

fn number(variable: &str, default: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => default,
    }
}

/// Runs the cases; `judge` looks at the text that a case makes and at what is said of it.
fn run(kind: &str, target: Target, corpus: &[Vec<u8>], share: u64, judge: fn(&[u8], &str)) {
    let cases = (number("FORGE_FUZZ_CASES", 3000) / share).max(1);
    let first = number("FORGE_FUZZ_SEED", 20_260_101);
    for seed in first..first + cases {
        let mut random = Random(seed);
        let bytes = mutate(random.pick(corpus).clone(), corpus, &mut random);
        let length = bytes.len();
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        // A thread of its own: where a stack overflows, the program ends with the name of the thread.
        let started = Instant::now();
        let outcome = std::thread::Builder::new()
            .name(format!("{kind}, FORGE_FUZZ_SEED={seed}"))
            .spawn(move || {
                let said = target(&bytes);
                if let Ok(said) = &said {
                    judge(&bytes, said);
                }
                said
            })
            .expect("a thread")
            .join();
        let took = started.elapsed();
        match outcome {
            Err(_) => panic!("{kind}: it panics with FORGE_FUZZ_SEED={seed}:\n{shown}"),
            Ok(Err(astray)) => {
                panic!("{kind}: a place is astray with FORGE_FUZZ_SEED={seed}: {astray}\n{shown}")
            }
            Ok(Ok(_)) => {}
        }
        assert!(
            took < allowed(length),
            "{kind}: {took:?} with FORGE_FUZZ_SEED={seed}:\n{shown}"
        );
    }
}

#[test]
fn hosts() {
    let corpus = corpus(
        &["hosts/minimal.toml", "hosts/dr.toml"],
        &[
            "[host]\naddress = \"192.0.2.10\"\nsystem = \"debian-12\"\n\n[modules.docker]\n\n[modules.ufw]\n",
            include_str!("cases/one-of/hosts/h.toml"),
            include_str!("cases/paths-leave-their-place/hosts/h.toml"),
            include_str!("cases/many-mistakes/hosts/h.toml"),
            include_str!("cases/unknown-references/hosts/h.toml"),
        ],
    );
    run("host", fuzz::host, &corpus, 1, |_, _| {});
}

/// The large host is slow to evaluate, so it has fewer cases.
#[test]
fn large_hosts() {
    let corpus = corpus(&["hosts/mainframe.toml"], &[]);
    run("host", fuzz::host, &corpus, 30, |_, _| {});
}

#[test]
fn modules() {
    let corpus = corpus(
        &[
            "modules/ufw/module.toml",
            "modules/users/module.toml",
            "modules/docker/module.toml",
            "modules/postgres/module.toml",
            "modules/caddy/module.toml",
            "modules/grafana/module.toml",
            "modules/headscale/module.toml",
        ],
        &[
            include_str!("cases/for-each-mistakes/modules/app/module.toml"),
            include_str!("cases/when-mistakes/modules/app/module.toml"),
            include_str!("cases/declare-contradictions/modules/app/module.toml"),
            include_str!("cases/template-undefined-root/modules/app/module.toml"),
            include_str!("cases/file-text-undefined/modules/app/module.toml"),
        ],
    );
    run("module", fuzz::module, &corpus, 1, |_, _| {});
}

#[test]
fn images() {
    let corpus = corpus(
        &["images/redis/image.toml", "images/loki/image.toml"],
        &[
            include_str!("cases/recipe-mistakes/images/app/image.toml"),
            include_str!("cases/recipe-twice-the-same/images/app/image.toml"),
            include_str!("cases/recipe-users/images/app/image.toml"),
        ],
    );
    run("image", fuzz::image, &corpus, 1, |_, _| {});
}

#[test]
fn locks() {
    let corpus = corpus(
        &["forge.lock"],
        &[
            include_str!("cases/lock-duplicate/forge.lock"),
            include_str!("cases/lock-wrong-types/forge.lock"),
            include_str!("cases/lock-recipe-unused/forge.lock"),
            include_str!("cases/lock-recipe-mistakes/forge.lock"),
        ],
    );
    run("lock", fuzz::lock, &corpus, 1, |_, _| {});
}

const PACKAGES: &str = include_str!("../src/pure/images/debian/tests/Packages");
const IN_RELEASE: &str = include_str!("../src/pure/images/debian/tests/two.InRelease");

#[test]
fn deb_controls() {
    let stanzas: Vec<&str> = PACKAGES.split_inclusive("\n\n").collect();
    run(
        "deb control",
        fuzz::deb_control,
        &corpus(&[], &stanzas),
        1,
        |_, _| {},
    );
}

#[test]
fn deb_indexes() {
    run(
        "deb index",
        fuzz::deb_index,
        &corpus(&[], &[PACKAGES]),
        10,
        |_, _| {},
    );
}

/// However a release is changed: if a signature still counts, what is read is what was signed.
#[test]
fn deb_releases() {
    let keys = "src/pure/images/debian/tests/archive.asc";
    let corpus = corpus(
        &[keys, "src/pure/images/debian/tests/keyring.gpg"],
        &[IN_RELEASE],
    );
    run(
        "deb release",
        fuzz::deb_release,
        &corpus,
        2,
        |bytes, said| {
            let signed =
                |text: &str| text.contains("Codename: tester") && text.contains("5feceb66ffc86f38");
            assert!(
                !said.starts_with("Release {") || signed(&String::from_utf8_lossy(bytes)),
                "a release that nobody signed:\n{said}"
            );
        },
    );
}

#[test]
fn secrets() {
    let corpus = corpus(
        &[],
        &[
            include_str!("cases/secret-file-mistakes/hosts/h.secrets.toml"),
            include_str!("cases/secret-of-wrong-length/hosts/h.secrets.toml"),
            include_str!("cases/secret-recipients-mistakes/hosts/h.secrets.toml"),
            PLANTED_FILE,
        ],
    );
    run("secrets", fuzz::secrets, &corpus, 1, no_plaintext);
}

/// The data of a package: folders, files, links of both kinds, a long name.
fn data_of_deb() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let long = format!("./usr/share/{}/{}", "d".repeat(90), "f".repeat(90));
    for (kind, path, link, content) in [
        (tar::EntryType::Directory, "./usr/", "", ""),
        (tar::EntryType::Regular, "./usr/bin/tool", "", "#!/bin/sh\n"),
        (tar::EntryType::Regular, "./lib/x", "", "\x7fELF\x02\x01"),
        (
            tar::EntryType::Link,
            "./usr/bin/other",
            "./usr/bin/tool",
            "",
        ),
        (tar::EntryType::Symlink, "./usr/lib/y", "../x", ""),
        (tar::EntryType::Regular, &long, "", "long"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        let added = match link {
            "" => tar.append_data(&mut header, path, content.as_bytes()),
            link => tar.append_link(&mut header, path, link),
        };
        added.expect("an entry");
    }
    tar.into_inner().expect("a tar")
}

#[test]
fn debs() {
    let members = |data: &[u8]| {
        let mut deb = b"!<arch>\n".to_vec();
        let control = b"Package: demo\nVersion: 1\nArchitecture: all\nInstalled-Size: 1\n";
        let mut header = tar::Header::new_gnu();
        header.set_size(control.len() as u64);
        let mut tar = tar::Builder::new(Vec::new());
        let added = tar.append_data(&mut header, "control", control.as_slice());
        added.expect("an entry");
        let control = tar.into_inner().expect("a tar");
        for (name, content) in [
            ("debian-binary", b"2.0\n".as_slice()),
            ("control.tar", &control),
            ("data.tar", data),
        ] {
            deb.extend_from_slice(format!("{name:<48}{:<10}`\n", content.len()).as_bytes());
            deb.extend_from_slice(content);
        }
        deb
    };
    let whole = members(&data_of_deb());
    let said = fuzz::deb(&whole).expect("a good layer");
    assert_eq!(said, "6 entries");
    run("deb", fuzz::deb, &[whole], 3, |_, _| {});
}

#[test]
fn data_of_debs() {
    let data = data_of_deb();
    let said = fuzz::deb_data(&data).expect("a good layer");
    assert_eq!(said, "6 entries");
    run("deb_data", fuzz::deb_data, &[data], 3, |_, _| {});
}

const PLANTED: &str = "correct-horse-battery";
const PLANTED_FILE: &str = "version = 1\n\n[recipients]\n\n[secrets]\ntoken = \"correct-horse-battery\"\nother = '''\ncorrect-horse-battery\n'''\n";

/// A value that somebody wrote into the file in clear is never quoted, however broken the file is.
fn no_plaintext(bytes: &[u8], said: &str) {
    let text = String::from_utf8_lossy(bytes);
    // Before an equals sign it is a key and no value; after a key of the file's own it is what that key says.
    let as_value = text
        .lines()
        .filter(|line| line.contains(PLANTED))
        .all(|line| line.find(PLANTED) > line.find('=') || !line.contains('='));
    assert!(
        !as_value || !said.contains(PLANTED),
        "a value is quoted:\n{said}"
    );
}

#[test]
fn requirements() {
    let hash = format!("--hash=sha256:{}", "0".repeat(64));
    let texts = [
        format!(
            "a==1 \\\n    {hash} \\\n    {hash}\n    # via b\nb[x,y]==2.0+cpu ; python_version < '3.11' {hash}\n"
        ),
        format!(
            "c==1.0.post1 ; (sys_platform == 'linux' and platform_machine in 'x86_64 aarch64') or extra == 'x' {hash}\n"
        ),
        format!(
            "--index-url https://example.com\n-e .\nd @ https://example.com/d.whl {hash}\ne>=1,!=2.* {hash}\nf===x {hash}\n"
        ),
    ];
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    run(
        "requirements",
        fuzz::requirements,
        &corpus(&[], &texts),
        1,
        |_, _| {},
    );
}

#[test]
fn wheel_records() {
    let texts = [
        "a/__init__.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\na-1.dist-info/RECORD,,\n",
        "\"a,b.py\",sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=,12\r\n\"\"\"q\"\"\nx\",,\n",
    ];
    run(
        "record",
        fuzz::wheel_record,
        &corpus(&[], &texts),
        1,
        |_, _| {},
    );
}

#[test]
fn wheels() {
    use std::io::Write as _;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let record = "a/__init__.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n";
    for (name, text) in [
        ("a/__init__.py", ""),
        ("a-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n"),
        ("a-1.0.dist-info/METADATA", "Name: a\n"),
        ("a-1.0.dist-info/RECORD", record),
        ("a-1.0.data/scripts/x", "#!python\n"),
    ] {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(name, options).expect("a member");
        zip.write_all(text.as_bytes()).expect("its text");
    }
    let wheel = zip.finish().expect("a zip").into_inner();
    run("wheel", fuzz::wheel, &[wheel], 1, |_, _| {});
}

#[test]
fn simple_indexes() {
    let texts = [
        "<!DOCTYPE html><html><base href='/x/'><body><a href=\"../a-1-py3-none-any.whl#sha256=00\" data-yanked data-requires-python=\"&gt;=3\">a-1-py3-none-any.whl</a><br>",
        r#"{"meta":{"api-version":"1.1"},"name":"a","files":[{"filename":"a-1-py3-none-any.whl","url":"../a.whl","hashes":{"sha256":"00"},"size":1,"yanked":"x","requires-python":">=3"}]}"#,
    ];
    run(
        "simple index",
        fuzz::simple_index,
        &corpus(&[], &texts),
        1,
        |_, _| {},
    );
}

#[test]
fn apt_sources() {
    let texts = [
        "deb [signed-by=/k.gpg arch=amd64] https://deb.example.com/debian bookworm main # x\ndeb-src cdrom:[x y]/ bookworm main\n",
        "Types: deb deb-src\nURIs: https://a.example.com/debian file:/srv\n mirror+file:/etc/x\nSuites: bookworm\nComponents: main\nEnabled: no\nSigned-By:\n -----BEGIN PGP\n .\n\n# c\nTypes: deb\n",
        "machine https://deb.example.com:8080/x login a password b\nhttps://m.example.com/debian\tpriority:1\n",
    ];
    run(
        "apt sources",
        fuzz::apt_sources,
        &corpus(&[], &texts),
        1,
        |_, _| {},
    );
}

#[test]
fn parcels() {
    let zstd = zstd::bulk::compress(fuzz::PARCEL_BASE, 3).expect("packed");
    let mut frame = Vec::new();
    let mut encoder =
        zstd::stream::write::Encoder::with_ref_prefix(&mut frame, 3, fuzz::PARCEL_BASE)
            .expect("an encoder");
    std::io::Write::write_all(&mut encoder, &fuzz::PARCEL_BASE[100..]).expect("packed");
    encoder.finish().expect("packed");
    let size = |size: usize| u32::try_from(size).expect("small").to_be_bytes();
    let mut patch = vec![2; 1];
    patch.extend(0_u64.to_be_bytes());
    patch.extend(size(fuzz::PARCEL_BASE.len()));
    patch.extend(size(frame.len()));
    patch.extend(&frame);
    let said = fuzz::parcel(&patch).expect("judged");
    // After the frame there is another to come.
    assert!(said.contains("failed to fill whole buffer"), "{said}");
    let plain = [&[0], fuzz::PARCEL_BASE].concat();
    let zstd = [&[1], zstd.as_slice()].concat();
    run("parcel", fuzz::parcel, &[plain, zstd, patch], 3, |_, _| {});
}
