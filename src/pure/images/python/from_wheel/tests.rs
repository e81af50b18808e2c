#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Cursor;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

const WHEEL: &str =
    "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
const INFO: &str = "a_b-1.0.dist-info";

/// The members of a wheel; `RECORD` is made unless there is one.
#[derive(Default)]
struct Wheel {
    members: Vec<(String, Vec<u8>, u32)>,
}

impl Wheel {
    fn new() -> Self {
        Self::default()
            .with("a_b/__init__.py", b"x = 1\n")
            .with(&format!("{INFO}/WHEEL"), WHEEL.as_bytes())
            .with(
                &format!("{INFO}/METADATA"),
                b"Metadata-Version: 2.1\nName: a-b\nVersion: 1.0\n",
            )
    }

    fn with(self, name: &str, bytes: &[u8]) -> Self {
        self.with_mode(name, bytes, 0o100_644)
    }

    fn with_mode(mut self, name: &str, bytes: &[u8], mode: u32) -> Self {
        self.members.push((name.to_owned(), bytes.to_vec(), mode));
        self
    }

    fn record(&self) -> String {
        let files = self.members.iter();
        let files = files
            .map(|(name, bytes, _)| (name.clone(), (BlobDigest::of(bytes), bytes.len() as u64)));
        record::write(&files.collect(), &format!("{INFO}/RECORD"))
    }

    fn bytes(mut self) -> Vec<u8> {
        let record = format!("{INFO}/RECORD");
        if !self.members.iter().any(|(name, ..)| *name == record) {
            let text = self.record();
            self = self.with(&record, text.as_bytes());
        }
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes, mode) in &self.members {
            let options = SimpleFileOptions::default().unix_permissions(*mode);
            if mode & 0o170_000 == 0o120_000 {
                let target = String::from_utf8(bytes.clone()).unwrap();
                zip.add_symlink(name.as_str(), target, options).unwrap();
            } else {
                zip.start_file(name.as_str(), options).unwrap();
                zip.write_all(bytes).unwrap();
            }
        }
        zip.finish().unwrap().into_inner()
    }

    fn install(self) -> Result<(Tree, Vec<u8>), WheelError> {
        install(&self.bytes(), "a_b-1.0-py3-none-any.whl")
    }

    fn refused(self) -> String {
        self.install().expect_err("a refusal").to_string()
    }
}

fn install(bytes: &[u8], name: &str) -> Result<(Tree, Vec<u8>), WheelError> {
    let mut spool = Cursor::new(b"before".to_vec());
    let tree = from_wheel(
        Cursor::new(bytes),
        &name.parse().unwrap(),
        "3.11",
        &mut spool,
    )?;
    Ok((tree, spool.into_inner()))
}

fn text(tree: &(Tree, Vec<u8>), path: &str) -> (String, u32) {
    let (node, meta) = &tree.0.entries[&path.parse::<ImagePath>().unwrap()];
    let bytes = match node {
        Node::File(Content::Bytes(bytes)) => bytes.to_vec(),
        Node::File(Content::Spooled { at, size }) => {
            tree.1[*at as usize..(*at + *size) as usize].to_vec()
        }
        other => panic!("{path} is {other:?}"),
    };
    (String::from_utf8(bytes).unwrap(), meta.mode)
}

const SITE: &str = "usr/local/lib/python3.11/dist-packages";

