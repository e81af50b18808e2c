//! Dependencies first.

use std::collections::{BTreeMap, BTreeSet};

/// Names so that each stands after those that it needs; `needs` has every name as a key, and names no others. Those that need
/// each other stand together, by name; where the order is free, the lowest name comes first.
pub(super) fn dependencies_first<'a>(needs: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<&'a str> {
    let knots = knots(needs);
    // What each knot waits for, and who waits for it. A knot is named by its lowest member.
    let mut waits: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut waited_for: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut members: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, needed) in needs {
        let Some(knot) = knots.get(name) else {
            continue;
        };
        members.entry(knot).or_default().push(name);
        let own = waits.entry(knot).or_default();
        for other in needed.iter().filter_map(|name| knots.get(name)) {
            if other != knot {
                own.insert(other);
                waited_for.entry(other).or_default().insert(knot);
            }
        }
    }
    let mut ready: BTreeSet<&str> = waits
        .iter()
        .filter(|(_, waits)| waits.is_empty())
        .map(|(knot, _)| *knot)
        .collect();
    let mut order = Vec::new();
    while let Some(knot) = ready.pop_first() {
        order.extend(members.remove(knot).unwrap_or_default());
        for waiting in waited_for.remove(knot).unwrap_or_default() {
            if let Some(left) = waits.get_mut(waiting) {
                left.remove(knot);
                if left.is_empty() {
                    ready.insert(waiting);
                }
            }
        }
    }
    order
}

/// For each name the lowest of those that need each other with it (Kosaraju's algorithm, without recursion: a chain of
/// dependencies may be as long as an index).
fn knots<'a>(needs: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeMap<&'a str, &'a str> {
    let mut needed_by: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, needed) in needs {
        for other in needed {
            needed_by.entry(other).or_default().insert(name);
        }
    }
    let mut seen = BTreeSet::new();
    let mut finished = Vec::new();
    for name in needs.keys() {
        finished.extend(reach(name, needs, &mut seen));
    }
    let mut seen = BTreeSet::new();
    let mut knots = BTreeMap::new();
    for name in finished.iter().rev() {
        let knot = reach(name, &needed_by, &mut seen);
        if let Some(lowest) = knot.iter().min() {
            for member in &knot {
                knots.insert(*member, *lowest);
            }
        }
    }
    knots
}

/// What can be reached from a name and was not seen before, in the order in which a depth-first search leaves it.
fn reach<'a>(
    from: &'a str,
    edges: &BTreeMap<&'a str, BTreeSet<&'a str>>,
    seen: &mut BTreeSet<&'a str>,
) -> Vec<&'a str> {
    let mut left = Vec::new();
    let next = |name: &'a str| (name, edges.get(name).into_iter().flatten());
    let mut path = Vec::new();
    if seen.insert(from) {
        path.push(next(from));
    }
    while let Some((name, rest)) = path.last_mut() {
        match rest.find(|other| seen.insert(**other)) {
            Some(other) => path.push(next(other)),
            None => {
                left.push(*name);
                path.pop();
            }
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(needs: &[(&'static str, &[&'static str])]) -> String {
        let needs = needs
            .iter()
            .map(|(name, needed)| (*name, needed.iter().copied().collect()))
            .collect();
        dependencies_first(&needs).join(" ")
    }

    #[test]
    fn puts_what_is_needed_first() {
        assert_eq!(
            order(&[("a", &["b", "c"]), ("b", &["d"]), ("c", &[]), ("d", &[])]),
            "c d b a"
        );
        assert_eq!(order(&[("b", &[]), ("a", &[])]), "a b");
        assert_eq!(order(&[]), "");
    }

    #[test]
    fn breaks_cycles_by_name() {
        assert_eq!(
            order(&[
                ("app", &["libc6"]),
                ("gcc-base", &[]),
                ("libc6", &["libgcc-s1"]),
                ("libgcc-s1", &["gcc-base", "libc6"]),
                ("self", &["self"]),
            ]),
            "gcc-base libc6 libgcc-s1 app self"
        );
    }

    #[test]
    fn walks_a_chain_of_any_length() {
        let names: Vec<String> = (0..100_000).map(|at| format!("{at:06}")).collect();
        let needs = names
            .iter()
            .enumerate()
            .map(|(at, name)| {
                let next = names.get(at + 1).map(String::as_str);
                (name.as_str(), next.into_iter().collect())
            })
            .collect();
        assert_eq!(dependencies_first(&needs).first(), Some(&"099999"));
    }
}
