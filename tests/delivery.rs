//! What a host is missing reaches it: packed on the laptop, sent, cut off, gone on with, unpacked; or fetched from registries.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

mod registry_support;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use forge::edge::parcel::Wire;
use forge::edge::store::{MemoryStore, RefChange, Store, Trust};
use forge::flow::host::fetch::{Fetched, Sources, fetch};
use forge::flow::host::receive::{Receiver, holding};
use forge::flow::host::tell::Kept;
use forge::flow::operator::deliver::{Conduit, Delivery, SendError, contents, prepare};
use forge::flow::progress::Silent;
use forge::pure::delivery::{Encoding, Holding};
use forge::pure::generation::Fetch;
use forge::pure::name::{Arch, BlobDigest, ManifestDigest};
use forge::pure::oci::{Link, media};
use forge::pure::protocol::{Event, Reply, Request, Secretive, frame};

use registry_support::server::{Reply as Answer, Server};
use registry_support::{http, noise};

/// What the other end of the wire does with what comes, up to a number of bytes.
#[derive(Debug)]
struct Line<'a> {
    receiver: Receiver<'a>,
    replies: VecDeque<Reply>,
    sent: u64,
    /// The connection is lost once so much has been sent.
    until: u64,
    /// The most answers that were waiting to be read.
    waiting: usize,
    data: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("lost")]
struct Lost;

impl<'a> Line<'a> {
    fn open(host: &'a dyn Store, partial: &Path, until: u64) -> Self {
        Self {
            receiver: Receiver::open(host, partial).unwrap(),
            replies: VecDeque::new(),
            sent: 0,
            until,
            waiting: 0,
            data: 0,
        }
    }

    fn take(&mut self, size: usize) -> Result<(), Lost> {
        self.sent += size as u64;
        if self.sent > self.until {
            return Err(Lost);
        }
        Ok(())
    }

    fn finished(&mut self) {
        if self.receiver.is_complete() {
            let reply = match self.receiver.finish() {
                Ok(blob) => Reply::Arrived { blob },
                Err(error) => Reply::Refused {
                    why: error.to_string(),
                    hint: None,
                },
            };
            self.replies.push_back(reply);
            self.waiting = self.waiting.max(self.replies.len());
        }
    }
}

impl Conduit for Line<'_> {
    type Error = Lost;

    fn request(&mut self, request: &Request) -> Result<(), Lost> {
        let mut bytes = Vec::new();
        frame::send(&mut bytes, request).unwrap();
        self.take(bytes.len())?;
        let Request::Parcel { parcel, from } = request else {
            panic!("{request:?}");
        };
        self.receiver.begin(*parcel, *from).unwrap();
        self.finished();
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        self.take(frame::data_frame_size(bytes.len()))?;
        self.data += bytes.len() as u64;
        self.receiver.write(bytes).unwrap();
        self.finished();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Lost> {
        Ok(())
    }

    fn reply(&mut self) -> Result<Reply, Lost> {
        self.replies.pop_front().ok_or(Lost)
    }
}

/// An image in a store, with one layer for each of these (key, bytes), under this name.
fn image(store: &dyn Store, name: &str, layers: &[(&str, &[u8])]) -> Link {
    let mut writer = store.begin(Trust::Size).unwrap();
    let mut descriptor = |media_type: &str, bytes: &[u8], key: &str| {
        let digest = BlobDigest::of(bytes);
        let mut content = bytes;
        writer
            .put(digest, bytes.len() as u64, &mut content)
            .unwrap();
        format!(
            r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{},"annotations":{{"{}":"{key}"}}}}"#,
            bytes.len(),
            media::LAYER_KEY
        )
    };
    let config = format!(r#"{{"architecture":"amd64","os":"linux","author":"{name}"}}"#);
    let config = descriptor(media::IMAGE_CONFIG, config.as_bytes(), "config");
    let layers: Vec<String> = layers
        .iter()
        .map(|(key, bytes)| descriptor(media::LAYER, bytes, key))
        .collect();
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","config":{config},"layers":[{}]}}"#,
        media::MANIFEST,
        layers.join(",")
    );
    descriptor(media::MANIFEST, manifest.as_bytes(), "");
    let link = Link::to(media::MANIFEST, manifest.as_bytes());
    let change = RefChange::Set(name.parse().unwrap(), link.clone());
    writer.commit(&[change]).unwrap();
    link
}

