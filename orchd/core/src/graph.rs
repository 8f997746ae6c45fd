//! Dependency graphs: cycles, an order of work, the critical path, what can run at the same time.
//!
//! Works on any ordered key, so plans (keys) and tasks (ids) share it. Deterministic: ties go by key.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A graph in which every node waits for the nodes it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph<K: Ord> {
    needs: BTreeMap<K, BTreeSet<K>>,
}

/// The dependencies go round in a circle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle<K> {
    /// Each needs the next, and the last needs the first.
    pub path: Vec<K>,
}

impl<K: fmt::Display> fmt::Display for Cycle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in &self.path {
            write!(f, "{key} needs ")?;
        }
        match self.path.first() {
            Some(first) => write!(f, "{first}"),
            None => f.write_str("nothing"),
        }
    }
}

/// What follows from an acyclic graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Analysis<K: Ord> {
    /// Every node after those it needs.
    pub order: Vec<K>,
    /// Nodes of one level need only lower ones.
    pub level: BTreeMap<K, u32>,
    /// Weight of the heaviest chain that ends with the node, the node included.
    pub finish: BTreeMap<K, u64>,
    /// Weight of the heaviest chain that begins with the node, the node included.
    pub tail: BTreeMap<K, u64>,
    /// The heaviest chain, first to last.
    pub critical_path: Vec<K>,
}

impl<K: Ord + Clone> Graph<K> {
    /// An empty graph.
    #[must_use]
    pub const fn new() -> Self {
        Self { needs: BTreeMap::new() }
    }

    /// Adds a node that needs nothing yet.
    pub fn node(&mut self, key: K) {
        self.needs.entry(key).or_default();
    }

    /// `key` waits for `needed`.
    pub fn edge(&mut self, key: K, needed: K) {
        self.node(needed.clone());
        self.needs.entry(key).or_default().insert(needed);
    }

