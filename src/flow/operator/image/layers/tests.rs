use std::sync::Mutex;

use super::{LayersError, PackageLayer, package_layers};
use crate::edge::store::{Memo, MemoryStore, Put, Store, StoreError, Trust, plan_gc};
use crate::flow::progress::{Progress, Silent};
use crate::pure::images::layer::testing::{
    CONTROL, Item, ar, deb_of, file, folder, hardlink, pack, pin, tar,
};
use crate::pure::images::rules::Prune;
use crate::pure::pins::PackagePin;

/// As many packages as asked for, of different sizes and packings.
fn debs(count: usize) -> Vec<(PackagePin, Vec<u8>)> {
    (0..count)
        .map(|number| {
            let name = format!("p{number}");
            // Not to be compressed away.
            let noise = (0..number * 50_000 % 300_001).map(|at| ((at * at * 31) >> 7) as u8);
            let items: Vec<Item> = vec![
                folder("./usr/"),
                file(&format!("./usr/b{number}"), &noise.collect::<Vec<_>>()).mode(0o4755),
                hardlink(&format!("./usr/a{number}"), &format!("./usr/b{number}")),
            ];
            let ending = [".xz", ".gz", ".zst", ""][number % 4];
            let control = CONTROL.replace("demo", &name).replace(": 10", ": 400");
            let deb = deb_of(ending, &control, &tar(&items));
            (pin(&name, &deb), deb)
        })
        .collect()
}

fn fill(store: &dyn Store, debs: &[(PackagePin, Vec<u8>)]) -> Vec<PackagePin> {
    let mut writer = store.begin(Trust::Size).unwrap();
    for (pin, deb) in debs {
        let put = writer.put(pin.digest, pin.size, &mut deb.as_slice());
        assert_eq!(put.unwrap(), Put::Added);
    }
    writer.commit(&[]).unwrap();
    debs.iter().map(|(pin, _)| pin.clone()).collect()
}

/// What was said of the work.
#[derive(Debug, Default)]
struct Heard(Mutex<(usize, u64, u64, Vec<String>)>);

impl Progress for Heard {
    fn begin(&self, _: &str, items: usize, bytes: u64) {
        let mut heard = self.0.lock().unwrap();
        (heard.0, heard.1) = (items, bytes);
    }

    fn advance(&self, bytes: u64) {
        self.0.lock().unwrap().2 += bytes;
    }

    fn done(&self, item: &str) {
        self.0.lock().unwrap().3.push(item.to_owned());
    }
}

fn layers<S: Store + Memo>(
    store: &S,
    pins: &[PackagePin],
    jobs: usize,
    progress: &dyn Progress,
) -> Result<Vec<PackageLayer>, LayersError> {
    package_layers(store, store, pins, &Prune::default(), jobs, progress)
}

#[test]
fn layers_are_the_same_however_many_work_and_wherever() {
    let debs = debs(9);
    let memory = MemoryStore::default();
    let pins = fill(&memory, &debs);
    let first = layers(&memory, &pins, 1, &Silent).unwrap();
    let found: Vec<_> = first.iter().map(|layer| layer.package.clone()).collect();
    assert_eq!(found, pins);
    for layer in &first {
        let bytes = memory
            .open(layer.layer.digest)
            .unwrap()
            .read_whole()
            .unwrap();
        assert_eq!(bytes.len() as u64, layer.layer.size);
        assert_eq!(layer.notes.len(), 1, "{:?}", layer.notes);
        assert_eq!(
            layer.layer.media_type,
            "application/vnd.oci.image.layer.v1.tar"
        );
    }
    for jobs in [0, 2, 5, 64] {
        let other = MemoryStore::default();
        fill(&other, &debs);
        assert_eq!(
            layers(&other, &pins, jobs, &Silent).unwrap(),
            first,
            "{jobs}"
        );
        for layer in &first {
            assert!(other.size(layer.layer.digest).unwrap().is_some());
        }
    }
}

#[test]
fn what_is_known_is_not_read_again() {
    let debs = debs(5);
    let store = MemoryStore::default();
    let pins = fill(&store, &debs);
    let heard = Heard::default();
    let first = layers(&store, &pins[..4], 2, &heard).unwrap();
    {
        let mut heard = heard.0.lock().unwrap();
        heard.3.sort();
        let bytes: u64 = pins[..4].iter().map(|pin| pin.size).sum();
        assert_eq!((heard.0, heard.1, heard.2), (4, bytes, bytes));
        assert_eq!(heard.3, ["p0", "p1", "p2", "p3"]);
    }
    // Without the packages: they are not asked for.
    for pin in &pins[..4] {
        store.tamper(pin.digest, None);
    }
    let heard = Heard::default();
    assert_eq!(layers(&store, &pins[..4], 2, &heard).unwrap(), first);
    assert_eq!(heard.0.lock().unwrap().0, 0);
    let heard = Heard::default();
    assert_eq!(layers(&store, &pins, 2, &heard).unwrap()[..4], first);
    assert_eq!(heard.0.lock().unwrap().3, ["p4"]);

    // A pin that says something else of the same bytes is another question.
    let other = PackagePin {
        version: "9".to_owned(),
        ..pins[4].clone()
    };
    let error = layers(&store, &[other], 1, &Silent).unwrap_err();
    assert!(matches!(error, LayersError::Unpack(_)), "{error}");

    // Layers that nothing names are collected, and made again.
    fill(&store, &debs[..4]);
    let kept = layers(&store, &pins, 1, &Silent).unwrap();
    let plan = plan_gc(&store).unwrap();
    store.collect(plan).unwrap();
    fill(&store, &debs);
    assert_eq!(store.size(kept[0].layer.digest).unwrap(), None);
    assert_eq!(layers(&store, &pins, 2, &Silent).unwrap(), kept);
    assert!(store.size(kept[0].layer.digest).unwrap().is_some());
}

