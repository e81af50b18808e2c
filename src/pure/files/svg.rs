//! A graph of boxes and arrows as an SVG picture and as a Mermaid flowchart.
//!
//! Guarantees: the same graph gives the same bytes, in whatever order its nodes and edges come; no box covers another, and no label a
//! box or a label (see [`layout`]); any text is drawn as it is and never read as markup. The picture has no script and refers to
//! nothing outside itself, and follows the reader's choice of a light or dark scheme.
//!
//! Why not the crate `layout-rs`: see `docs/decisions/0009-our-own-layout-of-graphs.md`.

mod layout;
mod mermaid;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use layout::{Layout, Segment};
pub use mermaid::mermaid;

/// What is drawn. Nodes are told apart by their ids; edges to ids that are not there are left out.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub title: String,
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
    /// In the order of the legend; a node of a group that is not here counts to none.
    pub groups: Vec<Group>,
    /// What the lines mean, for the legend.
    pub meanings: Vec<(Style, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    pub id: String,
    /// Lines after the first are small print.
    pub label: String,
    pub group: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    pub from: String,
    pub to: String,
    /// May be empty.
    pub label: String,
    pub style: Style,
}

#[derive(Clone, Debug)]
pub struct Group {
    pub id: String,
    pub label: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Style {
    Solid,
    Dashed,
    Thick,
}

impl Style {
    const ALL: [Self; 3] = [Self::Solid, Self::Dashed, Self::Thick];

    fn class(self) -> &'static str {
        match self {
            Self::Solid => "solid",
            Self::Dashed => "dashed",
            Self::Thick => "thick",
        }
    }
}

impl Graph {
    /// Nodes in the order of their ids, each id once.
    fn sorted_nodes(&self) -> Vec<&Node> {
        let by_id: BTreeMap<&str, &Node> = self
            .nodes
            .iter()
            .rev()
            .map(|node| (node.id.as_str(), node))
            .collect();
        by_id.into_values().collect()
    }

    /// Edges between nodes that are there, each once, as positions in [`Graph::sorted_nodes`].
    fn sorted_edges(&self, nodes: &[&Node]) -> Vec<(usize, usize, &Edge)> {
        let at = |id: &str| nodes.binary_search_by(|node| node.id.as_str().cmp(id)).ok();
        let mut edges: Vec<_> = self
            .edges
            .iter()
            .filter_map(|edge| Some((at(&edge.from)?, at(&edge.to)?, edge)))
            .collect();
        edges.sort();
        edges.dedup();
        edges
    }

    fn group_of(&self, node: &Node) -> Option<usize> {
        let id = node.group.as_ref()?;
        self.groups.iter().position(|group| group.id == *id)
    }
}

/// The longest line of a label that is drawn whole; the whole text is in the tooltip.
const LONGEST: usize = 40;
const MARGIN: i64 = 24;
/// Colours of groups; when there are more groups, they come round again.
const COLOURS: usize = 8;

/// Where everything stands, and the lines of text in each box.
fn arrange(graph: &Graph) -> (Vec<Vec<String>>, Layout) {
    let nodes = graph.sorted_nodes();
    let texts: Vec<Vec<String>> = nodes.iter().map(|node| lines(&node.label)).collect();
    let sizes: Vec<_> = texts.iter().map(|lines| size(lines)).collect();
    let groups: Vec<_> = nodes
        .iter()
        .map(|node| graph.group_of(node).unwrap_or(usize::MAX))
        .collect();
    let links: Vec<_> = graph
        .sorted_edges(&nodes)
        .into_iter()
        .map(|(from, to, edge)| layout::Link {
            from,
            to,
            kind: (short(&edge.label), edge.style),
        })
        .collect();
    let layout = Layout::new(&sizes, &groups, &links, |text| width(text, 11));
    (texts, layout)
}

/// The picture.
pub fn svg(graph: &Graph) -> String {
    let nodes = graph.sorted_nodes();
    let (texts, layout) = arrange(graph);
    let top = if graph.title.is_empty() { 0 } else { 36 };
    let (legend, legend_width, legend_height) = legend(graph, layout.width.max(480));
    let total_width = layout.width.max(legend_width).max(width(&graph.title, 18)) + 2 * MARGIN;
    let legend_top = MARGIN + top + layout.height;
    let total_height = legend_top + legend_height + MARGIN;

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" width=\"{total_width}\" height=\"{total_height}\" viewBox=\"0 0 {total_width} {total_height}\">\n"
    );
    if !graph.title.is_empty() {
        put(
            &mut out,
            format_args!("<title>{}</title>\n", escape(&graph.title)),
        );
    }
    out.push_str(STYLE);
    put(
        &mut out,
        format_args!("<rect class=\"paper\" width=\"{total_width}\" height=\"{total_height}\"/>\n"),
    );
    if !graph.title.is_empty() {
        put(
            &mut out,
            format_args!(
                "<text class=\"title\" x=\"{MARGIN}\" y=\"{}\">{}</text>\n",
                MARGIN + 14,
                escape(&graph.title)
            ),
        );
    }
    put(
        &mut out,
        format_args!("<g transform=\"translate({MARGIN} {})\">\n", MARGIN + top),
    );
    for segment in &layout.segments {
        draw_line(&mut out, segment);
    }
    // Heads after all lines, so that none is hidden.
    for segment in &layout.segments {
        draw_heads(&mut out, segment);
    }
    for (node, (lines, place)) in nodes.iter().zip(texts.iter().zip(&layout.boxes)) {
        let class = graph
            .group_of(node)
            .map_or("none".to_owned(), |group| format!("g{}", group % COLOURS));
        put(
            &mut out,
            format_args!(
                "<g class=\"{class}\"><title>{}</title><rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"8\"/>",
                escape(&node.label),
                place.x,
                place.y,
                place.width,
                place.height
            ),
        );
        let middle = place.x + place.width / 2;
        let mut y = place.y + (place.height - text_height(lines)) / 2 + 13;
        for (index, line) in lines.iter().enumerate() {
            let class = if index == 0 { "name" } else { "small" };
            put(
                &mut out,
                format_args!(
                    "<text class=\"{class}\" x=\"{middle}\" y=\"{y}\">{}</text>",
                    escape(line)
                ),
            );
            y += 15;
        }
        out.push_str("</g>\n");
    }
    // Labels last: they lie above all lines.
    for label in &layout.labels {
        put(
            &mut out,
            format_args!(
                "<text class=\"label\" x=\"{}\" y=\"{}\">{}</text>\n",
                label.x,
                label.y,
                escape(&label.text)
            ),
        );
    }
    out.push_str("</g>\n");
    put(
        &mut out,
        format_args!("<g transform=\"translate({MARGIN} {legend_top})\">\n{legend}</g>\n</svg>\n"),
    );
    out
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

