//! A model, or an agent, at work for the planner of a project.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// State of a planning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
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

/// What a model does for the planner of a project, or did the last time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanningView {
    pub number: u32,
    /// `requirements` or `plan`.
    pub wanted: String,
    #[serde(flatten)]
    pub state: PlanningState,
    /// Who is asked, and where. Of an agent the model that it is told to use; empty: what it chooses.
    pub model: String,
    pub server: String,
    /// The agent that works on it in the place of a single model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// How often that was started, and since when it is at work, if it is.
    #[serde(default)]
    pub turns: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_work_since: Option<Timestamp>,
    pub asked_by: String,
    pub since: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// Requests that left, and how many of them wait for their answers.
    pub exchanges: u32,
    pub waiting: u32,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// Some of the tokens are no server's figures.
    pub is_estimate: bool,
    /// What they cost, where the model has a price.
    pub cost_text: Option<String>,
    /// Of each answer that could not be used, the first thing that is wrong with it.
    pub refused: Vec<String>,
    /// Which model could not be asked, and why, when this one took its place.
    #[serde(default)]
    pub fell_back: Option<String>,
    /// Requests that were lost with a daemon that ended; how often an agent was.
    pub lost: u32,
}

impl PlanningView {
    /// Whether the model is still asked.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, PlanningState::Asked)
    }
}
