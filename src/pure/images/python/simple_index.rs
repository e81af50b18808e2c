//! The page of a project in an index: as HTML (PEP 503, "Specification") and as JSON (PEP 691, PEP 700).

use html5gum::{Token, Tokenizer};
use serde::Deserialize;
use std::collections::BTreeMap;
use url::Url;

use crate::pure::name::BlobDigest;

/// What to ask an index for, best first.
pub const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";
/// A page beyond this many bytes is none.
pub const LONGEST: u64 = 64 << 20;

/// A file that an index has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexedFile {
    pub name: String,
    /// Absolute, without a fragment.
    pub url: String,
    /// Nothing if the index names another algorithm, or none.
    pub digest: Option<BlobDigest>,
    /// HTML does not say it.
    pub size: Option<u64>,
    pub requires_python: Option<String>,
    pub yanked: bool,
}

/// Why a page of an index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SimpleError {
    #[error("this is no page of a Python index: {0}")]
    Json(serde_json::Error),
    #[error(
        "the page is of version {0} of the simple API; forge knows 1.x: update forge, or use an index that serves HTML"
    )]
    Version(String),
    #[error("the page is not UTF-8")]
    Encoding,
}

/// Reads a page that came from `base`. JSON is told from HTML by its first character: an index that knows no JSON may answer with HTML
/// whatever it is asked for.
///
/// A file whose URL cannot be understood is left out.
///
/// # Errors
/// [`SimpleError`].
pub fn read(bytes: &[u8], base: &Url) -> Result<Vec<IndexedFile>, SimpleError> {
    let text = std::str::from_utf8(bytes).map_err(|_| SimpleError::Encoding)?;
    if text.trim_start().starts_with('{') {
        read_json(text, base)
    } else {
        Ok(read_html(text, base))
    }
}

#[derive(Deserialize)]
struct Page {
    meta: Meta,
    files: Vec<File>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "api-version")]
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
    size: Option<u64>,
    requires_python: Option<String>,
    yanked: Option<Yanked>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Yanked {
    Is(bool),
    Because(#[allow(dead_code)] String),
}

fn read_json(text: &str, base: &Url) -> Result<Vec<IndexedFile>, SimpleError> {
    let page: Page = serde_json::from_str(text).map_err(SimpleError::Json)?;
    if page.meta.version.split('.').next() != Some("1") {
        return Err(SimpleError::Version(page.meta.version));
    }
    let files = page.files.into_iter().filter_map(|file| {
        let sha256 = file.hashes.get("sha256");
        Some(IndexedFile {
            url: base.join(&file.url).ok().map(without_fragment)?,
            digest: sha256.and_then(|hex| digest_of(hex)),
            name: file.filename,
            size: file.size,
            requires_python: file.requires_python.filter(|it| !it.trim().is_empty()),
            yanked: match file.yanked {
                Some(Yanked::Is(yanked)) => yanked,
                Some(Yanked::Because(_)) => true,
                None => false,
            },
        })
    });
    Ok(files.collect())
}

fn read_html(text: &str, base: &Url) -> Vec<IndexedFile> {
    let mut base = base.clone();
    let mut files = Vec::new();
    let mut open: Option<IndexedFile> = None;
    for token in Tokenizer::new(text) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => {
                let attribute = |name: &[u8]| {
                    let value = tag.attributes.get(name)?;
                    Some(String::from_utf8_lossy(value.as_ref()).into_owned())
                };
                let href = attribute(b"href");
                match (&**tag.name, href) {
                    (b"base", Some(href)) => {
                        if let Ok(url) = base.join(href.trim()) {
                            base = url;
                        }
                    }
                    (b"a", Some(href)) => {
                        files.extend(open.take());
                        open = base.join(href.trim()).ok().map(|url| IndexedFile {
                            name: String::new(),
                            digest: url
                                .fragment()
                                .and_then(|fragment| fragment.strip_prefix("sha256="))
                                .and_then(digest_of),
                            url: without_fragment(url),
                            size: None,
                            requires_python: attribute(b"data-requires-python")
                                .filter(|it| !it.trim().is_empty()),
                            yanked: attribute(b"data-yanked").is_some(),
                        });
                    }
                    _ => {}
                }
            }
            Token::String(said) => {
                if let Some(file) = &mut open {
                    file.name.push_str(&String::from_utf8_lossy(&said));
                }
            }
            Token::EndTag(tag) if &**tag.name == b"a" => files.extend(open.take()),
            _ => {}
        }
    }
    files.extend(open);
    for file in &mut files {
        file.name = file.name.trim().to_owned();
    }
    files.retain(|file| !file.name.is_empty());
    files
}

