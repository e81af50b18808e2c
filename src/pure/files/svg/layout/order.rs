//! Columns, and the order in each.

use std::collections::VecDeque;

use super::drawing::{Item, Step};

/// The rank of each node, and for each edge whether it had to be turned round to make the graph free of cycles. Edges from a
/// node to itself do not count.
pub(super) fn ranks(nodes: usize, edges: &[(usize, usize)]) -> (Vec<usize>, Vec<bool>) {
    let turned = turned(nodes, edges);
    let mut after = vec![Vec::new(); nodes];
    let mut waiting = vec![0_usize; nodes];
    for ((from, to), turned) in edges.iter().zip(&turned) {
        let (from, to) = if *turned { (to, from) } else { (from, to) };
        if from != to {
            after[*from].push(*to);
            waiting[*to] += 1;
        }
    }
    let is_first: Vec<bool> = waiting.iter().map(|count| *count == 0).collect();
    let mut ready: VecDeque<usize> = (0..nodes).filter(|node| is_first[*node]).collect();
    let mut ranks = vec![0; nodes];
    while let Some(node) = ready.pop_front() {
        for next in &after[node] {
            ranks[*next] = ranks[*next].max(ranks[node] + 1);
            waiting[*next] -= 1;
            if waiting[*next] == 0 {
                ready.push_back(*next);
            }
        }
    }
    // What nothing leads to stands right before what it leads to.
    for node in (0..nodes).filter(|node| is_first[*node]) {
        if let Some(next) = after[node].iter().map(|next| ranks[*next]).min() {
            ranks[node] = next - 1;
        }
    }
    (ranks, turned)
}

/// Edges that lead back to where a walk in depth came from. The walk keeps its own stack: a chain may be long.
fn turned(nodes: usize, edges: &[(usize, usize)]) -> Vec<bool> {
    let mut after = vec![Vec::new(); nodes];
    let mut has_before = vec![false; nodes];
    for (edge, (from, to)) in edges.iter().enumerate() {
        if from != to {
            after[*from].push(edge);
            has_before[*to] = true;
        }
    }
    let mut turned = vec![false; edges.len()];
    let mut seen = vec![false; nodes];
    let mut on_way = vec![false; nodes];
    let firsts = (0..nodes).filter(|node| !has_before[*node]);
    for start in firsts.chain(0..nodes) {
        if seen[start] {
            continue;
        }
        seen[start] = true;
        on_way[start] = true;
        let mut way = vec![(start, 0)];
        while let Some((node, next)) = way.last_mut() {
            let Some(edge) = after[*node].get(*next) else {
                on_way[*node] = false;
                way.pop();
                continue;
            };
            *next += 1;
            let to = edges[*edge].1;
            if on_way[to] {
                turned[*edge] = true;
            } else if !seen[to] {
                seen[to] = true;
                on_way[to] = true;
                way.push((to, 0));
            }
        }
    }
    turned
}

/// Neighbours of each item in the columns before and after.
struct Neighbours {
    before: Vec<Vec<usize>>,
    after: Vec<Vec<usize>>,
}

/// The items of each column from top to bottom, with few crossings of lines.
pub(super) fn order(items: &[Item], steps: &[Step], groups: &[usize]) -> Vec<Vec<usize>> {
    let mut near = Neighbours {
        before: vec![Vec::new(); items.len()],
        after: vec![Vec::new(); items.len()],
    };
    for step in steps {
        near.before[step.to].push(step.from);
        near.after[step.from].push(step.to);
    }
    let mut layers = first_order(items, &near, groups);
    let mut best = layers.clone();
    let mut fewest = crossings(&layers, &near);
    let rounds = if items.len() > 2000 { 4 } else { 16 };
    for round in 0..rounds {
        if fewest == 0 {
            break;
        }
        sweep(&mut layers, &near, round % 2 == 0);
        if items.len() <= 600 {
            swap_neighbours(&mut layers, &near);
        }
        let now = crossings(&layers, &near);
        if now < fewest {
            fewest = now;
            best.clone_from(&layers);
        }
    }
    best
}

