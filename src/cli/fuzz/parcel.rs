//! What a laptop sends to a host.

use crate::edge::parcel::decode;
use crate::edge::store::{MemoryStore, Store, StoreError, Trust};
use crate::pure::delivery::{Encoding, Parcel};
use crate::pure::name::BlobDigest;

/// What patches are against: the text that the parcels of the tests are made with.
pub const PARCEL_BASE: &[u8] = include_bytes!("parcel.rs");

/// The first byte says how the rest is packed. Whatever comes out is not the blob that is wanted, and nothing is stored: the blob's digest is
/// that of other bytes, its size a large one, so that all of it is unpacked.
pub fn parcel(bytes: &[u8]) -> Result<String, String> {
    let (kind, content) = bytes.split_first().unwrap_or((&0, &[]));
    let told = |error: StoreError| error.to_string();
    let store = MemoryStore::default();
    let mut writer = store.begin(Trust::Size).map_err(told)?;
    let base = BlobDigest::of(PARCEL_BASE);
    let mut content_of_base = PARCEL_BASE;
    writer
        .put(base, PARCEL_BASE.len() as u64, &mut content_of_base)
        .map_err(told)?;
    writer.commit(&[]).map_err(told)?;

    let parcel = Parcel {
        blob: BlobDigest::of("other bytes"),
        size: 64 << 20,
        encoding: match kind % 3 {
            0 => Encoding::Identity,
            1 => Encoding::Zstd,
            _ => Encoding::Patch { base },
        },
        digest: BlobDigest::of(content),
        bytes: content.len() as u64,
    };
    let mut writer = store.begin(Trust::Size).map_err(told)?;
    let mut content = content;
    let base = store.open(base).map_err(told)?;
    match decode(&parcel, &mut content, Some(base), &mut *writer) {
        Ok(put) => Err(format!("{put:?}")),
        Err(error @ (StoreError::NotAsNamed { .. } | StoreError::Source { .. })) => {
            Ok(error.to_string())
        }
        Err(error) => Err(error.to_string()),
    }
}
