//! Tables for a person: columns, no lines around them.

use comfy_table::ContentArrangement;
use comfy_table::presets::NOTHING;

/// Rows below a heading.
#[derive(Debug)]
pub(crate) struct Table {
    inner: comfy_table::Table,
    rows: usize,
}

impl Table {
    pub(crate) fn new<const N: usize>(columns: [&str; N]) -> Self {
        let mut inner = comfy_table::Table::new();
        inner
            .load_style(NOTHING)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(columns.map(str::to_uppercase));
        // Where nobody looks, nothing is wrapped: a pipe wants one row per line.
        match terminal_width() {
            Some(width) => inner.set_width(width),
            None => inner.set_content_arrangement(ContentArrangement::Disabled),
        };
        Self { inner, rows: 0 }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.inner.add_row(cells);
        self.rows += 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The table below a title; says so when there is nothing in it.
    pub(crate) fn draw(&self, title: &str) -> String {
        let bold = anstyle::Style::new().bold();
        if self.is_empty() {
            return format!("{bold}{title}{bold:#}\n  none\n");
        }
        let lines: String = self
            .inner
            .lines()
            // The library puts a space before the first column.
            .map(|line| format!("  {}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end()))
            .collect();
        format!("{bold}{title}{bold:#}\n{lines}")
    }
}

/// The width of the terminal that stdout is, if it is one.
pub(crate) fn terminal_width() -> Option<u16> {
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

/// Bytes as a person reads them.
pub(crate) fn amount(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// `1 host`, `2 hosts`.
pub(crate) fn counted(count: usize, word: &str) -> String {
    match count {
        1 => format!("1 {word}"),
        n => format!("{n} {word}s"),
    }
}
