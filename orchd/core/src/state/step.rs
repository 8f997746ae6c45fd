//! A step of a run.

use orch_proto::Timestamp;
use serde::{Deserialize, Serialize};

use super::IllegalTransition;

/// State of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum StepState {
    Pending,
    Running {
        started_at: Timestamp,
    },
    Ended {
        started_at: Timestamp,
        finished_at: Timestamp,
        end: StepEnd,
    },
    /// Not run, since one before it failed or the run ended.
    Skipped,
    /// Not run: an earlier attempt did it, and what it left was kept.
    Kept,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum StepEnd {
    Succeeded,
    /// Exit code other than 0.
    Failed {
        code: i32,
    },
    /// Killed by a signal, not for its time and not by a cancel.
    Killed {
        signal: i32,
    },
    TimedOut,
    /// Also when its run was lost: its own end was not seen.
    Cancelled,
}

/// What can happen to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum StepEvent {
    Started { at: Timestamp },
    Ended { at: Timestamp, end: StepEnd },
    Skipped,
    Kept,
}

impl StepState {
    /// The only function that maps a state and an event to the next state.
    ///
    /// # Errors
    /// When the event cannot happen in the state.
    pub fn next(&self, event: &StepEvent) -> Result<Self, IllegalTransition> {
        match (self, event) {
            (Self::Pending, StepEvent::Started { at }) => Ok(Self::Running { started_at: *at }),
            (Self::Running { started_at }, StepEvent::Ended { at, end }) => {
                Ok(Self::Ended { started_at: *started_at, finished_at: *at, end: *end })
            }
            (Self::Pending, StepEvent::Skipped) => Ok(Self::Skipped),
            (Self::Pending, StepEvent::Kept) => Ok(Self::Kept),
            _ => Err(IllegalTransition { machine: "step", state: self.label(), event: event.label() }),
        }
    }

    /// The word for the state.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running { .. } => "running",
            Self::Ended { .. } => "ended",
            Self::Skipped => "skipped",
            Self::Kept => "kept",
        }
    }
}

impl StepEvent {
    /// The word for the event.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Ended { .. } => "ended",
            Self::Skipped => "skipped",
            Self::Kept => "kept",
        }
    }
}
