//! A task: what is to be done, what it waits for, how its attempts went.

use std::collections::{BTreeMap, BTreeSet};

use orch_proto::id::{ApprovalId, ChangeId, PlanId, ProjectId, RunId, TaskId};
use orch_proto::{EntityKind, Timestamp};
use serde::{Deserialize, Serialize};

use super::dependency::{Condition, Standing, Verdict};
use super::patience::Overdue;
use super::task_spec::TaskSpec;
use super::terms::Terms;
use super::thread::Message;
use super::undone::TaskPart;
use super::{ApplyError, Entity, Meta, absent, existing};
use crate::state::run::FailureClass;
use crate::state::task::{TaskState, TaskStep};

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    pub project: ProjectId,
    pub number: u32,
    /// The plan that made it and its key there; none for a task made by hand.
    pub plan: Option<(PlanId, String)>,
    pub title: String,
    pub spec: TaskSpec,
    pub depends_on: BTreeSet<TaskId>,
    /// What it waits for in those of them in which it is not that they are done.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub conditions: BTreeMap<TaskId, Condition>,
    #[serde(default, skip_serializing_if = "Terms::is_default")]
    pub terms: Terms,
    /// 0 (last) to 9 (first).
    pub priority: u8,
    /// Where a person put it among those of its priority: smaller ones go first, 0 is where it was made.
    #[serde(default, skip_serializing_if = "is_unmoved")]
    pub rank: i64,
    /// It may not start before this is granted.
    pub approval: Option<ApprovalId>,
    pub state: TaskState,
    /// Runs so far. Also the fence: each run has the number that it was started as.
    pub attempts: u32,
    /// Failures that count against the retry policy since it was last queued by a person.
    pub failures: u32,
    /// Runs lost to the infrastructure in a row since then. They do not count, but are not endless either.
    pub losses: u32,
    /// Runs since then for which the host had too little of what all share.
    #[serde(default, skip_serializing_if = "is_never")]
    pub host_losses: u32,
    /// Changes in a row that did not merge because others were faster.
    #[serde(default, skip_serializing_if = "is_never")]
    pub conflicts: u32,
    pub last_failure: Option<String>,
    /// The way in which it failed the last time that counted, and how often in a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alike: Option<(FailureClass, String, u32)>,
    /// The newest run and the newest change.
    pub last_run: Option<RunId>,
    pub last_change: Option<ChangeId>,
    pub created_at: Timestamp,
    /// When it came into its state.
    pub since: Timestamp,
    /// It waits longer than it should.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdue: Option<Overdue>,
    /// What a person was asked about its state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub question: Option<ApprovalId>,
    /// How often a person gave its attempts as much again as they may spend on models.
    #[serde(default, skip_serializing_if = "is_never")]
    pub spending_raises: u32,
    /// What people said to it, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub thread: Vec<Message>,
    /// Tools that a person gave its attempts, and where each comes from.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
