//! What `cargo xtask bench --deploy` measures: a blob packed against another and alone, and each taken as a host takes it.
//!
//! `parcels pack FOLDER BASE NEW` puts two files into stores below the folder and packs the second; it prints a line of JSON for each way.
//! `parcels receive FOLDER zstd|patch` unpacks one, and leaves nothing of it.
#![allow(clippy::print_stdout, clippy::disallowed_methods)]

use std::error::Error;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use forge::edge::parcel::{Wire, encode};
use forge::edge::store::{DiskStore, Options, Store, Trust};
use forge::flow::host::receive::Receiver;
use forge::pure::delivery::{Choice, Encoding, Parcel};
use forge::pure::name::BlobDigest;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["pack", folder, base, new] => pack(Path::new(folder), base, new),
        ["receive", folder, way] => receive(Path::new(folder), way),
        _ => Err("parcels pack FOLDER BASE NEW, parcels receive FOLDER zstd|patch".into()),
    }
}

fn put(store: &DiskStore, path: &str) -> Result<(BlobDigest, u64), Box<dyn Error>> {
    let bytes = fs::read(path)?;
    let (digest, size) = (BlobDigest::of(&bytes), bytes.len() as u64);
    let mut writer = store.begin(Trust::Size)?;
    writer.put(digest, size, &mut bytes.as_slice())?;
    writer.commit(&[])?;
    Ok((digest, size))
}

fn pack(folder: &Path, base: &str, new: &str) -> Result<(), Box<dyn Error>> {
    let laptop = DiskStore::open(&folder.join("laptop"), Options::default())?;
    let host = DiskStore::open(&folder.join("host"), Options::default())?;
    let (base, _) = put(&laptop, base).and_then(|found| put(&host, base).map(|_| found))?;
    let (blob, size) = put(&laptop, new)?;
    let wire = Wire::open(&folder.join("wire"))?;
    for (way, encoding) in [
        ("zstd", Encoding::Zstd),
        ("patch", Encoding::Patch { base }),
    ] {
        let choice = Choice {
            blob,
            size,
            encoding,
        };
        let begin = Instant::now();
        let made = encode(&laptop, &choice, &wire)?;
        let took = begin.elapsed();
        let mut content = wire.read(&laptop, &made, 0)?;
        std::io::copy(&mut content, &mut File::create(folder.join(way))?)?;
        let parcel = serde_json::to_vec(&made.parcel)?;
        fs::write(folder.join(format!("{way}.json")), parcel)?;
        println!(
            "{}",
            serde_json::json!({
                "way": way,
                "size": size,
                "bytes": made.parcel.bytes,
                "seconds": took.as_secs_f64(),
            })
        );
    }
    Ok(())
}

fn receive(folder: &Path, way: &str) -> Result<(), Box<dyn Error>> {
    let parcel: Parcel = serde_json::from_slice(&fs::read(folder.join(format!("{way}.json")))?)?;
    let host = DiskStore::open(&folder.join("host"), Options::default())?;
    let mut receiver = Receiver::open(&host, &folder.join("partial"))?;
    receiver.begin(parcel, 0)?;
    let mut content = File::open(folder.join(way))?;
    let mut chunk = vec![0; 256 << 10];
    while !receiver.is_complete() {
        let count = content.read(&mut chunk)?;
        receiver.write(&chunk[..count])?;
    }
    receiver.finish()?;
    // Not committed: so it can be repeated.
    Ok(())
}
