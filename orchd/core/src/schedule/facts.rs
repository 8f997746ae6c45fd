//! What scheduling knows of things: small copies, so that a hundred thousand waiting tasks fit into little memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orch_proto::Timestamp;
use orch_proto::id::{ApprovalId, ChangeId, ProjectId, RunId, TaskId};

use super::classes::ClassId;
use super::staff::Doer;
use crate::digest::Digest;
use crate::entity::{
    Approval, Asks, Backoff, Budget, Change, Condition, Entity as _, Join, Observation, Pause, Project, Run, RunEvent,
    RunPause, RunPurpose, Share, Standing, Task, Timeout, Work,
};
use crate::event::Event;
use crate::state::approval::ApprovalState;
use crate::state::change::ChangeState;
use crate::state::project::ProjectState;
use crate::state::task::TaskState;

/// How far a task is, as far as choosing looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Proposed,
    Held {
        reason: String,
    },
    /// In the queue; the next attempt not before then.
    Queued {
        not_before: Option<Timestamp>,
    },
    /// A run or a change is under way.
    UnderWay,
    /// Nothing more happens to it by itself.
    Over {
        standing: Standing,
    },
}

/// What runs of a task need of the host beyond a place. Tasks that need the same wait for it together.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wants {
    pub(super) capability: Option<String>,
    pub(super) tools: BTreeSet<String>,
    pub(super) secrets: BTreeSet<String>,
    pub(super) asks: Asks,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskFacts {
    pub(super) id: TaskId,
    pub(super) project: ProjectId,
    pub(super) number: u32,
    pub(super) phase: Phase,
    pub(super) label: &'static str,
    pub(super) needs: BTreeMap<TaskId, Condition>,
    pub(super) join: Join,
    pub(super) not_before: Option<Timestamp>,
    /// Longest wait before its next attempt, in milliseconds.
    pub(super) backoff_ms_max: u64,
    /// While it waits in the queue or runs.
    pub(super) deadline: Option<Timestamp>,
    pub(super) priority: u8,
    /// Where a person put it among those of its priority.
    pub(super) rank: i64,
    pub(super) approval: Option<ApprovalId>,
    /// When its plan was approved, as long as it has not begun.
    pub(super) planned_at: Option<Timestamp>,
    /// How long it may wait, as far as that is said of it.
    pub(super) queue_timeout: Option<Timeout>,
    /// That it waits for too long is known.
    pub(super) is_overdue: bool,
    /// Upper estimate of its work.
    pub(super) minutes: u64,
    pub(super) wants: Arc<Wants>,
    pub(super) created_at: Timestamp,
    /// When it came into its state.
    pub(super) since: Timestamp,
}

impl TaskFacts {
    /// The tasks that it ages with.
    pub(super) const fn class(&self) -> ClassId {
        ClassId { project: self.project, priority: self.priority }
    }
}