const fn is_unmoved(rank: &i64) -> bool {
    *rank == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
pub(super) const fn is_never(times: &u32) -> bool {
    *times == 0
}

/// What can happen to a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum TaskEvent {
    Created {
        project: ProjectId,
        number: u32,
        plan: Option<(PlanId, String)>,
        title: String,
        spec: Box<TaskSpec>,
        depends_on: BTreeSet<TaskId>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        conditions: BTreeMap<TaskId, Condition>,
        #[serde(default, skip_serializing_if = "Terms::is_default")]
        terms: Box<Terms>,
        priority: u8,
        approval: Option<ApprovalId>,
    },
    Queued,
    /// What it does was changed.
    Respecified {
        spec: Box<TaskSpec>,
    },
    /// It depends on a task, or on one that it depended on in another way.
    Linked {
        depends_on: TaskId,
        #[serde(default, skip_serializing_if = "Condition::is_default")]
        condition: Condition,
    },
    /// The terms on which it is scheduled are others.
    TermsSet {
        terms: Box<Terms>,
    },
    Unlinked {
        depends_on: TaskId,
    },
    Prioritized {
        priority: u8,
    },
    /// A person put it elsewhere among those of its priority.
    Moved {
        to: Moved,
    },
    Started {
        run: RunId,
        attempt: u32,
    },
    RetryScheduled {
        class: FailureClass,
        reason: String,
        not_before: Timestamp,
        /// What was lost or was in conflict before it is in no row with what comes after it. Older versions counted on.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ends_rows: bool,
    },
    ReviewStarted {
        change: ChangeId,
        /// Attempts that were lost before it are in no row with later ones. Older versions counted on.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ends_losses: bool,
    },
    Completed {
        change: Option<ChangeId>,
    },
    Failed {
        reason: String,
    },
    /// Its deadline was over before an attempt began.
    Expired {
        deadline: Timestamp,
    },
    Cancelled {
        reason: String,
    },
    Held {
        reason: String,
    },
    Released,
    Reopened,
    /// Its run is given up, and it is to be tried anew; what it had failed before counts no more.
    Requeued,
    /// The question whether it may start was asked anew.
    ApprovalAsked {
        approval: ApprovalId,
    },
    /// It waits longer than it should; `question` is what a person was asked.
    Overdue {
        overdue: Overdue,
        question: Option<ApprovalId>,
    },
    /// It failed in a way that only a person can do something about, who was asked.
    Escalated {
        question: ApprovalId,
    },
    /// A person gave its attempts as much again as they may spend on models.
    SpendingRaised,
    /// A person gave its next attempts a tool that one of them asked for, which comes from there.
    ToolGiven {
        name: String,
        source: String,
    },
    /// A person said something to it.
    Said {
        message: Message,
    },
    /// The agent of the run that the message was for was told it.
    Told {
        number: u32,
    },
    /// What that agent answered.
    Replied {
        number: u32,
        text: String,
    },
    /// What the operation that began with event number `operation` changed of it is as it was before.
    Undone {
        operation: u64,
        parts: Vec<TaskPart>,
    },
}

/// Where a person put a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum Moved {
    /// Before all others: who is put there later goes before it.
    First,
    /// Behind all others.
    Last,
    /// Before that one, with that rank.
    Before { task: TaskId, rank: i64 },
    /// Behind that one, with that rank.
    Behind { task: TaskId, rank: i64 },
}

impl Moved {
    /// The rank of what was put there at `at`. Times of the log only grow.
    const fn rank(self, at: Timestamp) -> i64 {
        match self {
            Self::First => at.unix_us().saturating_neg(),
            Self::Last => at.unix_us(),
            Self::Before { rank, .. } | Self::Behind { rank, .. } => rank,
        }
    }
}

/// How much of a reason says in which way a task failed, in characters.
const WAY_CHARS_MAX: usize = 400;

/// A reason without what is another at each time: numbers, as of runs, processes and lengths of time.
fn way_of(reason: &str) -> String {
    let mut way = String::with_capacity(reason.len().min(WAY_CHARS_MAX));
    for char in reason.chars().take(WAY_CHARS_MAX) {
        match char {
            '0'..='9' if way.ends_with('#') => {}
            '0'..='9' => way.push('#'),
            char => way.push(char),
        }
    }
    way
}

impl Task {
    /// What it waits for in a task that it depends on.
    #[must_use]
    pub fn condition(&self, depends_on: TaskId) -> Condition {
        self.conditions.get(&depends_on).copied().unwrap_or_default()
    }

    /// The way of one more failure, and how often it is in a row with it.
    #[must_use]
    pub fn alike_with(&self, class: FailureClass, reason: &str) -> Option<(FailureClass, String, u32)> {
        let way = way_of(reason);
        let times = match &self.alike {
            Some((before, said, times)) if (*before, said) == (class, &way) => times.saturating_add(1),
            _ => 1,
        };
        Some((class, way, times))
    }

    /// Whether its dependencies, which stand as `standing` says, let it begin.
    ///
    /// # Errors
    /// That of `standing`.
    pub fn judge<E>(&self, mut standing: impl FnMut(TaskId) -> Result<Standing, E>) -> Result<Verdict, E> {
        let (mut holding, mut never) = (0, 0);
        for needed in &self.depends_on {
            match self.condition(*needed).judge(standing(*needed)?) {
                Verdict::Holds => holding += 1,
                Verdict::Never => never += 1,
                Verdict::Open => {}
            }
        }
        Ok(self.terms.join.judge(self.depends_on.len(), holding, never))
    }

    fn step(&mut self, step: &TaskStep, at: Timestamp) -> Result<(), ApplyError> {
        self.state = TaskState::next(Some(&self.state), step)?;
        self.since = at;
        self.overdue = None;
        self.question = None;
        Ok(())
    }

