//! What comes over a connection.

use std::io::Cursor;

use crate::pure::protocol::frame::{self, FrameError, FrameKind};
use crate::pure::protocol::{Event, Hello, Reply, Request, Welcome};

/// The bytes are what one side sends: every frame of it is read and understood as each kind of message, until one is refused. What was
/// understood is the same when it is sent and read again.
pub fn conversation(bytes: &[u8]) -> Result<String, String> {
    let mut from = Cursor::new(bytes);
    let mut said = String::new();
    loop {
        let (kind, payload) = match frame::read(&mut from) {
            Ok(frame) => frame,
            Err(FrameError::Ended) if from.position() == bytes.len() as u64 => return Ok(said),
            Err(FrameError::Ended) => return Err("it ended before its end".to_owned()),
            Err(error) => {
                said.push_str(&error.to_string());
                return Ok(said);
            }
        };
        if payload.len() > frame::LARGEST {
            return Err(format!("a frame of {} bytes was read", payload.len()));
        }
        same::<Hello>(kind, &payload, &mut said)?;
        same::<Welcome>(kind, &payload, &mut said)?;
        same::<Request>(kind, &payload, &mut said)?;
        same::<Reply>(kind, &payload, &mut said)?;
        same::<Event>(kind, &payload, &mut said)?;
    }
}

fn same<T>(kind: FrameKind, payload: &[u8], said: &mut String) -> Result<(), String>
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let message = match frame::decode::<T>(kind, payload) {
        Ok(message) => message,
        Err(error) => {
            said.push_str(&error.to_string());
            return Ok(());
        }
    };
    let mut wire = Vec::new();
    frame::send(&mut wire, &message).map_err(|error| error.to_string())?;
    let again = frame::receive::<T>(&mut Cursor::new(wire)).map_err(|error| error.to_string())?;
    match again == message {
        true => Ok(()),
        false => Err(format!("{message:?} is read again as {again:?}")),
    }
}
