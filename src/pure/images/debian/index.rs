//! `Packages`: what a suite has.
//!
//! An index of Debian is 50 MB of text and 63,000 stanzas, of which a closure needs a hundred. So reading it finds where each
//! stanza begins and what it is named, and nothing else; a stanza is read when something asks for it.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::pure::name::BlobDigest;
use crate::pure::pins::PackagePin;

use super::control::{self, BinaryControl, ControlError, ControlMistake, Stanza};
use super::relation::{self, Alternatives, Operator, Relation, RelationError};
use super::version::Version;

/// How long a `Packages` file may be, in bytes.
pub const MOST_BYTES: usize = 1 << 30;
/// How large a .deb may be, in bytes.
pub const MOST_PACKAGE_BYTES: u64 = 4 << 30;

/// The packages of one suite or of several. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Index {
    parts: Vec<Arc<Part>>,
}

/// One `Packages` file.
#[derive(Debug)]
struct Part {
    suite: String,
    text: String,
    /// By name, then as they stand in the text.
    rows: Vec<Row>,
    provided: OnceLock<Vec<Provided>>,
}

/// Where a stanza is, in bytes of the text.
#[derive(Clone, Copy, Debug)]
struct Row {
    stanza: (u32, u32),
    name: (u32, u32),
    /// The value of `Provides`; empty if there is none.
    provides: (u32, u32),
}

/// A name that a package provides, in bytes of the text.
#[derive(Clone, Copy, Debug)]
struct Provided {
    name: (u32, u32),
    row: u32,
}

/// Why an index, or a stanza in it, cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    #[error("the package index of {suite}, {error}")]
    Control { suite: String, error: ControlError },
    #[error("the package index of {suite}, line {line}, package {package}: {error}")]
    Relation {
        suite: String,
        line: usize,
        package: String,
        error: RelationError,
    },
    #[error("the package index of {suite} is longer than {MOST_BYTES} bytes")]
    TooLong { suite: String },
}

impl Index {
    /// Reads the text of a `Packages` file, decompressed. `suite` is what the pins of its packages will say.
    ///
    /// # Errors
    /// [`IndexError`] if it is not UTF-8, too long, or a stanza has no `Package`.
    pub fn parse(suite: &str, bytes: Vec<u8>) -> Result<Self, IndexError> {
        if bytes.len() > MOST_BYTES {
            return Err(IndexError::TooLong {
                suite: suite.to_owned(),
            });
        }
        let wrong = |error| IndexError::Control {
            suite: suite.to_owned(),
            error,
        };
        let text = String::from_utf8(bytes)
            .map_err(|error| wrong(control::not_utf8(error.as_bytes(), error.utf8_error())))?;
        let mut rows = scan(&text).map_err(wrong)?;
        // Nearly sorted, and a stable sort: it costs next to nothing, and files in any order are alike.
        rows.sort_by(|a, b| slice(&text, a.name).cmp(slice(&text, b.name)));
        Ok(Self {
            parts: vec![Arc::new(Part {
                suite: suite.to_owned(),
                text,
                rows,
                provided: OnceLock::new(),
            })],
        })
    }

    /// One index of several. Where two have the same version of a package, the first of them gives it.
    pub fn merge(indexes: impl IntoIterator<Item = Self>) -> Self {
        Self {
            parts: indexes.into_iter().flat_map(|index| index.parts).collect(),
        }
    }

    /// How many stanzas there are.
    pub fn len(&self) -> usize {
        self.parts.iter().map(|part| part.rows.len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The suites, in the order in which they were merged.
    pub fn suites(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| &*part.suite)
    }

    /// The names of all packages; one that is in two suites comes twice.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts
            .iter()
            .flat_map(|part| part.rows.iter().map(|row| slice(&part.text, row.name)))
    }

    /// All versions of a package, the highest first.
    ///
    /// # Errors
    /// [`IndexError`] if one of its stanzas is malformed.
    pub fn packages(&self, name: &str) -> Result<Vec<Package<'_>>, IndexError> {
        let mut found = Vec::new();
        for part in &self.parts {
            for row in part.named(name) {
                found.push(part.package(row)?);
            }
        }
        found.sort_by_key(|package: &Package<'_>| Reverse(package.version()));
        Ok(found)
    }

