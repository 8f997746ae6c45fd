//! Ready tasks that may not wait for ever: when each of them has waited for too long.
//!
//! A task waits here from the time that it could begin. Time in which its project was paused or frozen does not count: the
//! wait begins anew with the end of that. Kept by lower bounds, which are looked at when they are due, so that what
//! happens to a project costs nothing for each of its tasks.

use std::collections::{BTreeMap, BTreeSet};

use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, TaskId};

use super::book::{Book, Node};
use super::choose::Action;
use super::facts::{Phase, TaskFacts};
use crate::entity::Timeout;

/// A time before everything.
const AT_ONCE: Timestamp = Timestamp::from_unix_us(i64::MIN);

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    /// Not too late before then.
    Due(Timestamp),
    /// It has waited for too long.
    Over,
    /// Nothing of its project begins now.
    Aside,
}

/// Ready tasks that have a time-out.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    stands: BTreeMap<TaskId, (ProjectId, Stand)>,
    due: BTreeSet<(Timestamp, TaskId)>,
    over: BTreeSet<TaskId>,
    aside: BTreeSet<TaskId>,
    /// Tasks in the queue of which it is on record.
    known: BTreeSet<TaskId>,
    /// When that was looked at the last time.
    told_at: Option<Timestamp>,
}

impl Waiting {
    fn put(&mut self, id: TaskId, project: ProjectId, stand: Option<Stand>) {
        match self.stands.remove(&id) {
            Some((_, Stand::Due(at))) => drop(self.due.remove(&(at, id))),
            Some((_, Stand::Over)) => drop(self.over.remove(&id)),
            Some((_, Stand::Aside)) => drop(self.aside.remove(&id)),
            None => {}
        }
        let Some(stand) = stand else { return };
        self.stands.insert(id, (project, stand));
        match stand {
            Stand::Due(at) => drop(self.due.insert((at, id))),
            Stand::Over => drop(self.over.insert(id)),
            Stand::Aside => drop(self.aside.insert(id)),
        }
    }

    /// Whether something of a project may begin has changed.
    pub(super) fn project_changed(&mut self, project: ProjectId) {
        let of_project = |id: &&TaskId| self.stands.get(*id).is_some_and(|(of, _)| *of == project);
        let again: Vec<TaskId> = self.over.iter().chain(&self.aside).filter(of_project).copied().collect();
        again.into_iter().for_each(|id| self.put(id, project, Some(Stand::Due(AT_ONCE))));
    }

    /// When one of them may have waited for too long, the next time.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }
}

impl Book {
    /// Tasks that wait for too long, of which that is not known yet.
    pub(super) fn overdue(&self) -> impl Iterator<Item = Action> {
        self.waiting.over.iter().filter_map(|id| {
            let node = self.tasks.get(id)?;
            let (since, timeout) = (self.waits_since(node, self.waiting.told_at?)?, self.queue_timeout(node)?);
            Some(Action::Overdue { task: *id, since, timeout })
        })
    }

    /// Names of tasks in the queue that are known to wait for too long, at most `max`.
    #[must_use]
    pub fn known_overdue(&self, max: usize) -> Vec<TaskId> {
        self.waiting.known.iter().take(max).copied().collect()
    }

    /// Takes note of whether it is on record that a task waits for too long.
    pub(super) fn know_overdue(&mut self, facts: &TaskFacts) {
        if facts.is_overdue && matches!(facts.phase, Phase::Queued { .. }) {
            self.waiting.known.insert(facts.id);
        } else {
            self.waiting.known.remove(&facts.id);
        }
    }

    /// Watches a task whose place is another, or that has none any more.
    pub(super) fn watch(&mut self, id: TaskId) {
        let Some(node) = self.tasks.get(&id) else { return };
        let after_ms = self.queue_timeout(node).and_then(Timeout::ms).filter(|_| !node.facts.is_overdue);
        let due = node.place.zip(after_ms).map(|(place, after_ms)| Stand::Due(place.since.plus_ms(after_ms)));
        let project = node.facts.project;
        self.waiting.put(id, project, due);
    }

    /// Watches all ready tasks anew, of one project or of all: they have another time-out.
    pub(super) fn watch_again(&mut self, project: Option<ProjectId>) {
        let is_meant =
            |node: &Node| node.place.is_some() && project.is_none_or(|project| project == node.facts.project);
        let ready: Vec<TaskId> = self.tasks.values().filter(|node| is_meant(node)).map(|node| node.facts.id).collect();
        ready.into_iter().for_each(|id| self.watch(id));
    }

    /// Watches those tasks of a project anew that have a time-out: it may have been closed in the meantime.
    pub(super) fn watch_waiting(&mut self, project: ProjectId) {
        let of_project = self.waiting.stands.iter().filter(|(_, (of, _))| *of == project);
        let waiting: Vec<TaskId> = of_project.map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|id| self.watch(id));
    }

    /// Finds what has waited for too long by now.
    pub(super) fn tell_overdue(&mut self, now: Timestamp) {
        if self.waiting.told_at.replace(now).is_some_and(|before| now < before) {
            // A clock was put back: what was too late may not be, and what ended a pause may not have been.
            let all: Vec<TaskId> = self.waiting.stands.keys().copied().collect();
            all.into_iter().for_each(|id| self.watch(id));
        }
        while let Some((_, id)) = self.waiting.due.first().copied().filter(|(due, _)| *due <= now) {
            let Some(node) = self.tasks.get(&id) else {
                // It was told of and is forgotten: nothing waits any more.
                self.waiting.due.pop_first();
                self.waiting.stands.remove(&id);
                continue;
            };
            let (project, stand) = (node.facts.project, self.stand(node, now));
            self.waiting.put(id, project, stand);
        }
    }

    fn stand(&self, node: &Node, now: Timestamp) -> Option<Stand> {
        let (since, after_ms) = self.waits_since(node, now).zip(self.queue_timeout(node).and_then(Timeout::ms))?;
        if self.is_closed(node.facts.project) {
            return Some(Stand::Aside);
        }
        let due = since.plus_ms(after_ms);
        Some(if due <= now { Stand::Over } else { Stand::Due(due) })
    }

    /// Since when a task could have begun all the time.
    fn waits_since(&self, node: &Node, now: Timestamp) -> Option<Timestamp> {
        let (place, project) = node.place.zip(self.projects.get(&node.facts.project))?;
        Some(self.opened_at(project, now).map_or(place.since, |opened| place.since.max(opened)))
    }

    fn queue_timeout(&self, node: &Node) -> Option<Timeout> {
        let of_project = || self.projects.get(&node.facts.project)?.queue_timeout;
        node.facts.queue_timeout.or_else(of_project).or(self.limits.patience.queue)
    }
}
