//! Values and texts written for other languages, so that they are read as what they are.

use std::fmt::Write as _;

use serde_json::Value as Json;

/// A value of TOML 1.0 on one line. TOML has no null, and integers of 64 bits with sign.
pub(super) fn toml(value: &Json) -> Result<String, String> {
    let mut out = String::new();
    toml_into(&mut out, value)?;
    Ok(out)
}

fn toml_into(out: &mut String, value: &Json) -> Result<(), String> {
    match value {
        Json::Null => return Err("TOML has no value for what is absent".to_owned()),
        Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Json::Number(number) if number.is_u64() && !number.is_i64() => {
            return Err(format!("{number} is too large for TOML"));
        }
        Json::Number(number) => out.push_str(&number.to_string()),
        Json::String(text) => toml_text_into(out, text),
        Json::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                toml_into(out, item)?;
            }
            out.push(']');
        }
        Json::Object(map) => {
            out.push('{');
            for (index, (key, value)) in map.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { " " });
                let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
                if !key.is_empty() && key.bytes().all(bare) {
                    out.push_str(key);
                } else {
                    toml_text_into(out, key);
                }
                out.push_str(" = ");
                toml_into(out, value)?;
            }
            out.push_str(if map.is_empty() { "}" } else { " }" });
        }
    }
    Ok(())
}

/// A basic string: everything but printable characters, tab excepted, must be escaped there.
fn toml_text_into(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

const NO_NUL: &str = "a NUL character cannot be passed to a program";

/// One word of a POSIX shell (section 2.2.2, single quotes).
pub(super) fn sh(text: &str) -> Result<String, String> {
    if text.contains('\0') {
        return Err(NO_NUL.to_owned());
    }
    // `=` and `~` are left out: at some places they mean something without quotes.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@%+:,./_-".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    Ok(format!("'{}'", text.replace('\'', "'\\''")))
}

/// One word of a command line in a unit: systemd.service(5) "COMMAND LINES", systemd.syntax(7) "QUOTING", systemd.unit(5)
/// "SPECIFIERS". The first word is a program; its special prefixes (`-`, `@`, `+`, `!`, `:`) keep their meaning.
pub(super) fn systemd(text: &str) -> Result<String, String> {
    if text.contains('\0') {
        return Err(NO_NUL.to_owned());
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@+:,./_=-".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return Ok(text.to_owned());
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '%' => out.push_str("%%"),
            '$' => out.push_str("$$"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    Ok(out)
}

/// Indents every line but the first and those that are empty.
pub(super) fn indent(by: usize, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.split_inclusive('\n').enumerate() {
        if index > 0 && !line.trim_end_matches(['\r', '\n']).is_empty() {
            out.extend(std::iter::repeat_n(' ', by));
        }
        out.push_str(line);
    }
    out
}
