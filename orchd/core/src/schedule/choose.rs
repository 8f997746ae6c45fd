//! The choice: what to start now. Costs the same however much waits.

use std::collections::{BTreeMap, BTreeSet};

use orch_proto::Timestamp;
use orch_proto::id::{ChangeId, ProjectId, RunId, TaskId};

use super::book::Book;
use super::lanes::{LaneId, Order};
use super::ledger::{Amounts, Demand, Holder, Resource};
use crate::entity::{Asks, Timeout};

/// Most ends at once: they are commands, and others have to come through.
const ENDS_MAX: usize = 256;

/// One thing to start, and why it and not another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub action: Action,
    pub reason: String,
}

/// What can be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// An attempt at a task.
    Run(TaskId),
    /// To let a run go on that stands still, has its answer, and took no place meanwhile.
    Recall(RunId),
    /// The gates of a change, which is at the front of its project's merge queue.
    Check(ChangeId),
    /// Not to start a task, ever: what it waits for cannot happen any more.
    Skip(TaskId),
    /// Not to start a task, or to end its run: its deadline is over.
    Expire(TaskId),
    /// To see to a task that could begin since then and has not, which is too long.
    Overdue { task: TaskId, since: Timestamp, timeout: Timeout },
    /// To put on record how much is left of the budgets of a project.
    Judge(ProjectId),
}

impl Book {
    /// Chooses what to start now. What is chosen counts as under way from here on, until it is put, or given back by
    /// [`Self::give_back`]. `rests` are changes that are left alone for a moment.
    pub fn choose(&mut self, now: Timestamp, rests: &BTreeSet<ChangeId>) -> Vec<Decision> {
        let now = self.advance(now);
        let places = self.places();
        let mut decisions = self.ends();
        let recalls = self.recalls(now, places);
        let places = if self.limits.forbid() { 0 } else { places - recalls.len() };
        decisions.extend(recalls);
        decisions.extend(self.starts(now, rests, places));
        // What begins now has not waited for too long.
        let overdue = self.overdue().take(ENDS_MAX);
        decisions.extend(overdue.map(|action| Decision { action, reason: "it waits for too long".into() }));
        let otherwise = self.otherwise_budgets().take(ENDS_MAX);
        decisions.extend(otherwise.map(|action| Decision { action, reason: "a mark of a budget is reached".into() }));
        decisions
    }

    /// Places that are free.
    pub(super) fn places(&self) -> usize {
        let chosen = self.chosen.len() + self.returning.chosen() + self.on_their_way.len();
        let under_way = self.turns.running() + chosen;
        (self.limits.runs_max as usize).saturating_sub(under_way)
    }

    /// Runs that go on in that many places: before anything begins, and whether or not anything may, since they have begun. How many
    /// processors are free is not asked: they were there before, and no run has them for itself.
    fn recalls(&mut self, now: Timestamp, places: usize) -> Vec<Decision> {
        let mut recalls = Vec::new();
        for (run, project, doer) in self.returning.in_order(now) {
            if recalls.len() == places {
                break;
            }
            // Its memory it holds already.
            let demand = self.demand_of_run(project, Asks { memory_bytes: Some(0), ..Asks::default() }, doer);
            let amounts = self.ledger.totals().amounts(&demand);
            let fits = amounts.iter().all(|(resource, amount)| self.ledger.fits(resource, *amount));
            if fits && self.turns.has_place(project) {
                self.ledger.hold(Holder::Recalled(run), demand, 1);
                self.turns.chosen(project, true);
                self.returning.choose(run, project);
                let reason = "it has its answer, and there is a place for it".into();
                recalls.push(Decision { action: Action::Recall(run), reason });
            }
        }
        recalls
    }

    /// What begins now in that many places.
    fn starts(&mut self, now: Timestamp, rests: &BTreeSet<ChangeId>, places: usize) -> Vec<Decision> {
        let (checks, kept) = self.checks(now, rests, places);
        self.keep(kept);
        let fitting = checks.len();
        let front = |change| Decision { action: Action::Check(change), reason: "front of the merge queue".into() };
        let mut decisions: Vec<Decision> = checks.into_iter().map(front).collect();
        self.ledger.hold(Holder::Checks, Demand::usual(), fitting as u64);
        decisions.extend((fitting..places).map_while(|_| self.next()));
        let freed = self.ledger.release(Holder::Checks);
        self.wake(freed);
        decisions
    }

