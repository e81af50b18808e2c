//! Frames: one byte of kind, four bytes of length (big-endian), the payload.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A message: JSON.
    Message,
    /// A message: JSON, compressed with zstd.
    Packed,
    /// Bytes of what the message before announced.
    Data,
}

/// The largest payload.
pub const LARGEST: usize = 16 << 20;
/// The largest message when it is unpacked.
pub const LARGEST_MESSAGE: usize = 64 << 20;
/// log2 of the memory that a packed message may ask for: what [`send`] packs needs 21.
const LARGEST_WINDOW: u32 = 23;
/// Messages from this size on are compressed.
const WORTH_PACKING: usize = 512;

/// Why a frame cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("the connection ended")]
    Ended,
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error(
        "what came is no frame of forge (it begins with {0:?}); something else writes on the connection, such as a login message"
    )]
    Alien(String),
    #[error("a frame of {0} bytes is refused: {LARGEST} is the most")]
    TooLarge(usize),
    #[error("a message is not understood: {0}")]
    Message(String),
}

/// Writes a message, and flushes.
///
/// # Errors
/// [`FrameError::Io`]; [`FrameError::TooLarge`].
pub fn send(to: &mut dyn Write, message: &impl Serialize) -> Result<(), FrameError> {
    let bytes = serde_json::to_vec(message).map_err(|e| FrameError::Message(e.to_string()))?;
    if bytes.len() < WORTH_PACKING {
        write(to, b'M', &bytes)?;
    } else {
        write(to, b'Z', &zstd::bulk::compress(&bytes, 3)?)?;
    }
    to.flush()?;
    Ok(())
}

/// Writes bytes; does not flush.
///
/// # Errors
/// As [`send`].
pub fn send_data(to: &mut dyn Write, bytes: &[u8]) -> Result<(), FrameError> {
    write(to, b'D', bytes)
}

fn write(to: &mut dyn Write, kind: u8, payload: &[u8]) -> Result<(), FrameError> {
    let length = u32::try_from(payload.len())
        .ok()
        .filter(|length| *length as usize <= LARGEST)
        .ok_or(FrameError::TooLarge(payload.len()))?;
    let mut head = [kind, 0, 0, 0, 0];
    head[1..].copy_from_slice(&length.to_be_bytes());
    to.write_all(&head)?;
    to.write_all(payload)?;
    Ok(())
}

/// The bytes that a frame of data takes on the wire.
pub const fn data_frame_size(payload: usize) -> usize {
    5 + payload
}

/// Reads a frame.
///
/// # Errors
/// [`FrameError`]; [`FrameError::Ended`] if the connection ended between two frames.
pub fn read(from: &mut dyn Read) -> Result<(FrameKind, Vec<u8>), FrameError> {
    let mut head = [0; 5];
    let mut got = 0;
    while got < head.len() {
        match from.read(&mut head[got..]) {
            Ok(0) if got == 0 => return Err(FrameError::Ended),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(count) => got += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let kind = match head[0] {
        b'M' => FrameKind::Message,
        b'Z' => FrameKind::Packed,
        b'D' => FrameKind::Data,
        _ => {
            return Err(FrameError::Alien(
                String::from_utf8_lossy(&head).into_owned(),
            ));
        }
    };
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length > LARGEST {
        return Err(FrameError::TooLarge(length));
    }
    // Not all at once: a length that lies must not cost memory.
    let mut payload = Vec::with_capacity(length.min(1 << 16));
    from.take(length as u64).read_to_end(&mut payload)?;
    if payload.len() < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok((kind, payload))
}

/// Reads a message.
///
/// # Errors
/// [`FrameError`]; data where a message is wanted is [`FrameError::Message`].
pub fn receive<T: DeserializeOwned>(from: &mut dyn Read) -> Result<T, FrameError> {
    let (kind, payload) = read(from)?;
    decode(kind, &payload)
}

/// The message of a frame.
///
/// # Errors
/// [`FrameError::Message`].
pub fn decode<T: DeserializeOwned>(kind: FrameKind, payload: &[u8]) -> Result<T, FrameError> {
    let unpacked;
    let bytes = match kind {
        FrameKind::Message => payload,
        FrameKind::Packed => {
            let unreadable = |error: io::Error| FrameError::Message(error.to_string());
            let mut decoder = zstd::Decoder::new(payload).map_err(unreadable)?;
            decoder.window_log_max(LARGEST_WINDOW).map_err(unreadable)?;
            let mut bytes = Vec::new();
            decoder
                .take(LARGEST_MESSAGE as u64 + 1)
                .read_to_end(&mut bytes)
                .map_err(unreadable)?;
            if bytes.len() > LARGEST_MESSAGE {
                return Err(FrameError::Message(format!(
                    "it is larger than {LARGEST_MESSAGE} bytes"
                )));
            }
            unpacked = bytes;
            &unpacked
        }
        FrameKind::Data => {
            return Err(FrameError::Message(
                "bytes came where a message was due".to_owned(),
            ));
        }
    };
    serde_json::from_slice(bytes).map_err(|error| FrameError::Message(error.to_string()))
}
