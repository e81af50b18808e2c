//! Layers packed, for registries and archives. In stores they are not, so that their digests depend on no compressor.

use std::io::{self, Read, Write};

use crate::pure::oci::media;

/// Docker's own layer before packing, which Docker itself never sends.
const DOCKER_UNPACKED: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// How layers are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// The media type of such a layer, packed: nothing if it is no unpacked layer, or if there is no such type.
    pub fn of(self, media_type: &str) -> Option<&'static str> {
        match (media_type, self) {
            (media::LAYER, Self::Gzip) => Some(media::LAYER_GZIP),
            (media::LAYER, Self::Zstd) => Some(media::LAYER_ZSTD),
            (DOCKER_UNPACKED, Self::Gzip) => Some(media::DOCKER_LAYER),
            _ => None,
        }
    }

    /// Packs all of `from`, and gives back where it went to. The same bytes are packed into the same bytes.
    ///
    /// # Errors
    /// Those of reading and writing.
    pub fn pack<W: Write>(self, from: &mut dyn Read, to: W) -> io::Result<W> {
        match self {
            Self::Gzip => {
                // Its header has no name and no time.
                let mut packer = flate2::write::GzEncoder::new(to, flate2::Compression::new(6));
                io::copy(from, &mut packer)?;
                packer.finish()
            }
            Self::Zstd => {
                // Fast, and smaller than gzip at its default.
                let mut packer = zstd::stream::write::Encoder::new(to, 3)?;
                packer.include_checksum(true)?;
                io::copy(from, &mut packer)?;
                packer.finish()
            }
        }
    }
}
