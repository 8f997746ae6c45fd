//! When open tasks will be done: the same tasks scheduled many times, each time with durations drawn from what is known.
//!
//! Tasks start by priority, then by the longest chain behind them, while there are places, as the scheduler does. What it
//! cannot know is left out: other projects, people who have to answer, tasks that are yet to come. The draws are made from
//! fixed numbers, so the same state has the same forecast.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::estimate::Left;

/// Times that the tasks are scheduled: at most so often, and less often when they are many.
pub const ROUNDS_MAX: usize = 200;
const ROUNDS_MIN: usize = 20;
/// Starts in all rounds together, as far as [`ROUNDS_MIN`] allows: what an answer may cost.
const STARTS_MAX: usize = 200_000;

/// A task that is to be done.
#[derive(Clone, Debug)]
pub struct Node {
    /// Tells its draws from those of others, whatever else is to be done.
    pub key: u64,
    /// Indexes of nodes that must be done before.
    pub needs: Vec<usize>,
    /// 0 (last) to 9 (first).
    pub priority: u8,
    /// It is under way, and waits for nothing.
    pub is_begun: bool,
    pub left: Left,
}

/// When all of them will be done, in milliseconds from now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    pub p50_ms: u64,
    pub p90_ms: u64,
    /// The chain of tasks that takes longest, by what each takes as a rule, first to last.
    pub path: Vec<usize>,
    /// What the tasks of that chain take as a rule, together.
    pub path_ms: u64,
    pub rounds: usize,
}

/// When all of the tasks will be done with so many `places`. Tasks on a cycle, and behind one, are left out.
#[must_use]
pub fn forecast(nodes: &[Node], places: u32) -> Forecast {
    let graph = Graph::of(nodes);
    let rounds = (STARTS_MAX / nodes.len().max(1)).clamp(ROUNDS_MIN, ROUNDS_MAX);
    let mut ends: Vec<u64> = (0..rounds).map(|round| graph.play(nodes, places.max(1) as usize, round)).collect();
    ends.sort_unstable();
    let at = |permille: usize| ends.get((rounds * permille).div_ceil(1_000) - 1).copied().unwrap_or(0);
    let path = graph.path();
    let path_ms = path.first().map_or(0, |first| graph.tail[*first]);
    Forecast { p50_ms: at(500), p90_ms: at(900), path, path_ms, rounds }
}

struct Graph {
    dependents: Vec<Vec<usize>>,
    open_needs: Vec<usize>,
    /// What the longest chain that begins with the node takes as a rule.
    tail: Vec<u64>,
}

impl Graph {
    fn of(nodes: &[Node]) -> Self {
        let mut dependents = vec![Vec::new(); nodes.len()];
        let mut open_needs = vec![0; nodes.len()];
        for (index, node) in nodes.iter().enumerate().filter(|(_, node)| !node.is_begun) {
            for needed in node.needs.iter().filter(|needed| **needed < nodes.len()) {
                dependents[*needed].push(index);
                open_needs[index] += 1;
            }
        }
        let mut graph = Self { dependents, open_needs, tail: vec![0; nodes.len()] };
        for index in graph.order().into_iter().rev() {
            let behind = graph.dependents[index].iter().map(|dependent| graph.tail[*dependent]).max().unwrap_or(0);
            graph.tail[index] = behind.saturating_add(nodes[index].left.quantile(500));
        }
        graph
    }

    /// Every node after those it needs, without those on a cycle or behind one.
    fn order(&self) -> Vec<usize> {
        let mut open = self.open_needs.clone();
        let mut order: Vec<usize> = (0..open.len()).filter(|index| open[*index] == 0).collect();
        let mut next = 0;
        while let Some(index) = order.get(next).copied() {
            next += 1;
            for dependent in &self.dependents[index] {
                open[*dependent] -= 1;
                if open[*dependent] == 0 {
                    order.push(*dependent);
                }
            }
        }
        order
    }

    fn path(&self) -> Vec<usize> {
        let longest = |of: &[usize]| of.iter().copied().max_by_key(|index| (self.tail[*index], Reverse(*index)));
        let free: Vec<usize> = (0..self.tail.len()).filter(|index| self.open_needs[*index] == 0).collect();
        let mut path = Vec::new();
        let mut at = longest(&free);
        while let Some(index) = at {
            path.push(index);
            at = longest(&self.dependents[index]);
        }
        path
    }

