use std::fmt;

/// Which text of a [`Sources`] a [`Span`] lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(u32);

/// A half-open range of bytes in one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub source: SourceId,
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// `range` is clamped to what a `u32` holds: no source is larger (see [`Sources::add`]).
    pub fn new(source: SourceId, range: std::ops::Range<usize>) -> Self {
        let clamp = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            source,
            start: clamp(range.start),
            end: clamp(range.end),
        }
    }

    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// One text that a person wrote, with its path relative to the project (or a name in `<…>` if it is no file).
#[derive(Clone, Debug)]
pub struct Source {
    pub path: String,
    pub text: String,
}

/// Line and column of a place, both from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// All texts of one run. Ids stay valid because nothing is ever removed.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    all: Vec<Source>,
}

impl Sources {
    /// The id of a text. The same text of the same path has one id, however often it is read (several hosts may extend one), so that
    /// a mistake in it is one mistake.
    pub fn add(&mut self, path: impl Into<String>, text: impl Into<String>) -> SourceId {
        let (path, text) = (path.into(), text.into());
        let known = self
            .all
            .iter()
            .position(|source| source.path == path && source.text == text);
        let index = known.unwrap_or_else(|| {
            self.all.push(Source { path, text });
            self.all.len() - 1
        });
        SourceId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    pub fn get(&self, id: SourceId) -> &Source {
        &self.all[id.0 as usize]
    }

    pub fn position(&self, span: Span) -> Position {
        let text = &self.get(span.source).text;
        let before = text.get(..span.start as usize).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// From a line and column, both from 1, to the end of the line.
    pub fn rest_of_line(&self, id: SourceId, line: usize, column: usize) -> Span {
        let text = &self.get(id).text;
        let start_of_line: usize = text
            .split_inclusive('\n')
            .take(line.saturating_sub(1))
            .map(str::len)
            .sum();
        let rest = text.get(start_of_line..).unwrap_or_default();
        let line_text = rest.lines().next().unwrap_or_default();
        let skip: usize = line_text
            .chars()
            .take(column.saturating_sub(1))
            .map(char::len_utf8)
            .sum();
        let start = start_of_line + skip;
        Span::new(id, start..(start_of_line + line_text.len()).max(start))
    }

    pub fn slice(&self, span: Span) -> &str {
        self.get(span.source)
            .text
            .get(span.range())
            .unwrap_or_default()
    }

    /// `path:line:column`, the form that editors and terminals make a link of.
    pub fn place(&self, span: Span) -> String {
        format!("{}:{}", self.get(span.source).path, self.position(span))
    }
}
