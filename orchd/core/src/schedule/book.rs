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

use super::classes::ClassId;
use super::facts::{ApprovalFacts, ChangeFacts, Phase, ProjectFacts, RunFacts, TaskFacts, Wants};
use super::fairness::CHARGE_MS;
use super::lanes::{Lanes, Order, Place};
use super::limits::Limits;
use super::merge_queue::MergeQueues;
use super::turns::Turns;

/// A task and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) facts: TaskFacts,
    /// Tasks that need it.
    pub(super) dependents: BTreeSet<TaskId>,
    /// How many of what it needs are not done.
    pub(super) open_needs: usize,
    /// Higher than that of everything it needs.
    pub(super) rank: u32,
    /// Minutes of the longest chain of open work that begins with it.
    pub(super) tail: u64,
    /// The time that it waits for.
    pub(super) due: Option<Timestamp>,
    /// Its place while it is ready.
    pub(super) place: Option<Place>,
}

impl Node {
    pub(super) const fn is_open(&self) -> bool {
        !matches!(self.facts.phase, Phase::Over { .. })
    }

    pub(super) const fn is_done(&self) -> bool {
        matches!(self.facts.phase, Phase::Over { done: true })
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
    pub(super) tasks: BTreeMap<TaskId, Node>,
    /// Tasks that need one which nobody has told of.
    orphans: BTreeMap<TaskId, BTreeSet<TaskId>>,
    pub(super) approvals: BTreeMap<ApprovalId, ApprovalFacts>,
    /// Tasks by the approval that they name.
    asked_by: BTreeMap<ApprovalId, BTreeSet<TaskId>>,
    /// Runs under way, of tasks and of gates of their changes.
    pub(super) under_way: BTreeMap<TaskId, BTreeMap<RunId, u32>>,
    /// What open tasks need of the host, each kept once, with how many need it.
    wants: BTreeMap<Arc<Wants>, usize>,
    pub(super) lanes: Lanes,
    pub(super) turns: Turns,
    /// Tasks that wait for a time.
    pub(super) timers: BTreeSet<(Timestamp, TaskId)>,
    /// Tasks by rank whose chains are to be computed anew.
    pub(super) unsettled: BTreeSet<(u32, TaskId)>,
    /// Chosen tasks that are not under way yet, with their classes.
    pub(super) chosen: BTreeMap<TaskId, ClassId>,
    pub(super) queues: MergeQueues,
    unknown: Unknown,
}

impl Book {
    /// Things that are named by others and have to be put, too: they decide what may start. Answered once.
    pub fn take_unknown(&mut self) -> Unknown {
        std::mem::take(&mut self.unknown)
    }

    /// A project as it is now.
    pub fn put_project(&mut self, facts: ProjectFacts) {
        self.turns.open(facts.id, facts.is_ready, facts.share);
        self.projects.insert(facts.id, facts);
    }

    /// A task as it is now. One that is over and that nothing needs is forgotten.
    pub fn put_task(&mut self, mut facts: TaskFacts) {
        let id = facts.id;
        self.unchoose(id);
        self.leave(id);
        if matches!(facts.phase, Phase::Over { .. }) {
            // It waits for nothing any more.
            facts.needs.clear();
            facts.approval = None;
            facts.wants = Arc::default();
        }
        let was = self.tasks.get(&id).map(|node| (node.is_done(), node.facts.needs.clone(), node.facts.approval));
        let is_new = was.is_none();
        let (was_done, old_needs, old_approval) = was.unwrap_or_default();
        let (needs, approval) = (facts.needs.clone(), facts.approval);
        self.write(facts);
        self.relink(id, &old_needs, &needs);
        self.reask(id, old_approval, approval);
        let dependents = self.tasks.get(&id).filter(|_| is_new).map(|node| node.dependents.clone());
        self.rank(id);
        dependents.into_iter().flatten().for_each(|dependent| self.rank(dependent));
        self.unsettle(id);
        old_needs.iter().chain(&needs).for_each(|needed| self.unsettle(*needed));
        if self.tasks.get(&id).is_some_and(Node::is_done) != was_done {
            self.done_changed(id, !was_done);
        }
        self.refresh(id);
        old_needs.difference(&needs).for_each(|needed| self.forget_if_over(*needed));
        self.forget_if_over(id);
    }

