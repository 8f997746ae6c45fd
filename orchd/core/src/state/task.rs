//! A task: from a proposal over attempts and review to done.
//!
//! Ready and blocked are not states: they follow from the graph and the time, see [`crate::schedule`].

use orch_proto::Timestamp;
use orch_proto::id::{ChangeId, RunId};
use serde::{Deserialize, Serialize};

use super::IllegalTransition;

/// State of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum TaskState {
    /// Not in the queue.
    Proposed,
    /// In the queue. `not_before` holds a retry back.
    Approved { not_before: Option<Timestamp> },
    /// `run` works on it.
    Running { run: RunId },
    /// `change` is checked, waits for approval or merges.
    InReview { change: ChangeId },
    /// Finished; `change` is what was merged, none when there was nothing to merge.
    Done { change: Option<ChangeId> },
    /// Ended without success; a person decides what follows.
    Failed { reason: String },
    /// Ended by a person or by a re-plan.
    Cancelled { reason: String },
    /// Held by a person.
    Paused { reason: String },
}

/// What can happen to the state of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum TaskStep {
    Created,
    Queued,
    Started {
        run: RunId,
    },
    /// The attempt failed; another follows, not before the given time.
    RetryScheduled {
        not_before: Timestamp,
    },
    ReviewStarted {
        change: ChangeId,
    },
    Completed {
        change: Option<ChangeId>,
    },
    Failed {
        reason: String,
    },
    /// Its time was over before it began.
    Expired {
        reason: String,
    },
    Cancelled {
        reason: String,
    },
    Held {
        reason: String,
    },
    Released,
    /// A person wants it tried again.
    Reopened,
    /// A person wants it tried anew, whatever becomes of its run.
    Requeued,
    /// What brought it where it is was taken back.
    Undone {
        to: TaskState,
    },
}

impl TaskState {
    /// The only function that maps a state and an event to the next state.
    ///
    /// # Errors
    /// When the event cannot happen in the state.
    pub fn next(state: Option<&Self>, step: &TaskStep) -> Result<Self, IllegalTransition> {
        use TaskStep as Step;
        let Some(state) = state else {
            return match step {
                Step::Created => Ok(Self::Proposed),
                _ => Err(Self::illegal(None, step)),
            };
        };
        match (state, step) {
            (Self::Proposed, Step::Queued) | (Self::Paused { .. }, Step::Released) => {
                Ok(Self::Approved { not_before: None })
            }
            (Self::Failed { .. } | Self::Cancelled { .. }, Step::Reopened) | (Self::Running { .. }, Step::Requeued) => {
                Ok(Self::Approved { not_before: None })
            }
            (Self::Approved { .. }, Step::Started { run }) => Ok(Self::Running { run: *run }),
            (Self::Running { .. } | Self::InReview { .. }, Step::RetryScheduled { not_before }) => {
                Ok(Self::Approved { not_before: Some(*not_before) })
            }
            (Self::Running { .. }, Step::ReviewStarted { change }) => Ok(Self::InReview { change: *change }),
            (Self::Running { .. } | Self::InReview { .. }, Step::Completed { change }) => {
                Ok(Self::Done { change: *change })
            }
            // A person says that nothing had to change.
            (Self::Failed { .. }, Step::Completed { change: None }) => Ok(Self::Done { change: None }),
            (Self::Running { .. } | Self::InReview { .. }, Step::Failed { reason })
            | (Self::Approved { .. }, Step::Expired { reason }) => Ok(Self::Failed { reason: reason.clone() }),
            (Self::Proposed | Self::Approved { .. }, Step::Held { reason }) => {
                Ok(Self::Paused { reason: reason.clone() })
            }
            (
                Self::Proposed
                | Self::Approved { .. }
                | Self::Running { .. }
                | Self::InReview { .. }
                | Self::Paused { .. }
                | Self::Failed { .. },
                Step::Cancelled { reason },
            ) => Ok(Self::Cancelled { reason: reason.clone() }),
            (state, Step::Undone { to }) if state.is_revocable() && to.is_revocable() => Ok(to.clone()),
            _ => Err(Self::illegal(Some(state), step)),
        }
    }

    fn illegal(state: Option<&Self>, step: &TaskStep) -> IllegalTransition {
        IllegalTransition { machine: "task", state: state.map_or("absent", Self::label), event: step.label() }
    }

    /// The word for the state.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Approved { .. } => "approved",
            Self::Running { .. } => "running",
            Self::InReview { .. } => "in_review",
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
            Self::Paused { .. } => "paused",
        }
    }

    /// Whether a person's decision can bring it there or away: no run works on it, and nothing of it is merged.
    const fn is_revocable(&self) -> bool {
        !matches!(self, Self::Running { .. } | Self::Done { .. })
    }

    /// Whether nothing more happens by itself.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Failed { .. } | Self::Cancelled { .. })
    }
}

impl TaskStep {
    /// The word for the event.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Queued => "queued",
            Self::Started { .. } => "started",
            Self::RetryScheduled { .. } => "retry_scheduled",
            Self::ReviewStarted { .. } => "review_started",
            Self::Completed { .. } => "completed",
            Self::Failed { .. } => "failed",
            Self::Expired { .. } => "expired",
            Self::Cancelled { .. } => "cancelled",
            Self::Held { .. } => "held",
            Self::Released => "released",
            Self::Reopened => "reopened",
            Self::Requeued => "requeued",
            Self::Undone { .. } => "undone",
        }
    }
}
