//! Turns: which project goes next. The highest priority first, then who used least of the host lately.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use orch_proto::Timestamp;
use orch_proto::id::{ProjectId, RunId};

use super::fairness::{CHARGE_MS, Spent, half_life_of};
use super::lanes::Order;

/// How often runs under way are counted anew, in milliseconds.
const COUNT_MS: u64 = 60_000;

/// A run under way and what it counts for.
#[derive(Debug)]
struct Running {
    project: ProjectId,
    began: Timestamp,
    counts_ms: u64,
}

/// A project's part of the host.
#[derive(Debug, Default)]
struct Share {
    spent: Spent,
    running: u32,
    /// Chosen tasks that are not under way yet.
    chosen: u32,
    /// Whether its tasks may start.
    is_open: bool,
    /// Its task that goes first.
    best: Option<Order>,
    turn: Option<Turn>,
}

/// Level, use, and between projects that used the same the order of their tasks.
type Turn = (Reverse<u8>, u64, Order, ProjectId);

/// All projects by whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turns {
    shares: BTreeMap<ProjectId, Share>,
    order: BTreeSet<Turn>,
    runs: BTreeMap<RunId, Running>,
    /// The time that use was counted up to.
    counted: Option<Timestamp>,
}

impl Turns {
    /// Whether tasks of the project may start.
    pub(super) fn open(&mut self, project: ProjectId, is_open: bool) {
        self.change(project, |share| share.is_open = is_open);
    }

    /// The project's task that goes first from now on.
    pub(super) fn candidate(&mut self, project: ProjectId, best: Option<Order>) {
        self.change(project, |share| share.best = best);
    }

    /// A task of the project was chosen, or was chosen and is under way or given back now.
    pub(super) fn chosen(&mut self, project: ProjectId, is_more: bool) {
        self.change(project, |share| {
            share.chosen = if is_more { share.chosen + 1 } else { share.chosen.saturating_sub(1) };
        });
    }

    /// A run that is under way, or is over and lasted for that long.
    pub(super) fn run(&mut self, id: RunId, project: ProjectId, began: Timestamp, (is_open, counts_ms): (bool, u64)) {
        let known = self.runs.remove(&id);
        let (was_open, before) = (known.is_some(), known.map_or(0, |run| run.counts_ms));
        let counts_ms = if is_open { counts_ms.max(before) } else { counts_ms };
        if is_open {
            self.runs.insert(id, Running { project, began, counts_ms });
        }
        self.change(project, |share| {
            share.spent.change(began, before, counts_ms);
            match (was_open, is_open) {
                (false, true) => share.running += 1,
                (true, false) => share.running = share.running.saturating_sub(1),
                (true, true) | (false, false) => {}
            }
        });
    }

    /// Counts runs that last, once a minute, and lets what was used count for less.
    pub(super) fn count_time(&mut self, now: Timestamp) {
        let minute = |at: Timestamp| at.unix_us().div_euclid(i64::try_from(COUNT_MS * 1_000).unwrap_or(i64::MAX));
        let before = self.counted.replace(now);
        if before.is_some_and(|before| minute(before) == minute(now)) {
            return;
        }
        let full_minute = Timestamp::from_unix_us(minute(now).saturating_mul(60_000_000));
        let mut projects: BTreeSet<ProjectId> = BTreeSet::new();
        for run in self.runs.values_mut() {
            let counts_ms = full_minute.ms_since(run.began).max(CHARGE_MS);
            if let Some(share) = self.shares.get_mut(&run.project).filter(|_| counts_ms > run.counts_ms) {
                share.spent.change(run.began, run.counts_ms, counts_ms);
                run.counts_ms = counts_ms;
                projects.insert(run.project);
            }
        }
        if before.is_none_or(|before| half_life_of(before) != half_life_of(now)) {
            projects.extend(self.shares.keys());
        }
        projects.into_iter().for_each(|project| self.change(project, |_| {}));
    }

    /// The project whose turn it is, and its task.
    pub(super) fn first(&self) -> Option<(ProjectId, Order)> {
        self.order.first().map(|(_, _, best, project)| (*project, *best))
    }

    /// Runs under way.
    pub(super) fn running(&self) -> usize {
        self.runs.len()
    }

    /// Runs of the project, with those that are about to start.
    pub(super) fn of_project(&self, project: ProjectId) -> u32 {
        self.shares.get(&project).map_or(0, |share| share.running + share.chosen)
    }

    /// What the project used lately, in milliseconds.
    pub(super) fn used_ms(&self, project: ProjectId) -> u64 {
        self.shares.get(&project).map_or(0, |share| self.used(share))
    }

    fn used(&self, share: &Share) -> u64 {
        // Before the first look nothing is chosen, so that any order will do.
        let spent = self.counted.map_or(0, |now| share.spent.at(now));
        spent.saturating_add(u64::from(share.chosen).saturating_mul(CHARGE_MS))
    }

    fn change(&mut self, project: ProjectId, change: impl FnOnce(&mut Share)) {
        let mut share = self.shares.remove(&project).unwrap_or_default();
        change(&mut share);
        let turn = share.best.filter(|_| share.is_open).map(|best| (best.level, self.used(&share), best, project));
        if turn != share.turn {
            if let Some(turn) = share.turn {
                self.order.remove(&turn);
            }
            self.order.extend(turn);
            share.turn = turn;
        }
        self.shares.insert(project, share);
    }
}
