//! Runs, their steps and artifacts.

use orch_proto::Timestamp;
use orch_proto::id::{RunId, TaskId};
use orch_proto::view::{NetworkState, RunPurpose, RunState, RunView, StepState};

use super::{IsolationRow, local_name, safe_all, short_hash};
use crate::fmt::Resource as _;
use crate::fmt::agent::{agent_line, model_line};
use crate::text::SafeText;
use crate::view::filter::Filtered;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepRow {
    pub(crate) name: SafeText,
    pub(crate) command: SafeText,
    pub(crate) state: StepState,
    pub(crate) exit_code: Option<i32>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
}

/// Something that it asked of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NetworkRow {
    pub(crate) way: SafeText,
    pub(crate) host: SafeText,
    pub(crate) state: NetworkState,
    pub(crate) detail: SafeText,
    pub(crate) count: u64,
}

/// A file that a step left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArtifactRow {
    pub(crate) path: SafeText,
    pub(crate) size_bytes: u64,
    pub(crate) digest: SafeText,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RunRow {
    pub(crate) id: RunId,
    /// `R-31`.
    pub(crate) name: SafeText,
    pub(crate) full_name: SafeText,
    pub(crate) task: TaskId,
    pub(crate) task_name: SafeText,
    pub(crate) title: SafeText,
    /// The run checks a change; it is no attempt at the task.
    pub(crate) is_gate: bool,
    pub(crate) attempt: u32,
    /// The state without its texts; those are in `failure`.
    pub(crate) state: RunState,
    pub(crate) failure: Option<SafeText>,
    pub(crate) steps: Vec<StepRow>,
    pub(crate) isolation: Option<IsolationRow>,
    /// Who does its work, and what that took of a model.
    pub(crate) agent: Option<(SafeText, SafeText)>,
    /// What it is given beyond its workspace.
    pub(crate) given: Vec<SafeText>,
    pub(crate) network: Vec<NetworkRow>,
    /// Things that it asked of the network beyond those.
    pub(crate) network_left_out: u64,
    pub(crate) artifacts: Vec<ArtifactRow>,
    /// Files that were not kept, each with the reason.
    pub(crate) left_out: Vec<SafeText>,
    pub(crate) log_bytes: u64,
    pub(crate) log_dropped_bytes: u64,
    pub(crate) queued_at: Timestamp,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    pub(crate) reason: SafeText,
}

impl RunRow {
    /// The step that failed, else the last one that began, with its index from 1.
    pub(crate) fn step(&self) -> Option<(usize, &StepRow)> {
        let failed = self.steps.iter().position(|step| matches!(step.state, StepState::Failed | StepState::TimedOut));
        let begun = failed.or_else(|| self.steps.iter().rposition(|step| step.started_at.is_some()))?;
        Some((begun + 1, &self.steps[begun]))
    }

    /// How long it has taken so far, in milliseconds; none before its start.
    pub(crate) fn elapsed_ms(&self, now: Timestamp) -> Option<u64> {
        Some(self.finished_at.unwrap_or(now).ms_since(self.started_at?))
    }
}

impl From<RunView> for RunRow {
    fn from(view: RunView) -> Self {
        let failure = match &view.state {
            RunState::Failed { class, reason } => Some(SafeText::line(&format!("{class}: {reason}"))),
            _ => None,
        };
        let state = match view.state {
            RunState::Failed { .. } => RunState::Failed { class: String::new(), reason: String::new() },
            other => other,
        };
        let steps = view.steps.iter().map(|step| StepRow {
            name: SafeText::line(&step.name),
            command: SafeText::line(&step.command),
            state: step.state,
            exit_code: step.exit_code,
            started_at: step.started_at,
            finished_at: step.finished_at,
        });
        let network = view.network.iter().map(|used| NetworkRow {
            way: SafeText::line(&used.way),
            host: SafeText::line(&used.name()),
            state: used.state,
            detail: SafeText::line(&used.detail),
            count: used.count,
        });
        let artifacts = view.artifacts.iter().map(|artifact| ArtifactRow {
            path: SafeText::line(&artifact.path),
            size_bytes: artifact.size_bytes,
            digest: short_hash(&artifact.digest),
        });
        Self {
            id: view.id,
            name: local_name(&view.name),
            full_name: SafeText::line(&view.name),
            task: view.task,
            task_name: local_name(&view.task_name),
            title: SafeText::line(&view.task_title),
            is_gate: matches!(view.purpose, RunPurpose::Gate { .. }),
            attempt: view.attempt,
            state,
            failure,
            steps: steps.collect(),
            isolation: view.isolation.as_ref().map(IsolationRow::from),
            agent: view
                .agent
                .as_ref()
                .map(|agent| (SafeText::line(&agent_line(agent)), SafeText::line(&model_line(agent)))),
            given: safe_all(&view.given),
            network: network.collect(),
            network_left_out: view.network_left_out,
            artifacts: artifacts.collect(),
            left_out: safe_all(&view.artifacts_left_out),
            log_bytes: view.log_bytes,
            log_dropped_bytes: view.log_dropped_bytes,
            queued_at: view.queued_at,
            started_at: view.started_at,
            finished_at: view.finished_at,
            reason: SafeText::line(&view.reason),
        }
    }
}

impl Filtered for RunRow {
    fn haystack(&self) -> String {
        let failure = self.failure.as_ref().map_or("", SafeText::as_str);
        let purpose = if self.is_gate { "gate" } else { "work" };
        [self.full_name.as_str(), self.task_name.as_str(), self.title.as_str(), self.state.label(), purpose, failure]
            .join(" ")
    }

    fn field(&self, name: &str) -> Option<String> {
        Some(match name {
            "state" => self.state.label().to_owned(),
            "task" => self.task_name.to_string(),
            "title" => self.title.to_string(),
            "purpose" => if self.is_gate { "gate" } else { "work" }.to_owned(),
            "attempt" => self.attempt.to_string(),
            _ => return None,
        })
    }
}
