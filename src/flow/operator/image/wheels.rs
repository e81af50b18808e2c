//! Wheels to layers: each unpacked once in the life of a store.
//!
//! One after the other: wheels are deflated, which unpacks at the speed of a disk, and a recipe has a few.

use std::io::{self, Read, Seek, Write};

use serde::{Deserialize, Serialize};

use crate::edge::store::{Memo, Store, StoreError, Trust, Writing, spool};
use crate::flow::progress::Progress;
use crate::pure::images::layer::{Facts, LayerError};
use crate::pure::images::python::{WheelError, WheelName, WheelNameError, from_wheel};
use crate::pure::name::BlobDigest;
use crate::pure::oci::{Link, media};
use crate::pure::pins::WheelPin;

/// Changes whenever a wheel would become another layer, or something else were to be remembered of it.
const VERSION: u32 = 1;
/// What is kept in memory of a wheel, and of what is in it, before each takes a file.
const MEMORY: usize = 8 << 20;

/// A wheel as a layer, which is in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelLayer {
    pub wheel: WheelPin,
    pub layer: Link,
    pub facts: Facts,
}

/// Why there are no layers.
#[derive(Debug, thiserror::Error)]
pub enum WheelsError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Name(#[from] WheelNameError),
    #[error(transparent)]
    Unpack(#[from] WheelError),
    #[error("the layer of the wheel {file} cannot be made: {source}")]
    Layer { file: String, source: LayerError },
    #[error("cannot unpack {file}: {source}")]
    Spool { file: String, source: io::Error },
}

/// What is remembered of a wheel.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    layer: BlobDigest,
    size: u64,
    facts: Facts,
}

/// The layers of wheels that are in the store, in their order, for the interpreter `python`, as in `3.11`. What was unpacked before is
/// only looked up.
///
/// # Errors
/// [`WheelsError`]. What was unpacked before it stays in the store, and the next call goes on from there.
pub fn wheel_layers(
    store: &dyn Store,
    memo: &dyn Memo,
    wheels: &[WheelPin],
    python: &str,
    progress: &dyn Progress,
) -> Result<Vec<WheelLayer>, WheelsError> {
    let mut all: Vec<(String, Option<Known>)> = Vec::new();
    for pin in wheels {
        let key = format!(
            "wheel layer v{VERSION} {} {} {python}",
            pin.digest, pin.file
        );
        let found = memo.recall(&key);
        let found = found.and_then(|value| serde_json::from_value::<Known>(value).ok());
        let found = match found {
            Some(found) if store.has(found.layer, found.size)? => Some(found),
            _ => None,
        };
        all.push((key, found));
    }
    let missing = wheels
        .iter()
        .zip(&all)
        .filter(|(_, (_, found))| found.is_none());
    let sizes: Vec<u64> = missing.map(|(pin, _)| pin.size).collect();
    if !sizes.is_empty() {
        progress.begin("unpack wheels", sizes.len(), sizes.iter().sum());
    }
    let mut layers = Vec::new();
    for (pin, (key, found)) in wheels.iter().zip(all) {
        let known = match found {
            Some(known) => known,
            None => {
                let mut writer = store.begin(Trust::Size)?;
                let known = unpack(store, pin, python, writer.as_mut())?;
                writer.commit(&[])?;
                if let Ok(value) = serde_json::to_value(&known) {
                    memo.remember(&key, &value)?;
                }
                progress.advance(pin.size);
                progress.done(&pin.file);
                known
            }
        };
        layers.push(WheelLayer {
            wheel: pin.clone(),
            layer: Link {
                media_type: media::LAYER.to_owned(),
                digest: known.layer,
                size: known.size,
                artifact_type: None,
            },
            facts: known.facts,
        });
    }
    Ok(layers)
}

fn unpack(
    store: &dyn Store,
    pin: &WheelPin,
    python: &str,
    writer: &mut dyn Writing,
) -> Result<Known, WheelsError> {
    let name: WheelName = pin.file.parse()?;
    let failed = |source| WheelsError::Spool {
        file: pin.file.clone(),
        source,
    };
    // A ZIP archive is read from its end, and a blob from its beginning: the copy is what was checked.
    let mut blob = store.open(pin.digest)?;
    let mut wheel = spool(MEMORY);
    let mut buffer = vec![0; 128 << 10];
    loop {
        match blob.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => wheel.write_all(&buffer[..count]).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(blob.error(error).into()),
        }
    }
    wheel.rewind().map_err(failed)?;
    let mut contents = spool(MEMORY);
    let tree = from_wheel(&mut wheel, &name, python, &mut contents)?;
    let mut facts = Facts::default();
    let mut refused = None;
    let created = writer.create(&mut |out| match tree.write(&mut contents, out) {
        Ok(found) => {
            facts = found;
            Ok(())
        }
        Err(error) => {
            let told = io::Error::other(error.to_string());
            refused = Some(error);
            Err(told)
        }
    });
    match (created, refused) {
        (Ok((layer, size, _)), _) => Ok(Known { layer, size, facts }),
        (Err(StoreError::Made(_)), Some(source)) => Err(WheelsError::Layer {
            file: pin.file.clone(),
            source,
        }),
        (Err(error), _) => Err(error.into()),
    }
}