    /// An approval as it is now.
    pub fn put_approval(&mut self, facts: ApprovalFacts) {
        let tasks = self.asked_by.get(&facts.id).cloned().unwrap_or_default();
        if tasks.is_empty() && !self.queues.names(facts.id) {
            return;
        }
        self.queues.approval_changed(&facts);
        self.approvals.insert(facts.id, facts);
        tasks.into_iter().for_each(|task| self.refresh(task));
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
        if facts.is_work {
            let class = ClassId { project: facts.project, priority: facts.priority };
            self.lanes.change_class(class, |classes| classes.started(class, facts.queued_at));
            self.reseat(class.project);
        }
        if facts.is_open {
            self.unchoose(task);
            self.under_way.entry(task).or_default().insert(id, facts.number);
        } else if let Some(runs) = self.under_way.get_mut(&task) {
            runs.remove(&id);
            if runs.is_empty() {
                self.under_way.remove(&task);
            }
        }
        self.refresh(task);
    }

    /// A change as it is now.
    pub fn put_change(&mut self, facts: ChangeFacts) {
        if let Some(approval) = facts.approval.filter(|id| facts.is_open && !self.approvals.contains_key(id)) {
            self.unknown.approvals.insert(approval);
        }
        let old = self.queues.put(facts, &self.approvals);
        old.into_iter().for_each(|approval| self.forget_approval(approval));
    }

    /// What the host and the configuration allow from now on.
    pub fn set_limits(&mut self, limits: Limits) {
        if self.limits == limits {
            return;
        }
        self.limits = limits;
        for project in self.lanes.set_lacks(|wants| self.limits.lacks(wants)) {
            self.reseat(project);
        }
    }

    /// What the host and the configuration allow.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Tasks that were chosen and that nothing came of may be chosen again.
    pub fn give_back(&mut self) {
        let chosen: Vec<TaskId> = self.chosen.keys().copied().collect();
        for task in chosen {
            self.unchoose(task);
            self.refresh(task);
        }
    }

    /// The change of each project's merge queue whose turn it is, leaving out those that rest.
    #[must_use]
    pub fn fronts(&self, rests: &BTreeSet<ChangeId>) -> Vec<ChangeId> {
        self.queues.fronts(|change| rests.contains(&change))
    }

    /// Whether the change is in a merge queue.
    #[must_use]
    pub fn has_change(&self, change: ChangeId) -> bool {
        self.queues.is_open(change)
    }

    /// Programs that open tasks need.
    #[must_use]
    pub fn wanted_tools(&self) -> BTreeSet<&str> {
        self.wants.keys().flat_map(|wants| wants.tools.iter().map(String::as_str)).collect()
    }

    /// Secrets that open tasks name.
    #[must_use]
    pub fn wanted_secrets(&self) -> BTreeSet<&str> {
        self.wants.keys().flat_map(|wants| wants.secrets.iter().map(String::as_str)).collect()
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

    /// Lets the time pass: what waited for it becomes ready, what waited long gains priority, what runs is counted.
    pub(super) fn advance(&mut self, now: Timestamp) {
        while let Some((due, id)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.timers.remove(&(due, id));
            if let Some(node) = self.tasks.get_mut(&id) {
                node.due = None;
            }
            self.refresh(id);
        }
        self.settle_chains();
        for project in self.lanes.age(now) {
            self.reseat(project);
        }
        self.turns.count_time(now);
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
            facts.wants = self.want(&facts.wants);
        }
        old.into_iter().for_each(|old| self.want_no_more(&old));
        self.unknown.tasks.remove(&id);
        let due = match facts.phase {
            Phase::Queued { not_before } => not_before,
            _ => None,
        };
        if let Some(at) = due {
            self.timers.insert((at, id));
        }
        match self.tasks.get_mut(&id) {
            Some(node) => {
                if let Some(before) = std::mem::replace(&mut node.due, due).filter(|before| Some(*before) != due) {
                    self.timers.remove(&(before, id));
                }
                node.facts = facts;
            }
            None => {
                let dependents = self.orphans.remove(&id).unwrap_or_default();
                let node = Node { facts, dependents, open_needs: 0, rank: 0, tail: 0, due, place: None };
                self.tasks.insert(id, node);
            }
        }
    }

    /// The kept one of what is alike, for one more task.
    fn want(&mut self, wants: &Arc<Wants>) -> Arc<Wants> {
        let kept = self.wants.get_key_value(wants).map_or_else(|| Arc::clone(wants), |(kept, _)| Arc::clone(kept));
        *self.wants.entry(Arc::clone(&kept)).or_insert(0) += 1;
        kept
    }

    fn want_no_more(&mut self, wants: &Arc<Wants>) {
        if let Some(count) = self.wants.get_mut(wants) {
            *count -= 1;
            if *count == 0 {
                self.wants.remove(wants);
            }
        }
    }