/// A walk in depth from the left, group by group: what belongs together comes to stand together.
fn first_order(items: &[Item], near: &Neighbours, groups: &[usize]) -> Vec<Vec<usize>> {
    let last = items.iter().map(|item| item.rank).max().unwrap_or(0);
    let mut layers = vec![Vec::new(); last + 1];
    let mut seen = vec![false; items.len()];
    let mut starts: Vec<usize> = (0..items.len()).collect();
    starts.sort_by_key(|item| {
        let group = items[*item].node.map_or(usize::MAX, |node| groups[node]);
        (items[*item].rank, group, *item)
    });
    for start in starts {
        let mut stack = vec![start];
        while let Some(item) = stack.pop() {
            if std::mem::replace(&mut seen[item], true) {
                continue;
            }
            layers[items[item].rank].push(item);
            stack.extend(near.after[item].iter().rev());
        }
    }
    layers
}

fn positions(layers: &[Vec<usize>], count: usize) -> Vec<usize> {
    let mut positions = vec![0; count];
    for layer in layers {
        for (index, item) in layer.iter().enumerate() {
            positions[*item] = index;
        }
    }
    positions
}

/// Orders each column by the barycentres of its items in the column that was ordered before it.
fn sweep(layers: &mut [Vec<usize>], near: &Neighbours, forth: bool) {
    let mut position = positions(layers, near.before.len());
    let ranks: Vec<usize> = if forth {
        (0..layers.len()).collect()
    } else {
        (0..layers.len()).rev().collect()
    };
    let side = if forth { &near.before } else { &near.after };
    for rank in ranks {
        let mut keyed: Vec<(f64, usize)> = layers[rank]
            .iter()
            .map(|item| {
                let others = &side[*item];
                let sum: usize = others.iter().map(|other| position[*other]).sum();
                let centre = if others.is_empty() {
                    position[*item] as f64
                } else {
                    sum as f64 / others.len() as f64
                };
                (centre, *item)
            })
            .collect();
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (index, (_, item)) in keyed.iter().enumerate() {
            layers[rank][index] = *item;
            position[*item] = index;
        }
    }
}

/// Swaps neighbours in a column while that saves crossings.
fn swap_neighbours(layers: &mut [Vec<usize>], near: &Neighbours) {
    let mut position = positions(layers, near.before.len());
    for _ in 0..12 {
        let mut better = false;
        for layer in layers.iter_mut() {
            for index in 1..layer.len() {
                let (a, b) = (layer[index - 1], layer[index]);
                let (mut now, mut then) = (0, 0);
                for side in [&near.before, &near.after] {
                    for x in &side[a] {
                        for y in &side[b] {
                            now += usize::from(position[*x] > position[*y]);
                            then += usize::from(position[*x] < position[*y]);
                        }
                    }
                }
                if then < now {
                    layer.swap(index - 1, index);
                    position.swap(a, b);
                    better = true;
                }
            }
        }
        if !better {
            return;
        }
    }
}

/// How often lines cross: inversions between neighbouring columns, counted with a binary indexed tree.
fn crossings(layers: &[Vec<usize>], near: &Neighbours) -> usize {
    let position = positions(layers, near.before.len());
    let mut total = 0;
    for pair in layers.windows(2) {
        let mut ends = Vec::new();
        for item in &pair[0] {
            let mut of_item: Vec<usize> =
                near.after[*item].iter().map(|to| position[*to]).collect();
            of_item.sort_unstable();
            ends.extend(of_item);
        }
        let mut tree = vec![0_usize; pair[1].len() + 1];
        for (passed, end) in ends.iter().enumerate() {
            let mut not_above = 0;
            let mut at = end + 1;
            while at > 0 {
                not_above += tree[at];
                at &= at - 1;
            }
            total += passed - not_above;
            let mut at = end + 1;
            while at < tree.len() {
                tree[at] += 1;
                at += at & at.wrapping_neg();
            }
        }
    }
    total
}
