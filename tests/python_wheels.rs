//! Real wheels through the machine's own pip, and from an index in a folder: resolved, fetched, and laid out as pip lays them out.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Cursor, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use forge::edge::http::Http;
use forge::edge::python::{Python, PythonError, Report};
use forge::edge::store::{MemoryStore, Store};
use forge::flow::operator::image::wheels::wheel_layers;
use forge::flow::progress::Silent;
use forge::pure::config::sources::PythonSource;
use forge::pure::images::layer::{Content, ImagePath, Node};
use forge::pure::images::python::{Target, from_wheel, requirements};
use forge::pure::name::Arch;
use forge::pure::pins::WheelPin;

/// Pure, with a command, and native: all three with the hashes of other files of theirs too.
const REQUIREMENTS: &str = "
certifi==2024.7.4 --hash=sha256:c198e21b1289c2ab85ee4e67bb4b4ef3ead0892059901a8d5b622f24a1101e90
uvicorn==0.30.6 \\
    --hash=sha256:65fd46fe3fda5bdc1b03b94eb634923ff18cd35b2f084813ea79d1f103f711b5 \\
    --hash=sha256:4b15decdda1e72be08209e860a1e10e92439ad5b97cf44cc945fcbee66fc5788
markupsafe==2.1.5 ; sys_platform == 'linux' \\
    --hash=sha256:b91c037585eba9095565a3556f611e3cbfaa42ca1e865f7b8015fe5c7336d5a5
tomli==2.0.1 ; python_version < '3.11' --hash=sha256:939de3e7a6161af0c887ef91b7d41a53e7c5a1ca976325f429cb46ea9bc30ecc
";

const SITE: &str = "usr/local/lib/python3.11/dist-packages/";

fn target() -> Target {
    Target::new("3.11", Arch::Amd64, "2.36").unwrap()
}

fn resolve(store: &MemoryStore, indexes: &[String]) -> Result<Vec<WheelPin>, PythonError> {
    let wanted = requirements::read(REQUIREMENTS, &target()).unwrap();
    let python = Python::new(PythonSource {
        indexes: indexes.to_vec(),
    });
    python.resolve(store, &Http::new().unwrap(), &wanted, &target())
}

/// The files of a wheel's tree: bytes and whether they are executable, by their path below the root.
fn tree(wheel: &[u8], file: &str) -> BTreeMap<String, (Vec<u8>, bool)> {
    let mut spool = Cursor::new(Vec::new());
    let tree = from_wheel(
        Cursor::new(wheel),
        &file.parse().unwrap(),
        "3.11",
        &mut spool,
    )
    .unwrap();
    let mut files = BTreeMap::new();
    for (path, (node, meta)) in tree.entries {
        let bytes = match node {
            Node::File(Content::Bytes(bytes)) => bytes.to_vec(),
            Node::File(Content::Spooled { at, size }) => {
                spool.get_ref()[at as usize..(at + size) as usize].to_vec()
            }
            Node::Directory => continue,
            other => panic!("{path}: {other:?}"),
        };
        files.insert(
            ImagePath::as_str(&path).to_owned(),
            (bytes, meta.mode & 0o111 != 0),
        );
    }
    files
}

/// What `pip install --target` lays out, as if it were in an image.
fn laid_out_by_pip(wheel: &Path, at: &Path) -> BTreeMap<String, (Vec<u8>, bool)> {
    use std::os::unix::fs::PermissionsExt as _;
    let output = Command::new("python3")
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-compile",
            "--no-index",
            "--target",
        ])
        .arg(at)
        .arg(wheel)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut files = BTreeMap::new();
    for entry in walkdir::WalkDir::new(at) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let path = entry.path().strip_prefix(at).unwrap().to_str().unwrap();
            let path = match path.strip_prefix("bin/") {
                Some(command) => format!("usr/local/bin/{command}"),
                None => format!("{SITE}{path}"),
            };
            let executable = entry.metadata().unwrap().permissions().mode() & 0o111 != 0;
            files.insert(path, (std::fs::read(entry.path()).unwrap(), executable));
        }
    }
    files
}

