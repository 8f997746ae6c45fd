//! A model at work for the planner: asked, and then over in one of a few ways.

use serde::{Deserialize, Serialize};

use super::IllegalTransition;

/// State of a planning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum PlanningState {
    /// The model is asked, or about to be.
    Asked,
    /// What it answered was proposed.
    Proposed,
    /// What the rules made was proposed in its place.
    Ruled { reason: String },
    /// Nothing was proposed.
    Failed { reason: String },
    /// A person wanted no more of it.
    Cancelled { reason: String },
}

/// What can happen to the state of a planning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum PlanningStep {
    Asked,
    Proposed,
    Ruled { reason: String },
    Failed { reason: String },
    Cancelled { reason: String },
}

impl PlanningState {
    /// The only function that maps a state and an event to the next state.
    ///
    /// # Errors
    /// When the event cannot happen in the state.
    pub fn next(state: Option<&Self>, step: &PlanningStep) -> Result<Self, IllegalTransition> {
        use PlanningStep as Step;
        match (state, step) {
            (None, Step::Asked) => Ok(Self::Asked),
            (Some(Self::Asked), Step::Proposed) => Ok(Self::Proposed),
            (Some(Self::Asked), Step::Ruled { reason }) => Ok(Self::Ruled { reason: reason.clone() }),
            (Some(Self::Asked), Step::Failed { reason }) => Ok(Self::Failed { reason: reason.clone() }),
            (Some(Self::Asked), Step::Cancelled { reason }) => Ok(Self::Cancelled { reason: reason.clone() }),
            _ => Err(IllegalTransition {
                machine: "planning",
                state: state.map_or("absent", Self::label),
                event: step.label(),
            }),
        }
    }

    /// The word for the state.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Proposed => "proposed",
            Self::Ruled { .. } => "ruled",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// Why it ended so, where that has to be said.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Asked | Self::Proposed => None,
            Self::Ruled { reason } | Self::Failed { reason } | Self::Cancelled { reason } => Some(reason),
        }
    }
}

impl PlanningStep {
    /// The word for the event.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Proposed => "proposed",
            Self::Ruled { .. } => "ruled",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
        }
    }
}
