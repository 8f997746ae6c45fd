//! What the log says of how long things take: durations, throughput, recoveries, and estimates from them.
//!
//! Definitions, with the events at which each number begins and ends: `orchd/docs/metrics.md`.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;
use crate::view::TaskState;

/// Durations, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpreadView {
    /// How many there were in all, and their mean.
    pub count: u64,
    pub mean_ms: u64,
    /// How many of the newest the rest is computed from.
    pub samples: u32,
    pub p50_ms: u64,
    pub p90_ms: u64,
    pub max_ms: u64,
}

/// The history is not complete yet: what is answered rests on the oldest part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadingView {
    /// Events that were read.
    pub read: u64,
    /// Events that there are.
    pub of: u64,
}

/// Tasks in a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateTimeView {
    pub state: TaskState,
    /// Tasks that are in it now. Not known of tasks that are done.
    pub now: u64,
    /// When the one that is in it for longest came there.
    pub oldest_since: Option<Timestamp>,
    /// How long tasks were in it that left it.
    pub time: Option<SpreadView>,
}

/// Tasks in an hour or a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountView {
    /// Attempts that were started.
    pub started: u32,
    /// Tasks that were done.
    pub done: u32,
    /// Tasks that failed and waited for a person.
    pub failed: u32,
}

/// Failures of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureView {
    /// `task`, `infrastructure`, `host`, `isolation`, `policy`, `timeout`, `cancelled`, `lost`; of changes `gates`,
    /// `gates_lost`, `conflict`; of tasks that never began `expired`.
    pub class: String,
    pub failures: u64,
    /// Another attempt followed by itself.
    pub retried: u64,
    /// The task failed.
    pub given_up: u64,
}

/// A merge queue that takes no change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenView {
    pub project: String,
    pub since: Timestamp,
}

/// From a failure to the next success.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryView {
    /// Of tasks whose retries did it.
    pub retried: Option<SpreadView>,
    /// Of tasks that a person had tried again.
    pub mended: Option<SpreadView>,
    /// Of merge queues.
    pub merging: Option<SpreadView>,
    /// Merge queues that have not recovered.
    pub broken: Vec<BrokenView>,
}

/// Work of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindView {
    /// What does the work: `blueprint web-api/scaffold`, `cargo build`, `agent developer`.
    pub work: String,
    /// Tasks that were done, from the first attempt to the end, with retries, gates and the merge.
    pub tasks: Option<SpreadView>,
    /// Attempts that succeeded.
    pub attempts: Option<SpreadView>,
    /// Attempts that did not.
    pub failed: u64,
}

/// What the log says of how long things take, in a project or over all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsView {
    pub project: Option<String>,
    pub now: Timestamp,
    /// When the first event happened that counts; none when there is no history yet.
    pub since: Option<Timestamp>,
    /// None when it is complete.
    pub reading: Option<ReadingView>,
    /// In the order in which a task goes through them.
    pub states: Vec<StateTimeView>,
    /// From ready to started.
    pub queued: Option<SpreadView>,
    /// From a question to a person's answer.
    pub answered: Option<SpreadView>,
    /// Attempts that ended, and those that succeeded.
    pub attempts: u64,
    pub succeeded: u64,
    pub failures: Vec<FailureView>,
    pub recovery: RecoveryView,
    /// The newest 24 hours and 30 days (UTC), oldest first; the last is the one that it is now.
    pub by_hour: Vec<CountView>,
    pub by_day: Vec<CountView>,
    /// Most frequent first.
    pub kinds: Vec<KindView>,
}

/// What an estimate rests on, the most telling first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EtaBasis {
    /// Like tasks of the project.
    LikeInProject,
    /// Like tasks of any project.
    LikeAnywhere,
    /// All tasks of the project.
    Project,
    /// All tasks.
    Everything,
    /// The estimate of the plan.
    Given,
}

impl EtaBasis {
    /// What the samples are, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::LikeInProject => "like tasks of the project",
            Self::LikeAnywhere => "like tasks of all projects",
            Self::Project => "tasks of the project",
            Self::Everything => "tasks of all kinds",
            Self::Given => "the plan's estimate",
        }
    }
}

/// How long a task will take. The median and the 90th percentile, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtaView {
    /// From now; of a task that has not begun, from its start: how long it waits for that is not known.
    pub p50_ms: u64,
    pub p90_ms: u64,
    pub basis: EtaBasis,
    /// Tasks that it was computed from; 0 when it is the plan's estimate.
    pub samples: u32,
    /// Since its first attempt began; none when it has not begun.
    pub elapsed_ms: Option<u64>,
    /// It takes longer than everything that the estimate rests on.
    pub overdue: bool,
    /// The history is still being read, and this will change.
    pub reading: bool,
}

/// When the open tasks of a plan will be done, from now on and in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanEtaView {
    pub p50_ms: u64,
    pub p90_ms: u64,
    /// Keys of the chain of open tasks that takes longest, first to last, and what they take as a rule.
    pub path: Vec<String>,
    pub path_ms: u64,
    /// Tasks that it is about.
    pub tasks: u32,
    /// Runs at once that it reckons with.
    pub places: u32,
    /// How often the tasks were scheduled to find out.
    pub rounds: u32,
    /// Tasks that are left out, since they or what they need do not go on by themselves: the name of each and why.
    pub stuck: Vec<StuckView>,
    /// Tasks that are left out for that, with those that are not named.
    pub stuck_count: u32,
    /// Tasks of which nothing is known; they are reckoned with as if they took no time.
    pub unknown: u32,
    /// The history is still being read, and this will change.
    pub reading: bool,
}

/// A task that does not go on by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StuckView {
    pub key: String,
    pub why: String,
}
