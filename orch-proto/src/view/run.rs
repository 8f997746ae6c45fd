//! Runs, their steps, logs and what isolation they really had.

use serde::{Deserialize, Serialize};

use super::exchange::TextView;
use crate::id::{ChangeId, RunId, TaskId};
use crate::request::Bytes;
use crate::time::Timestamp;

/// State of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RunState {
    Queued,
    Leased,
    Starting,
    Running,
    AwaitingInput,
    AwaitingApproval,
    Paused,
    Succeeded,
    /// `class`: `task`, `infrastructure`, `host`, `isolation`, ...
    Failed {
        class: String,
        reason: String,
    },
    TimedOut,
    Cancelled,
    /// Its processes are gone and left no result.
    Lost,
}

impl RunState {
    /// The word for it, as `timed_out`.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Leased => "leased",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::AwaitingInput => "awaiting_input",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Lost => "lost",
        }
    }

    /// Whether nothing more will happen to the run.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed { .. } | Self::TimedOut | Self::Cancelled | Self::Lost)
    }
}

/// State of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    Pending,
    Running,
    Succeeded,
    Failed,
    TimedOut,
    Skipped,
    Cancelled,
    /// Not run: an earlier attempt did it, and its workspace was kept.
    Kept,
}

/// One step of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepView {
    pub name: String,
    pub command: String,
    pub state: StepState,
    /// Exit code, or 128 + signal.
    pub exit_code: Option<i32>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "purpose", rename_all = "snake_case")]
pub enum RunPurpose {
    /// An attempt at the task.
    Work,
    /// The daemon's own check of the tree that would be merged.
    Gate { change: ChangeId },
}

/// How far a guarantee of the sandbox held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuaranteeState {
    Enforced,
    Degraded,
    Absent,
}

/// One guarantee of the sandbox, as probed inside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuaranteeView {
    pub name: String,
    pub state: GuaranteeState,
    /// By what it is given.
    pub how: String,
    /// What the probe saw.
    pub evidence: String,
    /// What mends it on this host: the command or the line. None when it is enforced, and in lists of runs.
    #[serde(default)]
    pub fix: Option<String>,
}

/// What is missing for the next level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextLevelView {
    pub level: u8,
    /// Names of guarantees that are not enforced.
    pub missing: Vec<String>,
}

/// The isolation that a run really had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IsolationView {
    /// 0 (none) to 4 (full, with limits).
    pub level: u8,
    pub required: u8,
    pub guarantees: Vec<GuaranteeView>,
    /// None at the highest level.
    #[serde(default)]
    pub next: Option<NextLevelView>,
}

/// What became of something that a run asked of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkState {
    Allowed,
    Denied,
    Failed,
    /// An allowed connection ended.
    Closed,
}

/// Something that a run asked of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkUseView {
    /// `connect`, `http`, `socks`, ...
    pub way: String,
    /// As the run named it, if it did.
    pub host: Option<String>,
    pub port: Option<u16>,
    #[serde(rename = "verdict")]
    pub state: NetworkState,
    /// Why, or to where.
    pub detail: String,
    pub count: u64,
}

/// The agent that does the work of a run, and what it used of its model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentUseView {
    /// As the daemon's configuration names it.
    pub name: String,
    /// Its program: `codex`, `claude`.
    pub kind: String,
    /// The model that it is told to use.
    pub model: Option<String>,
    /// The role that it has.
    pub role: Option<String>,
    /// Requests to models that left.
    pub exchanges: u32,
    /// Of these, those without an answer so far.
    pub waiting: u32,
    /// Tokens of prompts, those that came from a cache included.
    pub input_tokens: u64,
    pub cached_tokens: u64,
    /// Tokens that were made, reasoning included.
    pub output_tokens: u64,
    /// Some of the figures are no server's: answers broke off.
    pub is_estimate: bool,
    /// What the tokens cost, in millionths of a dollar.
    pub cost_micros: u64,
    /// The same in words: `$1.25`; none where nothing has a price.
    pub cost_text: Option<String>,
    /// Some of them are of models without a price, and not in the cost.
    pub is_unpriced: bool,
    /// What it may spend and has spent, a line for each bound: `600 of 1,000 tokens for this attempt`.
    pub spending: Vec<String>,
    /// What it was told when it was started; none before, and of older versions.
    #[serde(default)]
    pub prompt: Option<TextView>,
}

/// How far a run says it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgressView {
    pub percent: Option<u8>,
    pub text: String,
    pub at: Timestamp,
}

/// A remark of a run on its own record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteView {
    pub text: String,
    pub at: Timestamp,
}

/// What a run says over its channel: its own words, counted for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelView {
    pub progress: Option<ProgressView>,
    pub notes: Vec<NoteView>,
    /// Under which words its work is to be proposed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposed: Option<super::ProposedView>,
    /// What it waits for: its question, or what it wants to do.
    pub waits_for: Option<String>,
}

/// A file that a step declared and the daemon collected, or that the run handed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactView {
    pub path: String,
    pub size_bytes: u64,
    /// SHA-256, in hex; the key for `artifact`.
    pub digest: String,
}

