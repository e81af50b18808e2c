//! Conversations over bytes, against a store on disk and a host of values.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Cursor, Read, Write};
use std::time::Duration;

use serde_json::json;

use super::parts::{Environment, ExecOrder, FetchOrder, Fetched, LogOrder, Machine, Receiving};
use super::*;
use crate::edge::host::paths::Paths;
use crate::edge::store::{DiskStore, Options, RefChange, Store, Trust, open_bundle};
use crate::flow::host::resource::Way;
use crate::flow::host::tell::Tell;
use crate::pure::bundle::{Draft, ImagePin, Part, PartKind, Sealed};
use crate::pure::delivery::{Encoding, Holding, Parcel};
use crate::pure::generation::{Action, Change, Kind, Outcome, Plan, from_bundle};
use crate::pure::name::{Arch, BlobDigest, BundleDigest, ImageName, ManifestDigest};
use crate::pure::protocol::{
    Ending, Event, Image, ImageState, Lease, Offer, Operator, ServiceStatus,
};
use fake::Fake;

mod fake;

fn record(number: u64, bundle: Option<BundleDigest>, outcome: Outcome) -> Record {
    Record {
        version: Record::VERSION,
        number,
        bundle,
        agent: BlobDigest::of("agent"),
        created: 0,
        by: "anna@laptop".to_owned(),
        revision: None,
        outcome,
    }
}

fn journal(to: u64, phase: Phase) -> Journal {
    Journal {
        version: Journal::VERSION,
        from: 0,
        to,
        phase,
        deadline: 2000,
        started: 1000,
        by: "anna@laptop".to_owned(),
        token: "token".to_owned(),
    }
}

const CONFIRMED: Outcome = Outcome::Confirmed { at: 1 };

struct Setup {
    _at: tempfile::TempDir,
    host: Host,
    fake: Fake,
}

fn setup() -> Setup {
    let at = tempfile::tempdir().unwrap();
    let paths = Paths::below(at.path());
    let store = DiskStore::open(&paths.store(), Options::default()).unwrap();
    Setup {
        _at: at,
        host: Host { paths, store },
        fake: Fake::new(),
    }
}

/// A bundle with a service of the image `redis`, and this text in a file.
fn bundle_of(text: &str, change: impl FnOnce(&mut Draft)) -> Sealed {
    let digest = BlobDigest::of(text);
    let compose = BlobDigest::of("services: {}");
    let file = |digest: BlobDigest, name: &str| {
        json!({
            "digest": digest, "mode": "0644", "owner": "0:0", "secrets": [],
            "place": {"kind": "content", "path": format!("/var/lib/forge/files/{}/{name}", digest.hex())},
        })
    };
    let mut draft = Draft {
        host: "web".parse().unwrap(),
        system: json!({
            "compose": "forge/compose.yaml",
            "contributions": {"service": {"cache": {
                "image": "redis", "networks": [], "depends_on": [], "network_host": false, "restart": "always",
                "healthcheck": null, "ports": [],
            }}},
            "files": {
                "forge/compose.yaml": file(compose, "compose.yaml"),
                "m/conf": file(digest, "conf"),
            },
            "host": {"system": "debian-12", "arch": "amd64"},
            "modules": ["m"],
            "secrets": [],
        }),
        parts: vec![
            Part::new(
                PartKind::File,
                "files/forge/compose.yaml".parse().unwrap(),
                "services: {}".into(),
            ),
            Part::new(PartKind::File, "files/m/conf".parse().unwrap(), text.into()),
        ],
        images: vec![ImagePin {
            name: "redis".parse().unwrap(),
            repository: "docker.io/library/redis".to_owned(),
            tag: "8".to_owned(),
            digest: redis().0,
        }],
    };
    change(&mut draft);
    draft.seal().unwrap()
}

fn bundle(text: &str) -> Sealed {
    bundle_of(text, |_| {})
}

/// An image: the digest of its manifest, and its blobs.
fn redis() -> (ManifestDigest, BTreeMap<BlobDigest, Vec<u8>>) {
    let config = br#"{"architecture":"amd64","os":"linux"}"#.to_vec();
    let layer = b"a layer of redis".to_vec();
    let link = |media: &str, bytes: &[u8]| json!({"mediaType": media, "digest": BlobDigest::of(bytes), "size": bytes.len()});
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": link("application/vnd.oci.image.config.v1+json", &config),
        "layers": [link("application/vnd.oci.image.layer.v1.tar", &layer)],
    }))
    .unwrap();
    let digest = ManifestDigest::of(&manifest);
    let all = [config, layer, manifest].map(|bytes| (BlobDigest::of(&bytes), bytes));
    (digest, all.into_iter().collect())
}