    fn create(id: TaskId, event: &TaskEvent, at: Timestamp) -> Result<Option<Self>, ApplyError> {
        let TaskEvent::Created {
            project,
            number,
            plan,
            title,
            spec,
            depends_on,
            conditions,
            terms,
            priority,
            approval,
        } = event
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            id,
            project: *project,
            number: *number,
            plan: plan.clone(),
            title: title.clone(),
            spec: (**spec).clone(),
            depends_on: depends_on.clone(),
            conditions: conditions.clone(),
            terms: (**terms).clone(),
            priority: *priority,
            rank: 0,
            approval: *approval,
            state: TaskState::next(None, &TaskStep::Created)?,
            attempts: 0,
            failures: 0,
            losses: 0,
            host_losses: 0,
            conflicts: 0,
            last_failure: None,
            alike: None,
            last_run: None,
            last_change: None,
            created_at: at,
            since: at,
            overdue: None,
            question: None,
            spending_raises: 0,
            thread: Vec::new(),
            tools: BTreeMap::new(),
        }))
    }

    /// Has it be scheduled on these terms.
    pub(super) fn set_terms(&mut self, terms: &Terms) {
        if self.overdue.is_some() && terms.patience.queue != self.terms.patience.queue {
            // It may wait for another time now.
            (self.overdue, self.question) = (None, None);
        }
        self.terms = terms.clone();
    }

    /// What it had failed before counts no more.
    fn tried_anew(&mut self, step: &TaskStep, at: Timestamp) -> Result<(), ApplyError> {
        self.step(step, at)?;
        (self.failures, self.losses, self.host_losses, self.conflicts, self.alike) = (0, 0, 0, 0, None);
        Ok(())
    }

    fn retry_scheduled(&mut self, class: FailureClass, reason: &str, ends_rows: bool) {
        match class {
            FailureClass::Conflict => (self.conflicts, self.losses) = (self.conflicts.saturating_add(1), 0),
            FailureClass::Infrastructure | FailureClass::Lost => self.losses = self.losses.saturating_add(1),
            FailureClass::Host => self.host_losses = self.host_losses.saturating_add(1),
            FailureClass::Budget
            | FailureClass::Task
            | FailureClass::Agent
            | FailureClass::Timeout
            | FailureClass::Isolation
            | FailureClass::Policy => {
                self.alike = self.alike_with(class, reason);
                self.failures = self.failures.saturating_add(u32::from(class.counts()));
                if ends_rows {
                    (self.losses, self.host_losses, self.conflicts) = (0, 0, 0);
                }
            }
        }
        self.last_failure = Some(reason.to_owned());
    }
}

impl Entity for Task {
    type Id = TaskId;
    type Event = TaskEvent;
    const KIND: EntityKind = EntityKind::Task;

