//! The book: what waits, kept so that the next choice costs little however much there is.
//!
//! It is told what things are now (`put_*`) and does only what follows from the difference: counts open dependencies,
//! moves a task between waiting and ready, moves a project in the order of turns. The same things, in any order, give the
//! same book. Nothing in it is stored.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, ChangeId, ProjectId, RunId, TaskId};

use super::budgets::Budgets;
use super::classes::ClassId;
use super::facts::{ApprovalFacts, ChangeFacts, Phase, ProjectFacts, RunFacts, TaskFacts};
use super::fairness::CHARGE_MS;
use super::grants::Grants;
use super::kept::Kept;
use super::lanes::{Lanes, Order, Place};
use super::ledger::{Demand, Holder, Ledger};
use super::limits::Limits;
use super::merge_queue::MergeQueues;
use super::needs::Needs;
use super::overdue::Waiting;
use super::returning::Returning;
use super::times::Times;
use super::turns::Turns;
use crate::entity::{Asks, Standing, Verdict};

/// A task and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) facts: TaskFacts,
    /// Tasks that need it.
    pub(super) dependents: BTreeSet<TaskId>,
    /// How many of its dependencies are as they have to be, and how many never will.
    pub(super) holding: usize,
    pub(super) never: usize,
    /// Higher than that of everything it needs.
    pub(super) rank: u32,
    /// Minutes of the longest chain of open work that begins with it.
    pub(super) tail: u64,
    /// Whether it waits for a time, as of the last look, and when that is looked at again.
    pub(super) is_early: bool,
    pub(super) timer: Option<Timestamp>,
    /// Its place while it is ready.
    pub(super) place: Option<Place>,
}

impl Node {
    const fn new(facts: TaskFacts, dependents: BTreeSet<TaskId>) -> Self {
        let (is_early, timer, place) = (false, None, None);
        Self { facts, dependents, holding: 0, never: 0, rank: 0, tail: 0, is_early, timer, place }
    }

    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.facts.phase, Phase::Over { .. })
    }

    pub(super) const fn standing(&self) -> Standing {
        match self.facts.phase {
            Phase::Over { standing } => standing,
            Phase::Proposed | Phase::Held { .. } | Phase::Queued { .. } | Phase::UnderWay => Standing::Open,
        }
    }

    /// Whether its dependencies let it begin.
    pub(super) fn judge(&self) -> Verdict {
        self.facts.join.judge(self.facts.needs.len(), self.holding, self.never)
    }

    pub(super) fn count(&mut self, verdict: Verdict, is_more: bool) {
        let count = match verdict {
            Verdict::Holds => &mut self.holding,
            Verdict::Never => &mut self.never,
            Verdict::Open => return,
        };
        *count = if is_more { *count + 1 } else { count.saturating_sub(1) };
    }
}

/// Things that others name and that have not been put into the book.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    pub tasks: BTreeSet<TaskId>,
    pub approvals: BTreeSet<ApprovalId>,
}

impl Unknown {
    /// Whether everything is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.approvals.is_empty()
    }
}

