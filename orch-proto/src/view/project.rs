//! Projects and their Visions.

use serde::{Deserialize, Serialize};

use crate::id::{ProjectId, VisionId};
use crate::time::Timestamp;
use crate::view::{PlanningView, Timeout};

/// Whether a project's repository can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ProjectState {
    /// The repository is being made or imported.
    Preparing,
    Ready,
    /// The repository could not be made.
    Failed {
        reason: String,
    },
    Archived,
}

/// A toolchain found in the repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolchainView {
    /// `cargo`, `npm`, `python`, ...
    pub name: String,
    /// Directory within the repository, empty for its root.
    pub root: String,
    /// The files and keys that show it.
    pub evidence: Vec<String>,
    pub build: Option<String>,
    pub test: Option<String>,
    pub lint: Option<String>,
    /// False when its files name packages that are not in the repository: runs have no network, so its commands
    /// may fail.
    pub vendored: bool,
}

/// A project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectView {
    pub id: ProjectId,
    /// What people call it.
    pub name: String,
    #[serde(flatten)]
    pub state: ProjectState,
    /// The bare repository on the daemon's disk.
    pub repository: String,
    pub default_branch: String,
    /// Commit at the tip of the default branch; none while it is empty.
    pub head: Option<String>,
    pub toolchains: Vec<ToolchainView>,
    /// Commands that the daemon runs on a merged tree before it becomes the branch.
    pub gates: Vec<String>,
    /// Globs of paths whose change needs an approval.
    pub protected_paths: Vec<String>,
    /// Newest versions, if there are any.
    pub vision_version: Option<u32>,
    pub requirements_version: Option<u32>,
    pub plan_version: Option<u32>,
    pub created_at: Timestamp,
    /// Under load it gets the host in proportion to this.
    #[serde(default = "weight")]
    pub weight: u32,
    /// Runs that it may have at once.
    #[serde(default)]
    pub runs_max: Option<u32>,
    /// Attempts that may be started in a day (UTC).
    #[serde(default)]
    pub runs_per_day: Option<u32>,
    /// Nothing of it begins.
    #[serde(default)]
    pub pause: Option<PauseView>,
    /// How long its tasks may wait although they could begin, as far as that is said of it.
    #[serde(default)]
    pub queue_timeout: Option<Timeout>,
    /// How long its runs may be silent.
    #[serde(default)]
    pub silence_timeout: Option<Timeout>,
    /// What its runs may use, and have used.
    #[serde(default)]
    pub budgets: Vec<BudgetView>,
    /// What a model does for its planner, or did the last time.
    #[serde(default)]
    pub planning: Option<PlanningView>,
}

/// What a budget is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Meter {
    /// Time in which steps of runs are under way, in milliseconds.
    RunTime,
    /// Tokens that models were asked for, in and out.
    Tokens,
    /// What those cost, in millionths of a dollar.
    Cost,
}

/// The time that a budget is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// From midnight to midnight (UTC).
    Day,
    /// From Monday to Sunday (UTC).
    Week,
    /// Until it is begun anew.
    Total,
}

impl Period {
    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Total => "total",
        }
    }
}

/// How much runs of a project may use in a time, and what they used of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetView {
    pub meter: Meter,
    pub period: Period,
    /// In the unit of the meter, as what follows.
    pub limit: u64,
    /// Added by a person until it is renewed.
    pub raised: u64,
    /// Runs under way included.
    pub used: u64,
    /// Runs under way are ended when it is used up.
    pub is_hard: bool,
    /// Nothing begins.
    pub is_spent: bool,
    /// When it is renewed by itself, if it is.
    pub renews_at: Option<Timestamp>,
    /// The same in a line: `118 of 120 minutes in a day`.
    pub text: String,
    /// The question whether there is to be more, while it waits.
    pub question: Option<String>,
}

/// Why nothing of a project begins, and until when unless a person says so before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PauseView {
    pub reason: String,
    pub until: Option<Timestamp>,
}

/// That of a project of which nobody said anything.
const fn weight() -> u32 {
    1
}

/// One version of a project's Vision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VisionView {
    pub id: VisionId,
    pub project: String,
    pub version: u32,
    pub title: String,
    pub file_name: String,
    pub size_bytes: u64,
    /// SHA-256 of the text, in hex.
    pub digest: String,
    pub blueprint: Option<String>,
    pub submitted_by: String,
    pub submitted_at: Timestamp,
    /// The text itself, when one Vision was asked for.
    pub text: Option<String>,
}
