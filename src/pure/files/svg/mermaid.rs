//! The graph as a Mermaid flowchart.

use std::fmt::Write as _;

use super::{Graph, Node, Style};

/// The graph as a flowchart; ids are made up, because words such as `end` mean something in Mermaid.
pub fn mermaid(graph: &Graph) -> String {
    let nodes = graph.sorted_nodes();
    let mut out = String::new();
    if !graph.title.is_empty() {
        line(&mut out, format_args!("%% {}", comment(&graph.title)));
    }
    out.push_str("flowchart LR\n");
    let node = |out: &mut String, index: usize, node: &Node, indent: &str| {
        // A box must not be empty.
        let label = match escape(&node.label) {
            label if label.is_empty() => " ".to_owned(),
            label => label,
        };
        line(out, format_args!("{indent}n{index}[\"{label}\"]"));
    };
    for (position, group) in graph.groups.iter().enumerate() {
        let of_group: Vec<_> = nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| graph.group_of(node) == Some(position))
            .collect();
        if of_group.is_empty() {
            continue;
        }
        line(
            &mut out,
            format_args!("  subgraph g{position}[\"{}\"]", escape(&group.label)),
        );
        for (index, member) in of_group {
            node(&mut out, index, member, "    ");
        }
        out.push_str("  end\n");
    }
    for (index, single) in nodes.iter().enumerate() {
        if graph.group_of(single).is_none() {
            node(&mut out, index, single, "  ");
        }
    }
    for (from, to, edge) in graph.sorted_edges(&nodes) {
        let arrow = match edge.style {
            Style::Solid => "-->",
            Style::Dashed => "-.->",
            Style::Thick => "==>",
        };
        let label = escape(&edge.label);
        if label.is_empty() {
            line(&mut out, format_args!("  n{from} {arrow} n{to}"));
        } else {
            line(
                &mut out,
                format_args!("  n{from} {arrow}|\"{label}\"| n{to}"),
            );
        }
    }
    out
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
    out.push('\n');
}

/// Text between quotes. Mermaid's entities are `#NAME;` and `#NUMBER;`. Braces and percent signs would make a directive, a backtick
/// Markdown, a backslash-n a break of the line.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.trim().chars() {
        match c {
            '\n' => out.push_str("<br/>"),
            c if c.is_control() => out.push(' '),
            '"' | '#' | '&' | '<' | '>' | '`' | '%' | '{' | '}' | '\\' | '|' | ';' | '*' | '_' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "#{};", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

fn comment(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || "{}%".contains(c) {
                ' '
            } else {
                c
            }
        })
        .collect()
}