    /// The packages that provide a name, by their names, the highest version of each first.
    ///
    /// # Errors
    /// [`IndexError`] if one of their stanzas is malformed.
    pub fn providers(&self, name: &str) -> Result<Vec<Package<'_>>, IndexError> {
        let mut found = Vec::new();
        for part in &self.parts {
            for row in part.providing(name) {
                found.push(part.package(row)?);
            }
        }
        found.sort_by_key(|package: &Package<'_>| (package.name(), Reverse(package.version())));
        Ok(found)
    }
}

impl Part {
    fn named(&self, name: &str) -> impl Iterator<Item = &Row> {
        equal(&self.rows, name, |row| slice(&self.text, row.name)).iter()
    }

    fn providing(&self, name: &str) -> impl Iterator<Item = &Row> {
        let provided = self
            .provided
            .get_or_init(|| provided(&self.text, &self.rows));
        equal(provided, name, |one| slice(&self.text, one.name))
            .iter()
            .filter_map(|one| self.rows.get(one.row as usize))
    }

    fn package(&self, row: &Row) -> Result<Package<'_>, IndexError> {
        let wrong = |mut error: ControlError| {
            error.line += self.line_of(row) - 1;
            IndexError::Control {
                suite: self.suite.clone(),
                error,
            }
        };
        let stanza = control::one(slice(&self.text, row.stanza)).map_err(wrong)?;
        let control = BinaryControl::from_stanza(stanza).map_err(wrong)?;
        let version = Version::parse(control.version).map_err(|error| {
            wrong(ControlError {
                line: 1,
                wrong: ControlMistake::Version(error),
            })
        })?;
        Ok(Package {
            part: self,
            row: *row,
            control,
            version,
        })
    }

    /// Counted from 1.
    fn line_of(&self, row: &Row) -> usize {
        let before = slice(&self.text, (0, row.stanza.0));
        1 + before.bytes().filter(|byte| *byte == b'\n').count()
    }
}

/// The rows of a sorted list whose key is `wanted`.
fn equal<'a, T>(sorted: &'a [T], wanted: &str, key: impl Fn(&T) -> &'a str) -> &'a [T] {
    let from = sorted.partition_point(|row| key(row) < wanted);
    let rest = sorted.get(from..).unwrap_or_default();
    let count = rest.partition_point(|row| key(row) == wanted);
    rest.get(..count).unwrap_or_default()
}

/// A range within a text of at most [`MOST_BYTES`].
fn narrow(range: Range<usize>) -> (u32, u32) {
    let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    (narrow(range.start), narrow(range.end))
}

fn slice(text: &str, (start, end): (u32, u32)) -> &str {
    text.get(start as usize..end as usize).unwrap_or_default()
}

/// Finds the stanzas of a text. Field names are taken as every archive writes them.
fn scan(text: &str) -> Result<Vec<Row>, ControlError> {
    let mut rows = Vec::new();
    let mut row = Row {
        stanza: (0, 0),
        name: (0, 0),
        provides: (0, 0),
    };
    let (mut at, mut line, mut first_line) = (0, 0, 0);
    let mut inside = false;
    // Whether the line belongs to `Provides`, which may be continued.
    let mut providing = false;
    while at < text.len() {
        let tail = text.get(at..).unwrap_or_default();
        let end = at + tail.find('\n').unwrap_or(tail.len());
        let first = text.as_bytes().get(at).copied().unwrap_or_default();
        line += 1;
        let blank = match first {
            b'\n' => true,
            b' ' | b'\t' | b'\r' => text.get(at..end).unwrap_or_default().trim().is_empty(),
            _ => false,
        };
        if blank {
            if inside {
                rows.push(finish(row, at, first_line)?);
                inside = false;
            }
        } else {
            if !inside {
                inside = true;
                first_line = line;
                row = Row {
                    stanza: narrow(at..at),
                    name: (0, 0),
                    provides: (0, 0),
                };
            }
            match first {
                b' ' | b'\t' if providing => row.provides.1 = narrow(0..end).1,
                b' ' | b'\t' => {}
                b'P' => {
                    providing = false;
                    if let Some(value) = field(text, at..end, "Package:") {
                        row.name = narrow(value);
                    } else if let Some(value) = field(text, at..end, "Provides:") {
                        row.provides = narrow(value);
                        providing = true;
                    }
                }
                _ => providing = false,
            }
        }
        if blank {
            providing = false;
        }
        at = end + 1;
    }
    if inside {
        rows.push(finish(row, text.len(), first_line)?);
    }
    Ok(rows)
}

