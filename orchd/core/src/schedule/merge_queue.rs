//! Merge queues: of each project the change whose turn it is.

use std::collections::{BTreeMap, BTreeSet};

use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, ChangeId, ProjectId};

use super::facts::{ApprovalFacts, ChangeFacts, Stage};

/// The open changes of all projects.
#[derive(Debug, Default)]
pub(super) struct MergeQueues {
    changes: BTreeMap<ChangeId, ChangeFacts>,
    /// Changes by the approval that they name.
    asked_by: BTreeMap<ApprovalId, BTreeSet<ChangeId>>,
    /// Changes that do not wait for a person, by their place in the queue.
    queues: BTreeMap<ProjectId, BTreeSet<(u8, u32, ChangeId)>>,
    /// Changes whose gates gave no answer, by when they may run again.
    waiting: BTreeSet<(Timestamp, ChangeId)>,
}

/// Whether the change may merge as far as people are concerned.
fn is_approved(change: &ChangeFacts, approvals: &BTreeMap<ApprovalId, ApprovalFacts>) -> bool {
    let grants = |approval: &ApprovalFacts| approval.lets_begin() && approval.digest == change.digest;
    change.approval.is_none_or(|id| approvals.get(&id).is_some_and(grants))
}

impl MergeQueues {
    /// Takes in a change as it is now; answers an approval that it does not name any more.
    pub(super) fn put(
        &mut self,
        facts: ChangeFacts,
        approvals: &BTreeMap<ApprovalId, ApprovalFacts>,
    ) -> Option<ApprovalId> {
        let (id, approval) = (facts.id, facts.approval.filter(|_| facts.is_open));
        let old = self.changes.remove(&id);
        let old_approval = old.as_ref().and_then(|old| old.approval);
        old.iter().for_each(|old| self.leave(old));
        if old_approval != approval {
            if let Some(old) = old_approval
                && let Some(changes) = self.asked_by.get_mut(&old)
            {
                changes.remove(&id);
                if changes.is_empty() {
                    self.asked_by.remove(&old);
                }
            }
            if let Some(new) = approval {
                self.asked_by.entry(new).or_default().insert(id);
            }
        }
        if facts.is_open {
            self.enter(&facts, is_approved(&facts, approvals));
            self.changes.insert(id, facts);
        }
        old_approval.filter(|old| Some(*old) != approval)
    }

    pub(super) fn approval_changed(&mut self, approval: &ApprovalFacts) {
        let known = BTreeMap::from([(approval.id, approval.clone())]);
        let changes = self.asked_by.get(&approval.id).cloned().unwrap_or_default();
        for facts in changes.iter().filter_map(|id| self.changes.get(id)).cloned().collect::<Vec<_>>() {
            self.leave(&facts);
            self.enter(&facts, is_approved(&facts, &known));
        }
    }

    /// Whether an open change names the approval.
    pub(super) fn names(&self, approval: ApprovalId) -> bool {
        self.asked_by.contains_key(&approval)
    }

    /// The change of each project whose turn it is: the oldest that does not wait for a person and does not rest.
    pub(super) fn fronts(&self, rests: impl Fn(&ChangeFacts) -> bool) -> Vec<ChangeId> {
        let rests = |id: ChangeId| self.changes.get(&id).is_none_or(&rests);
        let front = |queue: &BTreeSet<(u8, u32, ChangeId)>| queue.iter().map(|(_, _, id)| *id).find(|id| !rests(*id));
        self.queues.values().filter_map(front).collect()
    }

    /// Fronts whose gates can run now. While one waits after gates that were lost, its project's queue waits with it: the
    /// reason is the host's, and the next in the queue would fare no better.
    pub(super) fn to_check(&self, now: Timestamp, rests: impl Fn(&ChangeFacts) -> bool) -> Vec<ChangeId> {
        let is_due = |id: &ChangeId| match self.changes.get(id).map(|change| change.stage) {
            Some(Stage::Opened { backoff }) => backoff.is_none_or(|backoff| !backoff.lasts(now)),
            _ => false,
        };
        self.fronts(rests).into_iter().filter(is_due).collect()
    }

    /// When gates that were lost may run again, the next time.
    pub(super) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        self.waiting.iter().map(|(at, _)| *at).find(|at| *at > now)
    }

    pub(super) fn is_open(&self, change: ChangeId) -> bool {
        self.changes.contains_key(&change)
    }

    pub(super) fn change(&self, change: ChangeId) -> Option<&ChangeFacts> {
        self.changes.get(&change)
    }

    fn enter(&mut self, facts: &ChangeFacts, is_approved: bool) {
        if let Stage::Opened { backoff: Some(backoff) } = facts.stage {
            self.waiting.insert((backoff.until, facts.id));
        }
        if facts.stage != Stage::Mergeable || is_approved {
            let place = (facts.stage.place(), facts.number, facts.id);
            self.queues.entry(facts.project).or_default().insert(place);
        }
    }

    fn leave(&mut self, facts: &ChangeFacts) {
        if let Stage::Opened { backoff: Some(backoff) } = facts.stage {
            self.waiting.remove(&(backoff.until, facts.id));
        }
        if let Some(queue) = self.queues.get_mut(&facts.project) {
            queue.remove(&(facts.stage.place(), facts.number, facts.id));
            if queue.is_empty() {
                self.queues.remove(&facts.project);
            }
        }
    }
}