    /// Tasks that end without having begun, or because their time is over; the next ones when these have ended.
    fn ends(&self) -> Vec<Decision> {
        let runs = |task: &TaskId| self.under_way.get(task).into_iter().flat_map(BTreeMap::keys);
        let is_ending =
            |task: &TaskId| self.under_way.contains_key(task) && runs(task).all(|run| self.ending.contains(run));
        let skipped = self.moot.iter().map(|task| (Action::Skip(*task), "it is not needed any more"));
        let late = self
            .late
            .iter()
            .filter(|(_, task)| !self.chosen.contains_key(task) && !self.moot.contains(task) && !is_ending(task));
        let expired = late.map(|(_, task)| (Action::Expire(*task), "its deadline is over"));
        skipped
            .chain(expired)
            .take(ENDS_MAX)
            .map(|(action, reason)| Decision { action, reason: reason.into() })
            .collect()
    }

    /// When to choose again though nothing happened: the next time that a task or gates wait for, a deadline, a mark of a
    /// budget, or the next day for a project that has used up this one.
    #[must_use]
    pub fn next_due(&self, now: Timestamp) -> Option<Timestamp> {
        let task = self.times.next();
        let grant = self.grants.next();
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let opening = self.openings.first().map(|(at, _)| *at);
        task.into_iter()
            .chain(grant)
            .chain(deadline)
            .chain(opening)
            .chain(self.waiting.next_due())
            .chain(self.budgets.next_due())
            .chain(self.queues.next_due(self.time_at(now)))
            .chain(self.turns.next_day())
            .chain(self.returning.next_due(now))
            .min()
    }

    /// The task that goes first, taken out. Lanes that ask for more than is free are parked on the way.
    fn next(&mut self) -> Option<Decision> {
        loop {
            self.wake_unreserved();
            let (project, (level, order)) = self.turns.first()?;
            let lane = self.tasks.get(&order.id)?.place?.lane;
            match self.obstacle(lane) {
                None => {
                    let reason = self.reason(level.0, &order);
                    self.choose_one(order.id, project);
                    return Some(Decision { action: Action::Run(order.id), reason });
                }
                Some((resource, amounts)) => {
                    self.lanes.park(lane, resource, amounts);
                    self.reseat(project);
                }
            }
        }
    }

    /// What the tasks of a lane ask for and cannot have now: because it is not free, or is kept for gates or a
    /// higher level.
    fn obstacle(&self, lane: LaneId) -> Option<(Resource, Amounts)> {
        let (project, wants, level) = self.lanes.wants(lane)?;
        let amounts = self.ledger.totals().amounts(&self.demand(project, wants));
        let has_turn = |project| self.turns.has_turn(project);
        let is_in_the_way = |(resource, amount): &&(Resource, u64)| {
            let free = self.ledger.free(resource);
            free.is_some_and(|free| *amount > free)
                || self.is_kept(resource, *amount)
                || self.lanes.is_reserved(resource, level, free, has_turn)
        };
        let on = amounts.iter().find(is_in_the_way)?.0.clone();
        Some((on, amounts))
    }

    fn reason(&self, level: u8, order: &Order) -> String {
        let Some(node) = self.tasks.get(&order.id) else { return String::new() };
        let (priority, project) = (node.facts.priority, node.facts.project);
        let age =
            if level > priority { format!(", {level} since nothing of it started for long") } else { String::new() };
        let moved = match order.rank {
            0 => "",
            ..0 => "; moved ahead by a person",
            1.. => "; moved back by a person",
        };
        format!(
            "priority {priority}{age}{moved}; {} of its project running, {} min used lately; {} min of work behind it; {} ready \
             after it",
            self.turns.of_project(project),
            self.turns.used_ms(project).div_ceil(60_000),
            order.tail.0,
            self.lanes.ready().saturating_sub(1)
        )
    }
}
