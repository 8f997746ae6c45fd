//! Requirements, their versions and what serves them.

use serde::{Deserialize, Serialize};

use crate::id::{ApprovalId, RequirementsId};
use crate::time::Timestamp;

/// State of a version of requirements or of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentState {
    Draft,
    Proposed,
    Approved,
    Rejected,
    /// A newer version took its place.
    Superseded,
}

/// One requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequirementView {
    /// `FR-12`, `NFR-3`, `REQ-7`.
    pub key: String,
    /// `functional`, `non_functional` or `constraint`.
    pub kind: String,
    pub title: String,
    pub text: String,
    /// Heading under which it stands in the Vision.
    pub group: Option<String>,
    pub parent: Option<String>,
    pub priority: Option<String>,
    pub acceptance: Vec<String>,
    /// First and last line in the Vision, from 1; none for one that a person added.
    pub lines: Option<(u32, u32)>,
}

/// A goal, constraint, question or other statement of the Vision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementView {
    pub text: String,
    pub lines: Option<(u32, u32)>,
}

/// A word of a person about a requirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommentView {
    /// None: about the whole document.
    pub key: Option<String>,
    pub by: String,
    pub at: Timestamp,
    pub text: String,
}

/// A version of a project's requirements.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequirementsView {
    pub id: RequirementsId,
    pub project: String,
    pub version: u32,
    pub state: DocumentState,
    /// Version of the Vision that they were derived from.
    pub vision_version: u32,
    pub title: String,
    pub summary: String,
    pub goals: Vec<StatementView>,
    pub non_goals: Vec<StatementView>,
    pub constraints: Vec<StatementView>,
    pub acceptance: Vec<StatementView>,
    pub risks: Vec<StatementView>,
    pub milestones: Vec<StatementView>,
    pub open_questions: Vec<StatementView>,
    pub unclassified: Vec<StatementView>,
    pub requirements: Vec<RequirementView>,
    pub warnings: Vec<String>,
    pub comments: Vec<CommentView>,
    /// SHA-256 of the content, in hex: what an approval is bound to.
    pub digest: String,
    /// The approval that decides about this version.
    pub approval: Option<ApprovalId>,
    /// Why this version was made.
    pub reason: String,
    pub created_by: String,
    pub created_at: Timestamp,
}

/// What changed between two versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequirementsDiff {
    pub from: u32,
    pub to: u32,
    pub added: Vec<RequirementView>,
    pub removed: Vec<RequirementView>,
    /// Before and after.
    pub changed: Vec<(RequirementView, RequirementView)>,
    pub unchanged: u32,
}

/// From a requirement to the commits that serve it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceView {
    pub requirement: RequirementView,
    pub requirements_version: u32,
    pub vision_version: u32,
    /// Tasks that name the requirement, with their runs and commits.
    pub tasks: Vec<TraceTask>,
}

/// One task on the way from a requirement to commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceTask {
    pub task: String,
    pub title: String,
    pub state: crate::view::TaskState,
    /// Names of the task's runs, oldest first, with the outcome of each.
    pub runs: Vec<(String, String)>,
    /// Commit on the default branch, when merged.
    pub commit: Option<String>,
}