/// That nothing is heard of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SilenceView {
    pub since: Timestamp,
    /// The question about it, as `A-3`.
    pub question: Option<String>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunView {
    pub id: RunId,
    pub project: String,
    pub number: u32,
    /// `shop/R-31`.
    pub name: String,
    pub task: TaskId,
    pub task_name: String,
    pub task_title: String,
    #[serde(flatten)]
    pub purpose: RunPurpose,
    pub attempt: u32,
    /// Number that only grows per task; a result with an older one is not taken.
    pub fence: u64,
    #[serde(flatten)]
    pub state: RunState,
    pub steps: Vec<StepView>,
    pub isolation: Option<IsolationView>,
    /// Why its processes are to stand still, if they are.
    #[serde(default)]
    pub pause: Option<String>,
    /// Nothing was heard of it for longer than it should be silent.
    #[serde(default)]
    pub silence: Option<SilenceView>,
    /// The checkpoint of an earlier attempt that it went on from, and the digest of what that was decided by.
    #[serde(default)]
    pub resumed: Option<String>,
    /// Of the session that its agent's own program keeps: which it went on with, or why not, and what it left of it.
    #[serde(default)]
    pub session: Vec<String>,
    /// Who does its work; none does known steps.
    #[serde(default)]
    pub agent: Option<AgentUseView>,
    /// What it says over its channel, when it has one.
    #[serde(default)]
    pub channel: Option<ChannelView>,
    /// What it is given beyond its workspace, as `network: example.org:443` or `secret: TOKEN (file)`.
    #[serde(default)]
    pub given: Vec<String>,
    /// What became of what it asked of the network; like things are one.
    #[serde(default)]
    pub network: Vec<NetworkUseView>,
    /// Things it asked beyond those.
    #[serde(default)]
    pub network_left_out: u64,
    pub artifacts: Vec<ArtifactView>,
    /// Files that were not kept, each with the reason.
    #[serde(default)]
    pub artifacts_left_out: Vec<String>,
    /// What is gone of it because it was kept for long enough.
    #[serde(default)]
    pub removed: Vec<RemovedView>,
    /// Bytes of the log file so far, and payload bytes that its limit dropped.
    pub log_bytes: u64,
    pub log_dropped_bytes: u64,
    pub queued_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// Why the scheduler started it when it did. Its name on the wire leaves `reason` to the flattened state.
    #[serde(rename = "schedule_reason")]
    pub reason: String,
    /// Directory of the run on the daemon's disk.
    pub directory: String,
}

/// A part of a run that was removed because it was kept for long enough.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedView {
    /// `log`, `files`, `artifacts` or `result`.
    pub part: String,
    pub at: Timestamp,
    pub size_bytes: u64,
    /// The SHA-256 of what it was, or the commit of a result.
    pub content: String,
    /// The setting by which it went.
    pub policy: String,
}

/// Which runs to list. Empty fields do not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFilter {
    pub project: Option<crate::Ref>,
    pub task: Option<crate::Ref>,
    /// Only those under way.
    pub active: bool,
}

/// Where a piece of log comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    Stdout,
    Stderr,
    /// Written by the sandbox itself: a step began or ended, output was dropped.
    Control,
}

/// A line of a log, or a part of a very long one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogChunk {
    pub stream: LogStream,
    /// Index of the step from 0; none outside of steps.
    pub step: Option<u32>,
    pub at: Timestamp,
    /// Without the newline.
    pub bytes: Bytes,
    /// A newline follows in the output; false for a part of a long line and for an end without newline.
    pub newline: bool,
}

/// A piece of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogPage {
    pub chunks: Vec<LogChunk>,
    /// Where to read on.
    pub next_offset: u64,
    /// The run is over and this page reaches the end of its log.
    pub end: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id as _;

    /// Flattened fields share one name space: a name used twice cannot be read back, which cuts the connection.
    #[test]
    fn a_failed_run_survives_the_wire() {
        let id = uuid::Uuid::from_u128(1);
        let run = RunView {
            id: RunId::from_uuid(id),
            project: "shop".into(),
            number: 1,
            name: "shop/R-1".into(),
            task: TaskId::from_uuid(id),
            task_name: "shop/T-1".into(),
            task_title: "title".into(),
            purpose: RunPurpose::Gate { change: ChangeId::from_uuid(id) },
            attempt: 1,
            fence: 1,
            state: RunState::Failed { class: "task".into(), reason: "exit 75".into() },
            steps: vec![],
            isolation: None,
            pause: None,
            silence: None,
            resumed: None,
            session: vec![],
            agent: None,
            channel: None,
            given: vec![],
            network: vec![],
            network_left_out: 0,
            removed: Vec::new(),
            artifacts: vec![],
            artifacts_left_out: vec![],
            log_bytes: 0,
            log_dropped_bytes: 0,
            queued_at: Timestamp::from_unix_us(0),
            started_at: None,
            finished_at: None,
            reason: "first in the queue".into(),
            directory: "/state/runs/r".into(),
        };
        let json = serde_json::to_string(&run).unwrap();
        assert_eq!(serde_json::from_str::<RunView>(&json).unwrap(), run);
    }
}
