//! What changes in a text, for a person.

use similar::{Algorithm, TextDiff};

/// As many lines of a difference are shown.
const MOST: usize = 200;
/// Beyond that the time to compare is not worth it.
const LONGEST: usize = 1 << 20;

fn text(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    let shown = |c: char| !c.is_control() || matches!(c, '\n' | '\t' | '\r');
    (bytes.len() <= LONGEST && text.chars().all(shown)).then_some(text)
}

/// Unified, with three lines of context; nothing if one of the two is no text, or nothing differs.
pub fn unified(path: &str, old: &[u8], new: &[u8]) -> Option<String> {
    let (old, new) = (text(old)?, text(new)?);
    if old == new {
        return None;
    }
    let diff = TextDiff::configure()
        .algorithm(Algorithm::Myers)
        .diff_lines(old, new);
    let whole = diff
        .unified_diff()
        .context_radius(3)
        .header(path, path)
        .to_string();
    let mut lines: Vec<&str> = whole.lines().collect();
    if lines.len() <= MOST {
        return Some(whole);
    }
    let hidden = lines.len() - MOST;
    lines.truncate(MOST);
    Some(format!("{}\n… {hidden} more lines\n", lines.join("\n")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn shows_lines_of_text_and_nothing_else() {
        let diff = unified("/etc/x", b"a\nb\nc\n", b"a\nB\nc\n").unwrap();
        assert_eq!(
            diff,
            "--- /etc/x\n+++ /etc/x\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n"
        );
        assert_eq!(unified("/etc/x", b"a", b"a"), None);
        assert_eq!(unified("/etc/x", b"a\0", b"b"), None);
        assert_eq!(unified("/etc/x", b"a", b"\xff"), None);
    }

    #[test]
    fn a_long_difference_is_cut() {
        let new = "line\n".repeat(1000);
        let diff = unified("/x", b"", new.as_bytes()).unwrap();
        assert_eq!(diff.lines().count(), MOST + 1);
        assert!(diff.ends_with("… 803 more lines\n"), "{diff}");
    }
}