/// What waits, what is under way, and whose turn it is.
#[derive(Debug, Default)]
pub struct Book {
    pub(super) limits: Limits,
    pub(super) projects: BTreeMap<ProjectId, ProjectFacts>,
    /// In boxes: the map keeps room for nearly twice as many as there are.
    pub(super) tasks: BTreeMap<TaskId, Box<Node>>,
    /// Tasks that need one which nobody has told of.
    pub(super) orphans: BTreeMap<TaskId, BTreeSet<TaskId>>,
    pub(super) approvals: BTreeMap<ApprovalId, ApprovalFacts>,
    /// Tasks by the approval that they name.
    pub(super) asked_by: BTreeMap<ApprovalId, BTreeSet<TaskId>>,
    /// Runs under way, of tasks and of gates of their changes.
    pub(super) under_way: BTreeMap<TaskId, BTreeMap<RunId, u32>>,
    /// Those of them that were asked to end.
    pub(super) ending: BTreeSet<RunId>,
    pub(super) needs: Needs,
    pub(super) lanes: Lanes,
    pub(super) turns: Turns,
    pub(super) budgets: Budgets,
    pub(super) ledger: Ledger,
    /// Until when tasks in the queue may begin, and those whose time is over.
    pub(super) deadlines: BTreeSet<(Timestamp, TaskId)>,
    pub(super) late: BTreeSet<(Timestamp, TaskId)>,
    /// When projects open or close by the time, those to be looked at in any case, and when that was done the last time.
    pub(super) openings: BTreeSet<(Timestamp, ProjectId)>,
    pub(super) opens_at: BTreeMap<ProjectId, Timestamp>,
    pub(super) to_open: BTreeSet<ProjectId>,
    pub(super) opened_at: Option<Timestamp>,
    /// Tasks in the queue to which a time matters.
    pub(super) times: Times,
    /// Grants that are held.
    pub(super) grants: Grants,
    /// Tasks by rank whose chains are to be computed anew.
    pub(super) unsettled: BTreeSet<(u32, TaskId)>,
    /// Chosen tasks that are not under way yet, with their classes.
    pub(super) chosen: BTreeMap<TaskId, ClassId>,
    /// Ready tasks that may not wait for ever.
    pub(super) waiting: Waiting,
    /// Tasks in the queue that can never begin.
    pub(super) moot: BTreeSet<TaskId>,
    pub(super) queues: MergeQueues,
    /// The gates for which there was no room when something was chosen the last time.
    pub(super) kept: Option<Kept>,
    /// Changes whose checks were chosen and are on their way: how they begin is being found out.
    pub(super) on_their_way: BTreeSet<ChangeId>,
    pub(super) returning: Returning,
    /// Runs that stand still and count for the memory that a run usually has.
    standing_still: u64,
    /// The time that it goes by.
    pub(super) clock: Option<Timestamp>,
    pub(super) unknown: Unknown,
}

impl Book {
    /// Things that are named by others and have to be put, too: they decide what may start. Answered once.
    pub fn take_unknown(&mut self) -> Unknown {
        std::mem::take(&mut self.unknown)
    }

    /// A project as it is now.
    pub fn put_project(&mut self, facts: ProjectFacts) {
        // What the time says of it is looked at before the next choice.
        self.turns.open(facts.id, false, facts.share);
        self.to_open.insert(facts.id);
        self.budgets.put(facts.id, &facts.budgets);
        let id = facts.id;
        let (queue_timeout, pauses) = (facts.queue_timeout, (facts.pause.clone(), facts.resumed_at));
        let before = self.projects.insert(id, facts);
        if before.as_ref().is_none_or(|before| before.queue_timeout != queue_timeout) {
            self.watch_again(Some(id));
        } else if before.is_some_and(|before| (before.pause, before.resumed_at) != pauses) {
            // A pause that came and went between two looks begins waits anew, too.
            self.watch_waiting(id);
        }
    }

    /// A task as it is now. One that is over and that nothing needs is forgotten.
    pub fn put_task(&mut self, mut facts: TaskFacts) {
        let id = facts.id;
        self.unchoose(id);
        self.leave(id);
        self.know_overdue(&facts);
        if matches!(facts.phase, Phase::Over { .. }) {
            // It waits for nothing any more.
            facts.needs.clear();
            facts.approval = None;
            facts.wants = Arc::default();
        }
        let stood = |node: &Node| (node.standing(), node.facts.since);
        let was = self.tasks.get(&id).map(|node| (stood(node), node.facts.needs.clone(), node.facts.approval));
        let is_new = was.is_none();
        let (stood, old_needs, old_approval) = was.unwrap_or_default();
        let (needs, approval) = (facts.needs.clone(), facts.approval);
        self.write(facts);
        self.relink(id, &old_needs, &needs);
        self.reask(id, old_approval, approval);
        let dependents = self.tasks.get(&id).filter(|_| is_new).map(|node| node.dependents.clone());
        self.rank(id);
        dependents.into_iter().flatten().for_each(|dependent| self.rank(dependent));
        self.unsettle(id);
        old_needs.keys().chain(needs.keys()).for_each(|needed| self.unsettle(*needed));
        self.stands_otherwise(id, stood);
        self.refresh(id);
        let gone = old_needs.keys().filter(|needed| !needs.contains_key(needed));
        gone.for_each(|needed| self.forget_if_over(*needed));
        self.forget_if_over(id);
    }

