//! The cleartext signature framework (RFC 9580, section 7).
//!
//! The frame is read here, as strictly as archives write it, and not by rPGP, whose reader takes time that grows with the square
//! of the text. Signatures and their armor are rPGP's.

use std::io::Read as _;

use pgp::armor::{BlockType, Dearmor};
use pgp::packet::{Packet, PacketParser, Signature};

const BEGIN: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const BEGIN_SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
const END_SIGNATURE: &str = "-----END PGP SIGNATURE-----";
/// How many signatures one text may have. Debian's have two or three.
const MOST_SIGNATURES: usize = 16;
/// How long all signatures may be together, armored, in bytes.
const MOST_ARMOR: usize = 1 << 20;

/// What is signed, and the signatures.
#[derive(Debug)]
pub(super) struct Signed {
    /// As the signatures are made of: without escapes and blanks at the ends of lines, lines ended by CR LF.
    pub(super) text: String,
    pub(super) signatures: Vec<Signature>,
}

/// Why bytes are not a signed text. Lines are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CleartextError {
    #[error("it is not UTF-8")]
    Utf8,
    #[error("it does not begin with `{BEGIN}`")]
    Begin,
    #[error("line {line}: the header `{header}` is none that may stand there")]
    Header { line: usize, header: String },
    #[error("line {line}: it begins with a dash that is not escaped")]
    Dash { line: usize },
    #[error("line {line}: a carriage return stands within it")]
    CarriageReturn { line: usize },
    #[error("it ends before its signature does")]
    End,
    #[error("something follows its signature")]
    Trailing,
    #[error("its signature is malformed: {0}")]
    Armor(String),
    #[error("it has more than {MOST_SIGNATURES} signatures")]
    TooMany,
}

/// Takes a signed text apart. Nothing may stand before or behind it.
pub(super) fn split(bytes: &[u8]) -> Result<Signed, CleartextError> {
    let all = std::str::from_utf8(bytes).map_err(|_| CleartextError::Utf8)?;
    let mut at = 0;
    let mut lines = all.split_inclusive('\n').enumerate().map(|(number, line)| {
        let from = at;
        at += line.len();
        (number + 1, from, line.strip_suffix('\n').unwrap_or(line))
    });
    let trim = |line: &'_ str| line.trim_end_matches([' ', '\t', '\r']).len();
    match lines.next() {
        Some((_, _, line)) if &line[..trim(line)] == BEGIN => {}
        _ => return Err(CleartextError::Begin),
    }
    loop {
        let (line, _, text) = lines.next().ok_or(CleartextError::End)?;
        let header = text.trim_end_matches([' ', '\t', '\r']);
        if header.is_empty() {
            break;
        }
        if !header.starts_with("Hash: ") {
            return Err(CleartextError::Header {
                line,
                header: super::control::excerpt(header),
            });
        }
    }
    let mut text = String::with_capacity(all.len() + all.len() / 32);
    let mut first = true;
    let armor = loop {
        let (number, from, line) = lines.next().ok_or(CleartextError::End)?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        let unescaped = match line.strip_prefix('-') {
            None => line,
            Some(rest) => match rest.strip_prefix(' ') {
                Some(unescaped) => unescaped,
                None if line.trim_end_matches([' ', '\t']) == BEGIN_SIGNATURE => {
                    break all.get(from..).unwrap_or_default();
                }
                None => return Err(CleartextError::Dash { line: number }),
            },
        };
        if unescaped.contains('\r') {
            return Err(CleartextError::CarriageReturn { line: number });
        }
        // The end of the last line is no part of the text.
        if !first {
            text.push_str("\r\n");
        }
        first = false;
        text.push_str(unescaped.trim_end_matches([' ', '\t']));
    };
    Ok(Signed {
        text,
        signatures: signatures(armor)?,
    })
}

fn signatures(armor: &str) -> Result<Vec<Signature>, CleartextError> {
    let end = armor.find(END_SIGNATURE).ok_or(CleartextError::End)? + END_SIGNATURE.len();
    let (armor, rest) = armor.split_at(end);
    if !rest.trim_ascii().is_empty() {
        return Err(CleartextError::Trailing);
    }
    let wrong = |error: &dyn std::fmt::Display| CleartextError::Armor(error.to_string());
    if armor.len() > MOST_ARMOR {
        return Err(CleartextError::Armor("it is too long".to_owned()));
    }
    let mut dearmor = Dearmor::new(armor.as_bytes());
    dearmor.read_header().map_err(|error| wrong(&error))?;
    if dearmor.typ != Some(BlockType::Signature) {
        return Err(CleartextError::Armor(
            "it is another kind of block".to_owned(),
        ));
    }
    let mut packets = Vec::new();
    dearmor
        .read_to_end(&mut packets)
        .map_err(|error| wrong(&error))?;
    let mut signatures = Vec::new();
    for packet in PacketParser::new(&*packets) {
        match packet.map_err(|error| wrong(&error))? {
            Packet::Signature(_) if signatures.len() == MOST_SIGNATURES => {
                return Err(CleartextError::TooMany);
            }
            Packet::Signature(signature) => signatures.push(signature),
            _ => return Err(CleartextError::Armor("it holds something else".to_owned())),
        }
    }
    Ok(signatures)
}
