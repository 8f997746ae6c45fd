//! Grants that are held: for a while after a person said yes nothing begins because of it, so that it can be taken back.
//!
//! A hold is a length ([`Backoff`]), counted from the time that the log has for the grant. So it is the same for a book that is
//! read anew.

use std::collections::BTreeSet;

use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, TaskId};

use super::book::Book;
use super::explain::Wait;
use super::facts::{ApprovalFacts, TaskFacts};
use crate::entity::Backoff;

/// Approvals whose grants may be held.
#[derive(Debug, Default)]
pub(super) struct Grants {
    /// When each is looked at again.
    timers: BTreeSet<(Timestamp, ApprovalId)>,
    /// Those that are looked at in any case.
    new: BTreeSet<ApprovalId>,
    /// When that was done the last time.
    looked_at: Option<Timestamp>,
}

impl Grants {
    pub(super) fn forget(&mut self, id: ApprovalId) {
        self.timers.retain(|(_, other)| *other != id);
        self.new.remove(&id);
    }

    /// When one of them is to be looked at again, the next time.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }
}

/// A hold that began then.
fn hold(since: Timestamp, hold_ms: u64) -> Option<Backoff> {
    (hold_ms > 0).then(|| Backoff { until: since.plus_ms(hold_ms), max_ms: hold_ms })
}

impl ApprovalFacts {
    fn hold(&self, hold_ms: u64) -> Option<Backoff> {
        self.decided_at.filter(|_| self.is_granted).and_then(|at| hold(at, hold_ms))
    }
}

impl TaskFacts {
    /// The hold that it is in or was in because its plan was approved.
    pub(super) fn hold(&self, hold_ms: u64) -> Option<Backoff> {
        self.planned_at.and_then(|at| hold(at, hold_ms))
    }
}

impl Book {
    /// Notes that a grant is to be looked at before the next choice, if it may be held. Until then it is.
    pub(super) fn note_grant(&mut self, facts: &mut ApprovalFacts) {
        facts.is_held = facts.hold(self.limits.hold_ms).is_some();
        self.grants.forget(facts.id);
        if facts.is_held {
            self.grants.new.insert(facts.id);
        }
    }

    /// Lets go on what waits for grants that are held no more; looks at all of them when the clock was put back.
    pub(super) fn look_at_grants(&mut self, now: Timestamp) {
        let mut due = std::mem::take(&mut self.grants.new);
        if self.grants.looked_at.replace(now).is_some_and(|before| now < before) {
            due.extend(self.approvals.keys());
            self.grants.timers.clear();
        }
        while let Some((at, id)) = self.grants.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.grants.timers.remove(&(at, id));
            due.insert(id);
        }
        for id in due {
            let Some(facts) = self.approvals.get_mut(&id) else { continue };
            let hold = facts.hold(self.limits.hold_ms);
            let is_held = hold.is_some_and(|hold| hold.lasts(now));
            let next = hold.into_iter().flat_map(Backoff::edges).filter(|at| now < *at).min();
            self.grants.timers.extend(next.map(|at| (at, id)));
            if std::mem::replace(&mut facts.is_held, is_held) != is_held {
                let facts = facts.clone();
                self.queues.approval_changed(&facts);
                self.asked_by.get(&id).cloned().into_iter().flatten().for_each(|task| self.refresh(task));
            }
        }
    }

    /// When a grant may be held no more, the next time.
    #[must_use]
    pub fn next_grant(&self) -> Option<Timestamp> {
        self.grants.next()
    }

    /// Looks at everything that may be held before the next choice: holds are of another length.
    pub(super) fn hold_again(&mut self) {
        let tasks: Vec<TaskId> = self.tasks.keys().copied().collect();
        tasks.into_iter().for_each(|id| {
            self.note_times(id);
            self.refresh(id);
        });
        let mut approvals = std::mem::take(&mut self.approvals);
        for facts in approvals.values_mut() {
            self.note_grant(facts);
            self.queues.approval_changed(facts);
        }
        self.approvals = approvals;
        let asking: Vec<TaskId> = self.asked_by.values().flatten().copied().collect();
        asking.into_iter().for_each(|task| self.refresh(task));
    }

    /// That the grant which a task waits for is held.
    pub(super) fn held_grant(&self, asked: &ApprovalFacts, now: Timestamp) -> Option<Wait> {
        let hold = asked.hold(self.limits.hold_ms).filter(|hold| hold.lasts(now))?;
        Some(Wait::Granted { name: format!("A-{}", asked.number), ms: hold.until.ms_since(now).max(1) })
    }

    /// That the plan of a task was approved a moment ago.
    pub(super) fn held_plan(&self, facts: &TaskFacts, now: Timestamp) -> Option<Wait> {
        let hold = facts.hold(self.limits.hold_ms).filter(|hold| hold.lasts(now))?;
        Some(Wait::Granted { name: "its plan".into(), ms: hold.until.ms_since(now).max(1) })
    }
}
