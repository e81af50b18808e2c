//! Where boxes, lines and labels stand: a layered layout from left to right (Sugiyama, Tagawa, Toda 1981).
//!
//! Columns are ranks by longest path; the order in a column is found by barycentres; heights by least squares with the order kept. Lines
//! that lead to the same box with the same label and style share one way and one label: that is what keeps a database that
//! everybody needs legible. A line over several columns holds a place in each, so it passes between boxes and never behind
//! one. Before each column there is a lane in which lines only run straight: labels stand there, each above its own line.
//!
//! Deterministic: every choice is by position, and the arithmetic is IEEE addition, multiplication and division.

mod drawing;
mod order;

use std::collections::BTreeMap;

use super::Style;
use drawing::Drawing;

/// An arrow between two boxes; those of one kind may share their way.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) kind: (String, Style),
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place {
    pub(super) x: i64,
    pub(super) y: i64,
    pub(super) width: i64,
    pub(super) height: i64,
}

/// A piece of a line: a curve to the lane, then straight on.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) from_x: i64,
    pub(super) from_y: i64,
    pub(super) lane_x: i64,
    pub(super) to_x: i64,
    pub(super) to_y: i64,
    pub(super) style: Style,
    pub(super) head_at_start: bool,
    pub(super) head_at_end: bool,
}

/// Text that ends at this point of its base line.
#[derive(Debug)]
pub(super) struct Label {
    pub(super) x: i64,
    pub(super) y: i64,
    pub(super) text: String,
}

#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) boxes: Vec<Place>,
    pub(super) segments: Vec<Segment>,
    pub(super) labels: Vec<Label>,
    pub(super) width: i64,
    pub(super) height: i64,
}

const HEAD: i64 = 14;

impl Layout {
    /// `sizes` and `groups` of the boxes, by position; neighbours of one group stay together where nothing else decides.
    pub(super) fn new(
        sizes: &[(i64, i64)],
        groups: &[usize],
        links: &[Link],
        label_width: impl Fn(&str) -> i64,
    ) -> Self {
        let mut layout = Self::of(sizes);
        let mut linked = vec![false; sizes.len()];
        for component in components(sizes.len(), links) {
            let part = |node: usize| component.binary_search(&node).ok();
            let own: Vec<Link> = links
                .iter()
                .filter_map(|link| {
                    Some(Link {
                        from: part(link.from)?,
                        to: part(link.to)?,
                        kind: link.kind.clone(),
                    })
                })
                .collect();
            let own_sizes: Vec<_> = component.iter().map(|node| sizes[*node]).collect();
            let own_groups: Vec<_> = component.iter().map(|node| groups[*node]).collect();
            layout.put_below(
                &component,
                Self::connected(&own_sizes, &own_groups, &own, &label_width),
            );
            for node in component {
                linked[node] = true;
            }
        }
        layout.put_unlinked(&linked, groups);
        layout
    }

    /// Boxes of these sizes, not yet put anywhere.
    fn of(sizes: &[(i64, i64)]) -> Self {
        Self {
            boxes: sizes
                .iter()
                .map(|&(width, height)| Place {
                    width,
                    height,
                    ..Place::default()
                })
                .collect(),
            ..Self::default()
        }
    }

    /// Boxes that all hang together.
    fn connected(
        sizes: &[(i64, i64)],
        groups: &[usize],
        links: &[Link],
        label_width: impl Fn(&str) -> i64,
    ) -> Self {
        let mut layout = Self::of(sizes);
        let mut drawing = Drawing::new(sizes, links);
        let layers = order::order(&drawing.items, &drawing.steps, groups);
        drawing.order_ports(&layers);
        let middles = drawing.middles(&layers);
        layout.put(&drawing, &layers, &middles, label_width);
        layout
    }

    /// Puts a part, whose boxes are these, below what is there.
    fn put_below(&mut self, nodes: &[usize], part: Self) {
        let down = if self.height > 0 { self.height + 32 } else { 0 };
        let Self {
            boxes,
            segments,
            labels,
            width,
            height,
        } = part;
        for (node, place) in nodes.iter().zip(boxes) {
            self.boxes[*node] = Place {
                y: place.y + down,
                ..place
            };
        }
        self.segments
            .extend(segments.into_iter().map(|segment| Segment {
                from_y: segment.from_y + down,
                to_y: segment.to_y + down,
                ..segment
            }));
        self.labels.extend(labels.into_iter().map(|label| Label {
            y: label.y + down,
            ..label
        }));
        self.width = self.width.max(width);
        self.height = down + height;
    }