#[test]
fn other_rules_make_another_question() {
    let store = MemoryStore::default();
    let pins = fill(&store, &debs(1));
    let made = |prune: &Prune| {
        let heard = Heard::default();
        package_layers(&store, &store, &pins, prune, 1, &heard).unwrap();
        let heard = heard.0.lock().unwrap();
        heard.0
    };
    assert_eq!(made(&Prune::default()), 1);
    assert_eq!(made(&Prune::default()), 0);
    assert_eq!(
        made(&Prune::new(
            vec!["/nothing".to_owned()],
            vec!["/usr".to_owned()]
        )),
        1
    );
}

#[test]
fn the_first_error_wins_and_what_was_done_stays() {
    let mut debs = debs(8);
    // Two that say that they are another package, the later one first in line because it is the largest.
    for at in [2, 6] {
        let (name, size) = (format!("p{at}"), if at == 6 { 900_000 } else { 10 });
        let noise: Vec<u8> = (0..size)
            .map(|at: usize| ((at * at * 31) >> 7) as u8)
            .collect();
        let deb = deb_of("", CONTROL, &tar(&[file("./x", &noise)]));
        debs[at] = (pin(&name, &deb), deb);
    }
    for jobs in [1, 2, 4] {
        let store = MemoryStore::default();
        let mut pins = fill(&store, &debs);
        let error = layers(&store, &pins, jobs, &Silent).unwrap_err();
        assert!(
            error.to_string().contains("package `p2`"),
            "{jobs}: {error}"
        );
        // Those before it are done.
        pins.truncate(2);
        let heard = Heard::default();
        layers(&store, &pins, jobs, &heard).unwrap();
        assert_eq!(heard.0.lock().unwrap().0, 0);
    }
}

#[test]
fn a_package_whose_bytes_are_not_those_of_its_pin_makes_no_layer() {
    let debs = debs(4);
    for at in [0, 60, 100, 1000, debs[3].1.len() - 1] {
        let store = MemoryStore::default();
        let pins = fill(&store, &debs);
        let before = store.blobs().unwrap().len();
        let mut damaged = debs[3].1.clone();
        damaged[at] ^= 0x40;
        store.tamper(pins[3].digest, Some(&damaged));
        let error = layers(&store, &pins[3..], 2, &Silent).unwrap_err();
        assert!(
            matches!(&error, LayersError::Store(StoreError::Corrupt { expected, .. }) if *expected == pins[3].digest),
            "{at}: {error}"
        );
        // One that was appended to, too.
        damaged.push(b'!');
        store.tamper(pins[3].digest, Some(&damaged));
        assert!(layers(&store, &pins[3..], 2, &Silent).is_err());
        assert_eq!(store.blobs().unwrap().len(), before);
    }
    let store = MemoryStore::default();
    let pins = fill(&store, &debs);
    store.tamper(pins[1].digest, None);
    let error = layers(&store, &pins, 2, &Silent).unwrap_err();
    assert!(
        matches!(error, LayersError::Store(StoreError::Missing { .. })),
        "{error}"
    );
}

#[test]
fn a_memory_that_makes_no_sense_is_no_memory() {
    let store = MemoryStore::default();
    let pins = fill(&store, &debs(2));
    let first = layers(&store, &pins, 1, &Silent).unwrap();
    let key = super::key(&pins[1], Prune::default().fingerprint());
    let good = store.recall(&key).unwrap();
    for (field, value) in [
        ("size", serde_json::json!(1)),
        ("layer", serde_json::json!("x")),
    ] {
        let mut bad = good.clone();
        bad[field] = value;
        store.remember(&key, &bad).unwrap();
        assert_eq!(layers(&store, &pins, 1, &Silent).unwrap(), first);
        assert_eq!(store.recall(&key).unwrap(), good);
    }
}

#[test]
fn a_package_that_takes_much_memory_to_unpack_is_unpacked() {
    let data = tar(&[file("./a", &vec![7; 30_000])]);
    let preset = liblzma::stream::Stream::new_easy_encoder(9, liblzma::stream::Check::Crc64);
    let mut xz = liblzma::write::XzEncoder::new_stream(Vec::new(), preset.unwrap());
    std::io::Write::write_all(&mut xz, &data).unwrap();
    let deb = ar(&[
        ("debian-binary", b"2.0\n"),
        (
            "control.tar.gz",
            &pack(".gz", &tar(&[file("./control", CONTROL.as_bytes())])),
        ),
        ("data.tar.xz", &xz.finish().unwrap()),
    ]);
    let store = MemoryStore::default();
    let pins = fill(&store, &[(pin("demo", &deb), deb)]);
    let heard = Heard::default();
    layers(&store, &pins, 2, &heard).unwrap();
    // Its bytes are told once, although it was begun twice.
    assert_eq!(heard.0.lock().unwrap().2, pins[0].size);
}
