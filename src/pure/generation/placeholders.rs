//! Files that embed secrets: their placeholders, and what the host writes for them (`docs/format/system.md`).
//!
//! No error here quotes a value, nor the text around a placeholder.

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use crate::pure::name::SecretName;

const BEGIN: &str = "⟦secret:";
const END: &str = "⟧";

/// Why a file cannot be completed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceholderError {
    #[error("byte {at} begins a placeholder that is none: the file was damaged")]
    Damaged { at: usize },
    #[error("it asks for the secret {name}, which it does not declare: the file was damaged")]
    Undeclared { name: SecretName },
    #[error("the secret {name} is not at hand")]
    Missing { name: SecretName },
    #[error("the secret {name} is not UTF-8, and cannot be written as JSON")]
    NotText { name: SecretName },
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Plain,
    Json,
    Url,
}

#[derive(Debug)]
enum Piece<'a> {
    Text(&'a [u8]),
    Secret(SecretName, Form),
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

fn pieces(template: &[u8]) -> Result<Vec<Piece<'_>>, PlaceholderError> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some(ahead) = find(&template[at..], BEGIN.as_bytes()) {
        let start = at + ahead;
        pieces.push(Piece::Text(&template[at..start]));
        let damaged = PlaceholderError::Damaged { at: start };
        let inner = start + BEGIN.len();
        let length = find(&template[inner..], END.as_bytes()).ok_or(damaged.clone())?;
        let text =
            std::str::from_utf8(&template[inner..inner + length]).map_err(|_| damaged.clone())?;
        let (name, form) = match text.split_once(':') {
            None => (text, Form::Plain),
            Some((name, "json")) => (name, Form::Json),
            Some((name, "url")) => (name, Form::Url),
            Some(_) => return Err(damaged),
        };
        let name = name.parse().map_err(|_| damaged)?;
        pieces.push(Piece::Secret(name, form));
        at = inner + length + END.len();
    }
    pieces.push(Piece::Text(&template[at..]));
    Ok(pieces)
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

fn push_hex(out: &mut Vec<u8>, number: u32, digits: u32) {
    for digit in (0..digits).rev() {
        let nibble = (number >> (4 * digit)) & 15;
        out.push(HEX[nibble as usize]);
    }
}

fn push_json(out: &mut Vec<u8>, value: &str) {
    let mut buffer = Zeroizing::new([0_u8; 4]);
    out.push(b'"');
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
            '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                out.extend_from_slice(b"\\u");
                push_hex(out, c.into(), 4);
            }
            _ => out.extend_from_slice(c.encode_utf8(&mut *buffer).as_bytes()),
        }
    }
    out.push(b'"');
}

fn push_url(out: &mut Vec<u8>, value: &[u8]) {
    for byte in value {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(*byte),
            _ => {
                out.push(b'%');
                push_hex(out, (*byte).into(), 2);
            }
        }
    }
}

/// Replaces every placeholder, in one pass: what a value holds is not looked into.
///
/// # Errors
/// [`PlaceholderError`].
pub fn fill(
    template: &[u8],
    declared: &BTreeSet<SecretName>,
    values: &BTreeMap<SecretName, Zeroizing<Vec<u8>>>,
) -> Result<Zeroizing<Vec<u8>>, PlaceholderError> {
    let pieces = pieces(template)?;
    let value = |name: &SecretName| {
        if !declared.contains(name) {
            return Err(PlaceholderError::Undeclared { name: name.clone() });
        }
        values
            .get(name)
            .ok_or_else(|| PlaceholderError::Missing { name: name.clone() })
    };
    let mut longest = 0;
    for piece in &pieces {
        longest += match piece {
            Piece::Text(text) => text.len(),
            Piece::Secret(name, form) => match form {
                Form::Plain => value(name)?.len(),
                Form::Json => value(name)?.len() * 6 + 2,
                Form::Url => value(name)?.len() * 3,
            },
        };
    }
    // Allocated once, so that no half-grown copy stays behind in memory.
    let mut out = Zeroizing::new(Vec::with_capacity(longest));
    for piece in &pieces {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::Secret(name, form) => {
                let value = value(name)?;
                match form {
                    Form::Plain => out.extend_from_slice(value),
                    Form::Url => push_url(&mut out, value),
                    Form::Json => push_json(
                        &mut out,
                        std::str::from_utf8(value)
                            .map_err(|_| PlaceholderError::NotText { name: name.clone() })?,
                    ),
                }
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn filled(template: &str, value: &[u8]) -> Result<Vec<u8>, PlaceholderError> {
        let name: SecretName = "a_1".parse().unwrap();
        let values = BTreeMap::from([(name.clone(), Zeroizing::new(value.to_vec()))]);
        fill(template.as_bytes(), &BTreeSet::from([name]), &values).map(|bytes| bytes.to_vec())
    }

    #[test]
    fn writes_each_form_of_a_value() {
        assert_eq!(filled("p=⟦secret:a_1⟧;", b"x\xff").unwrap(), b"p=x\xff;");
        assert_eq!(
            filled("⟦secret:a_1:url⟧", b"a/ ~\xc3").unwrap(),
            b"a%2F%20~%C3"
        );
        let text = "\"\\/\n\u{7f}\u{9f}\u{2028}é";
        let json = filled("⟦secret:a_1:json⟧", text.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(json.clone()).unwrap(),
            "\"\\\"\\\\/\\u000A\\u007F\\u009F\\u2028é\""
        );
        assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
    }

    #[test]
    fn does_not_look_into_a_value() {
        assert_eq!(
            filled("⟦secret:a_1⟧⟦secret:a_1⟧", "⟦secret:b⟧".as_bytes()).unwrap(),
            "⟦secret:b⟧⟦secret:b⟧".as_bytes()
        );
    }

    #[test]
    fn refuses_what_was_damaged_and_quotes_no_value() {
        for template in [
            "⟦secret:a_1",
            "⟦secret:⟧",
            "⟦secret:A⟧",
            "⟦secret:a_1:xml⟧",
            "⟦secret:a_1:json:url⟧",
            "⟦secret:a_1\n⟧",
        ] {
            assert_eq!(
                filled(template, b"v"),
                Err(PlaceholderError::Damaged { at: 0 }),
                "{template}"
            );
        }
        assert!(matches!(
            filled("⟦secret:b⟧", b"v"),
            Err(PlaceholderError::Undeclared { .. })
        ));
        let error = filled("⟦secret:a_1:json⟧", b"\xff").unwrap_err();
        assert!(matches!(error, PlaceholderError::NotText { .. }));
        // Other brackets are text.
        assert_eq!(filled("⟦other⟧", b"v").unwrap(), "⟦other⟧".as_bytes());
    }
}
