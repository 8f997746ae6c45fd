//! The ready tasks of the book: which ones are, where they stand, and which of them were chosen or wait for what all runs share.

use std::cmp::Reverse;

use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, ProjectId, RunId, TaskId};

use super::book::{Book, Node};
use super::facts::{ApprovalFacts, Phase};
use super::lanes::{Order, Place};
use super::ledger::{Holder, Resource};
use crate::entity::{Condition, Join, Verdict};

impl Book {
    /// Puts the task where it belongs now: to the ready ones or not.
    pub(super) fn refresh(&mut self, id: TaskId) {
        let Some(node) = self.tasks.get(&id) else {
            self.moot.remove(&id);
            return;
        };
        let is_ready = self.is_ready(node);
        if matches!(node.facts.phase, Phase::Queued { .. }) && node.judge() == Verdict::Never {
            self.moot.insert(id);
        } else {
            self.moot.remove(&id);
        }
        match (is_ready, node.place) {
            (true, None) => self.enter(id),
            (false, Some(_)) => self.leave(id),
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn is_ready(&self, node: &Node) -> bool {
        let approved = |id: ApprovalId| self.approvals.get(&id).is_some_and(ApprovalFacts::lets_begin);
        matches!(node.facts.phase, Phase::Queued { .. })
            && !node.is_early
            && !self.is_late(node)
            && node.judge() == Verdict::Holds
            && node.facts.approval.is_none_or(approved)
            && !self.under_way.contains_key(&node.facts.id)
            && !self.chosen.contains_key(&node.facts.id)
    }

    fn is_late(&self, node: &Node) -> bool {
        node.facts.deadline.is_some_and(|deadline| self.late.contains(&(deadline, node.facts.id)))
    }

    fn enter(&mut self, id: TaskId) {
        let Some(node) = self.tasks.get(&id) else { return };
        let slug = self.projects.get(&node.facts.project).map_or("", |project| project.slug.as_str());
        let lacks = |wants: &_| self.limits.lacks(slug, wants);
        let since = self.ready_since(node);
        let lane = self.lanes.of(node.facts.class(), &node.facts.wants, lacks);
        let (rank, created_at) = (node.facts.rank, node.facts.created_at);
        let order = Order { rank, tail: Reverse(node.tail), created_at, id };
        self.place(id, Some(Place { lane, order, since }));
    }

    /// When the last thing that it waited for was over.
    fn ready_since(&self, node: &Node) -> Timestamp {
        let held_since = |(needed, condition): (&TaskId, &Condition)| {
            let needed = self.tasks.get(needed)?;
            (condition.judge(needed.standing()) == Verdict::Holds).then_some(needed.facts.since)
        };
        let held = node.facts.needs.iter().filter_map(held_since);
        let needs = match node.facts.join {
            Join::All => held.max(),
            Join::Any => held.min(),
        };
        let approved = node.facts.approval.and_then(|id| self.approvals.get(&id)?.decided_at);
        let due = match node.facts.phase {
            Phase::Queued { not_before } => not_before.max(node.facts.not_before),
            _ => None,
        };
        needs.into_iter().chain(approved).chain(due).fold(node.facts.since, Timestamp::max)
    }

    /// Notes since when a ready task could begin: it is by another of its dependencies than before.
    pub(super) fn renew_since(&mut self, id: TaskId) {
        let Some((node, place)) = self.tasks.get(&id).and_then(|node| Some((node, node.place?))) else { return };
        let since = self.ready_since(node);
        self.place(id, Some(Place { since, ..place }));
    }

    pub(super) fn leave(&mut self, id: TaskId) {
        self.place(id, None);
    }

    /// Moves a task to another place, or to none, and its project to where it belongs by that.
    pub(super) fn place(&mut self, id: TaskId, place: Option<Place>) {
        let Some(node) = self.tasks.get_mut(&id) else { return };
        let before = std::mem::replace(&mut node.place, place);
        if before == place {
            return;
        }
        let project = node.facts.project;
        self.lanes.replace(before, place);
        self.reseat(project);
        if before.map(|place| place.since) != place.map(|place| place.since) {
            self.watch(id);
        }
    }

    /// Moves a project to where it belongs by its best task.
    pub(super) fn reseat(&mut self, project: ProjectId) {
        self.turns.candidate(project, self.lanes.best(project), self.lanes.has_parked(project));
    }

    /// Takes the task out of the ready ones until it is under way.
    pub(super) fn choose_one(&mut self, id: TaskId, project: ProjectId) {
        let Some(node) = self.tasks.get(&id) else { return };
        let class = node.facts.class();
        let demand = self.demand(project, &node.facts.wants);
        self.ledger.hold(Holder::Chosen(id), demand, 1);
        self.leave(id);
        self.chosen.insert(id, class);
        self.lanes.change_class(class, |classes| classes.chosen(class, true));
        self.turns.chosen(project, true);
        self.reseat(project);
    }

    pub(super) fn unchoose(&mut self, id: TaskId) {
        if let Some(class) = self.chosen.remove(&id) {
            self.lanes.change_class(class, |classes| classes.chosen(class, false));
            self.turns.chosen(class.project, false);
            self.reseat(class.project);
            let freed = self.ledger.release(Holder::Chosen(id));
            self.wake(freed);
        }
    }

    /// A run that was chosen to go on has, or was not after all.
    pub(super) fn unrecall(&mut self, run: RunId, project: ProjectId) {
        self.turns.chosen(project, false);
        let freed = self.ledger.release(Holder::Recalled(run));
        self.wake(freed);
    }

    /// Lets look again who waits for what is free now.
    pub(super) fn wake(&mut self, freed: impl IntoIterator<Item = Resource>) {
        for resource in freed {
            let has_turn = |project| self.turns.has_turn(project);
            for project in self.lanes.wake(&resource, self.ledger.free(&resource), has_turn) {
                self.reseat(project);
            }
        }
    }

    /// The same for what was kept for somebody who does not wait any more.
    pub(super) fn wake_unreserved(&mut self) {
        for project in self.turns.take_turned() {
            self.lanes.unreserve(project);
        }
        let unreserved = self.lanes.take_unreserved();
        self.wake(unreserved);
    }
}
