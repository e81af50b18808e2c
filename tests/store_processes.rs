//! Processes that share a store, and one that is killed again and again while it writes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use forge::edge::store::{
    DiskStore, Options, Store, Trust, find_bundle, open_bundle, plan_gc, put_bundle, verify,
};
use forge::pure::bundle::{Draft, Part, PartKind, Sealed};

const STORE: &str = "FORGE_TEST_STORE";
const HOST: &str = "FORGE_TEST_HOST";

fn bundle(host: &str, round: usize) -> Sealed {
    let file = |number: usize| {
        // Large enough that a kill finds it half written.
        let bytes = format!("{host} {round} {number} ")
            .repeat(4000)
            .into_bytes();
        Part::new(
            PartKind::File,
            format!("files/{number}").parse().unwrap(),
            bytes,
        )
    };
    Draft {
        host: host.parse().unwrap(),
        system: serde_json::json!({ "round": round }),
        parts: (0..8).map(file).collect(),
        images: vec![],
    }
    .seal()
    .unwrap()
}

/// Not a test of its own: what the processes below run, for ever.
#[test]
fn writer() {
    let (Ok(store), Ok(host)) = (std::env::var(STORE), std::env::var(HOST)) else {
        return;
    };
    let store = DiskStore::open(Path::new(&store), Options::default()).unwrap();
    let name = format!("project/{host}").parse().unwrap();
    for round in 0.. {
        put_bundle(&store, &bundle(&host, round % 5), &[], &name, Trust::Size).unwrap();
    }
}

fn start(store: &Path, host: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["writer", "--exact", "--quiet"])
        .env(STORE, store)
        .env(HOST, host)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_killed_writer_harms_nothing_and_leaves_nothing_that_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = DiskStore::open(&path, Options::default()).unwrap();
    for host in ["a", "b"] {
        put_bundle(
            &store,
            &bundle(host, 0),
            &[],
            &format!("project/{host}").parse().unwrap(),
            Trust::Size,
        )
        .unwrap();
    }
    let start_time = Instant::now();
    let mut left_over = 0;
    for kill in 0..12u64 {
        let mut writers = ["a", "b"].map(|host| start(&path, host));
        // Not the same moment each time, and none of the clock's.
        std::thread::sleep(Duration::from_millis(30 + 17 * kill));
        for writer in &mut writers {
            writer.kill().unwrap();
            writer.wait().unwrap();
        }
        left_over += store.temporaries().unwrap().len();
        let report = verify(&store).unwrap();
        assert!(report.is_intact(), "after kill {kill}: {report:?}");
        // The dead hold no lock: this does not wait.
        store.collect(plan_gc(&store).unwrap()).unwrap();
        assert!(store.temporaries().unwrap().is_empty());
        for host in ["a", "b"] {
            let digest = find_bundle(&store, &format!("project/{host}").parse().unwrap())
                .unwrap()
                .unwrap();
            assert!((0..5).any(|round| bundle(host, round).digest() == digest));
            open_bundle(&store, digest).unwrap();
        }
        assert_eq!(store.blobs().unwrap().len(), 2 * 10);
    }
    assert!(
        left_over > 0,
        "no kill hit a writer while it wrote: the test shows nothing"
    );
    assert!(start_time.elapsed() < Duration::from_secs(120));
}