    /// Number of nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.needs.len()
    }

    /// Whether there is no node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.needs.is_empty()
    }

    /// Orders and weighs the graph. `weight` is the cost of a node.
    ///
    /// # Errors
    /// When there is a cycle: a shortest one through the smallest node that lies on any.
    pub fn analyse(&self, weight: impl Fn(&K) -> u64) -> Result<Analysis<K>, Cycle<K>> {
        let order = self.order()?;
        let mut level = BTreeMap::new();
        let mut finish: BTreeMap<K, u64> = BTreeMap::new();
        let mut before: BTreeMap<K, K> = BTreeMap::new();
        for key in &order {
            let needs = &self.needs[key];
            level.insert(key.clone(), needs.iter().map(|needed| level[needed] + 1).max().unwrap_or(0));
            let heaviest = needs.iter().rev().max_by_key(|needed| finish[*needed]);
            let start = heaviest.map_or(0, |needed| finish[needed]);
            finish.insert(key.clone(), start.saturating_add(weight(key)));
            if let Some(needed) = heaviest {
                before.insert(key.clone(), needed.clone());
            }
        }
        let mut critical_path = Vec::new();
        let mut at = order.iter().rev().max_by_key(|key| finish[*key]).cloned();
        while let Some(key) = at {
            at = before.get(&key).cloned();
            critical_path.push(key);
        }
        critical_path.reverse();
        let tail = self.tails(&order, weight);
        Ok(Analysis { order, level, finish, tail, critical_path })
    }

    fn tails(&self, order: &[K], weight: impl Fn(&K) -> u64) -> BTreeMap<K, u64> {
        let mut tail: BTreeMap<K, u64> = order.iter().map(|key| (key.clone(), 0)).collect();
        for key in order.iter().rev() {
            let own = tail[key].saturating_add(weight(key));
            tail.insert(key.clone(), own);
            for needed in &self.needs[key] {
                let longest = tail[needed].max(own);
                tail.insert(needed.clone(), longest);
            }
        }
        tail
    }

    /// Every node after those it needs; among free ones the smallest first.
    fn order(&self) -> Result<Vec<K>, Cycle<K>> {
        let mut open: BTreeMap<&K, usize> = self.needs.iter().map(|(key, needs)| (key, needs.len())).collect();
        let mut dependents: BTreeMap<&K, Vec<&K>> = BTreeMap::new();
        for (key, needs) in &self.needs {
            for needed in needs {
                dependents.entry(needed).or_default().push(key);
            }
        }
        let mut free: BTreeSet<&K> = open.iter().filter(|(_, count)| **count == 0).map(|(key, _)| *key).collect();
        let mut order = Vec::with_capacity(self.needs.len());
        while let Some(key) = free.pop_first() {
            order.push(key.clone());
            open.remove(key);
            for dependent in dependents.get(key).into_iter().flatten() {
                if let Some(count) = open.get_mut(*dependent) {
                    *count -= 1;
                    if *count == 0 {
                        free.insert(dependent);
                    }
                }
            }
        }
        if open.is_empty() { Ok(order) } else { Err(self.cycle(&open)) }
    }

    /// A shortest cycle through the smallest node that lies on one. `open` holds the nodes that could not be ordered.
    fn cycle(&self, open: &BTreeMap<&K, usize>) -> Cycle<K> {
        for start in open.keys() {
            let mut from: BTreeMap<&K, &K> = BTreeMap::new();
            let mut queue = std::collections::VecDeque::from([*start]);
            while let Some(key) = queue.pop_front() {
                for needed in &self.needs[key] {
                    if needed == *start {
                        let mut path = vec![key.clone()];
                        let mut at = key;
                        while let Some(previous) = from.get(at) {
                            path.push((*previous).clone());
                            at = previous;
                        }
                        path.reverse();
                        return Cycle { path };
                    }
                    if open.contains_key(needed) && !from.contains_key(needed) {
                        from.insert(needed, key);
                        queue.push_back(needed);
                    }
                }
            }
        }
        unreachable!("nodes that cannot be ordered lie on a cycle or behind one")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn graph(edges: &[(&'static str, &'static str)]) -> Graph<&'static str> {
        let mut graph = Graph::new();
        for (key, needed) in edges {
            graph.edge(*key, *needed);
        }
        graph
    }

    #[test]
    fn diamond_has_levels_and_the_heavier_side_is_critical() {
        let graph = graph(&[("left", "top"), ("right", "top"), ("bottom", "left"), ("bottom", "right")]);
        let found = graph.analyse(|key| if *key == "right" { 5 } else { 1 }).unwrap();
        assert_eq!(found.order, ["top", "left", "right", "bottom"]);
        assert_eq!(found.critical_path, ["top", "right", "bottom"]);
        assert_eq!(found.level["bottom"], 2);
        assert_eq!((found.finish["bottom"], found.tail["top"], found.tail["left"]), (7, 7, 2));
    }

    #[test]
    fn a_cycle_is_named_and_what_hangs_behind_it_is_not_part_of_it() {
        let graph = graph(&[("a", "b"), ("b", "c"), ("c", "b"), ("d", "d2")]);
        let cycle = graph.analyse(|_| 1).unwrap_err();
        assert_eq!(cycle.to_string(), "b needs c needs b");
        let own = super::tests::graph(&[("a", "a")]).analyse(|_| 1).unwrap_err();
        assert_eq!(own.to_string(), "a needs a");
    }

    proptest! {
        #[test]
        fn every_graph_is_ordered_or_has_a_true_cycle(edges in prop::collection::vec((0_u8..12, 0_u8..12), 0..40)) {
            let mut graph = Graph::new();
            for (key, needed) in &edges {
                graph.edge(*key, *needed);
            }
            match graph.analyse(|key| u64::from(*key) + 1) {
                Ok(found) => {
                    let place: BTreeMap<_, _> = found.order.iter().enumerate().map(|(at, key)| (*key, at)).collect();
                    prop_assert_eq!(place.len(), graph.len());
                    for (key, needed) in &edges {
                        prop_assert!(place[needed] < place[key]);
                        prop_assert!(found.level[needed] < found.level[key]);
                    }
                    let weight: u64 = found.critical_path.iter().map(|key| u64::from(*key) + 1).sum();
                    prop_assert_eq!(weight, found.finish.values().copied().max().unwrap_or(0));
                    prop_assert_eq!(weight, found.tail.values().copied().max().unwrap_or(0));
                }
                Err(cycle) => {
                    let next = cycle.path.iter().cycle().skip(1);
                    for (key, needed) in cycle.path.iter().zip(next) {
                        prop_assert!(edges.contains(&(*key, *needed)));
                    }
                }
            }
        }
    }
}
