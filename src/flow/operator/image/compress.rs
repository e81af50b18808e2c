//! An image with its layers compressed, for registries and archives. forge's own layers are not, so that their digests depend on no
//! compressor; what comes out here is another manifest, with the same config.

use std::io::{self, Read as _, Write};

use super::contents::ContentsError;
use crate::edge::store::{Store, Trust};
use crate::pure::oci::image::{Compression, compression};
use crate::pure::oci::manifest::{parse_manifest, with_layers};
use crate::pure::oci::{Link, media};

/// Fast, and smaller than gzip at its default.
const ZSTD_LEVEL: i32 = 3;

/// Puts a compressed twin of an image into the store; nothing names it there. Layers that are compressed already stay as they are.
///
/// # Errors
/// [`ContentsError`].
pub fn compress(
    store: &dyn Store,
    image: &Link,
    form: Compression,
    advance: &dyn Fn(u64),
) -> Result<Link, ContentsError> {
    if form == Compression::None {
        return Ok(image.clone());
    }
    let manifest = parse_manifest(&store.read(image.digest)?)?;
    let mut writer = store.begin(Trust::Size)?;
    let mut layers = Vec::with_capacity(manifest.layers().len());
    for descriptor in manifest.layers() {
        let link = Link::try_from(descriptor)?;
        if compression(&link.media_type) != Some(Compression::None) {
            layers.push(link);
            continue;
        }
        let mut blob = Some(store.open(link.digest)?);
        let (digest, size, _) = writer.create(&mut |to| {
            let mut blob = blob.take().ok_or(io::ErrorKind::UnexpectedEof)?;
            let mut buffer = vec![0; 256 * 1024];
            let mut to = Compressor::new(form, to)?;
            loop {
                let count = blob.read(&mut buffer)?;
                if count == 0 {
                    return to.finish();
                }
                to.write_all(&buffer[..count])?;
                advance(count as u64);
            }
        })?;
        layers.push(Link {
            media_type: form.media_type().to_owned(),
            digest,
            size,
            artifact_type: None,
        });
    }
    let bytes = with_layers(&manifest, &layers)?;
    let twin = Link::to(media::MANIFEST, &bytes);
    writer.put(twin.digest, twin.size, &mut bytes.as_slice())?;
    writer.commit(&[])?;
    Ok(twin)
}

enum Compressor<'a> {
    Gzip(flate2::write::GzEncoder<&'a mut dyn Write>),
    Zstd(zstd::Encoder<'static, &'a mut dyn Write>),
    None(&'a mut dyn Write),
}

impl<'a> Compressor<'a> {
    fn new(form: Compression, to: &'a mut dyn Write) -> io::Result<Self> {
        Ok(match form {
            Compression::Gzip => Self::Gzip(flate2::write::GzEncoder::new(
                to,
                flate2::Compression::default(),
            )),
            Compression::Zstd => Self::Zstd(zstd::Encoder::new(to, ZSTD_LEVEL)?),
            Compression::None => Self::None(to),
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(to) => to.write_all(bytes),
            Self::Zstd(to) => to.write_all(bytes),
            Self::None(to) => to.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Gzip(to) => to.finish().map(drop),
            Self::Zstd(to) => to.finish().map(drop),
            Self::None(to) => to.flush(),
        }
    }
}
