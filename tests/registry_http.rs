//! Fetching files over HTTP: whatever a server does, the store gets the bytes that were asked for or none.
#![allow(clippy::disallowed_methods)]

mod registry_support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use forge::edge::http::{Download, Http, HttpError, HttpOptions, ProxyRule};
use forge::edge::store::{MemoryStore, Store, Trust};
use forge::pure::name::BlobDigest;

use registry_support::server::{Asked, Reply, Server};
use registry_support::{assert_clean, http, noise};

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