struct World {
    folder: tempfile::TempDir,
    laptop: MemoryStore,
    host: MemoryStore,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            laptop: MemoryStore::default(),
            host: MemoryStore::default(),
        }
    }

    fn holding(&self, image: &Link) -> Holding {
        let pieces = contents(&self.laptop, std::slice::from_ref(image)).unwrap();
        let asked = pieces
            .iter()
            .map(|piece| (piece.blob, piece.size))
            .collect();
        holding(&self.host, &self.folder.path().join("partial"), &asked).unwrap()
    }

    fn prepare(&self, image: &Link) -> Delivery {
        let wire = Wire::open(&self.folder.path().join("wire")).unwrap();
        let images = std::slice::from_ref(image);
        prepare(&self.laptop, wire, images, &self.holding(image), &Silent).unwrap()
    }

    fn line(&self, until: u64) -> Line<'_> {
        Line::open(&self.host, &self.folder.path().join("partial"), until)
    }

    fn has_all(&self, image: &Link) {
        for piece in contents(&self.laptop, std::slice::from_ref(image)).unwrap() {
            let read = |store: &dyn Store| store.read(piece.blob).unwrap();
            assert_eq!(read(&self.host), read(&self.laptop));
        }
        registry_support::assert_clean(&self.host);
        let partial = self.folder.path().join("partial");
        assert_eq!(std::fs::read_dir(partial).unwrap().count(), 0);
    }
}

/// Two versions of an image; the host has the first.
fn update() -> (World, Link) {
    let world = World::new();
    let base = noise(3_000_000);
    let text = "all work and no play\n".repeat(50_000);
    let first: [(&str, &[u8]); 2] = [("deb/base", &base), ("deb/app", &base[..2_000_000])];
    image(&world.laptop, "first", &first);
    image(&world.host, "first", &first);
    let mut app = base[..2_000_000].to_vec();
    app.splice(1_000_000..1_000_100, noise(700_000).into_iter().rev());
    let second: [(&str, &[u8]); 3] = [
        ("deb/base", &base),
        ("deb/app", &app),
        ("deb/text", text.as_bytes()),
    ];
    let link = image(&world.laptop, "second", &second);
    (world, link)
}

#[test]
fn an_update_takes_exactly_what_was_said_before() {
    let (world, image) = update();
    let delivery = world.prepare(&image);
    let encodings: Vec<Encoding> = delivery.parcels().map(|parcel| parcel.encoding).collect();
    assert_eq!(encodings.len(), 4, "{encodings:?}");
    assert!(
        matches!(encodings[2], Encoding::Patch { .. }),
        "{encodings:?}"
    );
    assert!(matches!(encodings[3], Encoding::Zstd), "{encodings:?}");
    assert!(delivery.bytes < 720_000, "{}", delivery.bytes);

    let mut line = world.line(u64::MAX);
    delivery.send(&world.laptop, &mut line, &Silent).unwrap();
    assert_eq!(line.sent, delivery.bytes);
    line.receiver.commit().unwrap();
    drop(line);
    world.has_all(&image);

    assert!(world.prepare(&image).is_empty());
    assert_eq!(world.prepare(&image).bytes, 0);
    delivery.clear().unwrap();
}

#[test]
fn a_connection_that_is_lost_anywhere_costs_what_was_on_its_way() {
    let (world, image) = update();
    let whole = world.prepare(&image).bytes;
    // Within each frame, and between them.
    let cuts = (0..whole).step_by(usize::try_from(whole / 12).unwrap());
    for cut in cuts {
        let (world, _) = update();
        let delivery = world.prepare(&image);
        let mut line = world.line(cut);
        let error = delivery
            .send(&world.laptop, &mut line, &Silent)
            .unwrap_err();
        assert!(matches!(error, SendError::Conduit(Lost)), "{error}");
        let there = line.data;
        line.receiver.commit().unwrap();
        drop(line);
        drop(delivery);

        let delivery = world.prepare(&image);
        let mut line = world.line(u64::MAX);
        delivery.send(&world.laptop, &mut line, &Silent).unwrap();
        assert_eq!(line.sent, delivery.bytes);
        // Small parcels that were not whole are sent again, and heads of frames.
        assert!(
            line.sent + there < whole + 1000,
            "cut at {cut}: {there} and {} of {whole}",
            line.sent
        );
        line.receiver.commit().unwrap();
        drop(line);
        world.has_all(&image);
    }
}

#[test]
fn why_the_host_ended_it_is_told() {
    let (world, image) = update();
    let delivery = world.prepare(&image);
    // What the host has as the base is not what it is named.
    let base = delivery
        .parcels()
        .find_map(|parcel| match parcel.encoding {
            Encoding::Patch { base } => Some(base),
            _ => None,
        })
        .unwrap();
    world
        .host
        .tamper(base, Some(&noise(2_000_000)[..1_999_999]));
    let mut line = world.line(u64::MAX);
    let error = delivery
        .send(&world.laptop, &mut line, &Silent)
        .unwrap_err();
    assert!(matches!(error, SendError::Refused { .. }), "{error}");
    // And where it has closed the connection, too.
    let mut line = world.line(delivery.bytes - 100);
    let error = delivery
        .send(&world.laptop, &mut line, &Silent)
        .unwrap_err();
    assert!(matches!(error, SendError::Refused { .. }), "{error}");
}