fn offer(sealed: &Sealed) -> Offer {
    let (pinned, blobs) = redis();
    Offer {
        bundle: sealed.digest(),
        blobs: sealed.blobs().map(|(d, b)| (d, b.to_vec())).collect(),
        images: vec![Image {
            name: "redis".parse().unwrap(),
            pinned,
            manifest: Some(pinned),
        }],
        image_blobs: blobs
            .iter()
            .map(|(digest, bytes)| (*digest, bytes.len() as u64))
            .collect(),
    }
}

/// What a laptop sends.
#[derive(Default)]
struct Laptop(Vec<u8>);

impl Laptop {
    fn hello(purpose: Purpose) -> Self {
        Self::speaks(VERSION, purpose)
    }

    fn speaks(protocol: u32, purpose: Purpose) -> Self {
        let mut laptop = Self::default();
        let hello = Hello {
            protocol,
            forge: "0".to_owned(),
            operator: Operator {
                name: "anna@laptop".to_owned(),
                revision: None,
            },
            purpose,
        };
        frame::send(&mut laptop.0, &hello).unwrap();
        laptop
    }

    fn ask(mut self, request: Request) -> Self {
        frame::send(&mut self.0, &request).unwrap();
        self
    }

    fn lock(self) -> Self {
        self.ask(Request::Lock {
            what: "deploy".to_owned(),
        })
    }

    fn data(mut self, bytes: &[u8]) -> Self {
        frame::send_data(&mut self.0, bytes).unwrap();
        self
    }

    fn parcel(self, bytes: &[u8]) -> Self {
        self.ask(Request::Parcel {
            parcel: parcel(bytes),
            from: 0,
        })
        .data(bytes)
    }

    fn redis(self) -> Self {
        redis()
            .1
            .values()
            .fold(self, |laptop, blob| laptop.parcel(blob))
    }

    fn talk(self, setup: &Setup) -> Talk {
        talk(setup, self.0)
    }
}

fn parcel(bytes: &[u8]) -> Parcel {
    Parcel {
        blob: BlobDigest::of(bytes),
        size: bytes.len() as u64,
        encoding: Encoding::Identity,
        digest: BlobDigest::of(bytes),
        bytes: bytes.len() as u64,
    }
}

#[derive(Debug)]
struct Talk {
    ended: Result<(), FrameError>,
    welcome: Option<Welcome>,
    replies: Vec<Reply>,
    data: Vec<Vec<u8>>,
}

