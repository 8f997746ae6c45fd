//! What is open: tasks with when they came where they are, runs, changes and questions. Bounded by what is open, and by
//! [`RESTING_MAX`](super::RESTING_MAX) tasks that are over and may be tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, ChangeId, ProjectId, RunId, TaskId};

use crate::entity::{Condition, Join, Standing, TaskEvent, TaskPart, Verdict};
use crate::state::approval::ApprovalState;
use crate::state::task::TaskState;

/// The state of a task without what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Proposed,
    Approved,
    Running,
    InReview,
    Paused,
    Failed,
    Cancelled,
    Done,
}

impl Stage {
    /// Where an event brings a task; none when it stays. Only for events that happened: they are legal.
    pub(super) fn after(event: &TaskEvent) -> Option<Self> {
        Some(match event {
            TaskEvent::Created { .. } => Self::Proposed,
            TaskEvent::Queued
            | TaskEvent::Released
            | TaskEvent::Reopened
            | TaskEvent::Requeued
            | TaskEvent::RetryScheduled { .. } => Self::Approved,
            TaskEvent::Started { .. } => Self::Running,
            TaskEvent::ReviewStarted { .. } => Self::InReview,
            TaskEvent::Completed { .. } => Self::Done,
            TaskEvent::Failed { .. } | TaskEvent::Expired { .. } => Self::Failed,
            TaskEvent::Cancelled { .. } => Self::Cancelled,
            TaskEvent::Held { .. } => Self::Paused,
            TaskEvent::Undone { parts, .. } => {
                return parts.iter().find_map(|part| match part {
                    TaskPart::State { state, .. } => Some(Self::of(state)),
                    _ => None,
                });
            }
            TaskEvent::Respecified { .. }
            | TaskEvent::Linked { .. }
            | TaskEvent::Unlinked { .. }
            | TaskEvent::TermsSet { .. }
            | TaskEvent::Prioritized { .. }
            | TaskEvent::Overdue { .. }
            | TaskEvent::Escalated { .. }
            | TaskEvent::SpendingRaised
            | TaskEvent::ToolGiven { .. }
            | TaskEvent::Said { .. }
            | TaskEvent::Told { .. }
            | TaskEvent::Replied { .. }
            | TaskEvent::Moved { .. }
            | TaskEvent::ApprovalAsked { .. } => return None,
        })
    }

    /// That of a task in this state.
    const fn of(state: &TaskState) -> Self {
        match state {
            TaskState::Proposed => Self::Proposed,
            TaskState::Approved { .. } => Self::Approved,
            TaskState::Running { .. } => Self::Running,
            TaskState::InReview { .. } => Self::InReview,
            TaskState::Done { .. } => Self::Done,
            TaskState::Failed { .. } => Self::Failed,
            TaskState::Cancelled { .. } => Self::Cancelled,
            TaskState::Paused { .. } => Self::Paused,
        }
    }

    /// How those see it that depend on a task in it.
    const fn standing(self) -> Standing {
        match self {
            Self::Proposed | Self::Approved | Self::Running | Self::InReview | Self::Paused => Standing::Open,
            Self::Failed => Standing::Failed,
            Self::Cancelled => Standing::Cancelled,
            Self::Done => Standing::Done,
        }
    }

    /// Whether nothing more happens by itself.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Failed | Self::Cancelled | Self::Done)
    }
}

/// Tasks that are in a state now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub count: u64,
    /// When the one that is in it for longest came there.
    pub oldest: Timestamp,
}

