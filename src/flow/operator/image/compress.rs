//! An image with its layers compressed, for archives. forge's own layers are not, so that their digests depend on no compressor; what comes
//! out here is another manifest, with the same config.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;

use super::contents::ContentsError;
use crate::edge::http::Told;
use crate::edge::packing::Compression;
use crate::edge::store::{Store, Trust};
use crate::pure::oci::manifest::children;
use crate::pure::oci::{Link, rewrite};

/// Puts a compressed twin of an image into the store; nothing names it there. Layers that are compressed already stay as they are.
///
/// # Errors
/// [`ContentsError`].
pub fn compress(
    store: &dyn Store,
    image: &Link,
    how: Compression,
    advance: &dyn Fn(u64),
) -> Result<Link, ContentsError> {
    let bytes = store.read(image.digest)?;
    let mut writer = store.begin(Trust::Size)?;
    let mut packed = BTreeMap::new();
    for link in children(&image.media_type, &bytes)? {
        let Some(media_type) = how.of(&link.media_type) else {
            continue;
        };
        let told = Cell::new(0);
        let mut blob = Some(Told::new(store.open(link.digest)?, advance, &told));
        let (digest, size, _) = writer.create(&mut |to| {
            let mut blob = blob.take().ok_or(io::ErrorKind::UnexpectedEof)?;
            how.pack(&mut blob, to).map(drop)
        })?;
        let new = Link {
            media_type: media_type.to_owned(),
            digest,
            size,
            artifact_type: None,
        };
        packed.insert(link.digest, new);
    }
    let Some(bytes) = rewrite::with_links(&bytes, &packed)? else {
        return Ok(image.clone());
    };
    let twin = Link::to(&image.media_type, &bytes);
    writer.put(twin.digest, twin.size, &mut bytes.as_slice())?;
    writer.commit(&[])?;
    Ok(twin)
}
