//! The ASCII armor of age files (C2SP age, section "ASCII armor"; strict PEM of RFC 7468).

use base64ct::{Base64, Encoding as _};

pub(super) const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
pub(super) const END: &str = "-----END AGE ENCRYPTED FILE-----";
const COLUMNS: usize = 64;

/// Why a text is no armored age file. Never carries the text: it may be a value in clear.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArmorError {
    #[error("it does not begin with `{BEGIN}`")]
    NoBegin,
    #[error("it does not end with `{END}`")]
    NoEnd,
    #[error("line {0} of it is not 64 characters long, as all but the last must be")]
    Wrapping(usize),
    #[error("what it holds is not valid base64")]
    Base64,
}

/// The bytes in an armor. White space around it and CRLF line ends are accepted, as the specification allows.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, ArmorError> {
    let mut lines = text.trim_ascii().lines();
    if lines.next() != Some(BEGIN) {
        return Err(ArmorError::NoBegin);
    }
    if lines.next_back() != Some(END) {
        return Err(ArmorError::NoEnd);
    }
    let lines: Vec<&str> = lines.collect();
    for (index, line) in lines.iter().enumerate() {
        let last = index + 1 == lines.len();
        if line.len() > COLUMNS || line.is_empty() || (!last && line.len() < COLUMNS) {
            return Err(ArmorError::Wrapping(index + 2));
        }
    }
    Base64::decode_vec(&lines.concat()).map_err(|_| ArmorError::Base64)
}

/// The one armor of these bytes, with a newline at the end: byte for byte what `age --armor` writes.
pub(super) fn encode(bytes: &[u8]) -> String {
    let encoded = Base64::encode_string(bytes);
    let mut text = String::with_capacity(encoded.len() + encoded.len() / COLUMNS + 80);
    text.push_str(BEGIN);
    text.push('\n');
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII, so every position is a boundary.
        let (line, after) = rest.split_at(rest.len().min(COLUMNS));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(END);
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for length in [1, 47, 48, 49, 96, 500] {
            let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let armored = encode(&bytes);
            assert_eq!(decode(&armored), Ok(bytes.clone()));
            assert_eq!(decode(&armored.replace('\n', "\r\n")), Ok(bytes));
        }
    }

    #[test]
    fn refuses_other_wrapping() {
        let armored = encode(&[7; 200]);
        let mut lines: Vec<&str> = armored.lines().collect();
        lines.insert(2, "AAAA");
        assert_eq!(decode(&lines.join("\n")), Err(ArmorError::Wrapping(3)));
        assert_eq!(decode("hunter2"), Err(ArmorError::NoBegin));
        assert_eq!(decode(BEGIN), Err(ArmorError::NoEnd));
        assert_eq!(
            decode(&format!("{BEGIN}\n===\n{END}")),
            Err(ArmorError::Base64)
        );
    }
}