/// A task that may still be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenTask {
    pub(super) project: ProjectId,
    pub(super) label: Arc<str>,
    pub(super) stage: Stage,
    pub(super) since: Timestamp,
    /// Not before this is a retry started.
    pub(super) not_before: Option<Timestamp>,
    /// Not before this does any attempt begin, by its terms.
    pub(super) terms_not_before: Option<Timestamp>,
    pub(super) needs: Needs,
    /// The question whether it may start, and when it was answered with yes.
    pub(super) asked: Option<(ApprovalId, Option<Timestamp>)>,
    /// When the first attempt since it was last queued by a person began.
    pub(super) begun_at: Option<Timestamp>,
    /// One of its runs since then stood still at a person's wish.
    pub(super) was_paused: bool,
    /// When the first attempt since then failed.
    pub(super) failing_since: Option<Timestamp>,
    /// When it failed as a whole and nobody had mended it yet.
    pub(super) failed_at: Option<Timestamp>,
    /// What failed last, until it is known what follows.
    pub(super) ended_as: Option<&'static str>,
}

/// What a task waits for in others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) join: Join,
    /// Tasks that it depends on and that are not done, or whose being done is not what it waits for.
    of: BTreeMap<TaskId, Condition>,
    /// When a condition first and last came to hold for good, or was taken away.
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

impl Needs {
    pub(super) fn joined(join: Join) -> Self {
        Self { join, ..Self::default() }
    }

    fn settled(&mut self, at: Timestamp) {
        self.first.get_or_insert(at);
        self.last = Some(at);
    }

    /// When its conditions came to hold, by where the others stand and since when; none while they do not.
    fn hold_since(&self, standing: impl Fn(TaskId) -> Option<(Standing, Timestamp)>) -> Option<Option<Timestamp>> {
        let held = |(needed, condition): (&TaskId, &Condition)| {
            let (standing, since) = standing(*needed)?;
            (condition.judge(standing) == Verdict::Holds).then_some(since)
        };
        let held: Vec<Timestamp> = self.of.iter().filter_map(held).collect();
        match self.join {
            Join::All if held.len() < self.of.len() => None,
            Join::All => Some(held.into_iter().chain(self.last).max()),
            Join::Any if self.of.is_empty() => Some(self.first),
            Join::Any => Some(Some(held.into_iter().chain(self.first).min()?)),
        }
    }
}

/// An attempt at a task that is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenRun {
    pub(super) project: ProjectId,
    pub(super) task: TaskId,
    pub(super) queued_at: Timestamp,
    pub(super) was_paused: bool,
}

/// A question that nobody has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenQuestion {
    pub(super) project: ProjectId,
    /// The task whose start it is about, if it is about one.
    pub(super) task: Option<TaskId>,
    pub(super) state: ApprovalState,
    pub(super) asked_at: Timestamp,
}

/// Everything that is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Open {
    /// In boxes: the map keeps room for nearly twice as many as there are.
    pub(super) tasks: BTreeMap<TaskId, Box<OpenTask>>,
    /// Tasks that wait for one, by the one.
    pub(super) dependents: BTreeMap<TaskId, BTreeSet<TaskId>>,
    /// Tasks that are over and may be tried again, by when they ended.
    resting: BTreeSet<(Timestamp, TaskId)>,
    pub(super) runs: BTreeMap<RunId, OpenRun>,
    pub(super) changes: BTreeMap<ChangeId, (ProjectId, TaskId)>,
    pub(super) questions: BTreeMap<ApprovalId, OpenQuestion>,
    /// Tasks that were done at the time of the newest event, which `done_at` is in milliseconds.
    done_now: BTreeSet<TaskId>,
    done_at: Timestamp,
    /// Labels that are in use, each kept once, with how many tasks use it.
    labels: BTreeMap<Arc<str>, usize>,
}

impl Open {
    /// The kept one of what is alike, for one more task.
    pub(super) fn label(&mut self, label: Arc<str>) -> Arc<str> {
        let kept = self.labels.get_key_value(&label).map_or(label, |(kept, _)| Arc::clone(kept));
        *self.labels.entry(Arc::clone(&kept)).or_insert(0) += 1;
        kept
    }

    pub(super) fn drop_label(&mut self, label: &Arc<str>) {
        if let Some(count) = self.labels.get_mut(label) {
            *count -= 1;
            if *count == 0 {
                self.labels.remove(label);
            }
        }
    }