fn digest_of(hex: &str) -> Option<BlobDigest> {
    format!("sha256:{}", hex.to_ascii_lowercase()).parse().ok()
}

fn without_fragment(mut url: Url) -> String {
    url.set_fragment(None);
    url.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn base() -> Url {
        "https://index.example.com/simple/a/".parse().unwrap()
    }

    #[test]
    fn reads_html() {
        let digest = BlobDigest::of("x");
        let page = format!(
            "<!DOCTYPE html><html><head><title>Links</title></head><body><h1>Links for a</h1>\n\
             <a href=\"../../files/a-1-py3-none-any.whl#sha256={}\" data-requires-python=\"&gt;=3.8\">a-1-py3-none-any.whl</a><br/>\n\
             <a href='https://files.example.com/a-1.tar.gz#md5=00' data-yanked='broken'> a-1.tar.gz </a>\n\
             <a>no link</a><a href=''></a><a href='https://['>bad</a></body></html>",
            digest.hex()
        );
        let files = read(page.as_bytes(), &base()).unwrap();
        assert_eq!(
            files,
            [
                IndexedFile {
                    name: "a-1-py3-none-any.whl".to_owned(),
                    url: "https://index.example.com/files/a-1-py3-none-any.whl".to_owned(),
                    digest: Some(digest),
                    size: None,
                    requires_python: Some(">=3.8".to_owned()),
                    yanked: false,
                },
                IndexedFile {
                    name: "a-1.tar.gz".to_owned(),
                    url: "https://files.example.com/a-1.tar.gz".to_owned(),
                    digest: None,
                    size: None,
                    requires_python: None,
                    yanked: true,
                },
            ]
        );
        let page = "<base href='https://other.example.com/x/'><a href=b.whl>b.whl";
        let files = read(page.as_bytes(), &base()).unwrap();
        assert_eq!(files[0].url, "https://other.example.com/x/b.whl");
    }

    #[test]
    fn reads_json() {
        let digest = BlobDigest::of("x");
        let page = format!(
            r#"{{"meta": {{"api-version": "1.1"}}, "name": "a", "versions": ["1"], "files": [
              {{"filename": "a-1-py3-none-any.whl", "url": "../../f/a.whl", "hashes": {{"sha256": "{}"}}, "size": 5,
                "requires-python": ">=3.8", "yanked": "bad", "core-metadata": false}},
              {{"filename": "a-1.tar.gz", "url": "https://files.example.com/a.tar.gz", "hashes": {{}}, "yanked": false,
                "requires-python": null}}]}}"#,
            digest.hex()
        );
        let files = read(page.as_bytes(), &base()).unwrap();
        assert_eq!(files[0].url, "https://index.example.com/f/a.whl");
        assert_eq!(files[0].size, Some(5));
        assert_eq!(files[0].digest, Some(digest));
        assert!(files[0].yanked);
        assert!(!files[1].yanked);
        assert_eq!(files[1].requires_python, None);
    }

    #[test]
    fn refuses_what_is_no_page() {
        for bad in [
            "{",
            "{}",
            r#"{"meta": {}, "files": []}"#,
            r#"{"meta": {"api-version": "2.0"}, "files": []}"#,
        ] {
            assert!(read(bad.as_bytes(), &base()).is_err(), "{bad}");
        }
        assert!(read(b"\xff", &base()).is_err());
        assert_eq!(read(b"", &base()).unwrap(), []);
        assert_eq!(read(b"404 page not found", &base()).unwrap(), []);
    }
}
