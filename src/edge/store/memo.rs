//! What was found out once about bytes that do not change, so that it need not be found out again.
//!
//! Beside the blobs in `memo/`, a file per key, named by the key's digest. Losing one costs time and nothing else: they are not
//! synced, what is damaged counts as not there, and whatever they say of a blob is to be used only if that blob is there.

use std::fmt::Debug;

use serde_json::{Value, json};

use super::StoreError;
use crate::pure::name::BlobDigest;

/// Small values under keys that say everything they depend on.
pub trait Memo: Debug + Send + Sync {
    /// What was remembered under this key; nothing if that was nothing, or cannot be read.
    fn recall(&self, key: &str) -> Option<Value>;

    /// Remembers a value, in place of what was there. After a crash it may be forgotten.
    ///
    /// # Errors
    /// [`StoreError::Disk`], [`StoreError::Busy`].
    fn remember(&self, key: &str, value: &Value) -> Result<(), StoreError>;
}

pub(super) fn file_name(key: &str) -> String {
    format!("{}.json", BlobDigest::of(key).hex())
}

pub(super) fn encode(key: &str, value: &Value) -> Vec<u8> {
    let entry = json!({ "digest": digest(key, value), "key": key, "value": value });
    entry.to_string().into_bytes()
}

/// The value, if every byte of it is as it was written.
pub(super) fn parse(key: &str, bytes: &[u8]) -> Option<Value> {
    let mut entry: Value = serde_json::from_slice(bytes).ok()?;
    let value = entry.get_mut("value")?.take();
    let whole = entry.get("digest")?.as_str()? == digest(key, &value);
    (whole && entry.get("key")?.as_str()? == key).then_some(value)
}

fn digest(key: &str, value: &Value) -> String {
    BlobDigest::of(format!("{key}\n{value}")).to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn no_damage_is_believed() {
        let value = json!({ "size": 7, "names": ["a", "b"], "more": { "z": null, "a": 1 } });
        let bytes = encode("key", &value);
        assert_eq!(parse("key", &bytes), Some(value.clone()));
        assert_eq!(parse("other", &bytes), None);
        for end in 0..bytes.len() {
            assert_eq!(parse("key", &bytes[..end]), None);
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let found = parse("key", &damaged);
            assert!(found.is_none_or(|found| found == value), "{at}");
        }
        assert_eq!(parse("key", &vec![0; bytes.len()]), None);
    }
}
