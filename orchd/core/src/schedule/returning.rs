//! Runs that stand still: those that have the answers which they waited for, until there is a place for them among those under
//! way, and what all of them hold.

use std::collections::{BTreeMap, BTreeSet};

use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, RunId};

use super::facts::RunFacts;
use super::staff::Doer;

/// Those runs, and which of them were told to go on and have not yet.
#[derive(Debug, Default)]
pub(super) struct Returning {
    /// Since when each waits for a place, from when on it may go on, and who does its work.
    waiting: BTreeMap<RunId, (Timestamp, Option<Timestamp>, ProjectId, Doer)>,
    chosen: BTreeMap<RunId, ProjectId>,
    /// Those that stand still, answered or not, and asked for no memory of their own.
    usual: BTreeSet<RunId>,
}

impl Returning {
    /// A run as it is now. Answers its project when it was chosen before: that is over.
    pub(super) fn put(&mut self, facts: &RunFacts) -> Option<ProjectId> {
        match facts.wants_place.filter(|_| facts.is_open && !facts.is_ending) {
            Some((since, from)) => self.waiting.insert(facts.id, (since, from, facts.project, facts.doer.clone())),
            None => self.waiting.remove(&facts.id),
        };
        if facts.is_open && facts.is_parked && facts.asks.memory_bytes.is_none() {
            self.usual.insert(facts.id);
        } else {
            self.usual.remove(&facts.id);
        }
        self.chosen.remove(&facts.id)
    }

    /// Those that were not chosen and may go on, those that wait longest first.
    pub(super) fn in_order(&self, now: Timestamp) -> Vec<(RunId, ProjectId, Doer)> {
        let may_go_on = |from: Option<Timestamp>| from.is_none_or(|from| from <= now);
        let left = self.waiting.iter();
        let left = left.filter(|(run, (_, from, ..))| may_go_on(*from) && !self.chosen.contains_key(run));
        let mut order: Vec<_> = left.map(|(run, (since, _, project, doer))| (*since, *run, *project, doer)).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, run, project, doer)| (run, project, doer.clone())).collect()
    }

    /// When the next of them may go on.
    pub(super) fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        self.waiting.values().filter_map(|(_, from, ..)| *from).filter(|from| *from > now).min()
    }

    pub(super) fn choose(&mut self, run: RunId, project: ProjectId) {
        self.chosen.insert(run, project);
    }

    /// How many of those that stand still count for the memory that a run usually has. They hold it, and their places are for
    /// others, who need as much: so the host lends it to half as many as there are places, and to no more.
    pub(super) fn counting(&self, runs_max: u32) -> u64 {
        self.usual.len().saturating_sub(runs_max.div_ceil(2) as usize) as u64
    }

    /// How many were chosen and do not go on yet.
    pub(super) fn chosen(&self) -> usize {
        self.chosen.len()
    }

    /// Those that were chosen may be chosen again: they, and their projects.
    pub(super) fn give_back(&mut self) -> BTreeMap<RunId, ProjectId> {
        std::mem::take(&mut self.chosen)
    }
}