#[test]
fn everything_goes_to_its_place() {
    let large = "x".repeat(100_000);
    let tree = Wheel::new()
        .with("a_b/large.py", large.as_bytes())
        .with_mode("a_b/tool.sh", b"#!/bin/sh\n", 0o100_755)
        .with("a_b/__pycache__/x.cpython-311.pyc", b"bytecode")
        .with("a_b-1.0.data/purelib/a_b/pure.py", b"")
        .with("a_b-1.0.data/platlib/a_b/native.so", b"ELF")
        .with("a_b-1.0.data/scripts/run", b"#!python -s\nprint()\n")
        .with("a_b-1.0.data/scripts/other", b"#!/bin/sh\n")
        .with("a_b-1.0.data/scripts/pythonic", b"#!python3.9\n")
        .with("a_b-1.0.data/headers/a.h", b"#define A\n")
        .with("a_b-1.0.data/data/share/a/a.txt", b"text")
        .with(
            &format!("{INFO}/entry_points.txt"),
            b"[console_scripts]\na-b = a_b:main\n",
        )
        .with(&format!("{INFO}/INSTALLER"), b"other\n")
        .with(&format!("{INFO}/REQUESTED"), b"")
        .with(&format!("{INFO}/direct_url.json"), b"{}")
        .with(&format!("{INFO}/licenses/LICENSE"), b"MIT")
        .install()
        .unwrap();
    let at = |path: &str| text(&tree, path);
    assert_eq!(
        at(&format!("{SITE}/a_b/__init__.py")),
        ("x = 1\n".to_owned(), 0o644)
    );
    assert_eq!(at(&format!("{SITE}/a_b/large.py")), (large, 0o644));
    assert_eq!(at(&format!("{SITE}/a_b/tool.sh")).1, 0o755);
    assert_eq!(at(&format!("{SITE}/a_b/native.so")).0, "ELF");
    let script = "#!/usr/bin/python3.11 -s\nprint()\n".to_owned();
    assert_eq!(at("usr/local/bin/run"), (script, 0o755));
    assert_eq!(at("usr/local/bin/other").0, "#!/bin/sh\n");
    assert_eq!(at("usr/local/bin/pythonic").0, "#!python3.9\n");
    assert_eq!(at("usr/local/include/python3.11/a-b/a.h").0, "#define A\n");
    assert_eq!(at("usr/local/share/a/a.txt").0, "text");
    let (script, mode) = at("usr/local/bin/a-b");
    assert!(script.contains("from a_b import main"), "{script}");
    assert_eq!(mode, 0o755);
    assert_eq!(at(&format!("{SITE}/{INFO}/INSTALLER")).0, "forge\n");
    let names: Vec<&str> = tree.0.entries.keys().map(ImagePath::as_str).collect();
    for absent in ["REQUESTED", "direct_url.json", ".pyc", ".data"] {
        assert!(
            !names.iter().any(|name| name.contains(absent)),
            "{absent}: {names:?}"
        );
    }
    assert!(names.contains(&"usr/local/lib"));

    // The new RECORD says the truth of every file, and names them all.
    let recorded = record::read(&at(&format!("{SITE}/{INFO}/RECORD")).0).unwrap();
    assert!(recorded.contains_key("../../../bin/a-b"));
    let files = tree.0.entries.values();
    let files = files
        .filter(|(node, _)| matches!(node, Node::File(_)))
        .count();
    assert_eq!(recorded.len(), files);
    for (path, said) in recorded {
        let place = match path.strip_prefix("../../../") {
            Some(local) => format!("usr/local/{local}"),
            None => format!("{SITE}/{path}"),
        };
        let bytes = at(&place).0;
        if let Some(digest) = said.digest {
            assert_eq!(digest, BlobDigest::of(&bytes), "{path}");
            assert_eq!(said.size, Some(bytes.len() as u64), "{path}");
        }
    }
}

#[test]
fn hostile_names_are_refused_by_name() {
    for (member, why) in [
        ("../etc/passwd", "leads out"),
        ("a_b/../../x", "leads out"),
        ("a_b-1.0.data/scripts/../../../../etc/x", "leads out"),
        ("/etc/passwd", "absolute"),
        ("a_b/./x", "no path"),
        ("a_b//x", "no path"),
        ("a_b\\..\\x", "character"),
        ("a_b/x\n", "character"),
        ("a_b-1.0.data/unknown/x", "kind that nobody knows"),
        ("a_b-1.0.data/x", "kind that nobody knows"),
        ("A_B-1.0.DATA/scripts/x", "case alone"),
        ("a_b/__init__.py/x", "below what is a file"),
        (
            "a_b-1.0.data/purelib/a_b/__init__.py",
            "over something else",
        ),
    ] {
        let said = Wheel::new().with(member, b"x").refused();
        assert!(said.contains(why), "{member}: {said}");
        assert!(said.starts_with("a_b-1.0-py3-none-any.whl: `"), "{said}");
    }
    let other = "A_B-1.0.Dist-Info/x";
    assert!(
        Wheel::new()
            .with(other, b"x")
            .refused()
            .contains("several folders")
    );
}

#[test]
fn links_and_devices_are_refused() {
    let said = Wheel::new()
        .with_mode("a_b/link", b"/etc/passwd", 0o120_777)
        .refused();
    assert!(said.contains("`a_b/link` is a symbolic link"), "{said}");
    // The writer of the tests makes no devices: the mode is changed in the central directory.
    let mut bytes = Wheel::new().with("a_b/device", b"x").bytes();
    let central = find_last(&bytes, b"a_b/device") - 46;
    let mode: u32 = 0o020_644 << 16;
    bytes[central + 38..central + 42].copy_from_slice(&mode.to_le_bytes());
    let said = install(&bytes, "a_b-1.0-py3-none-any.whl")
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("`a_b/device` is neither a file nor a folder"),
        "{said}"
    );
}

