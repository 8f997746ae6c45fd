//! Plans: the work breakdown and its graph.

use serde::{Deserialize, Serialize};

use crate::id::{ApprovalId, PlanId};
use crate::time::Timestamp;
use crate::view::DocumentState;

/// A group of stories.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpicView {
    pub key: String,
    pub title: String,
    pub stories: Vec<StoryView>,
}

/// A group of tasks that together serve some requirements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoryView {
    pub key: String,
    pub title: String,
    pub requirements: Vec<String>,
    /// Keys of its tasks, in order.
    pub tasks: Vec<String>,
}

/// A task of a plan as a node of its graph.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanNode {
    /// Key within the plan.
    pub key: String,
    /// Short name of the task, once the plan is approved.
    pub task: Option<String>,
    pub title: String,
    /// What does the work: `blueprint web-api/scaffold`, `cargo build`, `agent developer`, ...
    pub work: String,
    /// Keys of the tasks that it waits for.
    pub needs: Vec<String>,
    pub requirements: Vec<String>,
    pub acceptance: Vec<String>,
    /// Low and high estimate in minutes.
    pub estimate_minutes: (u32, u32),
    pub risk: Option<String>,
    /// Lies on the critical path.
    pub critical: bool,
    /// Tasks with the same number can run at the same time; they need nothing of a higher one.
    pub level: u32,
    /// How long it will take, from history; none when it is over or nothing is known.
    #[serde(default)]
    pub eta: Option<crate::view::EtaView>,
    /// State, once the plan is approved.
    pub state: Option<crate::view::TaskState>,
}

/// A version of a project's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanView {
    pub id: PlanId,
    pub project: String,
    pub version: u32,
    pub state: DocumentState,
    pub requirements_version: u32,
    pub blueprint: Option<String>,
    pub epics: Vec<EpicView>,
    /// In an order in which each comes after what it needs.
    pub nodes: Vec<PlanNode>,
    /// Keys along the critical path, first to last.
    pub critical_path: Vec<String>,
    /// Low and high estimate of the critical path in minutes.
    pub critical_minutes: (u32, u32),
    /// When its open tasks will be done; none when there are none, or it was superseded or rejected.
    #[serde(default)]
    pub eta: Option<crate::view::PlanEtaView>,
    /// Most tasks that can run at the same time.
    pub parallel_max: u32,
    /// Against the newest approved plan before it: keys of tasks added, dropped, kept.
    pub added: Vec<String>,
    pub dropped: Vec<String>,
    pub kept: Vec<String>,
    pub warnings: Vec<String>,
    /// SHA-256 of the content, in hex: what an approval is bound to.
    pub digest: String,
    pub approval: Option<ApprovalId>,
    pub reason: String,
    pub created_by: String,
    pub created_at: Timestamp,
}
