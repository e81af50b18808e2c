//! `RECORD`: which files a wheel has, with their digests ("Recording installed projects"; CSV as in RFC 4180).

use std::collections::BTreeMap;

use base64ct::{Base64UrlUnpadded, Encoding as _};

use crate::pure::name::BlobDigest;

/// What a line says of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Of `RECORD` itself, there is none.
    pub digest: Option<BlobDigest>,
    pub size: Option<u64>,
}

/// Why a text is no `RECORD`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("RECORD, line {line}: {why}")]
pub struct RecordError {
    /// From 1.
    pub line: usize,
    pub why: String,
}

/// Files beyond this many are in no wheel.
const MOST_FILES: usize = 200_000;

/// Reads a `RECORD`: what is said of each path.
///
/// # Errors
/// [`RecordError`], also for a path that stands there twice and for a digest that is no sha256.
pub fn read(text: &str) -> Result<BTreeMap<String, Recorded>, RecordError> {
    let mut files = BTreeMap::new();
    let mut rest = text;
    let mut line = 1;
    while !rest.is_empty() {
        let refuse = |why: &str| RecordError {
            line,
            why: why.to_owned(),
        };
        let (fields, taken) = read_row(rest).map_err(refuse)?;
        let lines = rest[..taken].matches('\n').count();
        if fields.len() > 1 || !fields[0].is_empty() {
            let [path, hash, size] = fields.as_slice() else {
                return Err(refuse("it has not three fields"));
            };
            let recorded = Recorded {
                digest: read_digest(hash).map_err(|why| refuse(&format!("{path}: {why}")))?,
                size: match size.as_str() {
                    "" => None,
                    text => Some(read_size(text).ok_or_else(|| refuse("the size is no number"))?),
                },
            };
            if path.is_empty() {
                return Err(refuse("the path is empty"));
            }
            if files.insert(path.clone(), recorded).is_some() {
                return Err(refuse(&format!("{} is listed twice", path.escape_debug())));
            }
            if files.len() > MOST_FILES {
                return Err(refuse("it lists too many files"));
            }
        }
        rest = &rest[taken..];
        line += lines;
    }
    Ok(files)
}

fn read_size(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn read_digest(text: &str) -> Result<Option<BlobDigest>, &'static str> {
    if text.is_empty() {
        return Ok(None);
    }
    let encoded = text
        .strip_prefix("sha256=")
        .ok_or("its digest is no sha256")?;
    let mut bytes = [0; 32];
    // Some tools pad; the specification does not.
    let decoded = Base64UrlUnpadded::decode(encoded.trim_end_matches('='), &mut bytes);
    let found = decoded.map_err(|_| "its digest is not base64")?;
    let digest = format!("sha256:{}", hex::encode(found)).parse();
    digest.map(Some).map_err(|_| "its digest has not 32 bytes")
}

/// The fields of the first row, and how many bytes it takes with its end.
fn read_row(text: &str) -> Result<(Vec<String>, usize), &'static str> {
    let mut fields = vec![String::new()];
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let Some(field) = fields.last_mut() else {
            return Err("it has no field");
        };
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut from = 0;
            loop {
                let end = from
                    + quoted[from..]
                        .find('"')
                        .ok_or("a quotation mark is not closed")?;
                field.push_str(&quoted[from..end]);
                from = end + 1;
                match quoted[from..].strip_prefix('"') {
                    Some(_) => {
                        field.push('"');
                        from += 1;
                    }
                    None => break,
                }
            }
            at += 1 + from;
        } else {
            let end = rest.find([',', '\n', '\r', '"']).unwrap_or(rest.len());
            field.push_str(&rest[..end]);
            at += end;
        }
        let rest = &text[at..];
        if rest.is_empty() {
            return Ok((fields, at));
        } else if rest.starts_with(',') {
            fields.push(String::new());
            at += 1;
            if fields.len() > 3 {
                return Err("it has not three fields");
            }
        } else if rest.starts_with("\r\n") {
            return Ok((fields, at + 2));
        } else if rest.starts_with(['\n', '\r']) {
            return Ok((fields, at + 1));
        } else {
            return Err("a quotation mark stands within a field");
        }
    }
}

/// The `RECORD` of an installed project: one line for each file in ascending order, `record` itself without a digest.
pub fn write(files: &BTreeMap<String, (BlobDigest, u64)>, record: &str) -> String {
    let mut lines: BTreeMap<&str, String> = BTreeMap::new();
    for (path, (digest, size)) in files {
        lines.insert(
            path,
            format!("{},sha256={},{size}\n", quoted(path), encode(*digest)),
        );
    }
    lines.insert(record, format!("{},,\n", quoted(record)));
    lines.into_values().collect()
}

fn encode(digest: BlobDigest) -> String {
    // A digest's digits are hexadecimal: decoding them cannot fail.
    Base64UrlUnpadded::encode_string(&hex::decode(digest.hex()).unwrap_or_default())
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

    #[test]
    fn reads_what_it_writes() {
        let digest = BlobDigest::of("");
        let files: BTreeMap<String, (BlobDigest, u64)> = [
            ("a/b.py", 0),
            ("a/with,comma.py", 1),
            ("a/with \"quotes\".txt", 2),
            ("../../../bin/x", 3),
        ]
        .map(|(path, size)| (path.to_owned(), (digest, size)))
        .into();
        let text = write(&files, "a-1.dist-info/RECORD");
        assert!(text.contains(&format!("a/b.py,{EMPTY},0\n")), "{text}");
        let read = read(&text).unwrap();
        assert_eq!(read.len(), 5);
        for (path, (digest, size)) in &files {
            assert_eq!(read[path].digest, Some(*digest));
            assert_eq!(read[path].size, Some(*size));
        }
        assert_eq!(read["a-1.dist-info/RECORD"].digest, None);
    }

    #[test]
    fn takes_the_ways_of_other_tools() {
        let text = format!("a.py,{EMPTY}=,\r\n\r\n\"b\nc.py\",{EMPTY},12");
        let read = read(&text).unwrap();
        assert_eq!(read["a.py"].size, None);
        assert_eq!(read["b\nc.py"].size, Some(12));
    }

    #[test]
    fn refuses_what_is_no_record() {
        for (text, line, why) in [
            ("a.py\n", 1, "three fields"),
            ("a.py,,,\n", 1, "three fields"),
            ("x,,\na.py,md5=abc,1\n", 2, "no sha256"),
            ("a.py,sha256=!!,1\n", 1, "not base64"),
            ("a.py,sha256=47DEQ,1\n", 1, "base64"),
            ("a.py,sha256=47DEQpj8,1\n", 1, "32 bytes"),
            ("a.py,,-1\n", 1, "no number"),
            ("a.py,,+1\n", 1, "no number"),
            ("a.py,,1\na.py,,1\n", 2, "twice"),
            (",,\n", 1, "empty"),
            ("\"a.py,,\n", 1, "not closed"),
            ("a\"b\".py,,\n", 1, "within a field"),
            ("\"a\"b,,\n", 1, "within a field"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.line, line, "{text:?}");
            assert!(error.to_string().contains(why), "{text:?}: {error}");
        }
    }
}
