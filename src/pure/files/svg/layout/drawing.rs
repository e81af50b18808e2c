//! Boxes and lines as items in columns, and the height at which each stands.

use std::collections::BTreeMap;

use super::super::Style;
use super::{Link, order};

const PORT_DISTANCE: f64 = 16.0;

/// What takes a place in a column: a box, or a line that passes by.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) rank: usize,
    pub(super) node: Option<usize>,
    pub(super) height: f64,
}

/// Between two items of neighbouring columns.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) from: usize,
    pub(super) to: usize,
    /// The way into its box, if it ends at one: a position in [`Drawing::ports`].
    pub(super) port: Option<usize>,
    pub(super) style: Style,
    pub(super) turned: bool,
}

/// Where a shared way enters its box.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) item: usize,
    pub(super) label: String,
    /// Distance from the middle of the box.
    pub(super) offset: f64,
}

#[derive(Debug)]
pub(super) struct Drawing {
    pub(super) items: Vec<Item>,
    pub(super) steps: Vec<Step>,
    pub(super) ports: Vec<Port>,
}

impl Drawing {
    pub(super) fn new(sizes: &[(i64, i64)], links: &[Link]) -> Self {
        let ends: Vec<(usize, usize)> = links.iter().map(|link| (link.from, link.to)).collect();
        let (ranks, turned) = order::ranks(sizes.len(), &ends);
        let mut items = Vec::new();
        // A node's item has the node's position; items of lines that pass by come after them.
        for (node, (_, height)) in sizes.iter().enumerate() {
            items.push(Item {
                rank: ranks[node],
                node: Some(node),
                height: *height as f64,
            });
        }
        // Ways by where they end and what they mean, with where they come from.
        type Way<'a> = (usize, bool, &'a (String, Style));
        let mut ways: BTreeMap<Way<'_>, Vec<usize>> = BTreeMap::new();
        for (link, turned) in links.iter().zip(turned) {
            if link.from == link.to {
                continue;
            }
            let (from, to) = if turned {
                (link.to, link.from)
            } else {
                (link.from, link.to)
            };
            ways.entry((to, turned, &link.kind)).or_default().push(from);
        }
        let (mut steps, mut ports) = (Vec::new(), Vec::new());
        for ((to, turned, (label, style)), sources) in ways {
            let last = ranks[to];
            let first = sources
                .iter()
                .map(|from| ranks[*from])
                .min()
                .unwrap_or(last);
            // The places that the way holds in the columns between, from the first to the last.
            let passing: Vec<usize> = (first + 1..last)
                .map(|rank| {
                    items.push(Item {
                        rank,
                        node: None,
                        height: 4.0,
                    });
                    items.len() - 1
                })
                .collect();
            let port = ports.len();
            ports.push(Port {
                item: to,
                label: label.clone(),
                offset: 0.0,
            });
            let starts = sources.iter().map(|from| (*from, ranks[*from]));
            let goes_on = passing.iter().map(|item| (*item, items[*item].rank));
            for (from, rank) in starts.chain(goes_on) {
                let next = passing.get(rank - first);
                steps.push(Step {
                    from,
                    to: *next.unwrap_or(&to),
                    port: next.is_none().then_some(port),
                    style: *style,
                    turned,
                });
            }
        }
        for (item, place) in items.iter_mut().enumerate() {
            let ways_in = ports.iter().filter(|port| port.item == item).count();
            if ways_in > 0 {
                // The label of the uppermost way does not rise above the box.
                place.height = place.height.max(PORT_DISTANCE * ways_in as f64 + 14.0);
            }
        }
        Self {
            items,
            steps,
            ports,
        }
    }

    /// The ways into a box enter it in the order in which they come.
    pub(super) fn order_ports(&mut self, layers: &[Vec<usize>]) {
        let mut position = vec![0.0; self.items.len()];
        for layer in layers {
            for (index, item) in layer.iter().enumerate() {
                position[*item] = index as f64 / layer.len() as f64;
            }
        }
        let mut heights = vec![(0.0, 0.0); self.ports.len()];
        for step in &self.steps {
            if let Some(port) = step.port {
                heights[port].0 += position[step.from];
                heights[port].1 += 1.0;
            }
        }
        let mut by_item: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (index, port) in self.ports.iter().enumerate() {
            by_item.entry(port.item).or_default().push(index);
        }
        for mut ports in by_item.into_values() {
            let height = |port: &usize| heights[*port].0 / heights[*port].1;
            ports.sort_by(|a, b| height(a).total_cmp(&height(b)).then(a.cmp(b)));
            let middle = (ports.len() - 1) as f64 / 2.0;
            for (index, port) in ports.iter().enumerate() {
                self.ports[*port].offset = (index as f64 - middle) * PORT_DISTANCE;
            }
        }
    }

    /// The middle of each item: as near as the order allows to where its lines are straight.
    pub(super) fn middles(&self, layers: &[Vec<usize>]) -> Vec<f64> {
        let gap = |a: usize, b: usize| {
            let (a, b) = (&self.items[a], &self.items[b]);
            let free = if a.node.is_some() && b.node.is_some() {
                18.0
            } else {
                12.0
            };
            (a.height + b.height) / 2.0 + free
        };
        // Distances of each item of a layer from the first, when all stand as near as they may.
        let stacked: Vec<Vec<f64>> = layers
            .iter()
            .map(|layer| {
                let mut at = 0.0;
                layer
                    .iter()
                    .enumerate()
                    .map(|(index, item)| {
                        if index > 0 {
                            at += gap(layer[index - 1], *item);
                        }
                        at
                    })
                    .collect()
            })
            .collect();
        let mut middles = vec![0.0; self.items.len()];
        for (layer, stack) in layers.iter().zip(&stacked) {
            let half = stack.last().copied().unwrap_or(0.0) / 2.0;
            for (item, at) in layer.iter().zip(stack) {
                middles[*item] = at - half;
            }
        }
        let mut before = vec![Vec::new(); self.items.len()];
        let mut after = vec![Vec::new(); self.items.len()];
        for step in &self.steps {
            let offset = step.port.map_or(0.0, |port| self.ports[port].offset);
            before[step.to].push((step.from, -offset));
            after[step.from].push((step.to, offset));
        }
        const ROUNDS: usize = 24;
        for round in 0..ROUNDS {
            let forth = round % 2 == 0;
            let all: Vec<usize> = (0..layers.len()).collect();
            let turn: Box<dyn Iterator<Item = &usize>> = if forth {
                Box::new(all.iter())
            } else {
                Box::new(all.iter().rev())
            };
            for rank in turn {
                let wishes: Vec<(f64, f64)> = layers[*rank]
                    .iter()
                    .zip(&stacked[*rank])
                    .map(|(item, at)| {
                        // At the end both sides count, so that neither is favoured.
                        let late = round + 6 >= ROUNDS;
                        let mut sum = 0.0;
                        let mut count = 0.0;
                        for (side, counts) in [(&before, forth || late), (&after, !forth || late)] {
                            if counts {
                                for (other, offset) in &side[*item] {
                                    sum += middles[*other] + offset;
                                    count += 1.0;
                                }
                            }
                        }
                        if count == 0.0 {
                            return (middles[*item] - at, 0.1);
                        }
                        // A bend in a line that only passes by is the worst.
                        let weight = if self.items[*item].node.is_none() {
                            4.0
                        } else {
                            1.0
                        };
                        (sum / count - at, weight)
                    })
                    .collect();
                for ((item, at), base) in layers[*rank]
                    .iter()
                    .zip(&stacked[*rank])
                    .zip(rising(&wishes))
                {
                    middles[*item] = base + at;
                }
            }
        }
        middles
    }
}

/// The rising sequence nearest to the wished values, by weighted least squares (pool adjacent violators).
fn rising(wishes: &[(f64, f64)]) -> Vec<f64> {
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    for (value, weight) in wishes {
        let mut pool = (value * weight, *weight, 1);
        while let Some(last) = pools.last() {
            if last.0 / last.1 <= pool.0 / pool.1 {
                break;
            }
            pool = (last.0 + pool.0, last.1 + pool.1, last.2 + pool.2);
            pools.pop();
        }
        pools.push(pool);
    }
    pools
        .into_iter()
        .flat_map(|(sum, weight, count)| std::iter::repeat_n(sum / weight, count))
        .collect()
}
