//! What things of the book have to do with each other: tasks that depend on tasks, tasks that name approvals.
//!
//! **Invariant:** the counts of a task are those of its conditions as its dependencies stand.

use std::collections::{BTreeMap, BTreeSet};

use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, TaskId};

use super::book::{Book, Node};
use crate::entity::{Condition, Standing, Verdict};

impl Book {
    pub(super) fn relink(&mut self, id: TaskId, old: &BTreeMap<TaskId, Condition>, new: &BTreeMap<TaskId, Condition>) {
        for gone in old.keys().filter(|needed| !new.contains_key(needed)) {
            if let Some(needed) = self.tasks.get_mut(gone) {
                needed.dependents.remove(&id);
            } else if let Some(dependents) = self.orphans.get_mut(gone) {
                dependents.remove(&id);
            }
        }
        for added in new.keys().filter(|needed| !old.contains_key(needed)) {
            if let Some(needed) = self.tasks.get_mut(added) {
                needed.dependents.insert(id);
            } else {
                self.unknown.tasks.insert(*added);
                self.orphans.entry(*added).or_default().insert(id);
            }
        }
        let stands = |needed| self.tasks.get(needed).map(|node| node.standing()).unwrap_or_default();
        let verdicts: Vec<Verdict> = new.iter().map(|(needed, condition)| condition.judge(stands(needed))).collect();
        if let Some(node) = self.tasks.get_mut(&id) {
            (node.holding, node.never) = (0, 0);
            verdicts.into_iter().for_each(|verdict| node.count(verdict, true));
        }
    }

    pub(super) fn reask(&mut self, id: TaskId, old: Option<ApprovalId>, new: Option<ApprovalId>) {
        if old == new {
            return;
        }
        if let Some(tasks) = old.and_then(|old| self.asked_by.get_mut(&old)) {
            tasks.remove(&id);
        }
        old.into_iter().for_each(|old| self.forget_approval(old));
        if let Some(new) = new {
            self.asked_by.entry(new).or_default().insert(id);
            if !self.approvals.contains_key(&new) {
                self.unknown.approvals.insert(new);
            }
        }
    }

    pub(super) fn forget_approval(&mut self, id: ApprovalId) {
        if self.asked_by.get(&id).is_none_or(BTreeSet::is_empty) && !self.queues.names(id) {
            self.asked_by.remove(&id);
            self.approvals.remove(&id);
            self.grants.forget(id);
        }
    }

    /// Tells what depends on a task that it stands otherwise than before, or as before and since another time: it was tried again
    /// between two looks.
    pub(super) fn stands_otherwise(&mut self, id: TaskId, (stood, stood_since): (Standing, Timestamp)) {
        let Some(node) = self.tasks.get(&id) else { return };
        let (stands, since) = (node.standing(), node.facts.since);
        if stands == stood && (stands == Standing::Open || since == stood_since) {
            return;
        }
        for dependent in node.dependents.clone() {
            if let Some(node) = self.tasks.get_mut(&dependent)
                && let Some(condition) = node.facts.needs.get(&id).copied()
            {
                node.count(condition.judge(stood), false);
                node.count(condition.judge(stands), true);
            }
            self.refresh(dependent);
            self.renew_since(dependent);
        }
    }

    pub(super) fn forget_if_over(&mut self, id: TaskId) {
        let is_needed = |node: &Node| node.is_open() || !node.dependents.is_empty();
        if let Some(node) = self.tasks.get(&id).filter(|node| !is_needed(node)) {
            self.unsettled.remove(&(node.rank, id));
            self.tasks.remove(&id);
        }
    }
}