fn talk(setup: &Setup, said: Vec<u8>) -> Talk {
    let mut written = Vec::new();
    let ended = serve(
        &setup.host,
        Box::new(Cursor::new(said)),
        &mut written,
        &setup.fake,
    );
    let mut from = Cursor::new(written);
    let mut talk = Talk {
        ended,
        welcome: None,
        replies: Vec::new(),
        data: Vec::new(),
    };
    loop {
        match frame::read(&mut from) {
            Ok((FrameKind::Data, bytes)) => talk.data.push(bytes),
            Ok((kind, bytes)) => {
                if let Ok(reply) = frame::decode(kind, &bytes) {
                    talk.replies.push(reply);
                } else {
                    talk.welcome = Some(frame::decode(kind, &bytes).unwrap());
                }
            }
            Err(FrameError::Ended) => return talk,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Talk {
    fn last(&self) -> &Reply {
        self.replies.last().unwrap()
    }

    fn refused(&self) -> &str {
        match self.last() {
            Reply::Refused { why, .. } => why,
            other => panic!("{other:?}"),
        }
    }

    fn plan(&self) -> BlobDigest {
        let plan = self.replies.iter().find_map(|reply| match reply {
            Reply::Offered { plan, .. } | Reply::Planned { plan, .. } => Some(plan.digest()),
            _ => None,
        });
        plan.unwrap()
    }
}

fn change() -> Change {
    Change::new(Kind::Service, "cache", Action::Add, "new")
}

/// Deploys and confirms.
fn deploy(setup: &Setup, sealed: &Sealed) -> u64 {
    let offered = Laptop::hello(Purpose::Change)
        .ask(Request::Offer(offer(sealed)))
        .talk(setup);
    setup.fake.now().events = vec![Event::Ended {
        ending: Ending::AwaitingConfirmation {
            generation: 1,
            token: "token".to_owned(),
            deadline: 0,
        },
    }];
    let talk = Laptop::hello(Purpose::Change)
        .ask(Request::Offer(offer(sealed)))
        .lock()
        .redis()
        .ask(Request::Keep)
        .ask(Request::Activate {
            plan: offered.plan(),
            deadline: 300,
            retry: false,
        })
        .talk(setup);
    assert!(matches!(talk.last(), Reply::Ended { .. }), "{talk:?}");
    let talk = Laptop::hello(Purpose::Change)
        .ask(Request::Confirm {
            token: "token".to_owned(),
        })
        .talk(setup);
    let Reply::Confirmed { generation, bundle } = talk.last() else {
        panic!("{talk:?}");
    };
    assert_eq!(*bundle, Some(sealed.digest()));
    let mut now = setup.fake.now();
    for record in &mut now.records {
        if record.number == *generation {
            record.outcome = CONFIRMED;
        }
    }
    *generation
}

#[test]
fn greets_with_what_the_host_is() {
    let setup = setup();
    let talk = Laptop::hello(Purpose::Ask).talk(&setup);
    let welcome = talk.welcome.unwrap();
    assert!(talk.ended.is_ok());
    assert_eq!(welcome.protocol, VERSION);
    assert_eq!(welcome.system, "debian-12");
    assert_eq!(welcome.current, None);
    assert_eq!(talk.replies, []);
}

#[test]
fn another_version_is_told_ours_and_nothing_more() {
    let setup = setup();
    let talk = Laptop::speaks(VERSION + 1, Purpose::Change)
        .ask(Request::Unlock { force: true })
        .talk(&setup);
    assert!(talk.ended.is_ok());
    assert_eq!(talk.welcome.unwrap().protocol, VERSION);
    assert_eq!(talk.replies, []);
}

#[test]
fn alien_bytes_end_the_conversation_wherever_they_come() {
    let setup = setup();
    let talk = talk(&setup, b"Last login: today\n".to_vec());
    assert!(matches!(talk.ended, Err(FrameError::Alien(_))), "{talk:?}");
    assert!(talk.refused().contains("login message"));
    let mut laptop = Laptop::hello(Purpose::Change).lock();
    laptop.0.extend_from_slice(b"?????????");
    let talk = laptop.talk(&setup);
    assert!(matches!(talk.ended, Err(FrameError::Alien(_))), "{talk:?}");
    assert_eq!(setup.fake.now().lease, None);
    // A message that nobody knows.
    let mut laptop = Laptop::hello(Purpose::Change);
    frame::send(&mut laptop.0, &json!({"ask": "dance"})).unwrap();
    let talk = laptop.ask(Request::History).talk(&setup);
    assert!(matches!(talk.ended, Err(FrameError::Message(_))));
    assert_eq!(talk.replies.len(), 1);
}

#[test]
fn a_host_that_cannot_tell_what_it_is_says_so() {
    let setup = setup();
    setup.fake.now().broken = true;
    let talk = Laptop::hello(Purpose::Ask).talk(&setup);
    assert_eq!(talk.refused(), "broken");
}

#[test]
fn wants_the_parts_that_nobody_has_and_remembers_those_that_came() {
    let setup = setup();
    let sealed = bundle("one");
    let whole = offer(&sealed);
    let nothing = Offer {
        blobs: BTreeMap::new(),
        ..whole.clone()
    };
    let root = |offer: &Offer| Offer {
        blobs: BTreeMap::from([(
            sealed.digest().blob(),
            offer.blobs[&sealed.digest().blob()].clone(),
        )]),
        ..offer.clone()
    };
    let rest = Offer {
        blobs: whole
            .blobs
            .iter()
            .filter(|(digest, _)| **digest != sealed.digest().blob())
            .map(|(digest, bytes)| (*digest, bytes.clone()))
            .collect(),
        ..whole.clone()
    };
    let talk = Laptop::hello(Purpose::Ask)
        .ask(Request::Offer(nothing))
        .ask(Request::Offer(root(&whole)))
        .ask(Request::Offer(rest.clone()))
        .talk(&setup);
    let wanted: Vec<_> = talk
        .replies
        .iter()
        .filter_map(|reply| match reply {
            Reply::Wanted { parts } => Some(parts.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(wanted[0], BTreeSet::from([sealed.digest().blob()]));
    assert_eq!(wanted[1], rest.blobs.keys().copied().collect());
    let Reply::Offered {
        plan,
        images,
        holding,
        failed_before,
        refusals,
    } = talk.last()
    else {
        panic!("{talk:?}");
    };
    assert_eq!(plan.to_bundle, Some(sealed.digest()));
    assert_eq!(images["redis"], ImageState::Absent);
    assert_eq!(holding.missing.len(), 3);
    assert_eq!((failed_before, refusals), (&None, &Vec::new()));
    // It was all in memory.
    let store: &dyn Store = &setup.host.store;
    assert!(store.blobs().unwrap().is_empty());
}

#[test]
fn the_current_bundle_need_not_be_sent_again_unless_it_is_damaged() {
    let setup = setup();
    let sealed = bundle("one");
    deploy(&setup, &sealed);
    let nothing = Offer {
        blobs: BTreeMap::new(),
        ..offer(&sealed)
    };
    let talk = Laptop::hello(Purpose::Ask)
        .ask(Request::Offer(nothing.clone()))
        .talk(&setup);
    let Reply::Offered { plan, holding, .. } = talk.last() else {
        panic!("{talk:?}");
    };
    assert!(plan.is_nothing());
    assert!(holding.missing.is_empty());
    let store: &dyn Store = &setup.host.store;
    let part = BlobDigest::of("one");
    fs::remove_file(store.location(part)).unwrap();
    fs::write(store.location(part), "two").unwrap();
    let talk = Laptop::hello(Purpose::Change)
        .ask(Request::Offer(nothing))
        .talk(&setup);
    assert_eq!(
        talk.last(),
        &Reply::Wanted {
            parts: BTreeSet::from([part])
        }
    );
}

#[test]
fn refuses_bundles_that_are_not_for_this_host() {
    let refusals = |free: u64, journal: Option<Journal>| {
        let setup = setup();
        setup.fake.now().free = free;
        setup.fake.now().journal = journal;
        let talk = Laptop::hello(Purpose::Change)
            .ask(Request::Offer(offer(&bundle("one"))))
            .talk(&setup);
        match talk.last() {
            Reply::Offered { refusals, .. } => refusals.join("\n"),
            other => panic!("{other:?}"),
        }
    };
    let size: usize = redis().1.values().map(Vec::len).sum();
    let size = size as u64;
    assert_eq!(refusals(size, None), "");
    assert!(refusals(size - 1, None).contains("no room"));
    assert!(
        refusals(size, Some(journal(3, Phase::Converging))).contains("generation 3 by anna@laptop")
    );
    // Another host's.
    let setup = setup();
    deploy(&setup, &bundle("one"));
    let other = bundle_of("one", |draft| draft.host = "db".parse().unwrap());
    let talk = Laptop::hello(Purpose::Ask)
        .ask(Request::Offer(offer(&other)))
        .talk(&setup);
    let Reply::Offered { refusals, .. } = talk.last() else {
        panic!("{talk:?}");
    };
    assert!(refusals[0].contains("this one is `web`"), "{refusals:?}");
}

#[test]
fn refuses_what_is_no_bundle_or_too_large() {
    let setup = setup();
    let mut damaged = offer(&bundle("one"));
    damaged.bundle = BundleDigest::of("no manifest");
    damaged
        .blobs
        .insert(damaged.bundle.blob(), b"no manifest".to_vec());
    let talk = Laptop::hello(Purpose::Ask)
        .ask(Request::Offer(damaged))
        .talk(&setup);
    assert!(talk.refused().contains("no image manifest"), "{talk:?}");
    let newer = bundle_of("one", |draft| draft.system["novelty"] = json!(1));
    let talk = Laptop::hello(Purpose::Ask)
        .ask(Request::Offer(offer(&newer)))
        .talk(&setup);
    assert!(talk.refused().contains("novelty"), "{talk:?}");
    // The manifest says how much is to come: nothing of it is asked for.
    let manifest = String::from_utf8(bundle("one").manifest().to_vec()).unwrap();
    let manifest = manifest.replace("\"size\":3", "\"size\":99999999999");
    let large = Offer {
        bundle: BundleDigest::of(&manifest),
        blobs: BTreeMap::from([(BlobDigest::of(&manifest), manifest.into())]),
        ..offer(&bundle("one"))
    };
    let talk = Laptop::hello(Purpose::Ask)
        .ask(Request::Offer(large))
        .talk(&setup);
    assert!(talk.refused().contains("larger than 64 MiB"), "{talk:?}");
}

#[test]
fn what_comes_out_of_order_is_refused_and_changes_nothing() {
    let plan = BlobDigest::of("plan");
    let activate = Request::Activate {
        plan,
        deadline: 300,
        retry: false,
    };
    let cases: Vec<(&str, Laptop, &str)> = vec![
        (
            "parcel without lock",
            Laptop::hello(Purpose::Change).parcel(b"blob"),
            "sending is only for who has locked the host",
        ),
        (
            "keep without lock",
            Laptop::hello(Purpose::Change)
                .ask(Request::Offer(offer(&bundle("one"))))
                .ask(Request::Keep),
            "keeping a bundle is only for who has locked",
        ),
        (
            "keep without offer",
            Laptop::hello(Purpose::Change).lock().ask(Request::Keep),
            "no bundle has been offered",
        ),
        (
            "keep without images",
            Laptop::hello(Purpose::Change)
                .ask(Request::Offer(offer(&bundle("one"))))
                .lock()
                .ask(Request::Keep),
            "the host does not have docker.io/library/redis:8 whole",
        ),
        (
            "activate without keep",
            Laptop::hello(Purpose::Change)
                .ask(Request::Offer(offer(&bundle("one"))))
                .lock()
                .redis()
                .ask(activate.clone()),
            "the bundle is not kept yet",
        ),
        (
            "activate another plan",
            Laptop::hello(Purpose::Change)
                .ask(Request::Offer(offer(&bundle("one"))))
                .lock()
                .redis()
                .ask(Request::Keep)
                .ask(activate.clone()),
            "the plan is not the one that was shown",
        ),
        (
            "activate without an offer",
            Laptop::hello(Purpose::Change).lock().ask(activate),
            "no bundle has been offered",
        ),
        (
            "a deadline of nothing",
            Laptop::hello(Purpose::Change)
                .lock()
                .ask(Request::Activate {
                    plan,
                    deadline: 0,
                    retry: false,
                }),
            "a deadline of 0 s",
        ),
        (
            "a part that is longer than the parcel",
            Laptop::hello(Purpose::Change).lock().ask(Request::Parcel {
                parcel: parcel(b"blob"),
                from: 5,
            }),
            "shorter than its part",
        ),
        (
            "rollback where forge never was",
            Laptop::hello(Purpose::Change)
                .lock()
                .ask(Request::Rollback {
                    to: 1,
                    plan,
                    deadline: 300,
                }),
            "forge has never been on this host",
        ),
        (
            "a lock to ask",
            Laptop::hello(Purpose::Ask).lock(),
            "opened to ask",
        ),
        (
            "a command of no words",
            Laptop::hello(Purpose::Change).ask(Request::Exec {
                service: "cache".to_owned(),
                command: Vec::new(),
                user: None,
            }),
            "no command",
        ),
    ];
    for (name, laptop, why) in cases {
        let setup = setup();
        let talk = laptop.talk(&setup);
        assert!(talk.ended.is_ok(), "{name}: {talk:?}");
        assert!(talk.refused().contains(why), "{name}: {talk:?}");
        let now = setup.fake.now();
        assert_eq!(now.lease, None, "{name}");
        assert_eq!(now.started, [], "{name}");
        assert_eq!(now.records, [], "{name}");
    }
}

#[test]
fn the_bytes_of_a_refused_parcel_are_passed_over() {
    let setup = setup();
    let talk = Laptop::hello(Purpose::Change)
        .parcel(b"blob")
        .lock()
        .ask(Request::Parcel {
            parcel: parcel(b"blob"),
            from: 1,
        })
        .data(b"lo")
        .data(b"b")
        .parcel(b"blob")
        .ask(Request::History)
        .talk(&setup);
    assert!(talk.ended.is_ok(), "{talk:?}");
    let kinds: Vec<bool> = talk
        .replies
        .iter()
        .map(|reply| matches!(reply, Reply::Refused { .. }))
        .collect();
    assert_eq!(kinds, [true, false, true, false, false]);
    let store: &dyn Store = &setup.host.store;
    assert!(store.has(BlobDigest::of("blob"), 4).unwrap());
    // More than was said is no parcel.
    let talk = Laptop::hello(Purpose::Change)
        .lock()
        .ask(Request::Parcel {
            parcel: parcel(b"blob"),
            from: 0,
        })
        .data(b"blob and more")
        .talk(&setup);
    assert!(matches!(talk.ended, Err(FrameError::Message(_))));
    assert_eq!(setup.fake.now().lease, None);
}

#[test]
fn the_second_is_told_who_holds_the_host() {
    let setup = setup();
    setup.fake.now().lease = Some(("bert@laptop".to_owned(), false));
    let talk = Laptop::hello(Purpose::Change).lock().talk(&setup);
    assert!(talk.refused().contains("bert@laptop"));
    assert_eq!(
        talk.welcome.as_ref().unwrap().lease.as_ref().unwrap().by,
        "bert@laptop"
    );
    // Its lease is not given back by another.
    assert!(setup.fake.now().lease.is_some());
    let talk = Laptop::hello(Purpose::Change)
        .ask(Request::Unlock { force: false })
        .ask(Request::Unlock { force: true })
        .lock()
        .lock()
        .talk(&setup);
    assert!(matches!(talk.replies[0], Reply::Refused { .. }));
    assert_eq!(talk.replies[1..], [Reply::Done, Reply::Done, Reply::Done]);
}

#[test]
fn deploys_confirms_and_tells_it_all() {
    let setup = setup();
    setup.fake.now().changes = vec![change()];
    let one = bundle("one");
    assert_eq!(deploy(&setup, &one), 1);
    assert_eq!(setup.fake.now().started, [(1, Duration::from_secs(300))]);
    let two = bundle("two");
    assert_eq!(deploy(&setup, &two), 2);
    let talk = Laptop::hello(Purpose::Ask)
        .ask(Request::Status)
        .ask(Request::History)
        .ask(Request::Bundle { generation: None })
        .ask(Request::Bundle {
            generation: Some(1),
        })
        .ask(Request::Bundle {
            generation: Some(9),
        })
        .talk(&setup);
    let Reply::Status { status } = &talk.replies[0] else {
        panic!("{talk:?}");
    };
    assert_eq!(status.current.as_ref().unwrap().number, 2);
    assert_eq!(status.drift, [change()]);
    let Reply::History { generations } = &talk.replies[1] else {
        panic!("{talk:?}");
    };
    let lines: Vec<_> = generations
        .iter()
        .map(|line| (line.record.number, line.current, line.kept))
        .collect();
    assert_eq!(lines, [(1, false, true), (2, true, true)]);
    for (reply, sealed) in [(&talk.replies[2], &two), (&talk.replies[3], &one)] {
        let Reply::Bundle { bundle, blobs } = reply else {
            panic!("{reply:?}");
        };
        assert_eq!(*bundle, Some(sealed.digest()));
        let all: BTreeMap<_, _> = sealed.blobs().map(|(d, b)| (d, b.to_vec())).collect();
        assert_eq!(*blobs, all);
    }
    assert!(talk.refused().contains("no generation 9"));
}

#[test]
fn only_a_connection_after_the_end_may_confirm() {
    let setup = setup();
    let sealed = bundle("one");
    let offered = Laptop::hello(Purpose::Change)
        .ask(Request::Offer(offer(&sealed)))
        .talk(&setup);
    let ended = Event::Ended {
        ending: Ending::AwaitingConfirmation {
            generation: 1,
            token: "token".to_owned(),
            deadline: 0,
        },
    };
    setup.fake.now().events = vec![
        Event::Say {
            text: "x".to_owned(),
        },
        ended,
    ];
    let confirm = Request::Confirm {
        token: "token".to_owned(),
    };
    let talk = Laptop::hello(Purpose::Change)
        .ask(Request::Offer(offer(&sealed)))
        .lock()
        .redis()
        .ask(Request::Keep)
        .ask(Request::Keep)
        .ask(Request::Activate {
            plan: offered.plan(),
            deadline: 300,
            retry: false,
        })
        .ask(confirm.clone())
        .talk(&setup);
    assert!(talk.refused().contains("older than the end"), "{talk:?}");
    // The activation has the lease now, and keeps it.
    assert_eq!(
        setup.fake.now().lease,
        Some(("activation".to_owned(), false))
    );
    assert_eq!(setup.fake.now().current, None);
    let talk = Laptop::hello(Purpose::Change)
        .ask(confirm.clone())
        .ask(confirm)
        .talk(&setup);
    for reply in &talk.replies {
        assert!(matches!(reply, Reply::Confirmed { generation: 1, .. }));
    }
}

#[test]
fn abandoning_tells_how_the_host_went_back() {
    let setup = setup();
    setup.fake.now().events = vec![Event::Say {
        text: "before".to_owned(),
    }];
    let talk = Laptop::hello(Purpose::Change)
        .ask(Request::Abandon {
            token: "token".to_owned(),
            why: "not reachable".to_owned(),
        })
        .ask(Request::Attach)
        .talk(&setup);
    assert!(matches!(
        talk.replies[..],
        [
            Reply::Event { .. },
            Reply::Ended {
                ending: Ending::RolledBack { .. }
            },
            Reply::Event { .. },
            Reply::Event { .. },
            Reply::Ended { .. },
        ]
    ));
}

#[test]
fn a_bundle_that_failed_is_activated_only_where_that_is_said() {
    let setup = setup();
    let sealed = bundle("one");
    setup.fake.now().records = vec![record(
        1,
        Some(sealed.digest()),
        Outcome::Failed {
            at: 1,
            step: "health".to_owned(),
            why: "it ends".to_owned(),
        },
    )];
    let offered = Laptop::hello(Purpose::Change)
        .ask(Request::Offer(offer(&sealed)))
        .talk(&setup);
    let attempt = |retry: bool| {
        Laptop::hello(Purpose::Change)
            .ask(Request::Offer(offer(&sealed)))
            .lock()
            .redis()
            .ask(Request::Keep)
            .ask(Request::Activate {
                plan: offered.plan(),
                deadline: 300,
                retry,
            })
            .talk(&setup)
    };
    assert!(
        attempt(false)
            .refused()
            .contains("generation 1, health: it ends")
    );
    assert_eq!(setup.fake.now().started, []);
    attempt(true);
    assert_eq!(setup.fake.now().started.len(), 1);
}

#[test]
fn a_refusal_cannot_be_overridden() {
    let setup = setup();
    setup.fake.now().refusals = vec!["your key would go".to_owned()];
    let sealed = bundle("one");
    let offered = Laptop::hello(Purpose::Change)
        .ask(Request::Offer(offer(&sealed)))
        .talk(&setup);
    let talk = Laptop::hello(Purpose::Change)
        .ask(Request::Offer(offer(&sealed)))
        .lock()
        .redis()
        .ask(Request::Keep)
        .ask(Request::Activate {
            plan: offered.plan(),
            deadline: 300,
            retry: true,
        })
        .talk(&setup);
    assert_eq!(talk.refused(), "your key would go");
    assert_eq!(setup.fake.now().started, []);
}

#[test]
fn rolls_back_to_the_last_that_was_confirmed() {
    let setup = setup();
    let plan = |to| {
        Laptop::hello(Purpose::Ask)
            .ask(Request::PlanRollback { to })
            .talk(&setup)
    };
    assert!(plan(None).refused().contains("never been"));
    setup.fake.now().records = vec![record(0, None, CONFIRMED)];
    deploy(&setup, &bundle("one"));
    assert!(plan(None).refused().contains("no confirmed generation"));
    deploy(&setup, &bundle("two"));
    let planned = plan(None);
    assert!(matches!(planned.last(), Reply::Planned { to: 1, .. }));
    assert!(matches!(plan(Some(0)).last(), Reply::Planned { to: 0, .. }));
    assert!(plan(Some(7)).refused().contains("no generation 7"));
    let roll = |plan| {
        Laptop::hello(Purpose::Change)
            .lock()
            .ask(Request::Rollback {
                to: 1,
                plan,
                deadline: 60,
            })
            .talk(&setup)
    };
    assert!(
        roll(BlobDigest::of("old"))
            .refused()
            .contains("has changed")
    );
    let talk = roll(planned.plan());
    assert!(matches!(talk.last(), Reply::Ended { .. }));
    assert_eq!(
        setup.fake.now().started.last(),
        Some(&(1, Duration::from_secs(60)))
    );
}

#[test]
fn logs_and_commands_stream_their_bytes() {
    let setup = setup();
    let talk = Laptop::hello(Purpose::Ask)
        .ask(Request::Logs {
            service: "cache".to_owned(),
            tail: None,
            follow: false,
            since: None,
        })
        .talk(&setup);
    assert_eq!(talk.data.concat().len(), 5 + 100_000);
    assert_eq!(talk.last(), &Reply::Done);
    let talk = Laptop::hello(Purpose::Change)
        .ask(Request::Exec {
            service: "cache".to_owned(),
            command: vec!["cat".to_owned(), "-".to_owned()],
            user: None,
        })
        .data(b"in")
        .data(b"put")
        .data(b"")
        .talk(&setup);
    assert_eq!(talk.data, [b"\x01INPUT".to_vec(), b"\x02cat -".to_vec()]);
    assert_eq!(talk.last(), &Reply::Exited { code: 7 });
}

/// A line that ends after so many bytes, in the direction of the laptop.
struct Short(usize);

impl Write for Short {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn wherever_the_connection_ends_no_lease_stays_unless_an_activation_has_it() {
    let sealed = bundle("one");
    let plan = {
        let setup = setup();
        Laptop::hello(Purpose::Change)
            .ask(Request::Offer(offer(&sealed)))
            .talk(&setup)
            .plan()
    };
    let said = Laptop::hello(Purpose::Change)
        .ask(Request::Offer(offer(&sealed)))
        .lock()
        .redis()
        .ask(Request::Keep)
        .ask(Request::Activate {
            plan,
            deadline: 300,
            retry: false,
        })
        .0;
    let is_sound = |setup: &Setup, at: usize| {
        let now = setup.fake.now();
        match now.started.len() {
            0 => assert_eq!(now.lease, None, "{at}"),
            _ => assert_eq!(now.lease.as_ref().unwrap().0, "activation", "{at}"),
        }
        let store: &dyn Store = &setup.host.store;
        assert!(
            crate::edge::store::verify(store).unwrap().is_intact(),
            "{at}"
        );
    };
    let mut starts = 0;
    for at in (0..=said.len()).step_by(53).chain([said.len()]) {
        let setup = setup();
        // What the laptop says is cut.
        talk(&setup, said[..at].to_vec());
        is_sound(&setup, at);
        starts += setup.fake.now().started.len();
    }
    assert!(starts > 0);
    let mut starts = 0;
    for at in (0..1200).step_by(61) {
        let setup = setup();
        // What the laptop hears is cut.
        let ended = serve(
            &setup.host,
            Box::new(Cursor::new(said.clone())),
            &mut Short(at),
            &setup.fake,
        );
        is_sound(&setup, at);
        starts += setup.fake.now().started.len();
        assert!(
            ended.is_err() || setup.fake.now().started.len() == 1,
            "{at}"
        );
    }
    assert!(starts < 1200 / 61);
}

#[test]
fn collects_what_no_kept_generation_needs() {
    let setup = setup();
    setup.fake.now().records = vec![record(0, None, CONFIRMED)];
    let bundles = ["one", "two", "three", "four"].map(bundle);
    for sealed in &bundles {
        deploy(&setup, sealed);
    }
    let files = setup.host.paths.files();
    for text in ["one", "two", "three", "four"] {
        let folder = files.join(BlobDigest::of(text).hex());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("conf"), text).unwrap();
    }
    let volume = setup.host.paths.volumes().join("data");
    fs::create_dir_all(&volume).unwrap();
    for agent in ["agent", "old"] {
        let path = setup.host.paths.agent(BlobDigest::of(agent));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, agent).unwrap();
    }
    fs::create_dir_all(setup.host.paths.partial()).unwrap();
    fs::write(setup.host.paths.partial().join("x"), "half").unwrap();
    let ours = format!("forge.invalid/redis:sha256-{}", redis().0.hex());
    let old = "forge.invalid/redis:sha256-00".to_owned();
    let used = "forge.invalid/redis:sha256-01".to_owned();
    let theirs = "docker.io/theirs:1".to_owned();
    setup.fake.now().loaded = [&ours, &old, &used, &theirs].into_iter().cloned().collect();
    setup.fake.now().in_use = BTreeSet::from([used.clone()]);

    let gc = |dry_run| {
        let talk = Laptop::hello(Purpose::Change)
            .ask(Request::Gc { keep: 1, dry_run })
            .talk(&setup);
        match talk.last() {
            Reply::Collected { report } => report.clone(),
            other => panic!("{other:?}"),
        }
    };
    let planned = gc(true);
    assert_eq!(setup.fake.now().loaded.len(), 4);
    assert!(files.join(BlobDigest::of("one").hex()).is_dir());
    let done = gc(false);
    // The current one, and the one that a rollback would go to.
    assert_eq!(done.generations, [1, 2]);
    assert_eq!((done.files, done.agents), (2, 1));
    assert_eq!(done.images, std::slice::from_ref(&old));
    assert_eq!(planned.images, [old, used.clone()]);
    assert_eq!(
        (planned.generations, planned.blobs, planned.bytes),
        (done.generations, done.blobs, done.bytes)
    );
    assert_eq!(
        setup.fake.now().loaded,
        [ours, used, theirs].into_iter().collect()
    );
    assert!(!files.join(BlobDigest::of("one").hex()).exists());
    assert!(files.join(BlobDigest::of("three").hex()).is_dir());
    assert!(files.join(BlobDigest::of("four").hex()).is_dir());
    assert!(volume.is_dir());
    assert!(setup.host.paths.agent(BlobDigest::of("agent")).is_file());
    assert!(!setup.host.paths.agent(BlobDigest::of("old")).exists());
    assert_eq!(setup.fake.now().lease, None);
    let again = gc(false);
    assert_eq!((again.blobs, again.bytes, again.files), (0, 0, 0));
    // What stays can be gone back to.
    let talk = Laptop::hello(Purpose::Ask)
        .ask(Request::PlanRollback { to: None })
        .ask(Request::PlanRollback { to: Some(1) })
        .talk(&setup);
    assert!(matches!(talk.replies[0], Reply::Planned { to: 3, .. }));
    assert!(matches!(talk.replies[1], Reply::Refused { .. }), "{talk:?}");
    setup.fake.now().lease = Some(("bert@laptop".to_owned(), false));
    let talk = Laptop::hello(Purpose::Change)
        .ask(Request::Gc {
            keep: 1,
            dry_run: false,
        })
        .talk(&setup);
    assert!(talk.refused().contains("bert@laptop"));
}

#[test]
fn verifies_blobs_files_and_what_runs() {
    let setup = setup();
    let sealed = bundle("one");
    deploy(&setup, &sealed);
    let verify = || {
        let talk = Laptop::hello(Purpose::Ask)
            .ask(Request::Verify)
            .talk(&setup);
        match talk.last() {
            Reply::Verified { problems, .. } => problems.clone(),
            other => panic!("{other:?}"),
        }
    };
    // Neither file was ever written.
    assert_eq!(verify().len(), 2);
    for (text, name) in [("one", "conf"), ("services: {}", "compose.yaml")] {
        let folder = setup.host.paths.files().join(BlobDigest::of(text).hex());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), text).unwrap();
    }
    assert_eq!(verify(), []);
    let file = setup
        .host
        .paths
        .files()
        .join(BlobDigest::of("one").hex())
        .join("conf");
    fs::write(&file, "two").unwrap();
    let found = verify();
    assert!(found[0].why.contains(&BlobDigest::of("two").to_string()));
    fs::write(&file, "one").unwrap();
    setup.fake.now().changes = vec![
        change(),
        Change::new(Kind::Package, "curl", Action::Add, "not installed"),
    ];
    assert_eq!(verify()[0].subject, "service cache");
    assert_eq!(verify().len(), 1);
    let store: &dyn Store = &setup.host.store;
    let (_, blobs) = redis();
    let layer = BlobDigest::of("a layer of redis");
    assert!(blobs.contains_key(&layer));
    fs::remove_file(store.location(layer)).unwrap();
    fs::write(store.location(layer), "A layer of redis").unwrap();
    assert!(
        verify()
            .iter()
            .any(|problem| problem.why.contains("generation-1"))
    );
}
