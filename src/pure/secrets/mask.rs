//! The text of a secrets file as it may be shown.

use super::armor::{BEGIN, END};

/// The same text, byte for byte as long, with everything replaced by `*` that could be a value in clear.
///
/// Reports quote the line that they speak of; of this file they quote the masked text, so that the report of "this value is
/// not encrypted" does not publish it. What stays is a list of what is known to be harmless, not the reverse: white space,
/// headers of tables, keys, marks of armor, public keys, whole numbers at the key `version`.
pub(super) fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let kept = kept_prefix(line);
        masked.push_str(&line[..kept]);
        for c in line[kept..].chars() {
            if c.is_whitespace() {
                masked.push(c);
            } else {
                masked.extend(std::iter::repeat_n('*', c.len_utf8()));
            }
        }
    }
    masked
}

/// How many bytes of a line are harmless; the rest is masked.
fn kept_prefix(line: &str) -> usize {
    let trimmed = line.trim();
    if [BEGIN, END, "\"\"\"", "'''"].contains(&trimmed)
        || matches!(trimmed, "[recipients]" | "[secrets]")
    {
        return line.len();
    }
    let bare = |c: char| c.is_ascii_alphanumeric() || "_-. \t".contains(c);
    let Some((key, value)) = line
        .split_once('=')
        .filter(|(key, _)| key.chars().all(bare))
    else {
        return 0;
    };
    let trimmed = value.trim();
    let opening = value.len() - value.trim_start().len();
    let public = [
        "\"ssh-ed25519 ",
        "\"ssh-rsa ",
        "\"ecdsa-",
        "\"sk-",
        "\"age1",
    ]
    .iter()
    .any(|start| trimmed.starts_with(start));
    let version = key.trim() == "version" && trimmed.bytes().all(|byte| byte.is_ascii_digit());
    if public || version || matches!(trimmed, "\"\"\"" | "'''") {
        line.len()
    } else {
        key.len() + 1 + opening
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_lengths_and_hides_values() {
        let text = "version = 1\n# old: hunter2\n[recipients]\na = \"age1xyz\"\n[secrets]\n\
                    pw = \"hünter2\"\nno quote\nok = \"\"\"\nhunter2\n\"\"\"\nversion = hunter2\n";
        let masked = mask(text);
        assert_eq!(masked.len(), text.len());
        assert!(
            !masked.contains("unter2") && !masked.contains("quote"),
            "{masked}"
        );
        for kept in [
            "version = 1\n",
            "[recipients]\na = \"age1xyz\"\n[secrets]\npw = *",
            "ok = \"\"\"\n***",
        ] {
            assert!(masked.contains(kept), "{masked}");
        }
    }
}
