//! A question of a run to a person, who fills in its fields: asked once, answered, or over without an answer.

use orch_proto::Timestamp;
use serde::{Deserialize, Serialize};

use super::IllegalTransition;

/// State of an info request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum InfoRequestState {
    /// Its run waits until then.
    Pending { expires: Timestamp },
    /// A person, known by uid, has answered.
    Answered { by: u32 },
    /// Nobody answered in time.
    Expired,
    /// A person declined to answer, or its run is over.
    Cancelled { reason: String },
}

/// What can happen to the state of an info request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub enum InfoRequestStep {
    Asked { expires: Timestamp },
    Answered { by: u32 },
    Expired,
    Cancelled { reason: String },
}

impl InfoRequestState {
    /// The only function that maps a state and an event to the next state.
    ///
    /// # Errors
    /// When the event cannot happen in the state.
    pub fn next(state: Option<&Self>, step: &InfoRequestStep) -> Result<Self, IllegalTransition> {
        use InfoRequestStep as Step;
        match (state, step) {
            (None, Step::Asked { expires }) => Ok(Self::Pending { expires: *expires }),
            (Some(Self::Pending { .. }), Step::Answered { by }) => Ok(Self::Answered { by: *by }),
            (Some(Self::Pending { .. }), Step::Expired) => Ok(Self::Expired),
            (Some(Self::Pending { .. }), Step::Cancelled { reason }) => Ok(Self::Cancelled { reason: reason.clone() }),
            _ => Err(IllegalTransition {
                machine: "info request",
                state: state.map_or("absent", Self::label),
                event: step.label(),
            }),
        }
    }

    /// The word for the state.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Answered { .. } => "answered",
            Self::Expired => "expired",
            Self::Cancelled { .. } => "cancelled",
        }
    }
}

impl InfoRequestStep {
    /// The word for the event.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Asked { .. } => "asked",
            Self::Answered { .. } => "answered",
            Self::Expired => "expired",
            Self::Cancelled { .. } => "cancelled",
        }
    }
}