impl From<&Task> for TaskFacts {
    fn from(task: &Task) -> Self {
        let phase = match &task.state {
            TaskState::Proposed => Phase::Proposed,
            TaskState::Paused { reason } => Phase::Held { reason: reason.clone() },
            TaskState::Approved { not_before } => Phase::Queued { not_before: *not_before },
            TaskState::Running { .. } | TaskState::InReview { .. } => Phase::UnderWay,
            TaskState::Done { .. } | TaskState::Failed { .. } | TaskState::Cancelled { .. } => {
                Phase::Over { standing: Standing::from(&task.state) }
            }
        };
        let mut wants = match &task.spec.work {
            Work::Agent { capability } => {
                let asks = task.terms.asks.clone();
                Wants { capability: Some(capability.clone()), asks, ..Wants::default() }
            }
            Work::Steps { tools, access, .. } => Wants {
                asks: task.terms.asks.clone(),
                capability: None,
                tools: tools.iter().cloned().collect(),
                secrets: access.secrets.iter().map(|secret| secret.name.to_string()).collect(),
            },
        };
        wants.tools.extend(task.tools.keys().cloned());
        Self {
            id: task.id,
            project: task.project,
            number: task.number,
            phase,
            label: task.state.label(),
            needs: task.depends_on.iter().map(|needed| (*needed, task.condition(*needed))).collect(),
            join: task.terms.join,
            not_before: task.terms.not_before,
            backoff_ms_max: task.backoff_ms_max(),
            deadline: task
                .terms
                .deadline
                .filter(|_| matches!(task.state, TaskState::Approved { .. } | TaskState::Running { .. })),
            priority: task.priority,
            rank: task.rank,
            approval: task.approval,
            planned_at: (task.plan.is_some() && task.attempts == 0).then_some(task.created_at),
            queue_timeout: task.terms.patience.queue,
            is_overdue: task.overdue.is_some(),
            minutes: task.spec.estimate_minutes.map_or(1, |(_, high)| u64::from(high.max(1))),
            wants: Arc::new(wants),
            created_at: task.created_at,
            since: task.since,
        }
    }
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectFacts {
    pub(super) id: ProjectId,
    pub(super) slug: String,
    pub(super) is_ready: bool,
    pub(super) label: &'static str,
    pub(super) share: Share,
    pub(super) pause: Option<Pause>,
    pub(super) resumed_at: Option<Timestamp>,
    pub(super) queue_timeout: Option<Timeout>,
    pub(super) budgets: Vec<Budget>,
}

impl From<&Project> for ProjectFacts {
    fn from(project: &Project) -> Self {
        Self {
            id: project.id,
            slug: project.slug.clone(),
            is_ready: project.state == ProjectState::Ready,
            label: project.state.label(),
            share: project.share,
            pause: project.pause.clone(),
            resumed_at: project.resumed_at,
            queue_timeout: project.patience.queue,
            budgets: if project.is_open() { project.budgets.clone() } else { Vec::new() },
        }
    }
}

/// A question that a task or a change waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalFacts {
    pub(super) id: ApprovalId,
    pub(super) number: u32,
    pub(super) is_granted: bool,
    /// It was granted a moment ago, and nothing begins because of it yet.
    pub(super) is_held: bool,
    pub(super) label: &'static str,
    /// The exact thing that was approved.
    pub(super) digest: Digest,
    pub(super) decided_at: Option<Timestamp>,
}

impl ApprovalFacts {
    /// Whether what waits for it may begin.
    pub(super) const fn lets_begin(&self) -> bool {
        self.is_granted && !self.is_held
    }
}

impl From<&Approval> for ApprovalFacts {
    fn from(approval: &Approval) -> Self {
        Self {
            id: approval.id,
            number: approval.number,
            is_granted: matches!(approval.state, ApprovalState::Granted { .. }),
            is_held: false,
            label: approval.state.label(),
            digest: approval.digest,
            decided_at: approval.decided_at,
        }
    }
}

/// An attempt, of a task or of gates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunFacts {
    pub(super) id: RunId,
    pub(super) project: ProjectId,
    /// The task that it works on, or whose change it checks.
    pub(super) task: TaskId,
    pub(super) number: u32,
    /// An attempt at the task, and no gates.
    pub(super) is_work: bool,
    /// That of the task when it was started.
    pub(super) priority: u8,
    pub(super) is_open: bool,
    /// It waits for a person, and takes no place among those under way meanwhile. Its memory, its disk and what it asked for by
    /// name it still holds.
    pub(super) is_parked: bool,
    /// It has its answer, and waits for a place since then; from when on it may go on, when somebody paused it until then.
    pub(super) wants_place: Option<(Timestamp, Option<Timestamp>)>,
    /// Somebody asked for its end.
    pub(super) is_ending: bool,
    pub(super) queued_at: Timestamp,
    /// When its processes began.
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Option<Timestamp>,
    pub(super) asks: Asks,
    /// As it is on record.
    pub(super) doer: Doer,
}

impl From<&Run> for RunFacts {
    fn from(run: &Run) -> Self {
        Self {
            id: run.id,
            project: run.project,
            task: run.task,
            number: run.number,
            is_work: run.purpose == RunPurpose::Work,
            priority: run.priority,
            is_open: run.is_open(),
            is_parked: run.is_parked(),
            wants_place: run.pause.as_ref().and_then(RunPause::wants_place),
            is_ending: run.cancel_requested.is_some(),
            queued_at: run.queued_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            asks: run.asks.clone(),
            doer: run
                .agent
                .as_ref()
                .map_or_else(Doer::default, |agent| Doer { agent: Some(agent.name.clone()), role: agent.role.clone() }),
        }
    }
}

