//! Prose and tables, as wide as the terminal.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

/// Wider lines than this are hard to read, however wide the terminal is.
const WIDEST_PROSE: usize = 100;
const PROSE_ELSEWHERE: usize = 80;

/// The width of the terminal that stdout is, if it is one.
fn terminal_width() -> Option<u16> {
    use std::io::IsTerminal as _;
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(&stdout)
        .ok()
        .map(|size| size.ws_col)
        .filter(|width| *width > 40)
}

pub(crate) fn prose_width() -> usize {
    terminal_width().map_or(PROSE_ELSEWHERE, |width| {
        usize::from(width).clamp(20, WIDEST_PROSE)
    })
}

/// Prose in Markdown, its lines broken anew: blank lines part paragraphs, items of lists hang, fenced code and tables stay
/// as they are.
pub(crate) fn prose(text: &str, width: usize) -> String {
    let mut result = String::new();
    let mut block: Vec<&str> = Vec::new();
    let mut fenced = false;
    let flush = |block: &mut Vec<&str>, result: &mut String| {
        if block.is_empty() {
            return;
        }
        let words = block.join(" ");
        let hang = if words.starts_with("- ") { "  " } else { "" };
        wrap(&words, width, hang, result);
        block.clear();
    };
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            flush(&mut block, &mut result);
            fenced = !fenced;
            continue;
        }
        if fenced {
            result.push_str("    ");
            result.push_str(line);
            result.push('\n');
        } else if line.starts_with('|') {
            // A table of its own: joined into one line, nobody could read it.
            flush(&mut block, &mut result);
            result.push_str(line);
            result.push('\n');
        } else if line.trim().is_empty() {
            flush(&mut block, &mut result);
            result.push('\n');
        } else {
            if line.starts_with("- ") {
                flush(&mut block, &mut result);
            }
            block.push(line.trim());
        }
    }
    flush(&mut block, &mut result);
    result
}

fn wrap(text: &str, width: usize, hang: &str, result: &mut String) {
    let mut column = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > width {
            result.push('\n');
            result.push_str(hang);
            column = hang.len();
        } else if column > 0 {
            result.push(' ');
            column += 1;
        }
        result.push_str(word);
        column += length;
    }
    result.push('\n');
}

/// A table without borders. On a terminal it fits the width; elsewhere a row is a line, for `grep`.
pub(crate) fn table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    indented_table(header, rows, 0)
}

/// The same, every line that many columns to the right.
pub(crate) fn indented_table(header: &[&str], rows: Vec<Vec<String>>, indent: usize) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    if let Some(width) = terminal_width() {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width.saturating_sub(u16::try_from(indent).unwrap_or(0)));
    }
    if !header.is_empty() {
        table.set_header(header.iter().copied());
    }
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let bold = anstyle::Style::new().bold();
    let mut text = String::new();
    for (number, line) in table.lines().enumerate() {
        let line = line.trim_end();
        if number == 0 && !header.is_empty() {
            text.push_str(&format!("{:indent$}{bold}{line}{bold:#}\n", ""));
        } else {
            text.push_str(&format!("{:indent$}{line}\n", ""));
        }
    }
    text
}

/// A table in Markdown.
pub(crate) fn markdown_table(header: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut text = format!("| {} |\n|", header.join(" | "));
    for _ in header {
        text.push_str(" --- |");
    }
    text.push('\n');
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .map(|cell| cell.replace('|', "\\|").replace('\n', " "))
            .collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

/// A value in the middle of a line: cut off where it would fill the screen.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 160;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(LONGEST - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_keeps_paragraphs_items_and_code() {
        let text = "one two\nthree four\n\n- five six seven\n- eight\n\n```toml\na = 1\n```\nnine";
        assert_eq!(
            prose(text, 10),
            "one two\nthree four\n\n- five six\n  seven\n- eight\n\n    a = 1\nnine\n"
        );
    }

    #[test]
    fn cells_cannot_break_a_markdown_table() {
        let table = markdown_table(
            &["A", "B"],
            vec![vec!["a | b".to_owned(), "c\nd".to_owned()]],
        );
        assert_eq!(table, "| A | B |\n| --- | --- |\n| a \\| b | c d |\n");
    }
}
