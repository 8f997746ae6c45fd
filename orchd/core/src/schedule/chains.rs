//! Chains of open work: how much hangs on a task, kept up to date when something changes.
//!
//! Every task has a rank above those of all it needs, so that what changed is mended once for each task: from the highest
//! rank down, and only as far as something does change.

use orch_proto::id::TaskId;

use super::book::{Book, Node};
use crate::entity::Condition;

impl Book {
    /// Makes sure that `task` ranks above everything it needs.
    pub(super) fn rank(&mut self, task: TaskId) {
        let mut changed = vec![task];
        while let Some(id) = changed.pop() {
            let Some(node) = self.tasks.get(&id) else { continue };
            let needed = node.facts.needs.keys().filter_map(|needed| self.tasks.get(needed));
            let rank = needed.map(|needed| needed.rank + 1).max().unwrap_or(0);
            // Commands refuse circles. Should there be one all the same, ranks stop to grow.
            if rank > node.rank && rank as usize <= self.tasks.len() {
                let dependents = node.dependents.clone();
                self.unsettled.remove(&(node.rank, id));
                if let Some(node) = self.tasks.get_mut(&id) {
                    node.rank = rank;
                }
                self.unsettled.insert((rank, id));
                changed.extend(dependents);
            }
        }
    }

    /// Says that the work behind `task` may have changed.
    pub(super) fn unsettle(&mut self, task: TaskId) {
        if let Some(node) = self.tasks.get(&task) {
            self.unsettled.insert((node.rank, task));
        }
    }

    /// Computes the work behind tasks anew where it may have changed.
    pub(super) fn settle_chains(&mut self) {
        while let Some((_, id)) = self.unsettled.pop_last() {
            let Some(node) = self.tasks.get(&id) else { continue };
            let behind = node.dependents.iter().filter_map(|dependent| self.tasks.get(dependent));
            // What waits for its failure is not what hurrying it brings nearer.
            let follows = |dependent: &Node| {
                dependent.is_open() && dependent.facts.needs.get(&id).is_none_or(|how| *how != Condition::Failed)
            };
            let behind = behind.filter(|dependent| follows(dependent)).map(|dependent| dependent.tail).max();
            let tail = node.facts.minutes.saturating_add(behind.unwrap_or(0));
            if tail != node.tail {
                let needs: Vec<TaskId> = node.facts.needs.keys().copied().collect();
                self.set_tail(id, tail);
                needs.into_iter().for_each(|needed| self.unsettle(needed));
            }
        }
    }
}
