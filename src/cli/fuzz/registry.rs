//! What registries send, and how they are named.

use crate::edge::registry::{challenges, error_words};
use crate::pure::name::Arch;
use crate::pure::oci::{Reference, media, received};

/// The bytes are a reference of an image: what is taken is the same when it is written out and read again.
pub fn reference(bytes: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(bytes);
    match text.parse::<Reference>() {
        Ok(reference) => {
            let written = reference.to_string();
            match written.parse() {
                Ok(again) if reference == again => Ok(written),
                other => Err(format!("{text:?} is {written:?}, which is {other:?}")),
            }
        }
        Err(error) => Ok(error.to_string()),
    }
}

/// The bytes are what a registry sends: a manifest, an index, an error, or the header that asks for credentials. What would be shown of
/// it holds no control characters.
pub fn registry_answer(bytes: &[u8]) -> Result<String, String> {
    let mut shown = error_words(bytes);
    let challenges = challenges(&String::from_utf8_lossy(bytes));
    for content_type in [None, Some(media::INDEX), Some(media::MANIFEST)] {
        match received::link(content_type, bytes) {
            Ok(link) if link.media_type == media::INDEX => {
                for arch in Arch::ALL {
                    if let Err(error) = received::choose(bytes, arch) {
                        shown.push_str(&error.to_string());
                    }
                }
            }
            Ok(_) => {
                if let Err(error) = received::blobs(bytes) {
                    shown.push_str(&error.to_string());
                }
            }
            Err(error) => shown.push_str(&error.to_string()),
        }
    }
    match shown.chars().any(char::is_control) {
        true => Err(format!("{shown:?}")),
        false => Ok(format!("{shown}{challenges:?}")),
    }
}