fn find_last(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes
        .windows(wanted.len())
        .rposition(|it| it == wanted)
        .unwrap()
}

#[test]
fn a_name_that_is_there_twice_is_refused() {
    let mut bytes = Wheel::new()
        .with("a_b/x1", b"x")
        .with("a_b/x2", b"x")
        .bytes();
    while let Some(at) = bytes.windows(6).position(|it| it == b"a_b/x2") {
        bytes[at + 5] = b'1';
    }
    let said = install(&bytes, "a_b-1.0-py3-none-any.whl")
        .unwrap_err()
        .to_string();
    assert!(said.contains("duplicate"), "{said}");
}

#[test]
fn what_record_says_is_checked() {
    let record_path = format!("{INFO}/RECORD");
    let wheel = Wheel::new();
    let record = wheel.record();
    let cases = [
        (
            record.replace("a_b/__init__.py,", "a_b/other.py,"),
            "is not in its RECORD",
        ),
        (
            format!("{record}a_b/gone.py,,\n"),
            "`a_b/gone.py` is in its RECORD, and missing",
        ),
        (record.replace(",6\n", ",7\n"), "another size"),
        (
            wheel
                .record()
                .replace(&record_digest(b"x = 1\n"), &record_digest(b"x = 2\n")),
            "`a_b/__init__.py` has another digest than its RECORD says",
        ),
        (
            record.replace(&record_digest(b"x = 1\n"), ""),
            "has no digest in its RECORD",
        ),
        ("\"".to_owned(), "not closed"),
    ];
    for (record, why) in cases {
        let said = Wheel::new().with(&record_path, record.as_bytes()).refused();
        assert!(said.contains(why), "{why}: {said}");
    }
}

fn record_digest(bytes: &[u8]) -> String {
    let files = [("x".to_owned(), (BlobDigest::of(bytes), 0))].into();
    let text = record::write(&files, "y");
    text.split(',').nth(1).unwrap().to_owned()
}

#[test]
fn metadata_must_be_there_and_of_this_wheel() {
    let without = |name: &str| {
        let mut wheel = Wheel::new();
        wheel.members.retain(|(member, ..)| !member.ends_with(name));
        wheel.refused()
    };
    assert!(without("WHEEL").contains("WHEEL` is missing"));
    assert!(without("METADATA").contains("METADATA` is missing"));
    let mut bare = Wheel::default().with("a_b/x", b"x").bytes();
    assert!(install(&bare, "a_b-1.0-py3-none-any.whl").is_err());
    bare.truncate(10);
    let said = install(&bare, "a_b-1.0-py3-none-any.whl").unwrap_err();
    assert!(matches!(said, WheelError::Zip { .. }), "{said}");
    let said = install(&Wheel::new().bytes(), "c-1.0-py3-none-any.whl").unwrap_err();
    assert!(said.to_string().contains("of something else"), "{said}");
    let said = install(&Wheel::new().bytes(), "a_b-1.1-py3-none-any.whl").unwrap_err();
    assert!(said.to_string().contains("of something else"), "{said}");
    let mut wheel = Wheel::new();
    wheel.members[1].1 = b"Wheel-Version: 2.0\n".to_vec();
    assert!(wheel.refused().contains("version 2.0"));
}

#[test]
fn a_bomb_is_stopped_by_what_the_archive_says() {
    // The archive says that the member is small; it is not.
    let mut bytes = Wheel::new().with("a_b/bomb", &vec![0; 1 << 20]).bytes();
    for (from, size_at) in [
        (find_last(&bytes, b"a_b/bomb") - 46, 24),
        (first(&bytes, b"a_b/bomb") - 30, 22),
    ] {
        bytes[from + size_at..from + size_at + 4].copy_from_slice(&100u32.to_le_bytes());
    }
    let said = install(&bytes, "a_b-1.0-py3-none-any.whl")
        .unwrap_err()
        .to_string();
    assert!(said.contains("a_b/bomb"), "{said}");
    // And one that says that it is larger than any wheel is refused before it is unpacked.
    let at = find_last(&bytes, b"a_b/bomb") - 46 + 24;
    bytes[at..at + 4].copy_from_slice(&0xffff_fffe_u32.to_le_bytes());
    assert!(install(&bytes, "a_b-1.0-py3-none-any.whl").is_err());
}

fn first(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes
        .windows(wanted.len())
        .position(|it| it == wanted)
        .unwrap()
}