fn finish(mut row: Row, end: usize, line: usize) -> Result<Row, ControlError> {
    row.stanza.1 = narrow(0..end).1;
    if row.name.0 == row.name.1 {
        return Err(ControlError {
            line,
            wrong: ControlMistake::Missing("Package"),
        });
    }
    Ok(row)
}

/// Where the value of a field stands, without the blanks around it, if the line is of that field.
fn field(text: &str, line: Range<usize>, name: &str) -> Option<Range<usize>> {
    let value = text.get(line.clone())?.strip_prefix(name)?;
    let start = line.end - value.trim_start().len();
    Some(start..start + value.trim().len())
}

/// The names that the packages of a text provide, sorted.
fn provided(text: &str, rows: &[Row]) -> Vec<Provided> {
    let mut all = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let mut start = row.provides.0 as usize;
        for clause in slice(text, row.provides).split(',') {
            let blank = clause.len() - clause.trim_start().len();
            let word = clause.trim_start();
            let end = word
                .find(|c: char| c.is_ascii_whitespace() || c == '(' || c == ':')
                .unwrap_or(word.len());
            let name = start + blank..start + blank + end;
            start += clause.len() + 1;
            if !name.is_empty() {
                all.push(Provided {
                    name: narrow(name),
                    row: u32::try_from(at).unwrap_or(u32::MAX),
                });
            }
        }
    }
    all.sort_by(|a, b| {
        slice(text, a.name)
            .cmp(slice(text, b.name))
            .then(a.row.cmp(&b.row))
    });
    // One may provide a name in several versions.
    all.dedup_by(|a, b| a.row == b.row && slice(text, a.name) == slice(text, b.name));
    all
}

/// A package of an index. Its name, version and architecture are well-formed.
#[derive(Clone, Debug)]
pub struct Package<'a> {
    part: &'a Part,
    row: Row,
    control: BinaryControl<'a>,
    version: Version<'a>,
}

