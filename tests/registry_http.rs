//! Fetching files over HTTP: whatever a server does, the store gets the bytes that were asked for or none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

mod registry_support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use forge::edge::http::{Download, Http, HttpError, HttpOptions, ProxyRule};
use forge::edge::store::{MemoryStore, Store, Trust};
use forge::pure::name::BlobDigest;

use registry_support::real::succeed;
use registry_support::server::{Asked, Reply, Server};
use registry_support::{assert_clean, http, noise};

/// A part of the message, and what the server does with the right bytes.
type Lie = (&'static str, fn(&[u8]) -> Reply);

const SIZE: usize = 300_000;

fn download(bytes: &[u8], urls: &[String]) -> Download {
    Download {
        what: "a file".to_owned(),
        digest: BlobDigest::of(bytes),
        size: bytes.len() as u64,
        urls: urls.to_vec(),
    }
}

/// Downloads into a new store; what was told of progress must be right if it went well.
fn fetch(http: &Http, download: &Download) -> (MemoryStore, Result<(), HttpError>) {
    let store = MemoryStore::default();
    let told = AtomicU64::new(0);
    let mut writer = store.begin(Trust::Size).unwrap();
    let result = http.download(download, &mut *writer, &|bytes| {
        told.fetch_add(bytes, Ordering::Relaxed);
    });
    writer.commit(&[]).unwrap();
    assert_clean(&store);
    match &result {
        Ok(()) => {
            assert_eq!(told.into_inner(), download.size);
            assert_eq!(store.size(download.digest).unwrap(), Some(download.size));
        }
        Err(_) => assert_eq!(store.blobs().unwrap().len(), 0),
    }
    (store, result)
}

fn message(result: Result<(), HttpError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_file_is_fetched_and_checked() {
    let bytes = noise(SIZE);
    let served = bytes.clone();
    let server = Server::start(move |asked, _| Reply::file(asked, &served));
    let (http, clock) = http();
    fetch(&http, &download(&bytes, &[server.url("/a~b+c/x.deb")]))
        .1
        .unwrap();
    let asked = server.asked();
    assert_eq!(server.paths(), ["GET /a~b+c/x.deb"]);
    assert!(asked[0].header("user-agent").unwrap().starts_with("forge/"));
    assert_eq!(asked[0].header("range"), None);
    assert_eq!(clock.slept(), []);
}

#[test]
fn a_broken_connection_is_resumed_where_it_broke() {
    let bytes = noise(SIZE);
    let served = bytes.clone();
    let server = Server::start(move |asked, before| {
        let reply = Reply::file(asked, &served).with("ETag", "\"one\"");
        if before < 2 {
            reply.cut(100_000)
        } else {
            reply
        }
    });
    let (http, clock) = http();
    fetch(&http, &download(&bytes, &[server.url("/x")]))
        .1
        .unwrap();
    let asked = server.asked();
    let ranges: Vec<_> = asked.iter().map(|asked| asked.header("range")).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-"), Some("bytes=200000-")]);
    assert_eq!(asked[1].header("if-range"), Some("\"one\""));
    assert_eq!(clock.slept().len(), 2);
}

#[test]
fn a_server_that_ignores_the_range_is_read_from_the_beginning() {
    let bytes = noise(SIZE);
    let served = bytes.clone();
    let server = Server::start(move |_, before| {
        let reply = Reply::ok(&served);
        if before == 0 {
            reply.cut(100_000)
        } else {
            reply
        }
    });
    let (http, _) = http();
    fetch(&http, &download(&bytes, &[server.url("/x")]))
        .1
        .unwrap();
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn what_changes_meanwhile_or_sends_another_range_is_no_place() {
    let bytes = noise(SIZE);
    let wrong: [Lie; 4] = [
        ("it changed while", |bytes| {
            Reply::ok(bytes).with("ETag", "\"two\"")
        }),
        ("the range `bytes 5-299999/300000`", |bytes| {
            Reply::new(206, &bytes[100_000..]).with("Content-Range", "bytes 5-299999/300000")
        }),
        ("the range ``", |bytes| Reply::new(206, &bytes[100_000..])),
        ("answered 416", |_| Reply::new(416, "")),
    ];
    for (message_part, second) in wrong {
        let served = bytes.clone();
        let server = Server::start(move |_, before| match before {
            0 => Reply::ok(&served).with("ETag", "\"one\"").cut(100_000),
            _ => second(&served),
        });
        let (http, _) = http();
        let error = message(fetch(&http, &download(&bytes, &[server.url("/x")])).1);
        assert!(error.contains(message_part), "{error}");
        assert_eq!(server.asked().len(), 2);
    }
}

#[test]
fn lies_are_found_and_the_next_place_is_asked() {
    let bytes = noise(SIZE);
    let lies: [Lie; 7] = [
        ("their digest is", |bytes| {
            let mut bytes = bytes.to_vec();
            bytes[SIZE / 2] ^= 1;
            Reply::ok(bytes)
        }),
        ("300001 bytes, where 300000 were announced", |bytes| {
            Reply::ok([bytes, b"x"].concat())
        }),
        ("299999 bytes, where 300000 were announced", |bytes| {
            Reply::ok(&bytes[1..])
        }),
        ("299999 bytes, where 300000 were announced", |bytes| {
            Reply::ok(&bytes[1..]).chunked()
        }),
        ("sent more than 300000 bytes", |bytes| {
            Reply::ok([bytes, b"x"].concat()).chunked()
        }),
        ("sent more than 300000 bytes", |bytes| {
            Reply::ok(bytes).endless()
        }),
        ("answered 404: Not Found", |_| Reply::new(404, "")),
    ];
    for (message_part, lie) in lies {
        let served = bytes.clone();
        let liar = Server::start(move |_, _| lie(&served));
        let (http, clock) = http();
        let error = message(fetch(&http, &download(&bytes, &[liar.url("/x")])).1);
        assert!(error.contains(message_part), "{error}");
        assert!(
            error.starts_with("a file is nowhere to be had:\n  "),
            "{error}"
        );
        assert_eq!(clock.slept(), [], "{message_part}: it cannot pass");
        let served = bytes.clone();
        let honest = Server::start(move |asked, _| Reply::file(asked, &served));
        let urls = [liar.url("/x"), honest.url("/y")];
        fetch(&http, &download(&bytes, &urls)).1.unwrap();
    }
}

#[test]
fn a_connection_that_breaks_for_ever_is_given_up() {
    let bytes = noise(SIZE);
    let served = bytes.clone();
    let server = Server::start(move |asked, _| Reply::file(asked, &served).cut(10));
    let (http, clock) = http();
    let error = message(fetch(&http, &download(&bytes, &[server.url("/x")])).1);
    assert!(
        error.contains("the connection broke 6 times, last after 60 of 300000 bytes"),
        "{error}"
    );
    let slept: Vec<u128> = clock.slept().iter().map(Duration::as_millis).collect();
    assert_eq!(slept, [250, 500, 1000, 2000, 4000]);
}

#[test]
fn a_good_connection_may_break_as_often_as_it_likes() {
    let bytes = noise(20 << 20);
    let served = bytes.clone();
    let server = Server::start(move |asked, _| {
        let reply = Reply::file(asked, &served);
        let left = reply.body.len();
        if left > 2 << 20 {
            reply.cut(2 << 20)
        } else {
            reply
        }
    });
    let (http, _) = http();
    fetch(&http, &download(&bytes, &[server.url("/x")]))
        .1
        .unwrap();
    assert_eq!(server.asked().len(), 10);
}

#[test]
fn what_may_pass_is_tried_again_and_what_is_final_is_not() {
    for (status, attempts) in [
        (408, 2),
        (425, 2),
        (429, 2),
        (500, 2),
        (503, 2),
        (501, 1),
        (400, 1),
        (401, 1),
        (403, 1),
        (404, 1),
        (410, 1),
    ] {
        let server = Server::start(move |_, before| match before {
            0 => Reply::new(status, "no"),
            _ => Reply::ok("yes"),
        });
        let (http, clock) = http();
        let got = http.get(&server.url("/x"), &[], 100);
        assert_eq!(got.is_ok(), attempts == 2, "{status}");
        assert_eq!(server.asked().len(), attempts, "{status}");
        assert_eq!(clock.slept().len(), attempts - 1, "{status}");
    }
    let server = Server::start(|_, _| Reply::new(500, "no"));
    let (http, _) = http();
    let error = http.get(&server.url("/x"), &[], 100).unwrap_err();
    assert!(
        matches!(error, HttpError::Status { status: 500, .. }),
        "{error}"
    );
    assert_eq!(server.asked().len(), 6);
}

#[test]
fn the_server_says_how_long_to_wait() {
    for (header, slept) in [
        ("7", Some(7)),
        ("Mon, 01 Jan 2024 00:00:30 GMT", Some(30)),
        // In the past, nonsense: as if it were not there.
        ("Mon, 01 Jan 2023 00:00:30 GMT", None),
        ("soon", None),
    ] {
        let server = Server::start(move |_, before| match before {
            0 => Reply::new(429, "no").with("Retry-After", header),
            _ => Reply::ok("yes"),
        });
        let (http, clock) = http();
        assert_eq!(http.get(&server.url("/x"), &[], 100).unwrap(), b"yes");
        let expected = slept.map_or(Duration::from_millis(250), Duration::from_secs);
        assert_eq!(clock.slept(), [expected], "{header}");
    }
    let server = Server::start(|_, _| Reply::new(429, "no").with("Retry-After", 21_600));
    let (http, clock) = http();
    let error = http
        .get(&server.url("/x"), &[], 100)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("429") && error.contains("21600 s"),
        "{error}"
    );
    assert_eq!(clock.slept(), []);
}

#[test]
fn redirects_are_followed_but_credentials_go_nowhere_else() {
    let far = Server::start(|_, _| Reply::ok("far"));
    let target = far.url("/far");
    let near = Server::start(move |asked, _| match asked.path.as_str() {
        "/near" => Reply::new(302, "").with("Location", "/there"),
        "/away" => Reply::new(307, "").with("Location", &target),
        "/loop" => Reply::new(301, "").with("Location", "/loop"),
        "/nowhere" => Reply::new(302, ""),
        "/file" => Reply::new(302, "").with("Location", "file:///etc/passwd"),
        _ => Reply::ok("there"),
    });
    let (http, _) = http();
    let secret = [("Authorization", "Bearer secret")];
    assert_eq!(
        http.get(&near.url("/near"), &secret, 100).unwrap(),
        b"there"
    );
    assert_eq!(
        near.asked()[1].header("authorization"),
        Some("Bearer secret")
    );
    assert_eq!(http.get(&near.url("/away"), &secret, 100).unwrap(), b"far");
    assert_eq!(far.asked()[0].header("authorization"), None);
    let with_password = near.url("/away").replace("http://", "http://me:pass@");
    assert_eq!(http.get(&with_password, &[], 100).unwrap(), b"far");
    assert_eq!(
        near.asked()[3].header("authorization"),
        Some("Basic bWU6cGFzcw==")
    );
    assert_eq!(far.asked()[1].header("authorization"), None);
    for (path, part) in [
        ("/loop", "more than 10 times"),
        ("/nowhere", "to nowhere"),
        ("/file", "to file:///etc/passwd: refused"),
    ] {
        let error = http.get(&near.url(path), &[], 100).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(
        near.paths()
            .iter()
            .filter(|path| path.ends_with("/loop"))
            .count(),
        11
    );
}

#[test]
fn no_secret_is_in_an_error() {
    let server = Server::start(|_, _| Reply::new(404, ""));
    let (http, _) = http();
    let url = server
        .url("/x?signature=hush")
        .replace("http://", "http://me:hush@");
    let error = http.get(&url, &[], 100).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    let error = http.get("http://me:hush@[broken/", &[], 100).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
}

#[test]
fn documents_are_bounded() {
    let server = Server::start(|asked, _| match asked.path.as_str() {
        "/endless" => Reply::ok(noise(10_000)).endless(),
        _ => Reply::ok(noise(101)),
    });
    let (http, _) = http();
    for path in ["/endless", "/long"] {
        let error = http.get(&server.url(path), &[], 100).unwrap_err();
        assert!(
            matches!(error, HttpError::TooLong { limit: 100, .. }),
            "{error}"
        );
    }
    assert_eq!(http.get(&server.url("/long"), &[], 101).unwrap().len(), 101);
}

#[test]
fn a_document_whose_connection_broke_is_fetched_again() {
    let server = Server::start(|_, before| {
        let reply = Reply::ok(noise(1000)).with("Content-Type", "text/plain");
        if before == 0 { reply.cut(500) } else { reply }
    });
    let (http, _) = http();
    let document = http.document(&server.url("/x"), &[], 1000).unwrap();
    assert_eq!(document.bytes, noise(1000));
    assert_eq!(document.content_type.as_deref(), Some("text/plain"));
    assert_eq!(document.url, server.url("/x"));
}

#[test]
fn files_of_the_disk_are_mirrors_too() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = noise(SIZE);
    std::fs::write(folder.path().join("a b.deb"), &bytes).unwrap();
    let at = folder.path().display();
    let (http, _) = http();
    for url in [
        format!("file://{at}/a%20b.deb"),
        format!("copy:{at}/a%20b.deb"),
        format!("file://localhost{at}/a b.deb"),
    ] {
        fetch(&http, &download(&bytes, std::slice::from_ref(&url)))
            .1
            .unwrap();
        assert_eq!(http.get(&url, &[], SIZE as u64).unwrap(), bytes);
        assert!(matches!(
            http.get(&url, &[], 10),
            Err(HttpError::TooLong { .. })
        ));
    }
    for url in [
        format!("file://{at}/none"),
        format!("file://{at}"),
        "file://elsewhere.example/x".to_owned(),
        "file:x".to_owned(),
        "ftp://a.example/x".to_owned(),
    ] {
        assert!(fetch(&http, &download(&bytes, &[url])).1.is_err());
    }
}

#[test]
fn a_proxy_is_asked_in_its_own_words() {
    let proxy = Server::start(|_, _| Reply::ok("by proxy"));
    let rule = ProxyRule {
        scheme: Some("http".to_owned()),
        host: None,
        proxy: Some(format!("http://me:pass@{}", proxy.host)),
    };
    let options = HttpOptions {
        proxies: vec![rule],
        ..HttpOptions::default()
    };
    let http = Http::with(options).unwrap();
    assert_eq!(
        http.get("http://mirror.example/pool/x.deb?a=b", &[], 100)
            .unwrap(),
        b"by proxy"
    );
    // The same connection again, and another host.
    for (url, host) in [
        ("http://mirror.example/pool/x.deb?a=b", "mirror.example"),
        ("http://mirror.example/", "mirror.example"),
        ("http://other.example:8080/y", "other.example:8080"),
    ] {
        assert_eq!(http.get(url, &[], 100).unwrap(), b"by proxy");
        let asked = proxy.asked().pop().unwrap();
        assert_eq!(asked.path, url);
        assert_eq!(asked.header("host"), Some(host));
        let credentials = asked.header("proxy-authorization");
        assert_eq!(credentials, Some("Basic bWU6cGFzcw=="));
        assert_eq!(asked.header("authorization"), None);
    }
    assert_eq!(proxy.asked().pop().unwrap().connection, 1);
}

#[test]
fn certificates_that_are_named_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.pem");
    for content in [None, Some("no certificate")] {
        if let Some(content) = content {
            std::fs::write(&path, content).unwrap();
        }
        let options = HttpOptions {
            extra_roots: vec![path.clone()],
            ..HttpOptions::default()
        };
        assert!(matches!(
            Http::with(options),
            Err(HttpError::Certificates { .. })
        ));
    }
}

/// Files `/0` to `/49`, each of other bytes; those in `missing` are not there.
fn many(missing: &'static [usize]) -> (Server, Vec<Download>) {
    let content = |number: usize| noise(1000 + number)[number..].to_vec();
    let server = Server::start(move |asked: &Asked, _| {
        let number: usize = asked.path[1..].parse().unwrap();
        match missing.contains(&number) {
            true => Reply::new(404, ""),
            false => Reply::file(asked, &content(number)),
        }
    });
    let downloads = (0..50).map(|number| {
        let mut download = download(&content(number), &[server.url(&format!("/{number}"))]);
        download.what = format!("file {number}");
        download
    });
    let downloads = downloads.collect();
    (server, downloads)
}

#[test]
fn many_files_come_in_parallel_over_few_connections() {
    let (server, mut downloads) = many(&[]);
    downloads.push(downloads[0].clone());
    let store = MemoryStore::default();
    let (http, _) = http();
    let told = AtomicU64::new(0);
    let done = Mutex::new(Vec::new());
    let advance = |bytes| {
        told.fetch_add(bytes, Ordering::Relaxed);
    };
    let finish = |download: &Download| done.lock().unwrap().push(download.what.clone());
    http.download_all(&store, &downloads, 8, &advance, &finish)
        .unwrap();
    assert_clean(&store);
    assert_eq!(store.blobs().unwrap().len(), 50);
    assert_eq!(server.asked().len(), 50);
    assert_eq!(
        told.load(Ordering::Relaxed),
        downloads.iter().map(|it| it.size).sum::<u64>()
    );
    assert_eq!(done.lock().unwrap().len(), 51);
    let connections = server
        .asked()
        .iter()
        .map(|asked| asked.connection)
        .max()
        .unwrap()
        + 1;
    assert!(connections <= 8, "{connections}");
    // The second time, nobody is asked.
    http.download_all(&store, &downloads, 8, &advance, &finish)
        .unwrap();
    assert_eq!(server.asked().len(), 50);
}

#[test]
fn the_first_failure_is_told_and_what_was_complete_is_kept() {
    for _ in 0..10 {
        let (server, downloads) = many(&[20, 21, 23, 40]);
        let store = MemoryStore::default();
        let (http, _) = http();
        let error = http
            .download_all(&store, &downloads, 4, &|_| {}, &|_| {})
            .unwrap_err();
        assert!(
            error.to_string().starts_with("file 20 is nowhere"),
            "{error}"
        );
        assert_clean(&store);
        let there = store.blobs().unwrap().len();
        assert!((20..=25).contains(&there), "{there}");
        assert!(server.asked().len() <= 26);
    }
}

#[test]
fn a_server_must_show_a_certificate_that_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let wanted = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext basicConstraints=critical,CA:FALSE \
                  -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem";
    succeed(
        at,
        "openssl",
        &wanted
            .split(' ')
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>(),
    );
    std::fs::write(at.join("x"), "by TLS").unwrap();
    // A port that was free a moment ago.
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let mut server = std::process::Command::new("openssl")
        .args([
            "s_server", "-WWW", "-quiet", "-key", "key.pem", "-cert", "cert.pem", "-accept",
        ])
        .arg(format!("127.0.0.1:{port}"))
        .current_dir(at)
        .stdin(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let url = format!("https://127.0.0.1:{port}/x");
    let client = |extra_roots| {
        let direct = ProxyRule {
            scheme: None,
            host: None,
            proxy: None,
        };
        let options = HttpOptions {
            extra_roots,
            proxies: vec![direct],
            ..HttpOptions::default()
        };
        Http::with(options).unwrap()
    };
    // It may not listen yet: the client's patience is long enough for that.
    let trusting = client(vec![at.join("cert.pem")]).get(&url, &[], 100);
    let begin = std::time::Instant::now();
    let strict = client(Vec::new()).get(&url, &[], 100);
    let took = begin.elapsed();
    let _ = server.kill();
    let _ = server.wait();
    assert_eq!(trusting.unwrap(), b"by TLS");
    let error = strict.unwrap_err().to_string();
    assert!(
        error.contains("certificate") && error.contains("SSL_CERT_FILE"),
        "{error}"
    );
    assert!(took < Duration::from_secs(3), "it cannot pass: {took:?}");
}
