//! A version of requirements or of a plan: both are proposed to a person, who approves or rejects them whole.

use serde::{Deserialize, Serialize};

use super::IllegalTransition;

/// State of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentState {
    /// Being written; nobody is asked yet.
    Draft,
    /// A person is asked.
    Proposed,
    Approved,
    Rejected,
    /// A newer version took its place.
    Superseded,
}

/// What can happen to a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentStep {
    Drafted,
    Proposed,
    Approved,
    Rejected,
    Superseded,
    /// What brought it where it is was taken back.
    Undone {
        to: DocumentState,
    },
}

impl DocumentState {
    /// The only function that maps a state and an event to the next state.
    ///
    /// # Errors
    /// When the event cannot happen in the state.
    pub const fn next(state: Option<Self>, step: DocumentStep) -> Result<Self, IllegalTransition> {
        use DocumentStep as Step;
        match (state, step) {
            (None, Step::Drafted) => Ok(Self::Draft),
            (Some(Self::Draft), Step::Proposed) => Ok(Self::Proposed),
            (Some(Self::Proposed), Step::Approved) => Ok(Self::Approved),
            (Some(Self::Proposed), Step::Rejected) => Ok(Self::Rejected),
            (Some(Self::Draft | Self::Proposed | Self::Approved), Step::Superseded) => Ok(Self::Superseded),
            (Some(state), Step::Undone { to }) if state.is_revocable() && to.is_revocable() => Ok(to),
            _ => Err(IllegalTransition {
                machine: "document",
                state: match state {
                    None => "absent",
                    Some(state) => state.label(),
                },
                event: step.label(),
            }),
        }
    }

    const fn is_revocable(self) -> bool {
        !matches!(self, Self::Draft)
    }

    /// The word for the state.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Proposed => "proposed",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Superseded => "superseded",
        }
    }
}

impl DocumentStep {
    /// The word for the event.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Drafted => "drafted",
            Self::Proposed => "proposed",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
            Self::Superseded => "superseded",
            Self::Undone { .. } => "undone",
        }
    }
}
