//! What `show` prints: titled tables, and amounts as a person reads them.

use super::layout;

/// Rows below a heading.
#[derive(Debug)]
pub(crate) struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Tables stand this far to the right of their titles.
const INDENT: usize = 2;

impl Table {
    pub(crate) fn new<const N: usize>(columns: [&str; N]) -> Self {
        Self {
            header: columns.map(str::to_uppercase).to_vec(),
            rows: Vec::new(),
        }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table below a title; says so when there is nothing in it.
    pub(crate) fn draw(self, title: &str) -> String {
        let bold = anstyle::Style::new().bold();
        let body = if self.is_empty() {
            format!("{:INDENT$}none\n", "")
        } else {
            let header: Vec<&str> = self.header.iter().map(String::as_str).collect();
            layout::indented_table(&header, self.rows, INDENT)
        };
        format!("{bold}{title}{bold:#}\n{body}")
    }
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
