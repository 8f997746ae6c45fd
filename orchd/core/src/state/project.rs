//! A project: its repository is prepared once, then it is in use until it is archived.

use serde::{Deserialize, Serialize};

use super::IllegalTransition;

/// State of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum ProjectState {
    /// Its repository is being made or imported.
    Preparing,
    Ready,
    Failed {
        reason: String,
    },
    Archived,
}

/// What can happen to the state of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum ProjectStep {
    Created,
    Prepared,
    PreparationFailed {
        reason: String,
    },
    /// A person asks for it again after its preparation failed.
    Retried,
    Archived,
}

impl ProjectState {
    /// The only function that maps a state and an event to the next state.
    ///
    /// # Errors
    /// When the event cannot happen in the state.
    pub fn next(state: Option<&Self>, step: &ProjectStep) -> Result<Self, IllegalTransition> {
        use ProjectStep as Step;
        match (state, step) {
            (None, Step::Created) | (Some(Self::Failed { .. }), Step::Retried) => Ok(Self::Preparing),
            (Some(Self::Preparing), Step::Prepared) => Ok(Self::Ready),
            (Some(Self::Preparing), Step::PreparationFailed { reason }) => Ok(Self::Failed { reason: reason.clone() }),
            (Some(Self::Ready | Self::Failed { .. }), Step::Archived) => Ok(Self::Archived),
            _ => Err(IllegalTransition {
                machine: "project",
                state: state.map_or("absent", Self::label),
                event: step.label(),
            }),
        }
    }

    /// The word for the state.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Ready => "ready",
            Self::Failed { .. } => "failed",
            Self::Archived => "archived",
        }
    }
}

impl ProjectStep {
    /// The word for the event.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Prepared => "prepared",
            Self::PreparationFailed { .. } => "preparation_failed",
            Self::Retried => "retried",
            Self::Archived => "archived",
        }
    }
}
