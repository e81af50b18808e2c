//! The two small files of an OCI image layout: `oci-layout` and `index.json`.

use std::collections::BTreeMap;

use oci_spec::image::Descriptor;

use super::manifest::{encode_index, parse_index};
use super::{Link, ManifestError, RefName, media};

/// The name of the file that says that a folder is a layout.
pub const LAYOUT_FILE: &str = "oci-layout";
/// Its content (OCI image specification, "oci-layout file").
pub const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// The name of the file with the entries.
pub const INDEX_FILE: &str = "index.json";

/// True if these are the bytes of an `oci-layout` file of a version that forge knows.
pub fn is_layout(bytes: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Layout {
        #[serde(rename = "imageLayoutVersion")]
        version: String,
    }
    serde_json::from_slice(bytes).is_ok_and(|Layout { version }| version.starts_with("1."))
}

/// The entries of an `index.json`. Those that other tools made are kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entries(Vec<Descriptor>);

/// An entry: what it points to, and its name if it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The annotation `org.opencontainers.image.ref.name`; from other tools it can be any text.
    pub name: Option<String>,
    pub link: Link,
}

impl Entry {
    /// The name for people: of an entry without one, its digest.
    pub fn label(&self) -> String {
        match &self.name {
            Some(name) => name.clone(),
            None => format!("(unnamed) {}", self.link.digest),
        }
    }
}

fn name_of(descriptor: &Descriptor) -> Option<&String> {
    descriptor.annotations().as_ref()?.get(media::REF_NAME)
}

impl Entries {
    /// Reads an `index.json`.
    ///
    /// # Errors
    /// [`ManifestError`] if it is none, or if an entry's digest is not sha256.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let entries = Self(parse_index(bytes)?.manifests().clone());
        entries.list()?;
        Ok(entries)
    }

    /// The canonical bytes: sorted by name, so that they do not depend on history.
    ///
    /// # Errors
    /// [`ManifestError::Encode`].
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        let mut entries = self.0.clone();
        entries.sort_by(|a, b| {
            let key = |d: &Descriptor| (name_of(d).cloned(), d.digest().to_string());
            key(a).cmp(&key(b))
        });
        encode_index(None, entries)
    }

    /// All entries, named or not: the roots of garbage collection.
    ///
    /// # Errors
    /// [`ManifestError::Algorithm`]; not after [`Self::parse`].
    pub fn list(&self) -> Result<Vec<Entry>, ManifestError> {
        self.0
            .iter()
            .map(|descriptor| {
                Ok(Entry {
                    name: name_of(descriptor).cloned(),
                    link: Link::try_from(descriptor)?,
                })
            })
            .collect()
    }

    /// Lets a name point to this, and to nothing else.
    ///
    /// # Errors
    /// As [`Link::descriptor`].
    pub fn set(&mut self, name: &RefName, link: &Link) -> Result<(), ManifestError> {
        let annotations = BTreeMap::from([(media::REF_NAME.to_owned(), name.as_str().to_owned())]);
        let descriptor = link.descriptor(&annotations)?;
        self.remove(name);
        self.0.push(descriptor);
        Ok(())
    }

    /// Takes a name away; nothing happens if it is not there.
    pub fn remove(&mut self, name: &RefName) {
        self.0
            .retain(|entry| name_of(entry).is_none_or(|known| known != name.as_str()));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_sorted_and_others_entries_are_kept() {
        let foreign = br#"{"schemaVersion":2,"manifests":[{"mediaType":"a/b","size":1,"platform":{"architecture":"amd64","os":"linux"},
            "digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}]}"#;
        let mut entries = Entries::parse(foreign).unwrap();
        let (one, two) = (Link::to("a/b", b"1"), Link::to("a/b", b"2"));
        entries.set(&"shop/web".parse().unwrap(), &one).unwrap();
        entries.set(&"shop/db".parse().unwrap(), &one).unwrap();
        entries.set(&"shop/web".parse().unwrap(), &two).unwrap();
        let bytes = entries.encode().unwrap();
        let entries = Entries::parse(&bytes).unwrap();
        let list = entries.list().unwrap();
        let names: Vec<_> = list.iter().map(|entry| entry.name.as_deref()).collect();
        assert_eq!(names, [None, Some("shop/db"), Some("shop/web")]);
        assert_eq!(list[2].link, two);
        assert!(list[0].label().starts_with("(unnamed) sha256:e3b0"));
        assert!(String::from_utf8(bytes.clone()).unwrap().contains("amd64"));
        assert_eq!(entries.encode().unwrap(), bytes);
    }

    #[test]
    fn knows_a_layout() {
        assert!(is_layout(LAYOUT));
        assert!(!is_layout(b"{}"));
        assert!(!is_layout(br#"{"imageLayoutVersion":"2.0.0"}"#));
    }
}