impl<'a> Package<'a> {
    pub fn name(&self) -> &'a str {
        self.control.package
    }

    pub fn version(&self) -> Version<'a> {
        self.version
    }

    /// `amd64`, `all` and so on.
    pub fn arch(&self) -> &'a str {
        self.control.architecture
    }

    pub fn suite(&self) -> &'a str {
        &self.part.suite
    }

    /// All of its fields.
    pub fn stanza(&self) -> &Stanza<'a> {
        &self.control.stanza
    }

    /// The relations of a field such as `Depends`; none if it has no such field.
    ///
    /// # Errors
    /// [`IndexError::Relation`] if the field is malformed.
    pub fn relations(&self, field: &str) -> Result<Vec<Alternatives<'a>>, IndexError> {
        let Some(field) = self.control.stanza.field(field) else {
            return Ok(Vec::new());
        };
        relation::parse(field.value).map_err(|error| IndexError::Relation {
            suite: self.part.suite.clone(),
            line: self.part.line_of(&self.row) + field.line - 1,
            package: self.name().to_owned(),
            error,
        })
    }

    /// Whether the package itself is what a relation wants.
    pub fn satisfies(&self, relation: &Relation<'_>) -> bool {
        relation.name == self.name() && relation.accepts(&self.version)
    }

    /// What is needed to fetch it and to know it again.
    ///
    /// # Errors
    /// [`IndexError`] if its path, size or digest is missing or malformed, the path not below the mirror's root, or the
    /// size over [`MOST_PACKAGE_BYTES`].
    pub fn pin(&self) -> Result<PackagePin, IndexError> {
        let fields = || -> Result<_, ControlError> {
            let stanza = &self.control.stanza;
            let path = stanza.require("Filename")?;
            let path = path.strip_prefix("./").unwrap_or(path);
            if !is_safe_path(path) {
                return Err(stanza.wrong("Filename", "is no path below the root of a mirror"));
            }
            let size = stanza.require("Size")?;
            let size = parse_size(size)
                .filter(|size| *size <= MOST_PACKAGE_BYTES)
                .ok_or_else(|| stanza.wrong("Size", "is no size that a package may have"))?;
            let digest = stanza.require("SHA256")?;
            let digest = parse_sha256(digest)
                .ok_or_else(|| stanza.wrong("SHA256", "is no SHA-256 digest"))?;
            Ok((path, size, digest))
        };
        let (path, size, digest) = fields().map_err(|mut error| {
            error.line += self.part.line_of(&self.row) - 1;
            IndexError::Control {
                suite: self.part.suite.clone(),
                error,
            }
        })?;
        Ok(PackagePin {
            name: self.name().to_owned(),
            version: self.version.as_str().to_owned(),
            arch: self.arch().to_owned(),
            suite: self.part.suite.clone(),
            path: path.to_owned(),
            size,
            digest,
        })
    }
}