    fn apply(current: Option<Self>, id: TaskId, event: &TaskEvent, meta: Meta<'_>) -> Result<Self, ApplyError> {
        if let Some(task) = Self::create(id, event, meta.at)? {
            absent(current.as_ref(), event)?;
            return Ok(task);
        }
        let mut task = existing(current, event)?;
        match event {
            TaskEvent::Created { .. } => {}
            TaskEvent::Queued => task.step(&TaskStep::Queued, meta.at)?,
            TaskEvent::Respecified { spec } => task.spec = (**spec).clone(),
            TaskEvent::Linked { depends_on, condition } => {
                task.depends_on.insert(*depends_on);
                task.conditions.remove(depends_on);
                if !condition.is_default() {
                    task.conditions.insert(*depends_on, *condition);
                }
            }
            TaskEvent::Unlinked { depends_on } => {
                task.depends_on.remove(depends_on);
                task.conditions.remove(depends_on);
            }
            TaskEvent::TermsSet { terms } => task.set_terms(terms),
            TaskEvent::Prioritized { priority } => task.priority = *priority,
            TaskEvent::Moved { to } => task.rank = to.rank(meta.at),
            TaskEvent::Started { run, attempt } => {
                task.step(&TaskStep::Started { run: *run }, meta.at)?;
                task.attempts = *attempt;
                task.last_run = Some(*run);
            }
            TaskEvent::RetryScheduled { class, reason, not_before, ends_rows } => {
                task.step(&TaskStep::RetryScheduled { not_before: *not_before }, meta.at)?;
                task.retry_scheduled(*class, reason, *ends_rows);
            }
            TaskEvent::ReviewStarted { change, ends_losses } => {
                task.step(&TaskStep::ReviewStarted { change: *change }, meta.at)?;
                task.last_change = Some(*change);
                if *ends_losses {
                    (task.losses, task.host_losses) = (0, 0);
                }
            }
            TaskEvent::Completed { change } => task.step(&TaskStep::Completed { change: *change }, meta.at)?,
            TaskEvent::Failed { reason } => {
                task.step(&TaskStep::Failed { reason: reason.clone() }, meta.at)?;
                task.last_failure = Some(reason.clone());
            }
            TaskEvent::Expired { deadline } => {
                let reason = format!("its deadline, {deadline}, was over before it could begin");
                task.step(&TaskStep::Expired { reason: reason.clone() }, meta.at)?;
                task.last_failure = Some(reason);
            }
            TaskEvent::Cancelled { reason } => task.step(&TaskStep::Cancelled { reason: reason.clone() }, meta.at)?,
            TaskEvent::Held { reason } => task.step(&TaskStep::Held { reason: reason.clone() }, meta.at)?,
            TaskEvent::Released => task.step(&TaskStep::Released, meta.at)?,
            TaskEvent::Reopened => task.tried_anew(&TaskStep::Reopened, meta.at)?,
            TaskEvent::Requeued => task.tried_anew(&TaskStep::Requeued, meta.at)?,
            TaskEvent::ApprovalAsked { approval } => task.approval = Some(*approval),
            TaskEvent::Overdue { overdue, question } => {
                task.overdue = Some(*overdue);
                task.question = *question;
            }
            TaskEvent::Escalated { question } => task.question = Some(*question),
            TaskEvent::ToolGiven { name, source } => drop(task.tools.insert(name.clone(), source.clone())),
            TaskEvent::Said { message } => task.is_said(message),
            TaskEvent::Told { number } => task.is_told(*number, meta.at),
            TaskEvent::Replied { number, text } => task.is_answered(*number, text, meta.at),
            TaskEvent::SpendingRaised => task.spending_raises = task.spending_raises.saturating_add(1),
            TaskEvent::Undone { parts, .. } => parts.iter().try_for_each(|part| task.put_back(part, meta.at))?,
        }
        Ok(task)
    }

    fn id(&self) -> TaskId {
        self.id
    }

    fn project(&self) -> ProjectId {
        self.project
    }

    fn number(&self) -> u32 {
        self.number
    }

    fn parent(&self) -> Option<String> {
        self.plan.as_ref().map(|(plan, _)| plan.to_string())
    }

    fn is_open(&self) -> bool {
        !self.state.is_final()
    }

    fn state_label(&self) -> &'static str {
        self.state.label()
    }

    fn event_label(event: &TaskEvent) -> &'static str {
        match event {
            TaskEvent::Created { .. } => "created",
            TaskEvent::Queued => "queued",
            TaskEvent::Respecified { .. } => "respecified",
            TaskEvent::Linked { .. } => "linked",
            TaskEvent::Unlinked { .. } => "unlinked",
            TaskEvent::TermsSet { .. } => "terms_set",
            TaskEvent::Prioritized { .. } => "prioritized",
            TaskEvent::Moved { .. } => "moved",
            TaskEvent::Started { .. } => "started",
            TaskEvent::RetryScheduled { .. } => "retry_scheduled",
            TaskEvent::ReviewStarted { .. } => "review_started",
            TaskEvent::Completed { .. } => "completed",
            TaskEvent::Failed { .. } => "failed",
            TaskEvent::Expired { .. } => "expired",
            TaskEvent::Cancelled { .. } => "cancelled",
            TaskEvent::Held { .. } => "held",
            TaskEvent::Released => "released",
            TaskEvent::Reopened => "reopened",
            TaskEvent::Requeued => "requeued",
            TaskEvent::ApprovalAsked { .. } => "approval_asked",
            TaskEvent::Overdue { .. } => "overdue",
            TaskEvent::Escalated { .. } => "escalated",
            TaskEvent::SpendingRaised => "spending_raised",
            TaskEvent::ToolGiven { .. } => "tool_given",
            TaskEvent::Said { .. } => "said",
            TaskEvent::Told { .. } => "told",
            TaskEvent::Replied { .. } => "replied",
            TaskEvent::Undone { .. } => "undone",
        }
    }
}