#[test]
fn answers_never_fill_the_pipes() {
    let world = World::new();
    let layers: Vec<(String, Vec<u8>)> = (0..600)
        .map(|number| (format!("deb/{number}"), noise(100 + number)))
        .collect();
    let layers: Vec<(&str, &[u8])> = layers
        .iter()
        .map(|(key, bytes)| (key.as_str(), bytes.as_slice()))
        .collect();
    let image = image(&world.laptop, "many", &layers);
    let delivery = world.prepare(&image);
    let mut line = world.line(u64::MAX);
    delivery.send(&world.laptop, &mut line, &Silent).unwrap();
    let mut answer = Vec::new();
    let blob = BlobDigest::of("");
    frame::send(&mut answer, &Reply::Arrived { blob }).unwrap();
    assert!(line.waiting * answer.len() <= 64 << 10, "{}", line.waiting);
    line.receiver.commit().unwrap();
    drop(line);
    world.has_all(&image);
}

#[test]
fn the_host_fetches_pinned_images_and_believes_no_registry() {
    let origin = MemoryStore::default();
    let good = image(&origin, "good", &[("", &noise(200_000))]);
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[{{"mediaType":"{}","digest":"{}","size":{},"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
        media::INDEX,
        media::MANIFEST,
        good.digest,
        good.size
    )
    .into_bytes();
    let pinned = ManifestDigest::of(&index);
    let served = origin.clone();
    let bytes_of_index = index.clone();
    let server = Server::start(move |asked, _| {
        let credentials = asked.header("authorization");
        if asked.path.starts_with("/v2/private/") && credentials != Some("Basic YW5uYTpzM2NyZXQ=") {
            return Answer::new(401, "{}").with("WWW-Authenticate", "Basic realm=\"x\"");
        }
        let Some((kind, digest)) = asked
            .path
            .rsplit_once('/')
            .and_then(|(front, digest)| Some((front.rsplit_once('/')?.1, digest)))
        else {
            return Answer::new(404, "{}");
        };
        let bytes = match digest.parse::<BlobDigest>() {
            Ok(digest) if digest == pinned.blob() => bytes_of_index.clone(),
            Ok(digest) => {
                let store: &dyn Store = &served;
                match store.read(digest) {
                    Ok(bytes) => bytes,
                    Err(_) => return Answer::new(404, "{}"),
                }
            }
            Err(_) => return Answer::new(404, "{}"),
        };
        let mut bytes = bytes;
        if asked.path.starts_with("/v2/lying/") && kind == "blobs" {
            bytes[0] ^= 1;
        }
        let media_type = match (kind, digest == pinned.to_string()) {
            ("manifests", true) => media::INDEX,
            ("manifests", false) => media::MANIFEST,
            _ => "application/octet-stream",
        };
        Answer::file(asked, &bytes).with("Content-Type", media_type)
    });
    let wanted = |image: &str, digest: ManifestDigest| Fetch {
        image: image.parse().unwrap(),
        repository: format!("{}/{image}", server.host),
        tag: "1".to_owned(),
        digest,
    };
    let images = [
        wanted("app", pinned),
        wanted("private", good.digest.as_manifest()),
        wanted("gone", ManifestDigest::of("gone")),
    ];
    let logins = BTreeMap::from([(
        server.host.clone(),
        ("anna".to_owned(), Secretive("s3cret".to_owned())),
    )]);
    let plain_http = BTreeSet::from([server.host.clone()]);
    let mirrors = BTreeMap::new();
    let sources = Sources {
        credentials: &logins,
        plain_http: &plain_http,
        mirrors: &mirrors,
    };
    let (http, _) = http();

    let lied_to = MemoryStore::default();
    let lie = [wanted("lying", pinned)];
    let Fetched {
        images: had,
        failed,
    } = fetch(
        &http,
        sources,
        &lied_to,
        &lie,
        Arch::Amd64,
        &Kept::default(),
    );
    assert!(had.is_empty());
    assert_eq!(failed.len(), 1);
    registry_support::assert_clean(&lied_to);
    assert_eq!(lied_to.size(good.digest).unwrap(), None);

    let host = MemoryStore::default();
    let told = Kept::default();
    let fetched = fetch(&http, sources, &host, &images, Arch::Amd64, &told);
    let names: Vec<String> = fetched.images.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["app", "private"], "{fetched:?}");
    let app = &fetched.images["app"];
    assert_eq!((app.pinned, &app.manifest.digest), (pinned, &good.digest));
    assert_eq!(fetched.failed.len(), 1);
    registry_support::assert_clean(&host);
    let ended = told.events().into_iter().any(|event| {
        matches!(event, Event::Progress { done, of, what } if what == "app" && done == of && of > 200_000)
    });
    assert!(ended);
    assert!(!format!("{told:?}{fetched:?}{sources:?}").contains("s3cret"));
}