#[test]
fn wheels_through_pip_are_laid_out_as_pip_does() {
    let store = MemoryStore::default();
    let pins = resolve(&store, &[]).unwrap();
    let names: Vec<&str> = pins.iter().map(|pin| pin.name.as_str()).collect();
    assert_eq!(names, ["certifi", "markupsafe", "uvicorn"]);
    let folder = tempfile::tempdir().unwrap();
    for pin in &pins {
        let bytes = (&store as &dyn Store).read(pin.digest).unwrap();
        assert_eq!(bytes.len() as u64, pin.size);
        let wheel = folder.path().join(&pin.file);
        std::fs::write(&wheel, &bytes).unwrap();
        let mut ours = tree(&bytes, &pin.file);
        let mut theirs = laid_out_by_pip(&wheel, &folder.path().join(&pin.name));
        // What each writes itself: compared by what it is for.
        let by_installer = |path: &String| {
            ["INSTALLER", "REQUESTED", "direct_url.json", "RECORD"]
                .iter()
                .any(|name| path.ends_with(&format!(".dist-info/{name}")))
        };
        let record = ours
            .keys()
            .find(|path| path.ends_with("/RECORD"))
            .unwrap()
            .clone();
        let said = String::from_utf8(ours[&record].0.clone()).unwrap();
        assert_eq!(said.lines().count(), ours.len(), "{said}");
        ours.retain(|path, _| !by_installer(path));
        theirs.retain(|path, _| !by_installer(path));
        assert_eq!(
            ours.keys().collect::<Vec<_>>(),
            theirs.keys().collect::<Vec<_>>(),
            "{}",
            pin.file
        );
        for (path, (bytes, executable)) in &ours {
            assert_eq!(*executable, theirs[path].1, "{path}");
            if path.starts_with("usr/local/bin/") {
                let text = String::from_utf8_lossy(bytes);
                assert!(text.starts_with("#!/usr/bin/python3.11\n"), "{text}");
            } else {
                assert!(*bytes == theirs[path].0, "{path} differs");
            }
        }
    }

    // As layers: once unpacked, then remembered.
    let layers = wheel_layers(&store, &store, &pins, "3.11", &Silent).unwrap();
    assert_eq!(layers.len(), pins.len());
    let native = layers
        .iter()
        .find(|layer| layer.wheel.name == "markupsafe")
        .unwrap();
    assert_eq!(native.facts.elves.len(), 1);
    for pin in &pins {
        store.tamper(pin.digest, None);
    }
    let again = wheel_layers(&store, &store, &pins, "3.11", &Silent).unwrap();
    assert_eq!(again, layers);

    // The same from an index.
    for json in [true, false] {
        let index = Index::serve(folder.path(), &pins, json);
        let store = MemoryStore::default();
        assert_eq!(resolve(&store, &[index.url()]).unwrap(), pins);
        let python = Python::new(PythonSource {
            indexes: vec![index.url()],
        });
        let missing: Vec<&WheelPin> = pins.iter().collect();
        let report: Report<'_> = (&|_| {}, &|_| {});
        python
            .fetch(
                &store,
                &Http::new().unwrap(),
                &missing,
                &target(),
                4,
                report,
            )
            .unwrap();
        for pin in &pins {
            assert!((&store as &dyn Store).has(pin.digest, pin.size).unwrap());
        }
    }
}

/// An index (PEP 503, PEP 691) on loopback. Answers until the program ends.
struct Index {
    port: u16,
}

impl Index {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/simple", self.port)
    }

    fn serve(folder: &Path, pins: &[WheelPin], json: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut answers: BTreeMap<String, (&str, Vec<u8>)> = BTreeMap::new();
        for pin in pins {
            let (file, hex, size) = (&pin.file, pin.digest.hex(), pin.size);
            let page = if json {
                let page = format!(
                    r#"{{"meta":{{"api-version":"1.1"}},"name":"x","files":[{{"filename":"{file}","url":"../../files/{file}","hashes":{{"sha256":"{hex}"}},"size":{size},"requires-python":">=3.7"}}]}}"#
                );
                ("application/vnd.pypi.simple.v1+json", page)
            } else {
                (
                    "text/html",
                    format!("<!DOCTYPE html><a href=\"/files/{file}#sha256={hex}\">{file}</a>"),
                )
            };
            answers.insert(
                format!("/simple/{}/", pin.name),
                (page.0, page.1.into_bytes()),
            );
            let bytes = std::fs::read(folder.join(file)).unwrap();
            answers.insert(
                format!("/files/{file}"),
                ("application/octet-stream", bytes),
            );
        }
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut first = String::new();
                reader.read_line(&mut first).unwrap();
                let mut line = String::new();
                while reader.read_line(&mut line).unwrap() > 2 {
                    line.clear();
                }
                let path = first.split(' ').nth(1).unwrap_or_default();
                let (status, kind, body) = match answers.get(path) {
                    Some((kind, body)) => ("200 OK", *kind, body.clone()),
                    None => ("404 Not Found", "text/plain", Vec::new()),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                // A client that has gone away is no matter of the server's.
                let _ = stream
                    .write_all(head.as_bytes())
                    .and_then(|()| stream.write_all(&body));
            }
        });
        Self { port }
    }
}

#[test]
fn what_pip_cannot_have_is_an_error_that_says_why() {
    let text = format!("certifi==2024.7.4 --hash=sha256:{}\n", "0".repeat(64));
    let wanted = requirements::read(&text, &target()).unwrap();
    let store = MemoryStore::default();
    let python = Python::default();
    let error = python
        .resolve(&store, &Http::new().unwrap(), &wanted, &target())
        .unwrap_err();
    let said = error.to_string();
    assert!(matches!(error, PythonError::Program(_)), "{said}");
    assert!(said.contains("python3 -m pip download"), "{said}");
    assert_eq!(store.blobs().unwrap().len(), 0);
}
