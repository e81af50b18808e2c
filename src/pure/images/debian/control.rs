//! Stanzas of fields (Debian Policy, section 5.1): a package's `control`, `Packages`, `Release`.

use super::version::{Version, VersionError};

/// One stanza, its values as slices of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stanza<'a> {
    /// Where it begins, counted from 1.
    pub line: usize,
    fields: Vec<Field<'a>>,
}

/// A field. Its value has no blanks at its ends; continuation lines are in it as they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a str,
    pub value: &'a str,
    /// Counted from 1, in the whole text.
    pub line: usize,
}

impl<'a> Field<'a> {
    /// The value line by line, without the blanks that mark a continuation. A lone `.` is an empty line.
    pub fn lines(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.value.split('\n').map(|line| match line.trim() {
            "." => "",
            line => line,
        })
    }
}

/// Why a text is no sequence of stanzas, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {wrong}")]
pub struct ControlError {
    pub line: usize,
    pub wrong: ControlMistake,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlMistake {
    #[error("a NUL byte stands in the text")]
    Nul,
    #[error("the text is not UTF-8")]
    Utf8,
    #[error("`{0}` has no colon, so it is no field")]
    NoColon(String),
    #[error("`{0}` is no name of a field")]
    FieldName(String),
    #[error("the line continues a field, but there is none before it")]
    Continuation,
    #[error("the field {0} stands twice in one stanza")]
    Duplicate(String),
    #[error("the field {0} is missing")]
    Missing(&'static str),
    #[error("{field} says `{value}`, which {reason}")]
    Value {
        field: &'static str,
        value: String,
        reason: &'static str,
    },
    #[error(transparent)]
    Version(#[from] VersionError),
    #[error("there is no stanza")]
    None,
    #[error("a second stanza begins, where one is wanted")]
    More,
}

/// What is quoted of a text that may be anything.
pub(super) fn excerpt(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

impl<'a> Stanza<'a> {
    /// The value of a field, whatever the case of its name.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.field(name).map(|field| field.value)
    }

    pub fn field(&self, name: &str) -> Option<Field<'a>> {
        self.fields
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name))
            .copied()
    }

    pub fn fields(&self) -> &[Field<'a>] {
        &self.fields
    }

    /// The value of a field that must be there and not be empty.
    ///
    /// # Errors
    /// [`ControlMistake::Missing`], at the stanza's first line.
    pub fn require(&self, name: &'static str) -> Result<&'a str, ControlError> {
        match self.get(name) {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(ControlError {
                line: self.line,
                wrong: ControlMistake::Missing(name),
            }),
        }
    }

    /// Says what is wrong with the value of a field.
    pub(super) fn wrong(&self, name: &'static str, reason: &'static str) -> ControlError {
        let field = self.field(name);
        ControlError {
            line: field.map_or(self.line, |field| field.line),
            wrong: ControlMistake::Value {
                field: name,
                value: excerpt(field.map_or("", |field| field.value)),
                reason,
            },
        }
    }
}

/// Reads all stanzas of a text.
///
/// # Errors
/// [`ControlError`] at the first line that is wrong.
pub fn parse(bytes: &[u8]) -> Result<Vec<Stanza<'_>>, ControlError> {
    let text = text(bytes)?;
    let mut stanzas: Vec<Stanza<'_>> = Vec::new();
    for stanza in Stanzas::new(text) {
        stanzas.push(stanza?);
    }
    Ok(stanzas)
}

/// Reads a text of exactly one stanza.
///
/// # Errors
/// [`ControlError`] at the first line that is wrong.
pub fn parse_one(bytes: &[u8]) -> Result<Stanza<'_>, ControlError> {
    one(text(bytes)?)
}

/// Reads a text that is known to be UTF-8 and of exactly one stanza.
pub(super) fn one(text: &str) -> Result<Stanza<'_>, ControlError> {
    let mut stanzas = Stanzas::new(text);
    let first = stanzas.next().ok_or(ControlError {
        line: 1,
        wrong: ControlMistake::None,
    })??;
    match stanzas.next() {
        None => Ok(first),
        Some(second) => Err(ControlError {
            line: second?.line,
            wrong: ControlMistake::More,
        }),
    }
}

