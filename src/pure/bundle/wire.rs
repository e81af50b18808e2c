//! The config of a system manifest as it is written down, version 1 (`docs/format/bundle.md`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ImagePin;
use crate::pure::name::{HostName, ImageName, ManifestDigest};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) host: HostName,
    pub(super) images: BTreeMap<ImageName, Image>,
    pub(super) system: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Image {
    digest: ManifestDigest,
    repository: String,
    tag: String,
}

impl From<ImagePin> for (ImageName, Image) {
    fn from(pin: ImagePin) -> Self {
        let ImagePin {
            name,
            repository,
            tag,
            digest,
        } = pin;
        let image = Image {
            digest,
            repository,
            tag,
        };
        (name, image)
    }
}

impl From<(ImageName, Image)> for ImagePin {
    fn from((name, image): (ImageName, Image)) -> Self {
        let Image {
            digest,
            repository,
            tag,
        } = image;
        Self {
            name,
            repository,
            tag,
            digest,
        }
    }
}