    /// An approval as it is now.
    pub fn put_approval(&mut self, mut facts: ApprovalFacts) {
        let tasks = self.asked_by.get(&facts.id).cloned().unwrap_or_default();
        if tasks.is_empty() && !self.queues.names(facts.id) {
            return;
        }
        self.note_grant(&mut facts);
        self.queues.approval_changed(&facts);
        self.approvals.insert(facts.id, facts);
        for task in tasks {
            self.refresh(task);
            // It may have been taken back and granted again between two looks.
            self.renew_since(task);
        }
    }

    /// A run as it is now. One that is over is to be told of once, since it is counted and forgotten, and not at all if it
    /// began before [`super::counts_since`].
    pub fn put_run(&mut self, facts: &RunFacts) {
        let (id, task) = (facts.id, facts.task);
        let counts_ms = match facts.finished_at {
            Some(finished) if !facts.is_open => finished.ms_since(facts.queued_at),
            _ => CHARGE_MS,
        };
        self.turns.run(facts, counts_ms);
        let recalled = self.returning.put(facts);
        recalled.into_iter().for_each(|project| self.unrecall(id, project));
        self.budgets.run(facts);
        if facts.is_work {
            let class = ClassId { project: facts.project, priority: facts.priority };
            self.lanes.change_class(class, |classes| classes.started(class, facts.queued_at));
            self.reseat(class.project);
        }
        if facts.is_open && facts.is_ending {
            self.ending.insert(id);
        } else {
            self.ending.remove(&id);
        }
        if facts.is_open {
            self.unchoose(task);
            if facts.is_parked {
                // Others are in its place, also in that which its agent and its role have for it; what it asked for is still taken,
                // but for processors, which it does not use. The memory that it has without asking counts with that of all others
                // like it.
                let memory_bytes = Some(facts.asks.memory_bytes.unwrap_or(0));
                let asks = Asks { memory_bytes, cpu_millis: None, ..facts.asks.clone() };
                let freed = self.ledger.release(Holder::Run(id));
                self.ledger.hold(Holder::Run(id), Demand { asks, ..Demand::usual() }, 1);
                self.wake(freed);
            } else {
                let demand = self.demand_of_run(facts.project, facts.asks.clone(), facts.doer.clone());
                self.ledger.hold(Holder::Run(id), demand, 1);
            }
            self.under_way.entry(task).or_default().insert(id, facts.number);
        } else if let Some(runs) = self.under_way.get_mut(&task) {
            runs.remove(&id);
            if runs.is_empty() {
                self.under_way.remove(&task);
            }
            let freed = self.ledger.release(Holder::Run(id));
            self.wake(freed);
        }
        self.count_standing_still();
        self.refresh(task);
    }

    /// Takes or gives back the memory of runs that stand still.
    pub(super) fn count_standing_still(&mut self) {
        let counting = self.returning.counting(self.limits.runs_max);
        if self.standing_still == counting {
            return;
        }
        self.standing_still = counting;
        let freed = self.ledger.release(Holder::StandingStill);
        if counting > 0 {
            self.ledger.hold(Holder::StandingStill, Demand::usual(), counting);
        }
        self.wake(freed);
    }

    /// A change as it is now.
    pub fn put_change(&mut self, facts: ChangeFacts) {
        if let Some(approval) = facts.approval.filter(|id| facts.is_open && !self.approvals.contains_key(id)) {
            self.unknown.approvals.insert(approval);
        }
        let old = self.queues.put(facts, &self.approvals);
        old.into_iter().for_each(|approval| self.forget_approval(approval));
    }

    /// Tasks that were chosen and that nothing came of may be chosen again.
    pub fn give_back(&mut self) {
        let recalled = self.returning.give_back();
        recalled.into_iter().for_each(|(run, project)| self.unrecall(run, project));
        let chosen: Vec<TaskId> = self.chosen.keys().copied().collect();
        for task in chosen {
            self.unchoose(task);
            self.refresh(task);
        }
    }