/// The text of bytes that must be UTF-8.
pub(super) fn text(bytes: &[u8]) -> Result<&str, ControlError> {
    std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error))
}

/// Says at which line bytes cease to be UTF-8.
pub(super) fn not_utf8(bytes: &[u8], error: std::str::Utf8Error) -> ControlError {
    let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
    ControlError {
        line: 1 + good.iter().filter(|byte| **byte == b'\n').count(),
        wrong: ControlMistake::Utf8,
    }
}

/// The stanzas of a text, one after the other. Ends after the first mistake.
struct Stanzas<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Stanzas<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            line: 0,
        }
    }

    fn fail(
        &mut self,
        line: usize,
        wrong: ControlMistake,
    ) -> Option<Result<Stanza<'a>, ControlError>> {
        self.rest = "";
        Some(Err(ControlError { line, wrong }))
    }
}

impl<'a> Iterator for Stanzas<'a> {
    type Item = Result<Stanza<'a>, ControlError>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest;
        let mut fields: Vec<Field<'a>> = Vec::new();
        // Where the value that is being read begins and, so far, ends.
        let mut value = 0..0;
        let mut at = 0;
        while let Some(tail) = text.get(at..).filter(|tail| !tail.is_empty()) {
            self.line += 1;
            let end = tail.find('\n').unwrap_or(tail.len());
            let (line, _) = tail.split_at(end);
            let begin = at;
            at = (at + end + 1).min(text.len());
            if line.contains('\0') {
                return self.fail(self.line, ControlMistake::Nul);
            }
            if line.trim().is_empty() {
                if fields.is_empty() {
                    continue;
                }
                break;
            }
            if line.starts_with([' ', '\t']) {
                value.end = begin + end;
                match fields.last_mut() {
                    Some(field) => field.value = text.get(value.clone()).unwrap_or_default().trim(),
                    None => return self.fail(self.line, ControlMistake::Continuation),
                }
                continue;
            }
            let Some(colon) = line.find(':') else {
                return self.fail(self.line, ControlMistake::NoColon(excerpt(line)));
            };
            let (name, _) = line.split_at(colon);
            if !is_field_name(name) {
                return self.fail(self.line, ControlMistake::FieldName(excerpt(name)));
            }
            // A stanza has a few dozen fields; the bound keeps a hostile one from costing their square.
            if fields.len() == 1000
                || fields
                    .iter()
                    .any(|field| field.name.eq_ignore_ascii_case(name))
            {
                return self.fail(self.line, ControlMistake::Duplicate(excerpt(name)));
            }
            value = begin + colon + 1..begin + end;
            fields.push(Field {
                name,
                value: text.get(value.clone()).unwrap_or_default().trim(),
                line: self.line,
            });
        }
        self.rest = text.get(at..).unwrap_or_default();
        let line = fields.first()?.line;
        Some(Ok(Stanza { line, fields }))
    }
}

/// Printable ASCII without colon and blank, not beginning with `#` or `-` (Debian Policy, section 5.1).
fn is_field_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['#', '-'])
        && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A package's name: at least two of lower-case letters, digits, `+`, `-` and `.` (Debian Policy, section 5.6.1).
pub fn is_package_name(name: &str) -> bool {
    name.len() >= 2
        && name.len() <= 255
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte)
        })
}

/// What the `control` file of a .deb says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinaryControl<'a> {
    pub package: &'a str,
    pub version: &'a str,
    pub architecture: &'a str,
    /// All fields, those above among them.
    pub stanza: Stanza<'a>,
}