fn draw_line(out: &mut String, segment: &Segment) {
    let bend = (segment.lane_x - segment.from_x) / 2;
    put(
        out,
        format_args!(
            "<path class=\"{}\" d=\"M{} {}C{} {} {} {} {} {}H{}\"/>\n",
            segment.style.class(),
            segment.from_x,
            segment.from_y,
            segment.from_x + bend,
            segment.from_y,
            segment.lane_x - bend,
            segment.to_y,
            segment.lane_x,
            segment.to_y,
            segment.to_x,
        ),
    );
}

/// Heads are paths and not markers: a marker cannot take the colour of its line everywhere.
fn draw_heads(out: &mut String, segment: &Segment) {
    if segment.head_at_end {
        head(out, segment.style, segment.to_x, segment.to_y, 1);
    }
    if segment.head_at_start {
        head(out, segment.style, segment.from_x, segment.from_y, -1);
    }
}

fn head(out: &mut String, style: Style, x: i64, y: i64, towards: i64) {
    let back = x - 8 * towards;
    put(
        out,
        format_args!(
            "<path class=\"head {}\" d=\"M{x} {y}L{back} {}V{}Z\"/>\n",
            style.class(),
            y - 4,
            y + 4
        ),
    );
}

/// Groups and kinds of lines that occur, in rows of at most this width; with its width and height.
fn legend(graph: &Graph, wide: i64) -> (String, i64, i64) {
    let mut out = String::new();
    let (mut x, mut y, mut widest) = (0, 26, 0);
    let used = |index: usize| {
        graph
            .nodes
            .iter()
            .any(|node| graph.group_of(node) == Some(index))
    };
    let drawn = |style: Style| graph.edges.iter().any(|edge| edge.style == style);
    let mut entry = |sample: &dyn Fn(i64, i64) -> String, label: &str| {
        let label = short(label);
        let long = 32 + width(&label, 12) + 20;
        if x > 0 && x + long > wide {
            x = 0;
            y += 24;
        }
        out.push_str(&sample(x, y));
        put(
            &mut out,
            format_args!(
                "<text class=\"key\" x=\"{}\" y=\"{}\">{}</text>\n",
                x + 32,
                y + 4,
                escape(&label)
            ),
        );
        x += long;
        widest = widest.max(x);
    };
    for (index, group) in graph.groups.iter().enumerate() {
        if used(index) {
            let class = index % COLOURS;
            entry(
                &|x, y| {
                    format!(
                        "<g class=\"g{class}\"><rect x=\"{x}\" y=\"{}\" width=\"24\" height=\"14\" rx=\"4\"/></g>",
                        y - 7
                    )
                },
                &group.label,
            );
        }
    }
    for style in Style::ALL {
        let meaning = graph.meanings.iter().find(|(of, _)| *of == style);
        if let Some((_, meaning)) = meaning.filter(|_| drawn(style)) {
            entry(
                &|x, y| {
                    let mut sample = format!(
                        "<path class=\"{}\" d=\"M{x} {y}H{}\"/>",
                        style.class(),
                        x + 24
                    );
                    head(&mut sample, style, x + 24, y, 1);
                    sample
                },
                meaning,
            );
        }
    }
    let height = if widest == 0 { 0 } else { y + 10 };
    (out, widest, height)
}

fn lines(label: &str) -> Vec<String> {
    label.lines().map(short).collect()
}

fn short(text: &str) -> String {
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(LONGEST - 1).collect();
    cut.push('…');
    cut
}

fn text_height(lines: &[String]) -> i64 {
    let count = i64::try_from(lines.len().max(1)).unwrap_or(1);
    15 * count + 3
}

fn size(lines: &[String]) -> (i64, i64) {
    let widths = lines.iter().enumerate().map(|(index, line)| {
        let points = if index == 0 { 13 } else { 11 };
        width(line, points)
    });
    (
        widths.max().unwrap_or(0).max(48) + 28,
        text_height(lines) + 18,
    )
}

/// About how wide a text is, rather too wide than too narrow: the reader's font is not known.
fn width(text: &str, points: i64) -> i64 {
    let hundredths: i64 = text
        .chars()
        .map(|c| match c {
            'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '|' | '\'' | '!' | 'f' | 't' | 'r' | ' '
            | '(' | ')' | '[' | ']' => 42,
            'm' | 'w' | 'M' | 'W' | '@' | '%' | '…' => 98,
            'A'..='Z' => 76,
            '\u{1100}'.. => 105,
            _ => 64,
        })
        .sum();
    (hundredths * points + 99) / 100
}

/// Text for XML 1.0, which knows no control characters (section 2.2).
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

const STYLE: &str = include_str!("svg/style.xml");

#[cfg(test)]
mod tests;