    /// Checks that were chosen and of which nothing is on record yet, since it takes time to find out how they begin. They keep their
    /// places until they are not among these any more, whatever is given back.
    pub fn set_on_their_way(&mut self, checks: BTreeSet<ChangeId>) {
        if self.on_their_way == checks {
            return;
        }
        self.on_their_way = checks;
        let freed = self.ledger.release(Holder::ChecksOnTheirWay);
        if !self.on_their_way.is_empty() {
            self.ledger.hold(Holder::ChecksOnTheirWay, Demand::usual(), self.on_their_way.len() as u64);
        }
        self.wake(freed);
    }

    /// The change of each project's merge queue whose turn it is, leaving out those that rest and those of projects in which
    /// nothing begins now. What is being merged goes on.
    pub fn fronts(&mut self, now: Timestamp, rests: &BTreeSet<ChangeId>) -> Vec<ChangeId> {
        let now = self.tell_time(now);
        self.open_projects(now);
        self.look_at_grants(now);
        self.queues.fronts(|change| rests.contains(&change.id) || self.holds_back(change))
    }

    /// Whether a change waits because nothing of its project begins now.
    pub(super) fn holds_back(&self, change: &ChangeFacts) -> bool {
        change.stage.would_begin() && self.is_closed(change.project)
    }

    /// Whether the change is in a merge queue.
    #[must_use]
    pub fn has_change(&self, change: ChangeId) -> bool {
        self.queues.is_open(change)
    }

    /// Number of tasks that it knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether it knows no task.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Lets the time pass: what waited for it becomes ready, what waited long gains priority, what runs is counted. Answers the
    /// time that it goes by.
    pub(super) fn advance(&mut self, now: Timestamp) -> Timestamp {
        let now = self.tell_time(now);
        self.look_at_times(now);
        self.look_at_grants(now);
        self.open_projects(now);
        self.tell_late(now);
        self.tell_overdue(now);
        self.settle_chains();
        for project in self.lanes.age(now) {
            self.reseat(project);
        }
        self.turns.count_time(now);
        self.count_budgets(now);
        self.wake_unreserved();
        now
    }

    /// Sorts deadlines into those to come and those that are over; a clock can be put back.
    fn tell_late(&mut self, now: Timestamp) {
        let mut moved = Vec::new();
        while let Some((at, id)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.deadlines.remove(&(at, id));
            self.late.insert((at, id));
            moved.push(id);
        }
        while let Some((at, id)) = self.late.last().copied().filter(|(at, _)| *at > now) {
            self.late.remove(&(at, id));
            self.deadlines.insert((at, id));
            moved.push(id);
        }
        moved.into_iter().for_each(|id| self.refresh(id));
    }

    pub(super) fn set_tail(&mut self, id: TaskId, tail: u64) {
        let Some(node) = self.tasks.get_mut(&id) else { return };
        node.tail = tail;
        if let Some(place) = node.place {
            self.place(id, Some(Place { order: Order { tail: Reverse(tail), ..place.order }, ..place }));
        }
    }

    /// Makes or renews the node, without what follows for others.
    fn write(&mut self, mut facts: TaskFacts) {
        let id = facts.id;
        let old = self.tasks.get(&id).filter(|node| node.is_open()).map(|node| Arc::clone(&node.facts.wants));
        if !matches!(facts.phase, Phase::Over { .. }) {
            facts.wants = self.needs.add(&facts.wants);
        }
        old.into_iter().for_each(|old| self.needs.remove(&old));
        self.unknown.tasks.remove(&id);
        let deadline = match facts.phase {
            Phase::Queued { .. } | Phase::UnderWay => facts.deadline,
            Phase::Proposed | Phase::Held { .. } | Phase::Over { .. } => None,
        };
        if let Some(before) = self.tasks.get(&id).and_then(|node| node.facts.deadline) {
            self.deadlines.remove(&(before, id));
            self.late.remove(&(before, id));
        }
        self.deadlines.extend(deadline.map(|at| (at, id)));
        match self.tasks.get_mut(&id) {
            Some(node) => node.facts = facts,
            None => {
                let dependents = self.orphans.remove(&id).unwrap_or_default();
                self.tasks.insert(id, Box::new(Node::new(facts, dependents)));
            }
        }
        self.note_times(id);
    }
}