    fn put(
        &mut self,
        drawing: &Drawing,
        layers: &[Vec<usize>],
        middles: &[f64],
        label_width: impl Fn(&str) -> i64,
    ) {
        let top = drawing
            .items
            .iter()
            .zip(middles)
            .map(|(item, middle)| middle - item.height / 2.0)
            .fold(f64::INFINITY, f64::min);
        let y = |middle: f64| (middle - top).round() as i64;

        // Columns: where each begins, how wide it is, where the lane before it begins.
        let mut columns: Vec<(i64, i64, i64)> = Vec::new();
        let mut x = 0;
        for (rank, layer) in layers.iter().enumerate() {
            let boxes = layer.iter().filter_map(|item| drawing.items[*item].node);
            let wide = boxes.map(|node| self.boxes[node].width).max().unwrap_or(12);
            let mut lane = x;
            if rank > 0 {
                let steps = drawing
                    .steps
                    .iter()
                    .filter(|step| drawing.items[step.to].rank == rank);
                let bends = steps.count().min(24);
                lane = x + 44 + 3 * i64::try_from(bends).unwrap_or(24);
                let labels = drawing
                    .ports
                    .iter()
                    .filter(|port| drawing.items[port.item].rank == rank && !port.label.is_empty());
                x = lane
                    + labels
                        .map(|port| label_width(&port.label) + 12)
                        .max()
                        .unwrap_or(0)
                    + HEAD;
            }
            columns.push((x, wide, lane));
            x += wide;
        }
        self.width = x;

        for (item, middle) in drawing.items.iter().zip(middles) {
            let (x, wide, _) = columns[item.rank];
            let place_top = y(middle - item.height / 2.0);
            let height = item.height.round() as i64;
            self.height = self.height.max(place_top + height);
            if let Some(node) = item.node {
                self.boxes[node] = Place {
                    x,
                    y: place_top,
                    width: wide,
                    height,
                };
            }
        }
        for step in &drawing.steps {
            let (from, to) = (&drawing.items[step.from], &drawing.items[step.to]);
            let (from_column, to_column) = (columns[from.rank], columns[to.rank]);
            let offset = step.port.map_or(0.0, |port| drawing.ports[port].offset);
            self.segments.push(Segment {
                from_x: from_column.0 + from_column.1,
                from_y: y(middles[step.from]),
                lane_x: to_column.2,
                // A line that passes by goes on to the end of the column.
                to_x: to_column.0 + if step.port.is_some() { 0 } else { to_column.1 },
                to_y: y(middles[step.to] + offset),
                style: step.style,
                head_at_start: step.turned && from.node.is_some(),
                head_at_end: !step.turned && step.port.is_some(),
            });
        }
        for port in drawing.ports.iter().filter(|port| !port.label.is_empty()) {
            let item = &drawing.items[port.item];
            self.labels.push(Label {
                x: columns[item.rank].0 - HEAD + 2,
                y: y(middles[port.item] + port.offset) - 5,
                text: port.label.clone(),
            });
        }
    }

    /// Boxes without lines, in rows below the others.
    fn put_unlinked(&mut self, linked: &[bool], groups: &[usize]) {
        let mut alone: Vec<usize> = (0..linked.len()).filter(|node| !linked[*node]).collect();
        alone.sort_by_key(|node| (groups[*node], *node));
        if alone.is_empty() {
            return;
        }
        let wide = alone.iter().map(|node| self.boxes[*node].width).max();
        let wide = wide.unwrap_or(0);
        let right = self.width.max(760);
        let (mut x, mut row_height) = (0, 0);
        let mut y = if self.height > 0 { self.height + 32 } else { 0 };
        for node in alone {
            if x > 0 && x + wide > right {
                x = 0;
                y += row_height + 16;
                row_height = 0;
            }
            let height = self.boxes[node].height;
            self.boxes[node] = Place {
                x,
                y,
                width: wide,
                height,
            };
            row_height = row_height.max(height);
            self.width = self.width.max(x + wide);
            self.height = self.height.max(y + height);
            x += wide + 16;
        }
    }
}

/// The boxes that lines lead to, divided into those that hang together; the largest first, each ascending.
fn components(count: usize, links: &[Link]) -> Vec<Vec<usize>> {
    let mut of: Vec<usize> = (0..count).collect();
    let mut linked = vec![false; count];
    // Few boxes: spreading the smallest position until nothing changes is quick enough and plain.
    let mut changed = true;
    while changed {
        changed = false;
        for link in links.iter().filter(|link| link.from != link.to) {
            (linked[link.from], linked[link.to]) = (true, true);
            let least = of[link.from].min(of[link.to]);
            changed |= of[link.from] != least || of[link.to] != least;
            (of[link.from], of[link.to]) = (least, least);
        }
    }
    let mut parts: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for node in (0..count).filter(|node| linked[*node]) {
        parts.entry(of[node]).or_default().push(node);
    }
    let mut parts: Vec<Vec<usize>> = parts.into_values().collect();
    parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
    parts
}