/// Whether a relation is met by what a package provides. A name that is provided without a version meets no relation that
/// asks for one (Debian Policy, section 7.5).
pub fn is_provided(provides: &[Alternatives<'_>], relation: &Relation<'_>) -> bool {
    provides.iter().flatten().any(|one| {
        one.name == relation.name
            && match (&relation.version, &one.version) {
                (None, _) => true,
                (Some(_), Some((Operator::Equal, version))) => relation.accepts(version),
                (Some(_), _) => false,
            }
    })
}

/// A relative path of plain parts, that is the same in a URL without a query.
pub(super) fn is_safe_path(path: &str) -> bool {
    path.len() <= 1024
        && path
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\\?#".contains(&byte))
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

/// Decimal digits alone: no sign.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

pub(super) fn parse_sha256(hex: &str) -> Option<BlobDigest> {
    format!("sha256:{hex}").parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn stanza(name: &str, version: &str, more: &str) -> String {
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nFilename: pool/x.deb\nSize: 7\nSHA256: {DIGEST}\n{more}\n"
        )
    }

    fn index(suite: &str, text: &str) -> Index {
        Index::parse(suite, text.as_bytes().to_vec()).unwrap()
    }

    fn versions(found: &[Package<'_>]) -> String {
        let all: Vec<_> = found
            .iter()
            .map(|one| format!("{} {} {}", one.name(), one.version(), one.suite()))
            .collect();
        all.join(", ")
    }

    #[test]
    fn finds_packages_in_any_order_of_all_suites() {
        let first = format!(
            "\n{}{}{}",
            stanza("zz", "1", ""),
            stanza("aa", "9", ""),
            stanza("aa", "10", "")
        );
        let second = format!(
            "{} \n{}",
            stanza("aa", "10", ""),
            stanza("ab", "1", "").trim_end()
        );
        let index = Index::merge([index("one", &first), index("two", &second)]);
        assert_eq!(index.len(), 5);
        assert_eq!(
            versions(&index.packages("aa").unwrap()),
            "aa 10 one, aa 10 two, aa 9 one"
        );
        assert_eq!(versions(&index.packages("ab").unwrap()), "ab 1 two");
        assert_eq!(versions(&index.packages("a").unwrap()), "");
        assert_eq!(index.suites().collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn finds_who_provides_a_name() {
        let text = stanza(
            "aa",
            "1",
            "Provides: mta (= 2),\n  mail-reader ,mta (= 3),\n\tnews:any\nSection: mta2\n",
        ) + &stanza("bb", "1", "Provides: mta\n");
        let index = index("one", &text);
        assert_eq!(
            versions(&index.providers("mta").unwrap()),
            "aa 1 one, bb 1 one"
        );
        for name in ["mail-reader", "news"] {
            assert_eq!(
                versions(&index.providers(name).unwrap()),
                "aa 1 one",
                "{name}"
            );
        }
        for name in ["", "aa", "mta2", "mail"] {
            assert_eq!(versions(&index.providers(name).unwrap()), "", "{name}");
        }
    }

    #[test]
    fn gives_pins() {
        let text = stanza("aa", "1:2-3", "").replace("pool/x", "./pool/x%3a");
        let pin = index("one", &text).packages("aa").unwrap()[0]
            .pin()
            .unwrap();
        assert_eq!(
            pin,
            PackagePin {
                name: "aa".to_owned(),
                version: "1:2-3".to_owned(),
                arch: "all".to_owned(),
                suite: "one".to_owned(),
                path: "pool/x%3a.deb".to_owned(),
                size: 7,
                digest: BlobDigest::of(""),
            }
        );
    }

    #[test]
    fn refuses_pins_that_lead_astray() {
        for (from, to) in [
            ("pool/x.deb", "/pool/x.deb"),
            ("pool/x.deb", "../x.deb"),
            ("pool/x.deb", "pool/../../x.deb"),
            ("pool/x.deb", "pool//x.deb"),
            ("pool/x.deb", "pool/x.deb?y"),
            ("pool/x.deb", "pool/x y.deb"),
            ("pool/x.deb", "pool\\x.deb"),
            ("pool/x.deb", "."),
            ("pool/x.deb", ""),
            ("Size: 7", "Size: -7"),
            ("Size: 7", "Size: 0x7"),
            ("Size: 7", "Size: 4294967297"),
            ("Size: 7", "Size: 99999999999999999999"),
            ("Size: 7", "Size:"),
            ("SHA256: e3", "SHA256: E3"),
            ("SHA256: e3", "SHA256: 3"),
            ("SHA256", "SHA1"),
        ] {
            let text = format!("\n{}", stanza("aa", "1", "").replace(from, to));
            let index = index("one", &text);
            let error = index.packages("aa").unwrap()[0].pin().unwrap_err();
            assert!(
                error
                    .to_string()
                    .starts_with("the package index of one, line "),
                "{to}: {error}"
            );
        }
    }

    #[test]
    fn refuses_indexes_that_are_malformed() {
        let parse = |bytes: &[u8]| {
            Index::parse("one", bytes.to_vec())
                .map(|_| ())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            parse(b"Package: aa\n\nVersion: 1\n"),
            "the package index of one, line 3: the field Package is missing"
        );
        assert_eq!(
            parse(b"Package: aa\nVersion: \xff\n"),
            "the package index of one, line 2: the text is not UTF-8"
        );
        let read = |text: &str| {
            let index = index("one", text);
            index.packages("aa").map(|_| ()).unwrap_err().to_string()
        };
        let good = stanza("zz", "1", "");
        assert_eq!(
            read(&format!("{good}{}", stanza("aa", "x", ""))),
            "the package index of one, line 9: `x` is no version of a Debian package: it does not begin with a digit"
        );
        assert_eq!(
            read(&format!("{good}{}", stanza("aa", "1", "Size: 8\n"))),
            "the package index of one, line 14: the field Size stands twice in one stanza"
        );
        assert_eq!(
            read(&format!("{good}{}", stanza("aa", "1", "nothing\n"))),
            "the package index of one, line 14: `nothing` has no colon, so it is no field"
        );
        let text = format!("{good}{}", stanza("aa", "1", "Depends: a b\n"));
        let index = index("one", &text);
        assert_eq!(
            index.packages("aa").unwrap()[0]
                .relations("Depends")
                .unwrap_err()
                .to_string(),
            "the package index of one, line 14, package aa: `a b` is no relation to a package: it does not begin with the name of a package"
        );
    }
}