    fn relink(&mut self, id: TaskId, old: &BTreeSet<TaskId>, new: &BTreeSet<TaskId>) {
        for gone in old.difference(new) {
            if let Some(needed) = self.tasks.get_mut(gone) {
                needed.dependents.remove(&id);
            } else if let Some(dependents) = self.orphans.get_mut(gone) {
                dependents.remove(&id);
            }
        }
        for added in new.difference(old) {
            if let Some(needed) = self.tasks.get_mut(added) {
                needed.dependents.insert(id);
            } else {
                self.unknown.tasks.insert(*added);
                self.orphans.entry(*added).or_default().insert(id);
            }
        }
        let is_open = |needed: &&TaskId| !self.tasks.get(*needed).is_some_and(Node::is_done);
        let open_needs = new.iter().filter(is_open).count();
        if let Some(node) = self.tasks.get_mut(&id) {
            node.open_needs = open_needs;
        }
    }

    fn reask(&mut self, id: TaskId, old: Option<ApprovalId>, new: Option<ApprovalId>) {
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

    fn forget_approval(&mut self, id: ApprovalId) {
        if self.asked_by.get(&id).is_none_or(BTreeSet::is_empty) && !self.queues.names(id) {
            self.asked_by.remove(&id);
            self.approvals.remove(&id);
        }
    }

    fn done_changed(&mut self, id: TaskId, is_done: bool) {
        let dependents = self.tasks.get(&id).map(|node| node.dependents.clone()).unwrap_or_default();
        for dependent in dependents {
            if let Some(node) = self.tasks.get_mut(&dependent) {
                node.open_needs = if is_done { node.open_needs.saturating_sub(1) } else { node.open_needs + 1 };
            }
            self.refresh(dependent);
        }
    }

    fn forget_if_over(&mut self, id: TaskId) {
        let is_needed = |node: &Node| node.is_open() || !node.dependents.is_empty();
        if let Some(node) = self.tasks.get(&id).filter(|node| !is_needed(node)) {
            self.unsettled.remove(&(node.rank, id));
            self.tasks.remove(&id);
        }
    }

    /// Puts the task where it belongs now: to the ready ones or not.
    pub(super) fn refresh(&mut self, id: TaskId) {
        let Some(node) = self.tasks.get(&id) else { return };
        let is_ready = self.is_ready(node);
        match (is_ready, node.place) {
            (true, None) => self.enter(id),
            (false, Some(_)) => self.leave(id),
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn is_ready(&self, node: &Node) -> bool {
        let approved = |id: ApprovalId| self.approvals.get(&id).is_some_and(|approval| approval.is_granted);
        matches!(node.facts.phase, Phase::Queued { .. })
            && node.due.is_none()
            && node.open_needs == 0
            && node.facts.approval.is_none_or(approved)
            && !self.under_way.contains_key(&node.facts.id)
            && !self.chosen.contains_key(&node.facts.id)
    }

    fn enter(&mut self, id: TaskId) {
        let Some(node) = self.tasks.get(&id) else { return };
        let lacks = |wants: &_| self.limits.lacks(wants);
        let since = self.ready_since(node);
        let lane = self.lanes.of(node.facts.class(), &node.facts.wants, lacks);
        let order = Order { tail: Reverse(node.tail), created_at: node.facts.created_at, id };
        self.place(id, Some(Place { lane, order, since }));
    }

    /// When the last thing that it waited for was over.
    fn ready_since(&self, node: &Node) -> Timestamp {
        let needs = node.facts.needs.iter().filter_map(|needed| Some(self.tasks.get(needed)?.facts.since));
        let approved = node.facts.approval.and_then(|id| self.approvals.get(&id)?.decided_at);
        let due = match node.facts.phase {
            Phase::Queued { not_before } => not_before,
            _ => None,
        };
        needs.chain(approved).chain(due).fold(node.facts.since, Timestamp::max)
    }

    fn leave(&mut self, id: TaskId) {
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
    }

    /// Moves a project to where it belongs by its best task.
    fn reseat(&mut self, project: ProjectId) {
        self.turns.candidate(project, self.lanes.best(project));
    }

    /// Takes the task out of the ready ones until it is under way.
    pub(super) fn choose_one(&mut self, id: TaskId, project: ProjectId) {
        let Some(class) = self.tasks.get(&id).map(|node| node.facts.class()) else { return };
        self.leave(id);
        self.chosen.insert(id, class);
        self.lanes.change_class(class, |classes| classes.chosen(class, true));
        self.turns.chosen(project, true);
        self.reseat(project);
    }

    fn unchoose(&mut self, id: TaskId) {
        if let Some(class) = self.chosen.remove(&id) {
            self.lanes.change_class(class, |classes| classes.chosen(class, false));
            self.turns.chosen(class.project, false);
            self.reseat(class.project);
        }
    }
}