    /// One schedule; answers when the last task is done.
    fn play(&self, nodes: &[Node], places: usize, round: usize) -> u64 {
        let takes = |index: usize| nodes[index].left.quantile(draw(nodes[index].key, round));
        let turn = |index: usize| (nodes[index].priority, self.tail[index], Reverse(index));
        let mut open = self.open_needs.clone();
        let (mut ready, mut running) = (BinaryHeap::new(), BinaryHeap::new());
        for index in (0..nodes.len()).filter(|index| self.open_needs[*index] == 0) {
            if nodes[index].is_begun {
                running.push(Reverse((takes(index), index)));
            } else {
                ready.push(turn(index));
            }
        }
        let mut now = 0;
        loop {
            while running.len() < places
                && let Some((_, _, Reverse(index))) = ready.pop()
            {
                running.push(Reverse((takes(index).saturating_add(now), index)));
            }
            let Some(Reverse((at, index))) = running.pop() else { return now };
            now = at;
            for dependent in &self.dependents[index] {
                open[*dependent] -= 1;
                if open[*dependent] == 0 {
                    ready.push(turn(*dependent));
                }
            }
        }
    }
}

/// A number from 1 to 1,000 that the key and the round alone decide: the finalizer of SplitMix64.
fn draw(key: u64, round: usize) -> u32 {
    let mut mixed = key.wrapping_add((round as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u32::try_from((mixed ^ (mixed >> 31)) % 1_000).unwrap_or(0) + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(key: u64, needs: &[usize], left: Left) -> Node {
        Node { key, needs: needs.to_vec(), priority: 5, is_begun: false, left }
    }

    fn exact(nodes: &[(u32, &[usize])], places: u32) -> Forecast {
        let nodes = nodes.iter().enumerate();
        let nodes: Vec<Node> = nodes.map(|(at, (ms, needs))| node(at as u64, needs, Left::like(&[*ms]))).collect();
        forecast(&nodes, places)
    }

    #[test]
    fn a_diamond_ends_with_its_longer_side_or_one_after_the_other() {
        let diamond: &[(u32, &[usize])] = &[(10, &[]), (100, &[0]), (30, &[0]), (5, &[1, 2])];
        let wide = exact(diamond, 2);
        assert_eq!((wide.p50_ms, wide.p90_ms, wide.path_ms, wide.path), (115, 115, 115, vec![0, 1, 3]));
        assert_eq!(exact(diamond, 1).p50_ms, 145);
        assert_eq!(exact(diamond, 0).p50_ms, 145, "one place is always there");
        let nothing = exact(&[], 2);
        assert_eq!((nothing.p90_ms, nothing.path, nothing.path_ms), (0, vec![], 0));
    }

    /// What leads the longest chain goes first: the other way round this took 10 longer.
    #[test]
    fn the_longest_chain_goes_first() {
        assert_eq!(exact(&[(10, &[]), (10, &[]), (50, &[1])], 1).p50_ms, 70);
        assert_eq!(exact(&[(10, &[]), (10, &[]), (50, &[1]), (5, &[])], 2).p50_ms, 60);
    }

    #[test]
    fn what_runs_has_its_place_and_a_cycle_is_left_out() {
        let mut running = node(7, &[1], Left::like(&[40]));
        running.is_begun = true;
        let nodes = [running, node(8, &[2], Left::like(&[9])), node(9, &[1], Left::like(&[9]))];
        assert_eq!(forecast(&nodes, 1).p50_ms, 40);
    }

    /// Many that each take long now and then take longer together than their medians, and less than their worst.
    #[test]
    fn a_chain_takes_what_its_tasks_take_together() {
        let takes: Vec<u32> = (0..10).map(|at| if at == 9 { 1_000 } else { 100 }).collect();
        let chain: Vec<Node> =
            (0..20_usize).map(|at| node(at as u64, &[at.wrapping_sub(1)], Left::like(&takes))).collect();
        let found = forecast(&chain, 4);
        assert_eq!(found.path_ms, 2_000);
        assert!(found.p50_ms > 2_500 && found.p50_ms < 5_500, "{found:?}");
        assert!(found.p90_ms > found.p50_ms && found.p90_ms < 10_000, "{found:?}");
        assert_eq!(forecast(&chain, 4), found, "the same state has the same forecast");
    }

    proptest! {
        #[test]
        fn no_forecast_is_shorter_than_its_chain_or_longer_than_all_in_a_row(
            tasks in prop::collection::vec((1_u32..1_000, prop::collection::vec(any::<prop::sample::Index>(), 0..3)), 1..40),
            places in 1_u32..6,
        ) {
            let nodes: Vec<(u32, Vec<usize>)> = tasks.iter().enumerate().map(|(at, (ms, needs))| {
                let before = needs.iter().filter(|_| at > 0).map(|needed| needed.index(at.max(1)));
                (*ms, before.collect())
            }).collect();
            let shown: Vec<(u32, &[usize])> = nodes.iter().map(|(ms, needs)| (*ms, needs.as_slice())).collect();
            let sum: u64 = nodes.iter().map(|(ms, _)| u64::from(*ms)).sum();
            let found = exact(&shown, places);
            prop_assert!(found.path_ms <= found.p50_ms && found.p50_ms <= sum);
            prop_assert!(found.p50_ms >= sum / u64::from(places));
            prop_assert_eq!(exact(&shown, 1).p50_ms, sum);
            prop_assert_eq!(exact(&shown, 40).p50_ms, found.path_ms);
        }
    }
}
