//! Tasks and why they wait.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{ApprovalId, ChangeId, RunId, TaskId};
use crate::time::Timestamp;

/// State of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Not in the queue.
    Proposed,
    /// In the queue: ready, or waiting for what `waits` says.
    Approved,
    Running,
    /// Its change is checked, waits for approval or merges.
    InReview,
    Done,
    Failed,
    Cancelled,
    /// Held by a person.
    Paused,
}

/// Column of the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Column {
    Proposed,
    Approved,
    InProgress,
    Review,
    Done,
}

impl TaskState {
    /// Column in which a task of this state stands. A failed task stays in view under In Progress, since a person
    /// has to act; a cancelled one is done with.
    #[must_use]
    pub const fn column(self) -> Column {
        match self {
            Self::Proposed => Column::Proposed,
            Self::Approved | Self::Paused => Column::Approved,
            Self::Running | Self::Failed => Column::InProgress,
            Self::InReview => Column::Review,
            Self::Done | Self::Cancelled => Column::Done,
        }
    }

    /// The word for it, as `in_review`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Approved => "approved",
            Self::Running => "running",
            Self::InReview => "in_review",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Paused => "paused",
        }
    }
}

/// What a task waits for in one that it depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// That it succeeds.
    #[default]
    Done,
    /// That nothing more happens to it, however it ends.
    Ended,
    /// That it fails.
    Failed,
}

impl Condition {
    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Ended => "ended",
            Self::Failed => "failed",
        }
    }
}

/// How many of its dependencies a task waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    #[default]
    All,
    /// The first whose condition holds is enough.
    Any,
}

/// What follows when something takes longer than it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// It is put on record, and everybody who looks sees it.
    Warn,
    /// A person is asked, too.
    Ask,
    /// It is ended: a task is cancelled, a run killed.
    End,
}

impl Remedy {
    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Ask => "ask",
            Self::End => "end",
        }
    }
}

/// A time after which something is too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeout {
    /// In milliseconds; 0: it is never too late. In a request none takes away what was said.
    pub after_ms: Option<u64>,
    pub then: Remedy,
}

/// On which terms a task is scheduled, beside its dependencies and its priority. In a request what is absent stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<Join>,
    /// No attempt begins before. In a request 1970-01-01T00:00:00Z takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// No attempt begins from then on, and one that is under way is ended. In a request 1970-01-01T00:00:00Z takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Memory of a run in bytes, in place of what a run has by itself. In a request 0 takes it away, as for the two below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processor time that is kept for a run, in thousandths of a processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u64>,
    /// Disk of a run in bytes, in place of what a run has by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_bytes: Option<u64>,
    /// Units of named semaphores; those that the daemon's configuration does not name have one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub semaphores: Option<BTreeMap<String, u32>>,
    /// How long it may wait although it could begin, in place of what its project or the configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_timeout: Option<Timeout>,
    /// How long a run of it may be silent, in place of the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_timeout: Option<Timeout>,
    /// How long a run of it may take in milliseconds, in place of what its recipe or the configuration says. In a request 0
    /// takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_timeout_ms: Option<u64>,
}

/// One reason for which a task waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitView {
    /// Stable code: `dependency`, `approval`, `agent`, `tool`, `backoff`, `not_before`, `deadline`, `capacity`, `memory`, `cpu`,
    /// `disk`, `disk_full`, `semaphore`, `agent_runs`, `role_runs`, `project`, `held`, `proposed`, `isolation`, ...
    pub code: String,
    /// For people, with names and numbers.
    pub text: String,
    /// What to do about it, if anything.
    pub hint: Option<String>,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskView {
    pub id: TaskId,
    pub project: String,
    pub number: u32,
    /// `shop/T-12`.
    pub name: String,
    /// Key in its plan.
    pub key: Option<String>,
    pub title: String,
    pub state: TaskState,
    /// Ready to start: approved and waiting for nothing but a free place.
    pub ready: bool,
    /// Why it waits, the most telling first. Empty for a task that does not.
    pub waits: Vec<WaitView>,
    /// What does the work: `blueprint web-api/scaffold`, `cargo build`, `agent developer`, `steps`.
    pub work: String,
    /// Short names of the tasks that it waits for or has waited for.
    pub depends_on: Vec<String>,
    /// What it waits for in those of them in which it is not that they are done.
    #[serde(default)]
    pub conditions: BTreeMap<String, Condition>,
    /// On which terms it is scheduled.
    #[serde(default)]
    pub terms: Terms,
    pub requirements: Vec<String>,
    pub acceptance: Vec<String>,
    pub priority: u8,
    /// A person moved it among those of its priority: `ahead` of those that were not moved, or `back` behind them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<String>,
    pub attempts: u32,
    /// Attempts that the retry policy allows in all.
    pub attempts_max: u32,
    /// Why the last attempt failed.
    pub last_failure: Option<String>,
    /// Why it was cancelled, if it was.
    #[serde(default)]
    pub cancelled_because: Option<String>,
    /// The run under way, or the last one; of a task that failed at its gates their run.
    pub run: Option<RunId>,
    pub run_name: Option<String>,
    /// Index from 1 and number of the steps of the run under way, and the name of the current one.
    pub step: Option<(u32, u32, String)>,
    pub change: Option<ChangeId>,
    pub change_name: Option<String>,
    /// An approval that it waits for.
    pub approval: Option<ApprovalId>,
    pub approval_name: Option<String>,
    /// Commit on the default branch, when merged.
    pub commit: Option<String>,
    pub estimate_minutes: Option<(u32, u32)>,
    /// How long it will take, from history; none when it is over or nothing is known.
    #[serde(default)]
    pub eta: Option<crate::view::EtaView>,
    pub created_at: Timestamp,
    /// When it came into its state.
    pub since: Timestamp,
    /// Tools that a person gave its attempts, each with where it comes from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<String>,
    /// What people said to it, the oldest first; of a list there is none of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<MessageView>,
}

/// What a person said to a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageView {
    pub number: u32,
    /// Who said it.
    pub from: String,
    pub text: String,
    pub at: Timestamp,
    /// The run whose agent it was said to, as `R-3`; none: the next one is told when it begins.
    pub run: Option<String>,
    /// When that agent was told.
    pub told_at: Option<Timestamp>,
    /// What it answered. Its own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<ReplyView>,
}

/// What an agent answered to a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyView {
    pub text: String,
    pub at: Timestamp,
}

/// Which tasks to list. Empty fields do not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFilter {
    pub project: Option<crate::Ref>,
    pub states: Vec<TaskState>,
    /// Part of the title, in any case. Looked for in the newest 20,000 that the rest fits.
    pub text: Option<String>,
}
