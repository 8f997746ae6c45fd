//! A run: one attempt at a task, or one execution of gates, by one process tree in one workspace.

use orch_proto::Timestamp;
use serde::{Deserialize, Serialize};

use super::IllegalTransition;

/// State of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum RunState {
    /// Decided, not yet given to an executor.
    Queued,
    /// The executor has until then to start it; who comes later gives it back.
    Leased {
        until: Timestamp,
    },
    /// The intent to start it is on record: it may be under way.
    Starting,
    Running,
    /// Waits for an answer to `question`.
    AwaitingInput {
        question: String,
    },
    /// Waits for a person to allow `action`.
    AwaitingApproval {
        action: String,
    },
    Paused,
    Succeeded,
    Failed {
        class: FailureClass,
        reason: String,
    },
    TimedOut {
        reason: String,
    },
    Cancelled {
        reason: String,
    },
    /// Its processes are gone and left no result.
    Lost {
        reason: String,
    },
}

/// What a failure says about who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// A step said so.
    Task,
    /// The agent failed and not the work: its program ended in error, or a model server that it works with did.
    Agent,
    /// It took too long, or was silent for too long.
    Timeout,
    /// The sandbox could not be made, its result could not be taken in, ... Does not count against the task.
    Infrastructure,
    /// What all runs share was used up: space on the disk, or the memory of the host. Does not count against the task, and nothing is
    /// known against its attempts either: others may have been the cause.
    Host,
    /// Its processes are gone and left no result. Does not count against the task.
    Lost,
    /// The host does not give the isolation that is required. Retrying does not help before the host is mended.
    Isolation,
    /// The result breaks a rule: too large, not a child of its base, hostile.
    Policy,
    /// A budget of its project was used up, and it was ended. Does not count against the task.
    Budget,
    /// Somebody else was faster, and what it changed does not merge any more. Does not count against the task.
    Conflict,
}

impl FailureClass {
    /// Whether it counts against the retries of a task. What does not is tried again for the task's sake.
    #[must_use]
    pub const fn counts(self) -> bool {
        match self {
            Self::Task | Self::Agent | Self::Timeout | Self::Isolation | Self::Policy => true,
            Self::Infrastructure | Self::Host | Self::Lost | Self::Budget | Self::Conflict => false,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Agent => "agent",
            Self::Timeout => "timeout",
            Self::Infrastructure => "infrastructure",
            Self::Host => "host",
            Self::Lost => "lost",
            Self::Isolation => "isolation",
            Self::Policy => "policy",
            Self::Budget => "budget",
            Self::Conflict => "conflict",
        }
    }
}

/// What can happen to the state of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum RunStep {
    Queued,
    Leased { until: Timestamp },
    Starting,
    Started,
    InputRequested { question: String },
    ApprovalRequested { action: String },
    Answered,
    Paused,
    Resumed,
    Ended { outcome: RunOutcome },
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum RunOutcome {
    Succeeded,
    Failed { class: FailureClass, reason: String },
    TimedOut { reason: String },
    Cancelled { reason: String },
    Lost { reason: String },
}

impl RunState {
    /// The only function that maps a state and an event to the next state.
    ///
    /// # Errors
    /// When the event cannot happen in the state.
    pub fn next(state: Option<&Self>, step: &RunStep) -> Result<Self, IllegalTransition> {
        use RunStep as Step;
        let Some(state) = state else {
            return match step {
                Step::Queued => Ok(Self::Queued),
                _ => Err(Self::illegal(None, step)),
            };
        };
        match (state, step) {
            (Self::Queued, Step::Leased { until }) => Ok(Self::Leased { until: *until }),
            (Self::Leased { .. }, Step::Starting) => Ok(Self::Starting),
            (Self::Starting, Step::Started) => Ok(Self::Running),
            (Self::Running, Step::InputRequested { question }) => {
                Ok(Self::AwaitingInput { question: question.clone() })
            }
            (Self::Running, Step::ApprovalRequested { action }) => {
                Ok(Self::AwaitingApproval { action: action.clone() })
            }
            (Self::AwaitingInput { .. } | Self::AwaitingApproval { .. }, Step::Answered) => Ok(Self::Running),
            (Self::Running, Step::Paused) => Ok(Self::Paused),
            (Self::Paused, Step::Resumed) => Ok(Self::Running),
            // Success needs that it ran; every other end can come at any time before one.
            (Self::Queued | Self::Leased { .. }, Step::Ended { outcome: RunOutcome::Succeeded }) => {
                Err(Self::illegal(Some(state), step))
            }
            (open, Step::Ended { outcome }) if !open.is_final() => Ok(outcome.clone().into()),
            _ => Err(Self::illegal(Some(state), step)),
        }
    }

    fn illegal(state: Option<&Self>, step: &RunStep) -> IllegalTransition {
        IllegalTransition { machine: "run", state: state.map_or("absent", Self::label), event: step.label() }
    }

    /// The word for the state.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Leased { .. } => "leased",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::AwaitingInput { .. } => "awaiting_input",
            Self::AwaitingApproval { .. } => "awaiting_approval",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Failed { .. } => "failed",
            Self::TimedOut { .. } => "timed_out",
            Self::Cancelled { .. } => "cancelled",
            Self::Lost { .. } => "lost",
        }
    }

    /// Whether it waits for a person.
    #[must_use]
    pub const fn is_waiting(&self) -> bool {
        matches!(self, Self::AwaitingInput { .. } | Self::AwaitingApproval { .. })
    }

    /// Whether nothing more happens to it.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed { .. } | Self::TimedOut { .. } | Self::Cancelled { .. } | Self::Lost { .. }
        )
    }
}

impl From<RunOutcome> for RunState {
    fn from(outcome: RunOutcome) -> Self {
        match outcome {
            RunOutcome::Succeeded => Self::Succeeded,
            RunOutcome::Failed { class, reason } => Self::Failed { class, reason },
            RunOutcome::TimedOut { reason } => Self::TimedOut { reason },
            RunOutcome::Cancelled { reason } => Self::Cancelled { reason },
            RunOutcome::Lost { reason } => Self::Lost { reason },
        }
    }
}

impl RunStep {
    /// The word for the event.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Leased { .. } => "leased",
            Self::Starting => "starting",
            Self::Started => "started",
            Self::InputRequested { .. } => "input_requested",
            Self::ApprovalRequested { .. } => "approval_requested",
            Self::Answered => "answered",
            Self::Paused => "paused",
            Self::Resumed => "resumed",
            Self::Ended { outcome } => match outcome {
                RunOutcome::Succeeded => "succeeded",
                RunOutcome::Failed { .. } => "failed",
                RunOutcome::TimedOut { .. } => "timed_out",
                RunOutcome::Cancelled { .. } => "cancelled",
                RunOutcome::Lost { .. } => "lost",
            },
        }
    }
}