    /// Whether the task is still to be done, at the time of an event that names it. One that is not known was done, or
    /// forgotten, or is about to be made by the same command: an id says when it was drawn.
    pub(super) fn is_to_do(&self, task: TaskId, at: Timestamp) -> bool {
        self.tasks.contains_key(&task) || (task >= crate::ids::first_of(at) && !self.done_now.contains(&task))
    }

    /// When nothing but a free place kept the task from starting; none when something still does.
    pub(super) fn ready_at(&self, task: TaskId) -> Option<Timestamp> {
        let open = self.tasks.get(&task).filter(|task| task.stage == Stage::Approved)?;
        let granted = match open.asked {
            Some((_, None)) => return None,
            Some((_, granted)) => granted,
            None => None,
        };
        let held = open.needs.hold_since(|needed| {
            let needed = self.tasks.get(&needed)?;
            Some((needed.stage.standing(), needed.since))
        })?;
        [Some(open.since), open.not_before, open.terms_not_before, held, granted].into_iter().flatten().max()
    }

    pub(super) fn link(&mut self, task: TaskId, (needed, condition): (TaskId, Condition), at: Timestamp) {
        let is_to_do = self.is_to_do(needed, at);
        let Some(open) = self.tasks.get_mut(&task) else { return };
        if is_to_do || condition.judge(Standing::Done) != Verdict::Holds {
            open.needs.of.insert(needed, condition);
            self.dependents.entry(needed).or_default().insert(task);
        } else {
            open.needs.settled(at);
        }
    }

    pub(super) fn unlink(&mut self, task: TaskId, needed: TaskId, at: Timestamp) {
        if let Some(open) = self.tasks.get_mut(&task)
            && open.needs.of.remove(&needed).is_some()
        {
            open.needs.last = Some(at);
        }
        self.forget_dependent(needed, task);
    }

    /// A task was done: it is forgotten, and what waited for that waits for it no more.
    pub(super) fn done(&mut self, task: TaskId, at: Timestamp) {
        for dependent in self.dependents.remove(&task).unwrap_or_default() {
            if let Some(open) = self.tasks.get_mut(&dependent)
                && open.needs.of.get(&task).is_some_and(|wanted| wanted.judge(Standing::Done) == Verdict::Holds)
            {
                open.needs.of.remove(&task);
                open.needs.settled(at);
            }
        }
        if at.unix_us() / 1_000 != self.done_at.unix_us() / 1_000 {
            self.done_now.clear();
        }
        self.done_at = at;
        self.done_now.insert(task);
        self.forget(task);
    }

    /// A task is over and may be tried again. Those that rest for longest are forgotten.
    pub(super) fn rest(&mut self, task: TaskId, at: Timestamp, max: usize) {
        self.resting.insert((at, task));
        while self.resting.len() > max
            && let Some((_, oldest)) = self.resting.pop_first()
        {
            self.forget(oldest);
        }
    }

    pub(super) fn wake(&mut self, task: TaskId, rested_since: Timestamp) {
        self.resting.remove(&(rested_since, task));
    }

    /// How many tasks are in each state now.
    pub(super) fn now(&self, project: Option<ProjectId>) -> BTreeMap<Stage, Now> {
        let mut found: BTreeMap<Stage, Now> = BTreeMap::new();
        for task in self.tasks.values().filter(|task| project.is_none_or(|project| task.project == project)) {
            let now = found.entry(task.stage).or_insert(Now { count: 0, oldest: task.since });
            now.count += 1;
            now.oldest = now.oldest.min(task.since);
        }
        found
    }

    fn forget(&mut self, task: TaskId) {
        let Some(open) = self.tasks.remove(&task) else { return };
        self.drop_label(&open.label);
        open.needs.of.into_keys().for_each(|needed| self.forget_dependent(needed, task));
    }

    fn forget_dependent(&mut self, needed: TaskId, dependent: TaskId) {
        if let Some(dependents) = self.dependents.get_mut(&needed) {
            dependents.remove(&dependent);
            if dependents.is_empty() {
                self.dependents.remove(&needed);
            }
        }
    }
}