/// Whether a book has to be told what a run is once this has happened to it, by the label of the event. What happens after its
/// end must not be told: the book has counted that run, and would count it again.
#[must_use]
pub fn heeds_run(label: &str) -> bool {
    matches!(
        label,
        "queued"
            | "observed"
            | "cancel_requested"
            | "over_budget"
            | "parked"
            | "answered"
            | "pause_requested"
            | "resume_requested"
            | "undone"
            | "ended"
    )
}

/// Whether what happened may change what begins next, or when. Most of what happens to a run does not.
#[must_use]
pub fn heeds(event: &Event) -> bool {
    match event {
        // Budgets count from when its processes began; what its steps do changes nothing.
        Event::Run { event: RunEvent::Observed { observations, .. }, .. } => {
            observations.iter().any(|observation| matches!(observation, Observation::Isolated { .. }))
        }
        Event::Run { event, .. } => heeds_run(Run::event_label(event)),
        Event::Task { .. } | Event::Change { .. } | Event::Approval { .. } | Event::Project { .. } => true,
        Event::Vision { .. } | Event::Requirements { .. } | Event::Plan { .. } | Event::InfoRequest { .. } => false,
    }
}

/// A change in a merge queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeFacts {
    pub(super) id: ChangeId,
    pub(super) project: ProjectId,
    pub(super) number: u32,
    pub(super) is_open: bool,
    pub(super) stage: Stage,
    pub(super) approval: Option<ApprovalId>,
    pub(super) digest: Digest,
}

/// How far a change is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Merging,
    Checking,
    Mergeable,
    /// Its gates are to run, after this wait.
    Opened {
        backoff: Option<Backoff>,
    },
}

impl Stage {
    /// Whether something begins when it goes on.
    pub(super) const fn would_begin(self) -> bool {
        match self {
            Self::Merging | Self::Checking => false,
            Self::Mergeable | Self::Opened { .. } => true,
        }
    }

    /// What is merged or checked already keeps its place at the front.
    pub(super) const fn place(self) -> u8 {
        match self {
            Self::Merging => 0,
            Self::Checking => 1,
            Self::Mergeable => 2,
            Self::Opened { .. } => 3,
        }
    }
}

impl From<&Change> for ChangeFacts {
    fn from(change: &Change) -> Self {
        let stage = match change.state {
            ChangeState::Queued { .. } => Stage::Merging,
            ChangeState::Checking { .. } => Stage::Checking,
            ChangeState::Mergeable { .. } => Stage::Mergeable,
            ChangeState::Opened { .. } => Stage::Opened { backoff: change.backoff() },
            ChangeState::ChangesRequested { .. }
            | ChangeState::Merged { .. }
            | ChangeState::Conflicted { .. }
            | ChangeState::Closed { .. } => Stage::Opened { backoff: None },
        };
        Self {
            id: change.id,
            project: change.project,
            number: change.number,
            is_open: change.is_open(),
            stage,
            approval: change.approval,
            digest: change.digest(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::sample_id;
    use crate::state::run::RunOutcome;

    #[test]
    fn what_is_heeded_of_a_run_is_known_by_its_name() {
        let ended = RunEvent::Ended {
            outcome: RunOutcome::Succeeded,
            artifacts: Vec::new(),
            log_dropped_bytes: 0,
            left_out: Box::default(),
        };
        let observed = RunEvent::Observed { cursor: 1, observations: Vec::new() };
        let (cancelled, spent) =
            (RunEvent::CancelRequested { reason: String::new() }, RunEvent::OverBudget { reason: String::new() });
        assert!([&ended, &observed, &cancelled, &spent].into_iter().all(|event| heeds_run(Run::event_label(event))));
        let others = [RunEvent::Starting, RunEvent::Removed, RunEvent::Heard];
        assert!(!others.iter().any(|event| heeds_run(Run::event_label(event))));
        // Output and steps are no reason to choose anew, and sandboxes that stand are.
        assert!(!heeds(&Event::Run { id: sample_id(1), event: observed }));
        assert!(heeds(&Event::Run { id: sample_id(1), event: ended }));
    }
}