impl<'a> BinaryControl<'a> {
    /// Reads the file `control` of a .deb's control archive.
    ///
    /// # Errors
    /// [`ControlError`] if it is not one stanza, or its name, version or architecture is missing or malformed.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ControlError> {
        Self::from_stanza(parse_one(bytes)?)
    }

    pub(super) fn from_stanza(stanza: Stanza<'a>) -> Result<Self, ControlError> {
        let package = stanza.require("Package")?;
        if !is_package_name(package) {
            return Err(stanza.wrong("Package", "is no name of a package"));
        }
        let version = stanza.require("Version")?;
        Version::parse(version).map_err(|error| ControlError {
            line: stanza
                .field("Version")
                .map_or(stanza.line, |field| field.line),
            wrong: error.into(),
        })?;
        let architecture = stanza.require("Architecture")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if !architecture.bytes().all(plain) {
            return Err(stanza.wrong("Architecture", "is no architecture"));
        }
        Ok(Self {
            package,
            version,
            architecture,
            stanza,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mistake(bytes: &[u8]) -> String {
        parse(bytes).unwrap_err().to_string()
    }

    #[test]
    fn reads_fields_and_what_continues_them() {
        let text = b"\n\nPackage: a\nDescription: short\n long\n .\n\tmore \nDepends:\n b,\n c\n\n \n\nPackage: z";
        let stanzas = parse(text).unwrap();
        assert_eq!(stanzas.len(), 2);
        assert_eq!(stanzas[0].line, 3);
        assert_eq!(stanzas[0].get("package"), Some("a"));
        let lines: Vec<_> = stanzas[0].field("Description").unwrap().lines().collect();
        assert_eq!(lines, ["short", "long", "", "more"]);
        assert_eq!(stanzas[0].get("Depends"), Some("b,\n c"));
        assert_eq!(stanzas[0].get("Provides"), None);
        assert_eq!(stanzas[1].line, 14);
        assert_eq!(stanzas[1].get("PACKAGE"), Some("z"));
        assert_eq!(parse(b""), Ok(Vec::new()));
    }

    #[test]
    fn says_the_line_of_what_is_wrong() {
        assert_eq!(
            mistake(b"A: 1\n\nB: 1\nplain\n"),
            "line 4: `plain` has no colon, so it is no field"
        );
        assert_eq!(
            mistake(b"A: 1\n\n b\n"),
            "line 3: the line continues a field, but there is none before it"
        );
        assert_eq!(
            mistake(b"A: 1\nB: 2\na: 3\n"),
            "line 3: the field a stands twice in one stanza"
        );
        assert_eq!(
            mistake(b"A: 1\nB: \0\n"),
            "line 2: a NUL byte stands in the text"
        );
        assert_eq!(mistake(b"A: 1\nB: \xff\n"), "line 2: the text is not UTF-8");
        assert_eq!(mistake(b"#A: 1\n"), "line 1: `#A` is no name of a field");
        assert_eq!(mistake(b": 1\n"), "line 1: `` is no name of a field");
        assert_eq!(
            mistake("Ä: 1\n".as_bytes()),
            "line 1: `Ä` is no name of a field"
        );
        assert_eq!(parse_one(b"\n").unwrap_err().wrong, ControlMistake::None);
        assert_eq!(
            parse_one(b"A: 1\n\nA: 2\n").unwrap_err(),
            ControlError {
                line: 3,
                wrong: ControlMistake::More
            }
        );
    }

    #[test]
    fn reads_the_control_of_a_package() {
        let control =
            BinaryControl::parse(b"Package: libc6\nVersion: 2.36-9\nArchitecture: amd64\n")
                .unwrap();
        assert_eq!(
            (control.package, control.version, control.architecture),
            ("libc6", "2.36-9", "amd64")
        );
        for bad in [
            &b"Package: ../x\nVersion: 1\nArchitecture: all\n"[..],
            b"Package: X\nVersion: 1\nArchitecture: all\n",
            b"Package: x1\nVersion: /\nArchitecture: all\n",
            b"Package: x1\nVersion: 1\nArchitecture: a/b\n",
            b"Package: x1\nVersion: 1\n",
            b"Package:\nVersion: 1\nArchitecture: all\n",
        ] {
            assert!(BinaryControl::parse(bad).is_err());
        }
    }
}
