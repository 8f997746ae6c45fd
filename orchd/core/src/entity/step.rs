//! A step of a run: as it was planned, and how it goes.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::state::step::StepState;

/// A step as it was planned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    pub name: String,
    pub command: String,
    /// It keeps the workspace as it is then; the digest of all that decides what that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Digest>,
    /// Done twice it does harm: once it has begun, nobody but a person has the work tried again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub once: bool,
}

impl PlannedStep {
    /// One that keeps nothing and may be done again.
    pub fn new(name: impl Into<String>, command: impl Into<String>) -> Self {
        Self { name: name.into(), command: command.into(), inputs: None, once: false }
    }
}

/// A step and how it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    pub name: String,
    pub command: String,
    /// As [`PlannedStep::inputs`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Digest>,
    /// As [`PlannedStep::once`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub once: bool,
    pub state: StepState,
}

impl StepRecord {
    /// One that has not begun.
    #[must_use]
    pub fn new(planned: PlannedStep) -> Self {
        let PlannedStep { name, command, inputs, once } = planned;
        Self { name, command, inputs, once, state: StepState::Pending }
    }

    /// Whether it was executed, at least in part, in this run or in one whose work this one went on from.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        matches!(self.state, StepState::Running { .. } | StepState::Ended { .. } | StepState::Kept)
    }
}
